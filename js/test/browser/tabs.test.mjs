// Many pages of one browser share the kept head: none raises a false alarm, and the newest head is the one that stays.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { newClient, startBrowser } from "./browser.mjs";
import { assorted, makeSecret, startServer } from "./deployment.mjs";
import { startProxy } from "./proxy.mjs";

let secret, server, proxy, browser;

before(async () => {
  secret = await makeSecret();
  server = await startServer(secret);
  proxy = await startProxy(server.url);
  browser = await startBrowser(proxy.origin);
});

after(async () => {
  await browser?.stop();
  await proxy?.stop();
  await server?.stop();
  await secret?.remove();
});

async function logOf(name, ...sizes) {
  const log = await server.makeLog(name, `example.com/${name}`);
  for (const size of sizes) await log.append(assorted(log.size, size));
  return log;
}

const showing = (log, size) => ({ at: /^checkpoint$/, bytes: () => log.notes.get(size) });

test("two tabs that both follow a growing log raise no alarm, and keep the newest head of both", async () => {
  const log = await logOf("growing", 250);
  const { newPage } = await browser.newUser();
  const tabs = [await newPage(), await newPage()];
  proxy.use();
  // One client in each tab, on one store, of one address: the browser's cache is theirs together, too.
  const client = newClient(log, proxy.url);
  const clients = [client, client];
  await Promise.all(tabs.map((tab, at) => tab.evaluate((client) => globalThis.startAdvancing(client), clients[at])));
  for (let appends = 0; appends < 20; appends++) await log.append(assorted(log.size, log.size + 1 + (appends % 5) * 13));
  const all = await Promise.all(tabs.map((tab) => tab.evaluate(() => globalThis.stopAdvancing())));
  for (const outcomes of all) {
    assert.deepEqual(outcomes.map(({ failed }) => failed).filter(Boolean), []);
    const sizes = outcomes.map(({ size }) => size);
    assert.deepEqual(sizes.toSorted((one, other) => one - other), sizes);
    assert.ok(new Set(sizes).size > 5, `too few heads were seen to say anything: ${sizes}`);
  }
  const newest = Math.max(...all.flat().map(({ size }) => size));
  assert.equal((await tabs[0].kept(clients[0])).split("\n")[1], String(newest));
  const last = await Promise.all(tabs.map((tab, at) => tab.read(clients[at], "checkpoint")));
  assert.deepEqual(last.map(({ head }) => head?.note), [log.notes.get(log.size), log.notes.get(log.size)]);
  assert.deepEqual((await tabs[0].read(clients[1], "evidence")).evidence, []);
});

test("a head that was on its way while another tab kept a newer one is no old head", async () => {
  const log = await logOf("overtaken", 100, 300, 600);
  const { newPage } = await browser.newUser();
  const [slow, fast] = [await newPage(), await newPage()];
  const client = newClient(log, proxy.url);
  const other = { ...newClient(log, proxy.url), store: client.store };
  proxy.use(showing(log, 100));
  assert.equal((await slow.read(client, "checkpoint")).head?.size, 100);
  let arrived, release;
  const asked = new Promise((resolve) => { arrived = resolve; });
  const held = new Promise((resolve) => { release = resolve; });
  const answer = async (response, headers) => {
    arrived();
    await held;
    response.writeHead(200, headers).end(log.notes.get(300));
  };
  proxy.use({ at: /^checkpoint$/, answer });
  const overtaken = slow.read(client, "checkpoint");
  await asked;
  proxy.use();
  assert.equal((await fast.read(other, "checkpoint")).head?.size, 600);
  release();
  const { head, failed } = await overtaken;
  assert.deepEqual([failed, head?.size], [undefined, 300]);
  assert.equal(await slow.kept(client), log.notes.get(600));
  // To ask now, and to be shown that head, is another thing.
  proxy.use(showing(log, 300));
  assert.equal((await slow.read(client, "checkpoint")).failed?.code, "older_checkpoint");
});

test("tabs that start at the same time with nothing kept agree on one head", async () => {
  const log = await logOf("first", 100, 300, 600);
  const { newPage } = await browser.newUser();
  const tabs = await Promise.all([newPage(), newPage(), newPage()]);
  const store = newClient(log, proxy.url).store;
  const waiting = [];
  const all = new Promise((resolve) => {
    // The answers go out together, each with another head.
    const answer = (response, headers) => {
      waiting.push((size) => response.writeHead(200, headers).end(log.notes.get(size)));
      if (waiting.length === tabs.length) resolve();
    };
    proxy.use({ at: /^checkpoint$/, answer });
  });
  const reads = tabs.map((tab) => tab.read({ ...newClient(log, proxy.url), store }, "checkpoint"));
  await all;
  [300, 600, 100].forEach((size, at) => waiting[at](size));
  const outcomes = await Promise.all(reads);
  assert.deepEqual(outcomes.map(({ failed }) => failed), [undefined, undefined, undefined]);
  assert.deepEqual(outcomes.map(({ head }) => head.size).toSorted((one, other) => one - other), [100, 300, 600]);
  assert.equal(await tabs[0].kept({ store, log }), log.notes.get(600));
});
