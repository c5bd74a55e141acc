// The wasm's life: made at the first call, made anew after a trap, and a clear word where a page may not run it.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { test } from "node:test";
import { promisify } from "node:util";
import { transform } from "esbuild";
import { numbered, SampleLog } from "./sample-log.mjs";

const log = new SampleLog(numbered(10));
const policy = log.key.vkey;
const wasm = new URL("../dist/verifier.wasm", import.meta.url);
const again = (module) => import(`../dist/${module}.js?${Math.random()}`);

test("after a trap the next call has a new instance", async () => {
  const { openCheckpoint } = await again("index");
  let made = 0;
  let trap = false;
  const { Instance } = WebAssembly;
  class Trapping {
    constructor(...given) {
      made++;
      const { exports } = new Instance(...given);
      const call = (...given) => {
        if (trap) throw new WebAssembly.RuntimeError("unreachable");
        return exports.call(...given);
      };
      this.exports = { ...exports, call };
    }
  }
  WebAssembly.Instance = Trapping;
  try {
    await openCheckpoint(log.checkpoint(), { policy });
    await openCheckpoint(log.checkpoint(), { policy });
    assert.equal(made, 1);
    trap = true;
    await assert.rejects(openCheckpoint(log.checkpoint(), { policy }), (error) =>
      error.name === "UncheckedError" && error.code === "verifier_crashed" && error.cause instanceof WebAssembly.RuntimeError);
    trap = false;
    assert.equal((await openCheckpoint(log.checkpoint(), { policy })).size, 10n);
    assert.equal(made, 2);
    await assert.rejects(openCheckpoint("x", { policy }), { code: "malformed_note" });
    assert.equal(made, 2);
  } finally {
    WebAssembly.Instance = Instance;
  }
});

test("where a policy of the page forbids wasm, the error says what to allow", async () => {
  const { openCheckpoint } = await again("index");
  const { Module } = WebAssembly;
  WebAssembly.Module = class { constructor() { throw new WebAssembly.CompileError("blocked by CSP"); } };
  try {
    await assert.rejects(openCheckpoint(log.checkpoint(), { policy }), (error) =>
      error.code === "wasm_unavailable" && error.name === "UncheckedError" && error.message.includes("'wasm-unsafe-eval'"));
  } finally {
    WebAssembly.Module = Module;
  }
  await openCheckpoint(log.checkpoint(), { policy });
});

test("the wasm in the script is verifier.wasm, byte for byte", async () => {
  const { openCheckpoint } = await again("index");
  const { Module } = WebAssembly;
  let compiled;
  WebAssembly.Module = function (bytes) {
    compiled = bytes;
    return new Module(bytes);
  };
  Object.defineProperty(WebAssembly.Module, Symbol.hasInstance, { value: (value) => value instanceof Module });
  try {
    await openCheckpoint(log.checkpoint(), { policy });
  } finally {
    WebAssembly.Module = Module;
  }
  assert.ok((await readFile(wasm)).equals(compiled));
});

test("any bytes come back from their text", async () => {
  const { textOf } = await import("../scripts/wasm-text.mjs");
  const { code } = await transform(await readFile(new URL("../src/wasm-inline.ts", import.meta.url), "utf8"), { loader: "ts" });
  for (const bytes of [[], [0], Array.from({ length: 1024 }, (_, at) => (at * at) % 256), Array.from({ length: 256 }, (_, at) => at)]) {
    const text = textOf(bytes);
    assert.match(text, /^[ -~]*$/);
    assert.doesNotMatch(text, /["\\]/);
    // Replaced by a function, since the text may have what a replacement gives a meaning to, such as $'.
    const alone = code.replace(/import .*;/, () => `const text = ${JSON.stringify(text)};`);
    const { wasm } = await import(`data:text/javascript;base64,${Buffer.from(alone).toString("base64")}`);
    assert.deepEqual([...wasm()], bytes);
  }
});

test("slim says that it has no wasm yet, and takes it as bytes, compiled, or as an answer", async () => {
  const bytes = await readFile(wasm);
  const sources = [
    bytes,
    new Uint8Array(bytes).buffer,
    new WebAssembly.Module(bytes),
    new Response(bytes),
    Promise.resolve(new Response(bytes, { headers: { "content-type": "application/wasm" } })),
  ];
  for (const source of sources) {
    const { init, openCheckpoint, LogClient } = await again("slim");
    const client = new LogClient("http://127.0.0.1:9", { policy });
    await assert.rejects(openCheckpoint(log.checkpoint(), { policy }), { name: "UncheckedError", code: "wasm_unavailable" });
    await assert.rejects(client.checkpoint(), { name: "UncheckedError", code: "wasm_unavailable" });
    await init(source);
    assert.equal((await openCheckpoint(log.checkpoint(), { policy })).size, 10n);
  }
});

test("slim refuses what is not the wasm, and can be given it afterwards", async () => {
  const { init, openCheckpoint } = await again("slim");
  const offline = async () => { throw new TypeError("offline"); };
  for (const source of [() => new Response("", { status: 404 }), () => Buffer.from("garbage"), offline]) {
    await assert.rejects(init(source()), { name: "UncheckedError", code: "wasm_unavailable" });
  }
  await init(readFile(wasm));
  await openCheckpoint(log.checkpoint(), { policy });
});

test("require has the same names as import", async () => {
  const require = createRequire(import.meta.url);
  for (const name of ["attestlog", "attestlog/slim", "attestlog/node"]) {
    const imported = Object.keys(await import(name)).sort();
    assert.deepEqual(Object.keys(require(name)).sort(), imported);
    assert.ok(imported.length > 0);
  }
  const { verifyReceipt } = require("attestlog");
  assert.equal((await verifyReceipt(log.receipt(3), log.entries[3], { policy })).index, 3n);
});

test("a process that only imports the package compiles nothing", async () => {
  const script = `WebAssembly.Module = WebAssembly.Instance = WebAssembly.compile = () => { throw new Error("too early"); };
    await import("attestlog"); await import("attestlog/slim"); await import("attestlog/node");`;
  await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", script], { cwd: new URL("..", import.meta.url) });
});
