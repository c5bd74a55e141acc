// The package in a real Chromium against the real server on PostgreSQL: everything is read, and everything is proven.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { assertRead, newClient, startBrowser } from "./browser.mjs";
import { assorted, makeSecret, small, startServer } from "./deployment.mjs";
import { startProxy } from "./proxy.mjs";

let secret, server, proxy, browser, acme, large;

before(async () => {
  secret = await makeSecret();
  server = await startServer(secret);
  proxy = await startProxy(server.url);
  browser = await startBrowser(server.url, proxy.origin);
  acme = await server.makeLog("acme", "example.com/acme");
  for (const size of [1, 256, 300, 3000]) await acme.append(assorted(acme.size, size));
  large = await server.makeLog("large", "example.com/large");
  await large.append(small(0, 66_100));
});

after(async () => {
  await browser?.stop();
  await proxy?.stop();
  await server?.stop();
  await secret?.remove();
});

const direct = (run, log) => log.url;

test("every entry of a range is read as it was appended, small and large", async () => {
  const { newPage } = await browser.newUser();
  const page = await newPage();
  const client = newClient(acme, direct);
  const { head } = await page.read(client, "checkpoint");
  assert.deepEqual(head, { origin: acme.origin, size: 3000, note: acme.notes.get(3000) });
  assertRead(await page.read(client, "entries", { from: 0 }), acme, 0, 3000);
  for (const [from, to] of [[0, 1], [255, 257], [256, 512], [2815, 2817], [2816, 3000], [2999, 3000], [17, 2983]]) {
    assertRead(await page.read(client, "entries", { from, to }), acme, from, to - from);
  }
  assertRead(await page.read(client, "entries", { from: 3000 }), acme, 3000, 0);
});

test("the first and the last entry are read, and those at the borders of bundles", async () => {
  const { newPage } = await browser.newUser();
  const page = await newPage();
  for (const index of [0, 1, 17, 255, 256, 511, 512, 2815, 2816, 2999]) {
    // Each with a client of its own, so that each is proven from what it fetches itself.
    assertRead(await page.read(newClient(acme, direct), "entry", index), acme, index, 1);
  }
  const { failed } = await page.read(newClient(acme, direct), "entry", 3000);
  assert.deepEqual([failed.name, failed.code], ["UncheckedError", "not_covered_yet"]);
});

test("a log of more than 65,536 entries is read from end to end", async () => {
  const { newPage } = await browser.newUser();
  const page = await newPage();
  assertRead(await page.read(newClient(large, direct), "entries", { from: 0 }), large, 0, 66_100);
  for (const index of [0, 65_535, 65_536, 65_792, 66_099]) {
    assertRead(await page.read(newClient(large, direct), "entry", index), large, index, 1);
    assertRead(await page.read(newClient(large, direct), "receipt", index), large, index, 1);
  }
});

test("a receipt is verified with the network off", async () => {
  const { user, newPage } = await browser.newUser();
  const page = await newPage();
  const { receipt, bytes, head } = await page.read(newClient(acme, direct), "receipt", 2047);
  assert.equal(head.size, 3000);
  assert.deepEqual(Buffer.from(bytes), acme.entries[2047]);
  await user.setOffline(true);
  const verified = (...given) => page.evaluate((given) => globalThis.verified(...given), given);
  assert.deepEqual(await verified(receipt, bytes, acme.policy), { index: 2047, size: 3000 });
  const changed = bytes.with(5, bytes[5] ^ 1);
  const { failed } = await verified(receipt, changed, acme.policy);
  assert.deepEqual([failed.name, failed.code], ["TamperingError", "root_mismatch"]);
  const offline = await page.read(newClient(acme, direct), "checkpoint");
  assert.deepEqual([offline.failed.name, offline.failed.code], ["UncheckedError", "unreachable"]);
});

test("a log that grows is followed, across a reload of the page", async () => {
  const log = await server.makeLog("growing", "example.com/growing");
  const { newPage } = await browser.newUser();
  const page = await newPage();
  const client = { ...newClient(log, direct), store: "attestlog" };
  for (const size of [1, 200, 256, 257, 700, 1000]) {
    await log.append(assorted(log.size, size));
    assert.equal((await page.read(client, "checkpoint")).head?.size, size);
    assert.equal(await page.kept(client), log.notes.get(size));
    await page.reload();
    assert.equal(await page.kept(client), log.notes.get(size));
  }
  await log.append(assorted(1000, 1300));
  assertRead(await page.read(client, "entry", 1299), log, 1299, 1);
  assert.equal(await page.kept(client), log.notes.get(1300));
});

test("what never changes is asked for once by all pages of a browser", async () => {
  const { newPage } = await browser.newUser();
  const client = newClient(acme, proxy.url);
  proxy.use();
  assertRead(await (await newPage()).read(client, "entries", { from: 0 }), acme, 0, 3000);
  const first = proxy.asked;
  assert.deepEqual([...new Set(first)], first);
  assert.ok(first.length > 12, first.join(" "));
  proxy.use();
  assertRead(await (await newPage()).read(client, "entries", { from: 0 }), acme, 0, 3000);
  assert.deepEqual(proxy.asked, ["checkpoint"]);
});

test("a client in a Web Worker reads, and shares the kept head with the page", async () => {
  const { newPage } = await browser.newUser();
  const page = await newPage();
  const client = newClient(acme, direct);
  const inWorker = (...call) => page.evaluate(([client, call]) => globalThis.readInWorker(client, call), [client, call]);
  assertRead(await inWorker("entry", 300), acme, 300, 1);
  assert.equal(await page.kept(client), acme.notes.get(3000));
  assertRead(await inWorker("entries", { from: 200, to: 900 }), acme, 200, 700);
});
