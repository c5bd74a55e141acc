// The named vectors of the repository in Node: the verdict and the code are Rust's. In Chromium: packaging/vectors.test.mjs.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as attestlog from "attestlog";
import { numbered, SampleLog } from "./sample-log.mjs";
import { vectorFiles } from "./vector-files.mjs";
import { runVectors } from "./vectors.mjs";
import { vectorsBuild } from "./vectors-build.mjs";

const { script, wasm } = await vectorsBuild();
const build = await import(`data:text/javascript,${encodeURIComponent(script)}`);
await build.init(wasm);

for (const { name, count, vectors } of await vectorFiles()) {
  test(`every vector of ${name}.json has its verdict`, async () => {
    assert.deepEqual(await runVectors(name, vectors, attestlog, build), { run: count, wrong: [] });
  });
}

test("the vectors of proofs are run in the shape that they are to have, and a wrong verdict is noticed", async () => {
  const log = new SampleLog(numbered(300));
  const base64 = (hashes) => hashes.map((hash) => hash.toString("base64"));
  const root = (size) => log.checkpointText(size).split("\n")[2];
  const inputs = {
    inclusion: { size: 300, root: root(300), index: 7, entry: "entry 7", proof: base64(log.inclusion(7)) },
    consistency: { old_size: "100", old_root: root(100), new_size: "300", new_root: root(300), proof: base64(log.consistency(100)) },
    tile: { size: 300, root: root(300), level: 0, index: 1, width: 44, answers: ["tile/0/001.p/44", "tile/1/000.p/1"].map((path) => ({ hex: log.tile(path).toString("hex") })) },
  };
  for (const [name, input] of Object.entries(inputs)) {
    const vectors = [{ name: "right", input, expect: "ok" }, { name: "wrong", input, expect: "root_mismatch" }];
    assert.deepEqual(await runVectors(name, vectors, attestlog, build), { run: 2, wrong: ["wrong: ok, not root_mismatch"] });
  }
});
