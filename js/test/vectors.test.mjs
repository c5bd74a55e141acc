// The named vectors of the repository that the package's own functions can run: the verdict and the code are Rust's.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { openCheckpoint, verifyReceipt } from "attestlog";

const files = {
  checkpoint: { count: 43, check: (input) => openCheckpoint(bytes(input.checkpoint), { policy: text(input.vkey) }) },
  cosignature: { count: 22, check: (input) => openCheckpoint(bytes(input.checkpoint), { policy: text(input.policy) }) },
  receipt: { count: 59, check: (input) => verifyReceipt(bytes(input.receipt), bytes(input.entry), { policy: text(input.policy) }) },
};

// Opened with a key in Rust; here a key is a policy, and a witness's is none.
const OTHERWISE = { checkpoint_opened_with_a_witness_key: "malformed_policy" };

for (const [name, { count, check }] of Object.entries(files)) {
  test(`every vector of ${name}.json has its verdict`, async () => {
    const file = JSON.parse(await readFile(new URL(`../../tests/vectors/${name}.json`, import.meta.url), "utf8"));
    assert.deepEqual([file.count, file.vectors.length], [count, count]);
    const wrong = [];
    for (const { name, input, expect } of file.vectors) {
      const code = await check(input).then(() => "ok", (error) => error.code ?? String(error));
      if (code !== (OTHERWISE[name] ?? expect)) wrong.push(`${name}: ${code}, not ${expect}`);
    }
    assert.deepEqual(wrong, []);
  });
}

function bytes(value) {
  return new Uint8Array(typeof value === "string" ? Buffer.from(value) : Buffer.from(value.hex, "hex"));
}

function text(value) {
  return typeof value === "string" ? value : new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes(value));
}
