// The real server on a PostgreSQL database of its own, and logs on it whose entries the tests know.
//
// ATTESTLOG_TEST_POSTGRES is the URL of a cluster, as scripts/postgres prints it; ATTESTLOG_BINARY names another program
// than target/debug's.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { access, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const binary = process.env.ATTESTLOG_BINARY ?? fileURLToPath(new URL("../../../target/debug/attestlog", import.meta.url));
const MOST_LINES = 20_000;
const MOST_BYTES = 8 << 20;

/** A secret in a file: servers that are started with one secret sign with the same keys. */
export async function makeSecret() {
  await access(binary).catch(() => assert.fail(`there is no ${binary}: cargo build --bin attestlog`));
  const directory = await mkdtemp(join(tmpdir(), "attestlog-e2e-secret-"));
  const file = join(directory, "secret");
  await run(binary, ["key", "generate", "--out", file]);
  return { file, remove: () => rm(directory, { recursive: true }) };
}

/** A server that is ready, on a database that `stop` drops. */
export async function startServer(secret) {
  const cluster = process.env.ATTESTLOG_TEST_POSTGRES;
  assert.ok(cluster, 'ATTESTLOG_TEST_POSTGRES is missing: set it to what "scripts/postgres start" prints');
  const name = `browser_${randomBytes(6).toString("hex")}`;
  const sql = (text) => run("psql", [cluster, "--quiet", "--command", text]);
  await sql(`create database ${name}`);
  const database = new URL(cluster);
  database.pathname = `/${name}`;
  const data = await mkdtemp(join(tmpdir(), "attestlog-e2e-"));
  const options = ["--secret-file", secret.file, "--data", data, "--listen", "127.0.0.1:0", "--interval", "20ms"];
  const env = { ...process.env, DATABASE_URL: database.href, RUST_LOG: "warn" };
  const server = spawn(binary, ["serve", ...options], { stdio: ["ignore", "pipe", "inherit"], env });
  const ended = once(server, "exit");
  const stop = async () => {
    server.kill();
    await ended;
    await sql(`drop database ${name} with (force)`);
    await rm(data, { recursive: true });
  };
  try {
    const url = await addressOf(server);
    return { url, stop, makeLog: (log, origin) => makeLog(url, log, origin) };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function makeLog(server, name, origin) {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(`${server}/logs`, { method: "POST", headers, body: JSON.stringify({ name, origin }) });
  assert.equal(answer.status, 201, await answer.clone().text());
  return new ServedLog(name, origin, (await answer.json()).vkey, `${server}/logs/${name}`);
}

/** A log on a server, with what was appended to it, and its checkpoint after each append by its size. */
class ServedLog {
  entries = [];
  notes = new Map();

  constructor(name, origin, policy, url) {
    Object.assign(this, { name, origin, policy, url });
  }

  get size() {
    return this.entries.length;
  }

  /** Appends entries, each JSON on one line, and waits until a checkpoint covers exactly them all. */
  async append(entries) {
    const added = entries.map((entry) => Buffer.from(entry));
    for (const lines of batches(added.slice(0, -1))) await this.#post("entries", "application/x-ndjson", lines, 202);
    const last = await this.#post("add", "application/octet-stream", added.at(-1), 200);
    this.entries.push(...added);
    assert.equal(Number(last), this.size - 1, "another writer, or another order than that of the appends");
    const note = await (await fetch(`${this.url}/checkpoint`)).text();
    assert.equal(note.split("\n")[1], String(this.size));
    this.notes.set(this.size, note);
  }

  async #post(path, type, body, status) {
    const answer = await fetch(`${this.url}/${path}`, { method: "POST", headers: { "content-type": type }, body });
    const text = await answer.text();
    assert.equal(answer.status, status, text);
    return text;
  }
}

function* batches(entries) {
  for (let [first, end] = [0, 0]; first < entries.length; first = end) {
    for (let bytes = 0; end < entries.length && end - first < MOST_LINES && bytes < MOST_BYTES; end++) bytes += entries[end].length;
    yield Buffer.concat(entries.slice(first, end).flatMap((entry) => [entry, Buffer.from("\n")]));
  }
}

/** Entries from index `first` on that differ from each other, small and large, down to one byte and up to 65,535. */
export function assorted(first, end, text = "entry") {
  const entryOf = (index) => {
    const plain = JSON.stringify({ index, text });
    if (index === 1) return "7";
    if (index % 400 === 17) return plain.padEnd(65_535);
    return plain.padEnd(plain.length + (index % 97) * (index % 11));
  };
  return Array.from({ length: end - first }, (_, at) => entryOf(first + at));
}

/** Entries of a few bytes. */
export const small = (first, end) => Array.from({ length: end - first }, (_, at) => `{"n":${first + at}}`);

/** The address that the server prints once it is ready. */
function addressOf(server) {
  return new Promise((resolve, reject) => {
    let text = "";
    server.stdout.on("data", (chunk) => {
      text += chunk;
      const [, address] = /is ready on (http:\/\/\S+)/.exec(text) ?? [];
      if (address) resolve(address);
    });
    server.on("error", reject);
    server.on("exit", () => reject(new Error(`the server ended: ${text}`)));
  });
}
