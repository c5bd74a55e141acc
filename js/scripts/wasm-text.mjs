// Bytes as text that compresses almost as well as they do: one character for each byte below 91, two for the others.
//
// Hex doubles what a compressor has to look at, and base64 hides repetitions from it. Only ASCII, and nothing that a
// string in double quotes escapes, so that bundlers and servers leave it alone. `src/wasm-inline.ts` reads it.

/** `bytes` as that text. */
export const textOf = (bytes) => Array.from(bytes, (byte) => PAGES[Math.floor(byte / 91)] + CHARACTERS[byte % 91]).join("");

// From # to ~ without the backslash.
const CHARACTERS = Array.from({ length: 127 - 35 }, (_, at) => String.fromCharCode(35 + at)).filter((one) => one !== "\\");
const PAGES = ["", " ", "!"];
