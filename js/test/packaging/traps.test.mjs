// A trap of the real wasm: its memory is refused to grow, so it aborts in the middle of a call. The next call works.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { numbered, SampleLog } from "../sample-log.mjs";
import { browser, opened, served } from "./browser.mjs";
import { page } from "./consumer.mjs";
import { installed } from "./installed.mjs";

const log = new SampleLog(numbered(12));
const given = { note: log.checkpoint(), policy: log.key.vkey, receipt: log.receipt(7), entry: "entry 7" };

// V8's limit for every memory of WebAssembly: 6 MiB, of which the module has more than one from its start.
const LIMIT = "--wasm-max-mem-pages=96";

const check = `
const given = ${JSON.stringify(given)};
const bytes = (text) => new TextEncoder().encode(text);

const { Instance } = WebAssembly;
let made = 0;
WebAssembly.Instance = function (...given) {
  made++;
  return new Instance(...given);
};

/** What becomes of calls that fit into the memory and of calls that do not, in this order; and which instance was asked. */
export async function verdicts({ openCheckpoint, verifyReceipt, verifyInclusion, verifyEntries, VerificationError }) {
  const { note, policy, receipt, entry } = given;
  const large = new Uint8Array(16 << 20);
  const head = await openCheckpoint(note, { policy });
  const calls = [
    () => verifyReceipt(receipt, bytes(entry), { policy }),
    () => verifyReceipt(receipt, large, { policy }),
    () => verifyReceipt(receipt, bytes(entry), { policy }),
    () => verifyReceipt(receipt, bytes("entry 8"), { policy }),
    () => verifyInclusion(head, { index: 7, entry: large, proof: [] }),
    () => openCheckpoint(large, { policy }),
    () => verifyEntries(head, { from: 0, to: 12 }, [large]),
    () => verifyReceipt(receipt, bytes(entry), { policy }),
  ];
  const found = [];
  for (const call of calls) {
    const verdict = await call().then(() => "ok", (error) => error instanceof VerificationError
      ? [error.name, error.code, error.cause?.name].filter(Boolean).join(" ") : String(error));
    found.push([made, verdict]);
  }
  return found;
}
`;
const crashed = "UncheckedError verifier_crashed RuntimeError";
const EXPECTED = [
  [1, "ok"],
  [1, crashed],
  [2, "ok"],
  [2, "TamperingError root_mismatch"],
  [2, crashed],
  [3, crashed],
  [4, crashed],
  [5, "ok"],
];

const print = "verdicts(attestlog).then((found) => console.log(JSON.stringify(found)));";

test("after each trap in Node, the next call has a verifier that works", async () => {
  const main = `import * as attestlog from "attestlog"; import { verdicts } from "./check.js"; ${print}`;
  const home = await installed("node", { "main.js": main, "check.js": check });
  const { stdout } = await promisify(execFile)(process.execPath, [LIMIT, "main.js"], { cwd: home });
  assert.deepEqual(JSON.parse(stdout), EXPECTED);
});

test("after each trap in Chromium, the next call has a verifier that works", async () => {
  const main = 'import * as attestlog from "/node_modules/attestlog/dist/index.js"; import { verdicts } from "./check.js"; globalThis.verdicts = verdicts(attestlog);';
  const home = await installed("chromium", { "main.js": main, "check.js": check, "index.html": page() });
  assert.deepEqual(await opened(await served(home), browser(`--js-flags=${LIMIT}`)), { verdicts: EXPECTED, complaints: [] });
});

// The verifier plans the whole run before it is asked for; with the largest tree that there is, too.
test("no tree is too large to say what to fetch of it", async () => {
  const text = `example.com/log\n${2n ** 64n - 1n}\n${log.checkpointText().split("\n")[2]}\n`;
  const note = `${text}\n${log.key.line(text)}`;
  const main = `import { entriesPaths, openCheckpoint, tilePaths } from "attestlog";
    const head = await openCheckpoint(${JSON.stringify(note)}, { policy: ${JSON.stringify(log.key.vkey)} });
    const last = head.size - 1n;
    const runs = [[0n, 65_535n * 256n], [last, head.size], [head.size - 65_535n * 256n, head.size]];
    const counts = [];
    for (const [from, to] of runs) counts.push((await entriesPaths(head, { from, to })).length);
    for (const [level, index] of [[0, 0], [7, 0], [0, last / 256n - 1n]]) counts.push((await tilePaths(head, { level, index, width: 1 })).length);
    console.log(JSON.stringify(counts));`;
  const home = await installed("paths", { "main.js": main });
  const { stdout } = await promisify(execFile)(process.execPath, ["main.js"], { cwd: home });
  const counts = JSON.parse(stdout);
  assert.equal(counts.length, 6);
  for (const count of counts) assert.ok(count >= 1 && count <= 65_536 + 64, String(count));
});
