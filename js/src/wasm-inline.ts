// Where the wasm comes from in `attestlog`: it is part of the script, as the text that scripts/wasm-text.mjs makes of it.

import { common, text } from "./wasm/text.js";

export function wasmModule(): BufferSource {
  const byteOf = table();
  const bytes = new Uint8Array(text.length);
  let length = 0;
  let page = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code < 35) {
      page = code - 31;
    } else {
      bytes[length++] = byteOf[128 * page + code]!;
      page = 0;
    }
  }
  return bytes.subarray(0, length);
}

/** The byte of each character, on each of the three pages. */
function table(): Uint8Array {
  const codes: number[] = [];
  for (let code = 35; code < 127; code++) if (!"$'\\`".includes(String.fromCharCode(code))) codes.push(code);
  const byteOf = new Uint8Array(3 * 128);
  let many = 0;
  let few = codes.length;
  for (let byte = 0; byte < 256; byte++) {
    const place = (parseInt(common[byte >> 2]!, 16) >> (byte & 3)) & 1 ? many++ : few++;
    byteOf[128 * Math.floor(place / codes.length) + codes[place % codes.length]!] = byte;
  }
  return byteOf;
}
