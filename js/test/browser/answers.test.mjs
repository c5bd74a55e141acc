// A server that answers badly, in a real Chromium: every promise settles in time, nothing is returned that was not
// proven, and the next good answer is read, whatever the browser's cache has kept of the bad one.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import { again, assertRead, assertTrue, newClient, startBrowser } from "./browser.mjs";
import { assorted, makeSecret, startServer } from "./deployment.mjs";
import { startProxy } from "./proxy.mjs";

const TIMEOUT = 250;
// What a loaded machine may add to it.
const SLACK = 2000;
const MEGABYTE = 1 << 20;
let secret, server, proxy, browser, page, log;

before(async () => {
  secret = await makeSecret();
  server = await startServer(secret);
  proxy = await startProxy(server.url);
  browser = await startBrowser(proxy.origin);
  page = await (await browser.newUser()).newPage();
  log = await server.makeLog("acme", "example.com/acme");
  for (const size of [300, 1000]) await log.append(assorted(log.size, size));
});

after(async () => {
  await browser?.stop();
  await proxy?.stop();
  await server?.stop();
  await secret?.remove();
});

const unchecked = (code, status) => ({ name: "UncheckedError", code, status });
const unreadable = (code) => ({ name: "UnreadableError", code, status: undefined });
const wrong = { name: "TamperingError", code: "root_mismatch", status: undefined };

/** What is answered badly: the call that reads it, what is too large for it, and what is said of bytes that are not it. */
const targets = [
  { what: "checkpoint", at: /^checkpoint$/, call: ["checkpoint"], most: 2 * MEGABYTE, garbage: unreadable("malformed_note") },
  { what: "tile of a comparison", at: /^tile\/0\/001$/, kept: 300, call: ["checkpoint"], most: 10_000, garbage: unreadable("malformed_tile"), compressed: unchecked("answer_too_large") },
  { what: "tile around an entry", at: /^tile\/1\/000/, call: ["entry", 999], most: 10_000, garbage: unreadable("malformed_tile") },
  { what: "bundle of a run of entries", at: /^tile\/entries\/002$/, call: ["entries", { from: 250, to: 700 }], most: 20 * MEGABYTE, garbage: unreadable("malformed_entry_bundle") },
  { what: "entry", at: /^entries\/\d+$/, call: ["receipt", 400], most: 70_000, garbage: wrong },
  { what: "receipt", at: /^entries\/\d+\/receipt$/, call: ["receipt", 400], most: 2 * MEGABYTE, garbage: unreadable("malformed_receipt") },
];

const withLength = (headers, length) => ({ ...headers, "content-length": length });
const cut = (response, bytes) => response.write(bytes, () => response.destroy());
const html = "<!doctype html><title>Sign in to the network</title>".padEnd(3000, " ");

/** A name, what the proxy does, and what comes of it: that of the target by its name, or `late` where it never ends. */
const badly = [
  ["never begins", () => {}, "late"],
  ["has headers and then nothing", (response, headers) => response.writeHead(200, headers).flushHeaders(), "late"],
  ["lacks its last byte for ever", (response, headers, bytes) => response.writeHead(200, withLength(headers, bytes.length)).write(bytes.subarray(0, -1)), "late"],
  ["comes byte by byte without an end", trickle, "late"],
  ["has no end and comes fast", pour, unchecked("answer_too_large")],
  ["is a small archive of many zeros", (response, headers) => response.writeHead(200, { ...headers, "content-encoding": "gzip" }).end(zeros()), unchecked("answer_too_large")],
  ["is too large", (response, headers, bytes, { most }) => response.writeHead(200, headers).end(Buffer.concat([bytes, Buffer.alloc(most)])), unchecked("answer_too_large")],
  ["is too large, and announced", (response, headers, bytes, { most }) => response.writeHead(200, withLength(headers, most)).end(Buffer.alloc(most)), unchecked("answer_too_large")],
  ["has fewer bytes than announced", (response, headers, bytes) => cut(response.writeHead(200, withLength(headers, bytes.length + 1)), bytes), unchecked("unreachable")],
  ["is cut between two chunks", (response, headers, bytes) => cut(response.writeHead(200, headers), half(bytes)), unchecked("unreachable")],
  ["is cut, and nothing says so", (response, headers, bytes) => plainly(response, headers, half(bytes)), "garbage"],
  ["is reset before its headers", (response) => response.socket.resetAndDestroy(), unchecked("unreachable")],
  ["is reset after its headers", (response, headers) => response.writeHead(200, headers).write("x", () => response.socket.resetAndDestroy()), unchecked("unreachable")],
  ["is no HTTP", (response) => response.socket.end("220 mail.example.com ESMTP\r\n"), unchecked("unreachable")],
  ["is empty", (response, headers) => response.writeHead(200, headers).end(), "garbage"],
  ["is a web page with the status 200", (response, headers) => response.writeHead(200, { ...headers, "content-type": "text/html" }).end(html), "garbage"],
  ["says gzip and is not", (response, headers, bytes) => response.writeHead(200, { ...headers, "content-encoding": "gzip" }).end(bytes), unchecked("unreachable")],
  ["says gzip and is cut", (response, headers, bytes) => response.writeHead(200, { ...headers, "content-encoding": "gzip" }).end(half(gzipSync(bytes))), "garbage"],
  ["says br and is not", (response, headers, bytes) => response.writeHead(200, { ...headers, "content-encoding": "br" }).end(bytes), unchecked("unreachable")],
  ["is compressed and does not say so", (response, headers, bytes) => response.writeHead(200, headers).end(gzipSync(bytes)), "compressed"],
  ["is a redirect to itself", redirect, unchecked("unreachable")],
  ["is a redirect to where nobody listens", (response, headers) => response.writeHead(302, { ...headers, location: "http://127.0.0.1:1/" }).end(), unchecked("unreachable")],
  ["may not be read by the page", (response, headers, bytes) => response.writeHead(200, { ...headers, "access-control-allow-origin": "https://example.com" }).end(bytes), unchecked("unreachable")],
  ...[204, 206, 304, 404, 500].map((status) => [
    `has the status ${status}`,
    (response, headers, bytes) => response.writeHead(status, headers).end(/204|304/.test(status) ? undefined : bytes),
    unchecked("unreachable", status),
  ]),
];

const half = (bytes) => bytes.subarray(0, bytes.length >> 1);

let archive;
const zeros = () => (archive ??= gzipSync(Buffer.alloc(64 * MEGABYTE), { level: 1 }));

function trickle(response, headers) {
  response.writeHead(200, headers);
  const timer = setInterval(() => response.write("x"), 20);
  response.on("close", () => clearInterval(timer));
}

function pour(response, headers) {
  response.writeHead(200, headers);
  const piece = Buffer.alloc(1 << 16, 7);
  const more = () => {
    while (!response.destroyed && response.write(piece));
  };
  response.on("drain", more);
  more();
}

/** As HTTP/1.0 does: the end of the connection is the end of the body. */
function plainly(response, headers, bytes) {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  response.socket.end(Buffer.concat([Buffer.from(`HTTP/1.0 200 OK\r\n${lines.join("")}\r\n`), bytes]));
}

function redirect(response, headers) {
  response.writeHead(302, { ...headers, location: response.req.url }).end();
}

for (const target of targets) {
  for (const [how, answer, comes] of badly) {
    test(`a ${target.what} that ${how} is refused in time`, () => check(target, answer, comes));
  }
}

async function check(target, answer, comes) {
  const { at, kept, call, most } = target;
  const patient = newClient(log, proxy.url);
  const client = comes === "late" ? { ...again(patient), timeout: TIMEOUT } : patient;
  if (kept) {
    proxy.use({ at: /^checkpoint$/, bytes: () => log.notes.get(kept) });
    assert.equal((await page.read(patient, "checkpoint")).head?.size, kept);
  }
  const before = await page.kept(client);
  proxy.use({ at, answer: (response, headers, bytes) => answer(response, headers, bytes, { most }) });
  const outcome = await page.read(client, ...call);
  assert.ok(outcome.settled, "it still waits");
  const { name, code, status, message } = outcome.failed ?? {};
  assert.deepEqual({ name, code, status }, expected(comes, target), message);
  assertTrue(outcome, log);
  assert.equal(outcome.head, undefined);
  if (/checkpoint|receipt/.test(call[0])) assert.equal(await page.kept(client), before);
  if (comes === "late") {
    assert.ok(outcome.milliseconds > TIMEOUT - 20 && outcome.milliseconds < TIMEOUT + SLACK, `${outcome.milliseconds} ms`);
  }
  // The browser has let go of all of them, the endless ones too.
  await Promise.all(proxy.closed);
  proxy.use();
  assertRead(await page.read(again(patient), ...call), log, ...rangeOf(call));
  // A loaded machine may be too late for the short timeout of a client that has one.
  let right = await page.read(client, ...call);
  for (let tries = 1; tries < 10 && right.failed?.code === "timed_out"; tries++) right = await page.read(client, ...call);
  assertRead(right, log, ...rangeOf(call));
}

function rangeOf([name, given]) {
  if (name === "checkpoint") return [undefined, 0];
  return name === "entries" ? [given.from, given.to - given.from] : [given, 1];
}

function expected(comes, { garbage, compressed = garbage }) {
  return { status: undefined, ...({ late: unchecked("timed_out"), garbage, compressed }[comes] ?? comes) };
}
