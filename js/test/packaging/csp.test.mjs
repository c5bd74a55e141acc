// Pages with a strict Content-Security-Policy: without leave for wasm every call says so, and with it nothing else is needed.

import assert from "node:assert/strict";
import { join } from "node:path";
import { before, test } from "node:test";
import esbuild from "esbuild";
import { numbered, SampleLog } from "../sample-log.mjs";
import { opened, served } from "./browser.mjs";
import { workerPageScript } from "./consumer.mjs";
import { installed, write } from "./installed.mjs";

const log = new SampleLog(numbered(12));
const paths = ["checkpoint", "tile/entries/000.p/12", "tile/0/000.p/12", "entries/7", "entries/7/receipt"];
const answers = Object.fromEntries(paths.map((path) => [`/log/${path}`, log.answer(path).toString("latin1")]));

// A log that answers without a network, which these pages must not use.
const calls = `
const answers = ${JSON.stringify(answers)};
const policy = ${JSON.stringify(log.key.vkey)};
const bytes = (latin1) => Uint8Array.from(latin1, (character) => character.charCodeAt(0));

export async function verdicts({ LogClient, openCheckpoint, verifyReceipt, VerificationError }) {
  const fetch = async (url) => new Response(bytes(answers[new URL(url).pathname]));
  const client = (more) => new LogClient("https://log.example/log", { policy, fetch, ...more });
  const calls = {
    openCheckpoint: () => openCheckpoint(bytes(answers["/log/checkpoint"]), { policy }),
    verifyReceipt: () => verifyReceipt(bytes(answers["/log/entries/7/receipt"]), bytes(answers["/log/entries/7"]), { policy }),
    checkpoint: () => client().checkpoint(),
    checkpointOfOrigin: () => client({ origin: "example.com/log" }).checkpoint(),
    entry: () => client().entry(7),
    entries: async () => { for await (const entry of client().entries()) entry.text(); },
    receipt: () => client().receipt(7),
    receiptOfOrigin: () => client({ origin: "example.com/log" }).receipt(7),
    again: () => openCheckpoint(bytes(answers["/log/checkpoint"]), { policy }),
  };
  const found = {};
  for (const [name, call] of Object.entries(calls)) {
    found[name] = await call().then(() => "ok", (error) => error instanceof VerificationError
      ? error.code + (error.message.includes("'wasm-unsafe-eval'") ? ", with the remedy" : "") : String(error));
  }
  return found;
}
`;
const NAMES = ["openCheckpoint", "verifyReceipt", "checkpoint", "checkpointOfOrigin", "entry", "entries", "receipt", "receiptOfOrigin", "again"];
const every = (verdict) => Object.fromEntries(NAMES.map((name) => [name, verdict]));

const sources = {
  "check.js": calls,
  "page.js": 'import * as attestlog from "attestlog"; import { verdicts } from "./check.js"; globalThis.verdicts = verdicts(attestlog);',
  "worker-page.js": workerPageScript,
  "worker.js": 'import * as attestlog from "attestlog"; import { verdicts } from "./check.js"; verdicts(attestlog).then(postMessage);',
  "slim.js": `import * as attestlog from "attestlog/slim"; import { verdicts } from "./check.js";
    globalThis.verdicts = (async () => {
      const init = await attestlog.init(fetch("/verifier.wasm")).then(() => "ok", (error) => error.code);
      return { init, ...(await verdicts(attestlog)) };
    })();`,
};

let folder;
before(async () => {
  folder = await installed("csp", sources);
  const entryPoints = ["page", "worker-page", "worker", "slim"].map((name) => join(folder, `${name}.js`));
  await esbuild.build({ entryPoints, bundle: true, minify: true, format: "esm", outdir: join(folder, "out") });
  for (const name of ["page", "worker-page", "slim"]) {
    await write(folder, { [`out/${name}.html`]: `<!doctype html><title>${name}</title><script type="module" src="/${name}.js"></script>` });
  }
  await esbuild.build({ entryPoints: [join(folder, "node_modules/attestlog/dist/verifier.wasm")], loader: { ".wasm": "copy" }, outdir: join(folder, "out") });
});

const STRICT = "default-src 'none'; script-src 'self'";
const ALLOWED = `${STRICT} 'wasm-unsafe-eval'`;
const TRUSTED_TYPES = "; require-trusted-types-for 'script'; trusted-types 'none'";
const FETCH = "; connect-src 'self'";
const forbidden = every("wasm_unavailable, with the remedy");
const neverGiven = { init: "wasm_unavailable", ...every("wasm_unavailable") };

const pages = [
  ["page", STRICT, forbidden],
  ["page", STRICT + TRUSTED_TYPES, forbidden],
  ["page", ALLOWED, every("ok")],
  ["page", ALLOWED + TRUSTED_TYPES, every("ok")],
  ["worker-page", STRICT, forbidden],
  ["worker-page", ALLOWED, every("ok")],
  ["slim", STRICT + FETCH, neverGiven],
  ["slim", ALLOWED, neverGiven],
  ["slim", ALLOWED + FETCH, { init: "ok", ...every("ok") }],
  ["slim", ALLOWED + FETCH + TRUSTED_TYPES, { init: "ok", ...every("ok") }],
];

for (const [name, policy, expected] of pages) {
  test(`in a ${name} under ${policy}, each call ends with ${Object.values(expected).at(-1)}`, async () => {
    const url = await served(join(folder, "out"), { "content-security-policy": policy });
    const { verdicts, complaints } = await opened(`${url}/${name}.html`);
    assert.deepEqual(verdicts, expected);
    // Chromium tells of what a policy refuses; where all is well, it has nothing to tell.
    const well = Object.values(expected).every((verdict) => verdict === "ok");
    assert.deepEqual(complaints.filter((text) => well || !/Content Security Policy/.test(text)), []);
  });
}
