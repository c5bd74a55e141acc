// Where the wasm comes from in `attestlog`: it is part of the script, in hex, which compresses better than base64.

import { hex } from "./wasm/hex.js";

export function wasmModule(): BufferSource {
  const fast = Uint8Array as unknown as { fromHex?: (hex: string) => Uint8Array<ArrayBuffer> };
  return fast.fromHex ? fast.fromHex(hex) : decoded(hex);
}

function decoded(hex: string): Uint8Array<ArrayBuffer> {
  const value = new Uint8Array(128);
  for (let digit = 0; digit < 16; digit++) value["0123456789abcdef".charCodeAt(digit)] = digit;
  const bytes = new Uint8Array(hex.length / 2);
  for (let at = 0; at < bytes.length; at++) {
    bytes[at] = (value[hex.charCodeAt(2 * at)]! << 4) | value[hex.charCodeAt(2 * at + 1)]!;
  }
  return bytes;
}
