// Bundles the calls of src/verifier.ts over the wasm that scripts/wasm makes for tests, in target/wasm/vectors.

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = fileURLToPath(new URL("../../target/wasm/vectors/", import.meta.url));

const contents = `
  export * as verifier from "./src/verifier.ts";
  export { perform } from "./src/engine.ts";
  export { init } from "./src/wasm-given.ts";
`;

const glue = {
  name: "the glue that goes with this wasm",
  // In the place of the package's, and so with its imports.
  setup: ({ onLoad }) => onLoad({ filter: /[/\\]wasm[/\\]verifier\.js$/ }, async () => ({ contents: await readFile(`${folder}verifier.js`) })),
};

/** An ES module with `verifier`, `perform` and `init`, and the wasm that `init` has to be given. */
export async function vectorsBuild() {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: root },
    alias: { "wasm-source": `${root}src/wasm-given.ts` },
    plugins: [glue],
    bundle: true,
    write: false,
    format: "esm",
    platform: "neutral",
    target: "es2022",
  });
  return { script: outputFiles[0].text, wasm: await readFile(`${folder}verifier.wasm`) };
}
