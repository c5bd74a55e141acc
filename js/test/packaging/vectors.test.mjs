// The named vectors of the repository in Chromium, with the installed package: the verdict and the code are Rust's.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { vectorFiles } from "../vector-files.mjs";
import { vectorsBuild } from "../vectors-build.mjs";
import { browser, served } from "./browser.mjs";
import { page as pageOf } from "./consumer.mjs";
import { installed, write } from "./installed.mjs";

const files = await vectorFiles();

const main = `
import * as attestlog from "/node_modules/attestlog/dist/index.js";
import * as build from "./build.js";
import { runVectors } from "./vectors.mjs";
const ready = build.init(fetch("/vectors.wasm"));
globalThis.run = async (name) => {
  await ready;
  const { vectors } = await (await fetch(\`/vectors/\${name}.json\`)).json();
  return runVectors(name, vectors, attestlog, build);
};
`;

let context, page;
before(async () => {
  const { script, wasm } = await vectorsBuild();
  const folder = new URL("../../../tests/vectors/", import.meta.url);
  const home = await installed("vectors", {
    "main.js": main,
    "build.js": script,
    "vectors.mjs": await readFile(new URL("../vectors.mjs", import.meta.url)),
    "index.html": pageOf(),
  });
  await write(home, { "vectors.wasm": wasm });
  for (const { name } of files) await write(home, { [join("vectors", `${name}.json`)]: await readFile(new URL(`${name}.json`, folder)) });
  context = await (await browser()).newContext();
  page = await context.newPage();
  await page.goto(await served(home));
});
after(() => context.close());

for (const { name, count } of files) {
  test(`every vector of ${name}.json has its verdict in Chromium`, async () => {
    assert.deepEqual(await page.evaluate((name) => globalThis.run(name), name), { run: count, wrong: [] });
  });
}
