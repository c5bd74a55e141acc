// Against the real server: append over HTTP, and prove what it serves. ATTESTLOG_BINARY names another than target/debug's.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { consistencyPaths, LogClient, MemoryHeadStore, verifyConsistency, verifyInclusion, verifyReceipt } from "attestlog";
import { FileHeadStore } from "attestlog/node";

const binary = process.env.ATTESTLOG_BINARY ?? fileURLToPath(new URL("../../target/debug/attestlog", import.meta.url));
let directory;
let server;
let log;
let policy;

before(async () => {
  await access(binary).catch(() => assert.fail(`there is no ${binary}: cargo build --bin attestlog`));
  directory = await mkdtemp(join(tmpdir(), "attestlog-server-"));
  const data = join(directory, "data");
  const options = ["--data", data, "--listen", "127.0.0.1:0", "--interval", "20ms"];
  server = spawn(binary, ["serve", ...options], { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, RUST_LOG: "warn" } });
  log = `${await addressOf(server)}/logs/default`;
  policy = (await promisify(execFile)(binary, ["log", "policy", "default", "--data", data])).stdout;
});

after(async () => {
  server.kill();
  await once(server, "exit");
  await rm(directory, { recursive: true });
});

test("what was appended is read, proven, with its receipt", async () => {
  const receipts = await append(["first", "second", "third"]);
  assert.equal(receipts.length, 3);
  const client = new LogClient(log, { policy, heads: new FileHeadStore(join(directory, "heads")) });
  const head = await client.checkpoint();
  assert.ok(head.size >= 3n);
  assert.deepEqual((await client.entry(1)).json(), { text: "second" });
  const { receipt, entry, checkpoint } = await client.receipt(2);
  assert.equal(Buffer.from(entry).toString(), '{"text":"third"}');
  assert.ok(checkpoint.size >= 3n);
  assert.equal((await verifyReceipt(receipt, entry, { policy })).index, 2n);
  await assert.rejects(client.entry(1_000_000), { code: "not_covered_yet" });
  await assert.rejects(client.receipt(1_000_000), { code: "unreachable", status: 404 });
});

test("a log that grows is followed, from head to head", async () => {
  const client = new LogClient(log, { policy, heads: new FileHeadStore(join(directory, "heads")) });
  const heads = [await client.checkpoint()];
  for (const count of [1, 300, 700]) {
    await append(Array.from({ length: count }, (_, at) => `${count} ${at}`));
    heads.push(await client.checkpoint());
  }
  const [older, newer] = [heads[0], heads.at(-1)];
  assert.ok(newer.size >= older.size + 1001n);
  const indexes = [];
  for await (const entry of client.entries()) indexes.push(Number(entry.index));
  assert.deepEqual(indexes, indexes.map((_, at) => at));
  assert.ok(indexes.length >= Number(newer.size));
  const answers = await Promise.all((await consistencyPaths(older, newer)).map(async (path) => new Uint8Array(await (await get(path)).arrayBuffer())));
  await verifyConsistency(older, newer, answers);
  const { proof } = await (await get(`proof/inclusion?index=500&size=${newer.size}`)).json();
  await verifyInclusion(newer, { index: 500, entry: (await client.entry(500)).bytes, proof });
});

test("another log's key opens nothing of this one", async () => {
  const other = "example.com/log+9be5d3c6+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";
  const client = new LogClient(log, { policy: other, heads: new MemoryHeadStore() });
  await assert.rejects(client.checkpoint(), { name: "UncheckedError", code: "no_trusted_signature" });
});

async function append(texts) {
  const body = texts.map((text) => `${JSON.stringify({ text })}\n`).join("");
  const headers = { "content-type": "application/x-ndjson" };
  const response = await fetch(`${log}/entries?wait=receipt`, { method: "POST", headers, body });
  assert.equal(response.status, 200, await response.clone().text());
  return (await response.json()).receipts ?? [];
}

async function get(path) {
  const response = await fetch(`${log}/${path}`);
  assert.equal(response.status, 200, path);
  return response;
}

/** The address that the server prints once it is ready. */
function addressOf(server) {
  return new Promise((resolve, reject) => {
    let text = "";
    server.stdout.on("data", (chunk) => {
      text += chunk;
      const [, address] = /is ready on (http:\/\/\S+)/.exec(text) ?? [];
      if (address) resolve(address);
    });
    server.on("exit", () => reject(new Error(`the server ended: ${text}`)));
  });
}
