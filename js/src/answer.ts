// What the verifier answers: the wasm puts one value after the other while it is called.

import { textOf } from "./text.js";

let answer: unknown[] = [];

export function putNumber(number: bigint): void {
  answer.push(number);
}

export function putText(text: Uint8Array): void {
  answer.push(textOf(text));
}

/** Puts a copy: the bytes are a view of the wasm's memory. */
export function putBytes(bytes: Uint8Array): void {
  answer.push(bytes.slice());
}

/** What was put since the last time. */
export function taken(): unknown[] {
  const values = answer;
  answer = [];
  return values;
}
