// A page with the package as it is shipped, in a real Chromium, and what its reads of a log came to.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { launch } from "../chromium.mjs";

const importMap = JSON.stringify({ imports: { attestlog: "/attestlog/index.js" } });
const page = `<!doctype html>
<title>A page that verifies</title>
<script type="importmap">${importMap}</script>
<script type="module" src="/page.js"></script>
`;
const file = (path) => readFile(new URL(path, import.meta.url));
const files = {
  "/": ["text/html", () => page],
  "/page.js": ["text/javascript", () => file("site/page.js")],
  "/reads.js": ["text/javascript", () => file("site/reads.js")],
  "/worker.js": ["text/javascript", () => file("site/worker.js")],
  "/attestlog/index.js": ["text/javascript", () => file("../../dist/index.js")],
};

/** A browser, and a site whose pages may run its own scripts and WebAssembly, and ask `logs` (origins), but nothing else. */
export async function startBrowser(...logs) {
  const policy = [
    "default-src 'none'",
    // An import map is a script within the page, so it is allowed by its hash.
    `script-src 'self' 'wasm-unsafe-eval' 'sha256-${createHash("sha256").update(importMap).digest("base64")}'`,
    `connect-src ${logs.join(" ")}`,
  ].join("; ");
  const server = createServer(async (request, response) => {
    const [type, content] = files[request.url] ?? [];
    if (!type) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": `${type}; charset=utf-8`, "content-security-policy": policy }).end(await content());
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const browser = await launch();
  const url = `http://127.0.0.1:${server.address().port}/`;
  return {
    /** A user's browser: what its pages share is its own. */
    newUser: async () => {
      const user = await browser.newContext();
      return { user, newPage: () => newPage(user, url) };
    },
    stop: async () => {
      await browser.close();
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}

async function newPage(user, url) {
  const page = await user.newPage();
  page.on("pageerror", (error) => console.error(`page: ${error}`));
  const open = async () => {
    await page.goto(url);
    await page.waitForFunction(() => "read" in globalThis);
  };
  await open();
  return {
    page,
    reload: open,
    /** What `call` of the client of these options came to; see site/reads.js. */
    read: (client, ...call) => page.evaluate(([client, call]) => globalThis.read(client, call), [client, call]),
    kept: ({ store, log: { origin } }) => page.evaluate(([store, origin]) => globalThis.kept(store, origin), [store, origin]),
    evaluate: (...given) => page.evaluate(...given),
  };
}

let number = 0;

/** A client that no other test has: `url` is the log's address for a run's name. */
export function newClient(log, url, options = {}) {
  const id = `run-${++number}`;
  return { id, store: id, url: url(id, log), policy: log.policy, timeout: 20_000, log: { origin: log.origin }, ...options };
}

/** The same user and the same addresses, so the same kept heads and the browser's cache, in a client that starts anew. */
export const again = (client) => ({ ...client, id: `run-${++number}` });

/** What entries have in common with others: the same number of the same bytes in the same order. */
export function digestOf(entries) {
  const hash = createHash("sha256");
  for (const entry of entries) {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(entry.length);
    hash.update(length).update(entry);
  }
  return hash.digest("hex");
}

/** Whatever was returned is the truth, also before a failure. */
export function assertTrue(outcome, log) {
  const { first, count, digest, head } = outcome;
  if (count) assert.equal(digest, digestOf(log.entries.slice(first, first + count)), "an entry that is not the log's was returned");
  if (head) assert.equal(head.note, log.notes.get(head.size), "a head that is not the log's was returned");
}

/** It succeeded with all that it was asked for: `count` entries from `first` on. */
export function assertRead(outcome, log, first, count) {
  assert.equal(outcome.failed, undefined, JSON.stringify(outcome.failed));
  assert.ok(outcome.settled);
  assert.deepEqual([outcome.first, outcome.count], count ? [first, count] : [undefined, 0]);
  assertTrue(outcome, log);
}
