// What the package needs otherwise in wasm-bindgen's glue.

/** The glue with an `initSync` that makes a new instance each time: as it comes, it would go on with one that trapped. */
export function renewable(glue) {
  const once = /(function initSync\(module\) \{\s*)if \(wasm !== undefined\) return wasm;/;
  if (!once.test(glue)) throw new Error("verifier.js has another initSync than the one that is known here");
  return glue.replace(once, "$1");
}
