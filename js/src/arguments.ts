// Checks of what a caller passes: wasm-bindgen would wrap a bigint beyond 64 bits and a number[] beyond bytes, silently.

/** An index or a size as it goes to the verifier. */
export function u64(value: unknown, name: string): bigint {
  if (typeof value !== "bigint" && typeof value !== "number") throw new TypeError(`${name} must be a number or a bigint`);
  if (typeof value === "number" && !Number.isSafeInteger(value)) {
    throw new RangeError(`${name} must be an integer; beyond 2^53 it must be a bigint`);
  }
  if (value < 0 || value >= 1n << 64n) throw new RangeError(`${name} must be at least 0 and below 2^64`);
  return BigInt(value);
}

/** Bytes; by their tag and not by `instanceof`, which another realm's Uint8Array is not. */
export function bytes(value: unknown, name: string): Uint8Array {
  if (ArrayBuffer.isView(value) && (value as Uint8Array)[Symbol.toStringTag] === "Uint8Array") return value as Uint8Array;
  throw new TypeError(`${name} must be a Uint8Array`);
}

/** A string. */
export function text(value: unknown, name: string): string {
  if (typeof value === "string") return value;
  throw new TypeError(`${name} must be a string`);
}

/** A note or a receipt: its bytes, or the text that was received. */
export function encoded(value: unknown, name: string): Uint8Array {
  if (typeof value === "string") return new TextEncoder().encode(value);
  return bytes(value, `${name}, if not a string,`);
}

/** An array. */
export function list<T>(value: readonly T[], name: string): readonly T[] {
  if (Array.isArray(value)) return value;
  throw new TypeError(`${name} must be an array`);
}
