// Checks of what a caller passes: wasm-bindgen would wrap a bigint beyond 64 bits and a number[] beyond bytes, silently.

import { utf8 } from "./text.js";

/** An index or a size as it goes to the verifier. */
export function u64(value: unknown, name: string): bigint {
  if (typeof value === "bigint" || Number.isSafeInteger(value)) {
    const integer = BigInt(value as number | bigint);
    if (BigInt.asUintN(64, integer) === integer) return integer;
  }
  const Wrong = /bigint|number/.test(typeof value) ? RangeError : TypeError;
  throw new Wrong(`${name} must be an integer of 64 bits, from 2^53 on a bigint`);
}

/** Bytes; by their tag and not by `instanceof`, which another realm's Uint8Array is not. */
export function bytes(value: unknown, name: string): Uint8Array {
  return typed(ArrayBuffer.isView(value) && (value as Uint8Array)[Symbol.toStringTag] === "Uint8Array", value, name, "a Uint8Array");
}

/** A string. */
export const text = (value: unknown, name: string): string => typed(typeof value === "string", value, name, "a string");

/** An array. */
export const list = <T>(value: readonly T[], name: string): readonly T[] =>
  typed(Array.isArray(value), value, name, "an array");

/** A note or a receipt: its bytes, or the text that was received. */
export const encoded = (value: unknown, name: string): Uint8Array =>
  typeof value === "string" ? utf8(value) : bytes(value, name);

function typed<T>(is: boolean, value: unknown, name: string, what: string): T {
  if (is) return value as T;
  throw new TypeError(`${name} must be ${what}`);
}
