// The README's TypeScript compiles as it stands there, and what needs nothing but a log runs against one.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { transform } from "esbuild";
import { Key, SampleLog } from "./sample-log.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const readme = await readFile(join(root, "README.md"), "utf8");
const blocks = [...readme.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, block]) => block);

// What a reader has at hand when the README is silent about it.
const GIVEN = `
declare const policy: string;
declare const receipt: string;
declare const earlierNote: string;
declare const bytes: Uint8Array;
declare const client: { query(text: string, values?: unknown[]): Promise<{ rows: any[] }> };
declare function show(text: string): void;
declare module "*?url" { const address: string; export default address; }
`;

const folder = await mkdtemp(join(tmpdir(), "attestlog-readme-"));
after(() => rm(folder, { recursive: true }));
await mkdir(join(folder, "node_modules"));
await symlink(root, join(folder, "node_modules/attestlog"));

test("there are as many blocks as somebody has looked at", () => {
  assert.equal(blocks.length, 8);
});

test("every block compiles, for bundlers and for Node", async () => {
  await writeFile(join(folder, "given.d.ts"), GIVEN);
  await writeFile(join(folder, "package.json"), '{ "type": "module" }');
  const files = await Promise.all(blocks.map(async (block, at) => {
    await writeFile(join(folder, `block${at}.ts`), block);
    return `block${at}.ts`;
  }));
  for (const resolution of [["ESNext", "Bundler"], ["NodeNext", "NodeNext"]]) {
    const [module, moduleResolution] = resolution;
    const compilerOptions = { module, moduleResolution, target: "ES2022", lib: ["ES2022", "DOM"], types: [], strict: true, noEmit: true };
    await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["given.d.ts", ...files] }));
    const compiler = join(root, "node_modules/typescript/bin/tsc");
    await promisify(execFile)(process.execPath, [compiler], { cwd: folder }).catch((error) => assert.fail(error.stdout));
  }
});

test("every block runs, but the one that only Vite can resolve", async (t) => {
  const key = new Key("audit.example.com/acme", 3);
  const witness = new Key("witness.example.com", 4, 4);
  const log = new SampleLog(Array.from({ length: 4800 }, (_, at) => `{"entry": ${at}}`), key);
  const shown = [];
  const statements = [];
  const client = { query: async (text) => (statements.push(text.split(" ")[0]), { rows: [{ ticket: "42" }] }) };
  // Tests alone would hash the whole tree for each answer.
  const answers = new Map();
  const answer = (path) => answers.get(path) ?? answers.set(path, answerOf(log, witness, path)).get(path);
  t.mock.method(globalThis, "fetch", async (url) => {
    const { origin, pathname, search } = new URL(url);
    assert.equal(origin, "https://audit.example.com");
    const bytes = answer(pathname.replace("/logs/acme/", "") + search);
    return new Response(bytes ?? null, { status: bytes ? 200 : 404 });
  });
  const given = { policy: key.vkey, receipt: log.receipt(7), earlierNote: log.checkpoint(4000), bytes: log.entries[7], show: (text) => shown.push(text), client };
  Object.assign(globalThis, given);
  process.chdir(folder);
  let run = 0;
  for (const [at, block] of blocks.entries()) {
    if (block.includes("?url")) continue;
    const { code } = await transform(block, { loader: "ts" });
    await writeFile(join(folder, `run${at}.mjs`), code);
    await import(pathToFileURL(join(folder, `run${at}.mjs`)));
    run++;
  }
  process.chdir(root);
  assert.equal(run, 7);
  assert.equal(shown[0], '4711 of 4800: {"entry": 4711}');
  assert.equal(shown[801], "the receipt is that of entry 7");
  assert.deepEqual(shown.slice(802), ["the log has 4800 entries", "signed by the log and the witness: 4800", '{"entry": 4711}', "ticket 42"]);
  assert.deepEqual(statements, ["begin", "update", "select", "commit"]);
});

test("the codes that it lists are those that the package has of its own", async () => {
  const sources = ["engine", "wasm-given", "deadline", "remote", "kept-head", "log-client", "proofs"];
  const thrown = new Set();
  for (const name of sources) {
    const text = await readFile(join(root, `src/${name}.ts`), "utf8");
    for (const [, code] of text.matchAll(/new \w+Error\("(\w+)"/g)) thrown.add(code);
  }
  const format = await readFile(join(root, "../docs/format.md"), "utf8");
  const [core] = format.split("### Of HTTP");
  const listed = [...readme.matchAll(/^\| `(\w+)` \| (?:unchecked|verify|parse) \|/gm)].map(([, code]) => code);
  for (const code of listed) assert.ok(thrown.has(code), code);
  for (const code of thrown) {
    assert.ok(listed.includes(code) || core.includes(`| \`${code}\``) || code === "history_rewritten", code);
  }
  assert.deepEqual(listed, [...listed].sort());
});

function answerOf(log, witness, path) {
  if (path === "checkpoint") return log.checkpoint(log.size, [witness]);
  const [, index, size] = /^proof\/inclusion\?index=(\d+)&size=(\d+)$/.exec(path) ?? [];
  if (!index) return log.answer(path);
  return JSON.stringify({ proof: log.inclusion(Number(index), Number(size)).map((hash) => hash.toString("base64")) });
}
