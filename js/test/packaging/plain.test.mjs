// No bundler: the browser imports the files of the package as they are.

import assert from "node:assert/strict";
import { test } from "node:test";
import { opened, served } from "./browser.mjs";
import { check, EXPECTED, page, pageScript, workerPageScript, workerScript } from "./consumer.mjs";
import { installed } from "./installed.mjs";

const DIST = "/node_modules/attestlog/dist";
const imports = { attestlog: `${DIST}/index.js`, "attestlog/slim": `${DIST}/slim.js` };
const importMap = `<script type="importmap">${JSON.stringify({ imports })}</script>`;
const slim = (source) => ({ "main.js": pageScript('import * as attestlog from "attestlog/slim";', `await attestlog.init(${source});`) });

const environments = {
  "a page with an import map": { "main.js": pageScript('import * as attestlog from "attestlog";') },
  // An import map is not for workers.
  "a module worker": { "main.js": workerPageScript, "worker.js": workerScript(imports.attestlog) },
  "attestlog/slim, given a fetch": slim(`fetch("${DIST}/verifier.wasm")`),
  "attestlog/slim, given a module": slim(`WebAssembly.compileStreaming(fetch("${DIST}/verifier.wasm"))`),
};

for (const [where, scripts] of Object.entries(environments)) {
  test(`Chromium verifies without a bundler in ${where}`, async () => {
    const home = await installed(where, { ...scripts, "check.js": check, "index.html": page("/main.js", importMap) });
    assert.deepEqual(await opened(await served(home)), { verdicts: EXPECTED, complaints: [] });
  });
}
