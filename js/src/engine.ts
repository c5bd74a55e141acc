// The one instance of the wasm verifier: made at the first call, and made anew once it has grown large or has crashed.

import { wasmModule } from "wasm-source";
import { taken } from "./answer.js";
import { TamperingError, UncheckedError, UnreadableError } from "./errors.js";
import { joined } from "./joined.js";
import { call, initSync } from "./wasm/verifier.js";

// The verifier never frees its memory, since it keeps nothing between two calls: a new instance is cheaper.
const MEMORY_TO_KEEP = 48 << 20;

let compiled: WebAssembly.Module | undefined;
let memory: WebAssembly.Memory | undefined;

/** What the verifier takes, in its order. */
export type Argument = bigint | Uint8Array;

/** What the operation of that number answers; what it throws is one of our errors. */
export function perform<Answer>(operation: number, given: readonly Argument[]): Answer {
  memory ??= instantiate();
  taken();
  let holds;
  try {
    const pieces = given.filter((one) => typeof one !== "bigint");
    const numbers = BigUint64Array.from(given, (one) => (typeof one === "bigint" ? one : BigInt(one.length)));
    holds = call(operation, numbers.length, joined([new Uint8Array(numbers.buffer), ...pieces]));
  } catch (cause) {
    // A trap leaves the instance's memory as it was in the middle of a call: nothing may be computed with it again.
    memory = undefined;
    throw new UncheckedError("verifier_crashed", "nothing was checked", { cause });
  }
  if (memory.buffer.byteLength > MEMORY_TO_KEEP) memory = undefined;
  const answer = taken();
  if (!holds) throw errorOf(answer as Refusal);
  return answer as Answer;
}

function instantiate(): WebAssembly.Memory {
  try {
    compiled ??= wasmModule();
    return initSync({ module: compiled }).memory;
  } catch (cause) {
    throw cause instanceof UncheckedError ? cause : unavailable(cause);
  }
}

/** A browser's refusal to compile, with the remedy. */
export function unavailable(cause: unknown): UncheckedError {
  return new UncheckedError("wasm_unavailable", `a Content-Security-Policy must allow 'wasm-unsafe-eval' (${cause})`, { cause });
}

/** `place` is the item of `verifyInclusions`, or the line of a policy from 1 on, that is at fault. */
type Refusal = [kind: bigint, code: string, place?: bigint];

function errorOf([kind, code, place]: Refusal): Error {
  const Class = [UnreadableError, TamperingError, UncheckedError][Number(kind)]!;
  return place === undefined ? new Class(code, code) : new Class(code, `${code}: ${place}`, { position: Number(place) });
}
