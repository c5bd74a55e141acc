// Bytes as text that compresses almost as well as they do: one character for each of the 88 commonest, two for the others.
//
// Hex doubles what a compressor has to look at, and base64 hides repetitions from it. Only ASCII, and nothing that a string
// escapes, so that bundlers and servers leave it alone. `src/wasm-inline.ts` reads it.

/** `common` has a bit for each byte, in hex, 1 for those with one character; `text` is the bytes. */
export function textOf(bytes) {
  const uses = new Array(256).fill(0);
  for (const byte of bytes) uses[byte]++;
  const byUse = [...uses.keys()].sort((one, other) => uses[other] - uses[one]);
  const common = new Set(byUse.slice(0, CHARACTERS.length));
  const spelling = [];
  let [few, many] = [CHARACTERS.length, 0];
  for (let byte = 0; byte < 256; byte++) {
    const place = common.has(byte) ? many++ : few++;
    spelling.push(PAGES[Math.floor(place / CHARACTERS.length)] + CHARACTERS[place % CHARACTERS.length]);
  }
  const digit = (_, at) => [0, 1, 2, 3].reduce((digit, bit) => digit | (common.has(4 * at + bit) << bit), 0).toString(16);
  return { common: Array.from({ length: 64 }, digit).join(""), text: Array.from(bytes, (byte) => spelling[byte]).join("") };
}

const CHARACTERS = Array.from({ length: 127 - 35 }, (_, at) => String.fromCharCode(35 + at)).filter((one) => !"$'\\`".includes(one));
const PAGES = ["", " ", "!"];
