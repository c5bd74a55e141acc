// Where the wasm comes from in `attestlog/slim`: the caller gives it, once.

import { unavailable } from "./engine.js";
import { UncheckedError } from "./errors.js";

/** `attestlog/verifier.wasm`: its bytes, compiled, or the answer of a fetch. */
export type WasmSource = ArrayBuffer | ArrayBufferView | WebAssembly.Module | Response;

let given: WebAssembly.Module | undefined;

/** Takes the wasm of this package's version; to be awaited before anything is verified. */
export async function init(source: WasmSource | PromiseLike<WasmSource>): Promise<void> {
  try {
    given = await compile(await source);
  } catch (cause) {
    throw unavailable(cause);
  }
}

export function wasmModule(): WebAssembly.Module {
  if (given) return given;
  throw new UncheckedError("wasm_unavailable", "attestlog/slim has no verifier yet: await init(…) first");
}

async function compile(source: WasmSource): Promise<WebAssembly.Module> {
  if (source instanceof WebAssembly.Module) return source;
  if (!("arrayBuffer" in source)) return WebAssembly.compile(source as BufferSource);
  if (!source.ok) throw new Error(`HTTP status ${source.status}`);
  // Not compileStreaming: it refuses servers that do not say application/wasm, and saves nothing at this size.
  return WebAssembly.compile(await source.arrayBuffer());
}
