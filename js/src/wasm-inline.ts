// Where the wasm comes from in `attestlog`: it is part of the script, as the text that scripts/wasm-text.mjs makes of it.

import { text } from "./wasm/text.js";

export function wasmModule(): WebAssembly.Module {
  return new WebAssembly.Module(wasm());
}

export function wasm(): BufferSource {
  const bytes = new Uint8Array(text.length);
  let length = 0;
  let page = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code < 35) page = code - 31;
    else {
      // The characters from # on, without the backslash.
      bytes[length++] = page * 91 + code - (code > 92 ? 36 : 35);
      page = 0;
    }
  }
  return bytes.subarray(0, length);
}
