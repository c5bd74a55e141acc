// The same without the wasm, for those who load `attestlog/verifier.wasm` themselves.

export * from "./index.js";
export { init, type WasmSource } from "./wasm-given.js";
