// Production builds of bundlers, with nothing configured for this package, run in Chromium.

import assert from "node:assert/strict";
import { cp, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import esbuild from "esbuild";
import { build as vite } from "vite";
import webpack from "webpack";
import { opened, served } from "./browser.mjs";
import { check, EXPECTED, page, pageScript, workerPageScript, workerScript } from "./consumer.mjs";
import { installed, write } from "./installed.mjs";

// What was packed is marked `sideEffects: false`: if a bundler left out anything that a call needs, this would fail.
const builds = {
  async vite(root) {
    const complaints = [];
    const complain = (text) => complaints.push(text);
    const customLogger = { info() {}, warn: complain, warnOnce: complain, error: complain, clearScreen() {}, hasErrorLogged: () => false, hasWarned: false };
    // An application's bundle of a page that starts a module worker, which is what `format` says.
    await vite({ root, configFile: false, logLevel: "warn", customLogger, worker: { format: "es" }, build: { outDir: "out" } });
    assert.deepEqual(complaints, []);
  },
  webpack: (root) => packed(root, {}),
  // Without this, webpack makes classic scripts of all, of module workers too.
  "webpack to modules": (root) => packed(root, { experiments: { outputModule: true }, output: { module: true } }),
  async esbuild(root) {
    const entryPoints = [join(root, "main.js")];
    const { warnings } = await esbuild.build({ entryPoints, bundle: true, minify: true, format: "esm", outdir: join(root, "out") });
    assert.deepEqual(warnings, []);
    await write(root, { "out/index.html": page() });
  },
};

async function packed(root, { experiments, output }) {
  const configuration = {
    context: root,
    mode: "production",
    entry: "./main.js",
    experiments,
    output: { ...output, path: join(root, "out"), filename: "main.js" },
  };
  const stats = await new Promise((done, failed) => {
    const compiler = webpack(configuration);
    compiler.run((error, stats) => compiler.close((late) => (error ?? late ? failed(error ?? late) : done(stats))));
  });
  const { errors, warnings } = stats.toJson({ all: false, errors: true, warnings: true });
  assert.deepEqual([...errors, ...warnings], []);
  await write(root, { "out/index.html": page() });
}

const inPage = { "main.js": pageScript('import * as attestlog from "attestlog";') };
const inWorker = { "main.js": workerPageScript, "worker.js": workerScript("attestlog") };
const slim = {
  "main.js": pageScript('import * as attestlog from "attestlog/slim";\nimport wasm from "attestlog/verifier.wasm?url";', "await attestlog.init(fetch(wasm));"),
};

const environments = [
  ["vite", "a page", inPage],
  ["vite", "a module worker", inWorker],
  ["vite", "attestlog/slim", slim],
  ["webpack", "a page", inPage],
  ["webpack", "a worker", inWorker],
  ["webpack to modules", "a page", inPage],
  ["webpack to modules", "a module worker", inWorker],
  ["esbuild", "a page", inPage],
];

for (const [bundler, where, scripts] of environments) {
  test(`${bundler} builds what verifies in ${where}`, async () => {
    const home = await installed(`${bundler} ${where}`, { ...scripts, "check.js": check, "index.html": page() });
    await builds[bundler](home);
    const alone = await withoutSources(home);
    assert.deepEqual(await opened(await served(alone)), { verdicts: EXPECTED, complaints: [] });
    const wasm = (await readdir(alone, { recursive: true })).filter((name) => name.endsWith(".wasm"));
    assert.equal(wasm.length, scripts === slim ? 1 : 0);
    // A digest that was taken of the package's file stays good.
    for (const name of wasm) {
      assert.deepEqual(await readFile(join(alone, name)), await readFile(join(home, "node_modules/attestlog/dist/verifier.wasm")));
    }
  });
}

/** A copy of what was built, elsewhere: a path back to node_modules would lead nowhere. */
async function withoutSources(home) {
  const alone = `${home}-built`;
  await cp(join(home, "out"), alone, { recursive: true });
  return alone;
}
