// The one instance of the wasm verifier: made at the first call, and made anew after a crash.

import { wasmModule } from "wasm-source";
import { type Kind, TamperingError, UncheckedError, UnreadableError } from "./errors.js";
import { initSync } from "./wasm/verifier.js";

// Wasm memory only grows: an instance that one large call has blown up is not kept for the small ones.
const MEMORY_TO_KEEP = 64 << 20;

let compiled: WebAssembly.Module | undefined;
let memory: WebAssembly.Memory | undefined;

/** What `work`, which calls the verifier, returns; what it throws is one of our errors. */
export function run<T>(work: () => T): T {
  memory ??= instantiate();
  try {
    const result = work();
    if (memory.buffer.byteLength > MEMORY_TO_KEEP) memory = undefined;
    return result;
  } catch (thrown) {
    if (Array.isArray(thrown)) throw errorOf(thrown as Thrown);
    // A trap leaves the instance's memory as it was in the middle of a call: nothing may be computed with it again.
    memory = undefined;
    throw new UncheckedError("verifier_crashed", "the verifier crashed, so nothing was checked", { cause: thrown });
  }
}

function instantiate(): WebAssembly.Memory {
  const source = wasmModule();
  try {
    compiled ??= source instanceof WebAssembly.Module ? source : new WebAssembly.Module(source);
    return initSync({ module: compiled }).memory;
  } catch (cause) {
    throw unavailable(cause);
  }
}

/** A browser's refusal to compile, with the remedy. */
export function unavailable(cause: unknown): UncheckedError {
  const remedy = "a Content-Security-Policy must have 'wasm-unsafe-eval' in script-src";
  return new UncheckedError("wasm_unavailable", `the verifier cannot be started; ${remedy} (${cause})`, { cause });
}

type Thrown = [kind: Kind, code: string, message: string, position?: number];

function errorOf([kind, code, message, position]: Thrown): Error {
  const Class = { parse: UnreadableError, verify: TamperingError, unchecked: UncheckedError }[kind];
  return new Class(code, message, position === undefined ? {} : { position });
}
