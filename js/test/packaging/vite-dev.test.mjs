// Vite's development server, which bundles dependencies by itself ahead of the page, or not if it is told so.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { createServer } from "vite";
import { closed, opened } from "./browser.mjs";
import { check, EXPECTED, page, pageScript, workerPageScript, workerScript } from "./consumer.mjs";
import { installed } from "./installed.mjs";

const inPage = { "main.js": pageScript('import * as attestlog from "attestlog";') };
const inWorker = { "main.js": workerPageScript, "worker.js": workerScript("attestlog") };
const slim = {
  "main.js": pageScript('import * as attestlog from "attestlog/slim";\nimport wasm from "attestlog/verifier.wasm?url";', "await attestlog.init(fetch(wasm));"),
};

const environments = [
  ["a page, optimized", inPage, "attestlog.js"],
  ["a page, as it is", inPage, undefined, { exclude: ["attestlog"] }],
  ["a module worker", inWorker, "attestlog.js"],
  ["attestlog/slim", slim, "attestlog_slim.js"],
];

for (const [where, scripts, optimized, optimizeDeps = {}] of environments) {
  test(`vite serves what verifies in ${where}`, async () => {
    const home = await installed(where, { ...scripts, "check.js": check, "index.html": page() });
    const server = await createServer({ root: home, configFile: false, logLevel: "error", optimizeDeps, server: { host: "127.0.0.1", port: 0, watch: null } });
    closed(() => server.close());
    await server.listen();
    const { verdicts, complaints } = await opened(`http://127.0.0.1:${server.httpServer.address().port}/`);
    assert.deepEqual({ verdicts, complaints: complaints.filter((text) => !ABOUT_RELOADS.test(text)) }, { verdicts: EXPECTED, complaints: [] });
    for (const file of ["attestlog.js", "attestlog_slim.js"]) {
      assert.equal(existsSync(join(home, "node_modules/.vite/deps", file)), file === optimized, file);
    }
  });
}

// What Vite itself says, or Chromium of it, when it loads the page again with a dependency that it has found late.
const ABOUT_RELOADS = /504 \(Outdated Optimize Dep\)|Failed to fetch dynamically imported module|\[vite\]/;
