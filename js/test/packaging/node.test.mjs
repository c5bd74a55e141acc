// Node, by import and by require.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import { check, EXPECTED } from "./consumer.mjs";
import { installed } from "./installed.mjs";

const print = "verdicts(attestlog).then((found) => console.log(JSON.stringify(found)));";
const ofImport = (from, first = "") => `
import * as attestlog from "${from}";
import { verdicts } from "./check.mjs";
${first}
${print}
`;
const ofRequire = (from, first = "") => `
const attestlog = require("${from}");
(async () => {
  const { verdicts } = await import("./check.mjs");
  ${first}
  ${print}
})();
`;
const file = 'await attestlog.init((await import("node:fs/promises")).readFile(new URL(import.meta.resolve("attestlog/verifier.wasm"))));';
const required = 'await attestlog.init(require("node:fs").readFileSync(require.resolve("attestlog/verifier.wasm")));';
const worker = `
const { Worker, isMainThread, parentPort } = require("node:worker_threads");
if (isMainThread) {
  new Worker(__filename).on("message", (found) => console.log(JSON.stringify(found)));
} else {
  import("./check.mjs").then(({ verdicts }) => verdicts(require("attestlog"))).then((found) => parentPort.postMessage(found));
}
`;

const environments = [
  ["import", "main.mjs", ofImport("attestlog")],
  ["import in a .js of a module package", "main.js", ofImport("attestlog")],
  ["require", "main.cjs", ofRequire("attestlog")],
  ["require in a .js of a commonjs package", "main.js", ofRequire("attestlog"), { type: "commonjs" }],
  ["import of attestlog slim", "main.mjs", ofImport("attestlog/slim", file)],
  ["require of attestlog slim", "main.cjs", ofRequire("attestlog/slim", required)],
  ["a worker thread", "main.cjs", worker],
];

for (const [how, name, script, options] of environments) {
  test(`Node verifies by ${how}`, async () => {
    const home = await installed(how, { [name]: script, "check.mjs": check }, options);
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [name], { cwd: home });
    assert.deepEqual([JSON.parse(stdout), stderr], [EXPECTED, ""]);
  });
}

test("a store of attestlog/node is taken by import and by require, and both share its files", async () => {
  const home = await installed("stores", {
    "one.mjs": `import { FileHeadStore } from "attestlog/node";
      console.log(await new FileHeadStore("heads").replace("example.com/log", undefined, new Uint8Array([1, 2])));`,
    "two.cjs": `const { FileHeadStore } = require("attestlog/node");
      new FileHeadStore("heads").get("example.com/log").then((head) => console.log([...head].join()));`,
  });
  const run = async (name) => (await promisify(execFile)(process.execPath, [name], { cwd: home })).stdout.trim();
  assert.deepEqual([await run("one.mjs"), await run("two.cjs")], ["true", "1,2"]);
});
