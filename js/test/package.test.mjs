// The files that are shipped: what they may not contain, and what bundlers may leave out of them.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const read = (path) => readFile(new URL(`../${path}`, import.meta.url), "utf8");

test("no browser file names a module of Node, or waits at its top level", async () => {
  for (const file of ["index.js", "index.cjs", "slim.js", "slim.cjs", "event.js", "event.cjs"]) {
    const text = await read(`dist/${file}`);
    assert.doesNotMatch(text, /node:|\bfs\/promises\b|\bimport\(|import\.meta|process\./, file);
  }
});

test("slim, node and event have none of the wasm in them", async () => {
  const inline = (await read("dist/index.js")).length;
  for (const file of ["slim.js", "slim.cjs", "node.js", "node.cjs", "event.js", "event.cjs"]) {
    assert.ok((await read(`dist/${file}`)).length < inline / 3, file);
  }
});

test("a bundler that drops unused modules keeps all that a call needs, and nothing for an unused import", async () => {
  const bundled = async (contents) => {
    const stdin = { contents, resolveDir: root };
    const result = await build({ stdin, bundle: true, write: false, format: "esm", minify: true, conditions: ["import"] });
    return result.outputFiles[0].text;
  };
  assert.equal((await bundled('import "attestlog"; import { LogClient } from "attestlog";')).trim(), "");
  const used = await bundled('import { verifyReceipt } from "attestlog"; export { verifyReceipt };');
  assert.ok(used.length > 50_000);
  const { verifyReceipt } = await import(`data:text/javascript,${encodeURIComponent(used)}`);
  await assert.rejects(verifyReceipt("x", new Uint8Array(1), { policy: "x" }), { name: "UnreadableError" });
});

test("the tarball has what the exports name, and no source", async () => {
  const { stdout } = await promisify(execFile)("npm", ["pack", "--dry-run", "--json"], { cwd: root });
  const [{ files }] = JSON.parse(stdout);
  const names = files.map(({ path }) => path);
  const { exports } = JSON.parse(await read("package.json"));
  const targets = (value) => (typeof value === "string" ? [value] : Object.values(value).flatMap(targets));
  for (const target of targets(exports)) assert.ok(names.includes(target.slice(2)), target);
  for (const name of names) assert.match(name, /^(dist\/|README\.md$|package\.json$|LICENSE)/);
  assert.ok(names.includes("README.md"));
});

test("declarations are the same for import and require, and name only files that are there", async () => {
  const { stdout } = await promisify(execFile)("npm", ["pack", "--dry-run", "--json"], { cwd: root });
  const names = JSON.parse(stdout)[0].files.map(({ path }) => path);
  const declarations = names.filter((name) => name.startsWith("dist/types/"));
  assert.ok(declarations.length > 5);
  for (const name of declarations) {
    const text = await read(name);
    assert.equal(await read(name.replace("types/", "types-cjs/")), text);
    for (const [, module] of text.matchAll(/from "\.\/(.+)\.js"/g)) assert.ok(names.includes(`dist/types/${module}.d.ts`));
    assert.doesNotMatch(text, /wasm-source|wasm\/|NodeJS/, name);
  }
});
