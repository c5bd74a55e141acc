// Two servers with one secret sign two histories of one log; a proxy shows one to a browser that has kept the other.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { again, assertRead, assertTrue, newClient, startBrowser } from "./browser.mjs";
import { assorted, makeSecret, startServer } from "./deployment.mjs";
import { startProxy } from "./proxy.mjs";

const ORIGIN = "example.com/acme";
const SHARED = 100;
let secret, honest, forking, proxy, browser, page;
let log, fork;

before(async () => {
  secret = await makeSecret();
  honest = await startServer(secret);
  forking = await startServer(secret);
  proxy = await startProxy(honest.url);
  browser = await startBrowser(proxy.origin);
  page = await (await browser.newUser()).newPage();
  log = await honest.makeLog("acme", ORIGIN);
  for (const size of [300, 700, 1500]) await log.append(assorted(log.size, size));
  fork = await forking.makeLog("acme", ORIGIN);
  assert.equal(fork.policy, log.policy);
  await fork.append(assorted(0, SHARED));
  for (const size of [300, 700, 1000, 2000]) await fork.append(assorted(fork.size, size, "forged"));
});

after(async () => {
  await browser?.stop();
  await proxy?.stop();
  await forking?.stop();
  await honest?.stop();
  await secret?.remove();
});

const showing = (history, size) => ({ at: /^checkpoint$/, bytes: () => history.notes.get(size) });
const all = () => ({ at: /./, from: forking.url });
const missing = { at: /^tile\//, path: "tile/0/999" };

/** Rows: the size of the head that is kept, what is shown then, of the fork where nothing else is said, and what is called. */
const rewritten = [
  ["as large as the one kept", 700, () => [showing(fork, 700), all()], ["checkpoint"], 700],
  ["as large, with the tiles of the first history", 700, () => [showing(fork, 700)], ["checkpoint"], 700],
  ["larger", 700, () => [showing(fork, 1000), all()], ["checkpoint"], 1000],
  ["larger by more than a tile of level 0", 300, () => [all()], ["checkpoint"], 2000],
  ["larger, to one who wants an entry", 700, () => [all()], ["entry", 1800], 2000],
  ["larger, to one who wants all entries", 700, () => [all()], ["entries", {}], 2000],
  ["larger, in a receipt", 700, () => [all()], ["receipt", 650], 2000],
  ["larger, in a receipt of an entry that both histories have", 700, () => [all()], ["receipt", 50], 2000],
  ["smaller", 700, () => [showing(fork, 300)], ["checkpoint"], 300],
  ["smaller, to one who wants all entries", 1500, () => [showing(fork, 1000)], ["entries", {}], 1000],
];

for (const [name, kept, rules, call, shown] of rewritten) {
  test(`refuses a second history whose head is ${name}`, async () => {
    const client = newClient(log, proxy.url);
    await keep(client, kept);
    await refuses(client, rules(), call, log.notes.get(kept), fork.notes.get(shown));
    await goesOn(client);
  });
}

test("refuses a second history in spite of the first one's tiles in memory and in the browser's cache", async () => {
  for (const next of [(client) => client, again]) {
    const client = newClient(log, proxy.url);
    await keep(client, 700);
    proxy.use(showing(log, 700));
    assertRead(await page.read(client, "entries", {}), log, 0, 700);
    // The first history's growth to 1000 would be compared by these: now they are in the caches.
    proxy.use();
    assertRead(await page.read(again({ ...client, store: "another" }), "entries", {}), log, 0, 1500);
    await refuses(next(client), [showing(fork, 1000), all()], ["checkpoint"], log.notes.get(700), fork.notes.get(1000));
    await goesOn(client);
  }
});

test("refuses the first history where the second one was kept", async () => {
  const client = newClient(log, proxy.url);
  proxy.use(showing(fork, 1000), all());
  assert.equal((await page.read(client, "checkpoint")).head?.note, fork.notes.get(1000));
  await refuses(client, [], ["checkpoint"], fork.notes.get(1000), log.notes.get(1500), fork);
});

test("refuses a second history after the page was loaded anew, and in another page of the same user", async () => {
  const { newPage } = await browser.newUser();
  const [first, second] = [await newPage(), await newPage()];
  const client = newClient(log, proxy.url);
  proxy.use(showing(log, 700));
  assert.equal((await first.read(client, "checkpoint")).head?.size, 700);
  proxy.use(all());
  await first.reload();
  for (const page of [first, second]) {
    const { failed } = await page.read(client, "checkpoint");
    assert.deepEqual([failed?.code, failed?.evidence], ["history_rewritten", evidenceOf(log.notes.get(700), fork.notes.get(2000))]);
  }
  assert.deepEqual((await second.read(client, "evidence")).evidence, [evidenceOf(log.notes.get(700), fork.notes.get(2000))]);
});

test("keeps several contradictions, each once", async () => {
  const client = newClient(log, proxy.url);
  await keep(client, 700);
  const expected = [];
  for (const size of [300, 700, 1000, 2000, 700]) {
    proxy.use(showing(fork, size), ...(size < 700 ? [] : [all()]));
    assert.equal((await page.read(client, "checkpoint")).failed?.code, "history_rewritten");
    if (size !== 700 || expected.length < 2) expected.push(evidenceOf(log.notes.get(700), fork.notes.get(size)));
  }
  assert.deepEqual((await page.read(client, "evidence")).evidence, expected);
});

/** What is wrong, and no evidence of two histories: the tiles prove nothing about the two heads. */
const unproven = [
  ["a larger head of the fork with the first history's tiles", () => [showing(fork, 1000)], ["TamperingError", "root_mismatch"]],
  ["a smaller head of the fork with the fork's tiles", () => [showing(fork, 300), all()], ["TamperingError", "root_mismatch"]],
  ["a smaller head of the fork without tiles", () => [showing(fork, 300), missing], ["UncheckedError", "unreachable"]],
  ["a larger head of the fork without tiles", () => [showing(fork, 1000), missing], ["UncheckedError", "unreachable"]],
  ["a head that the two histories share", () => [showing(fork, SHARED)], ["UncheckedError", "older_checkpoint"]],
  ["the first history's larger head with the fork's tiles", () => [showing(log, 1500), all()], ["TamperingError", "root_mismatch"]],
];

for (const [name, rules, fails] of unproven) {
  test(`refuses ${name}, which is no evidence`, async () => {
    const client = newClient(log, proxy.url);
    await keep(client, 700);
    proxy.use(...rules());
    const outcome = await page.read(client, "checkpoint");
    assert.deepEqual([outcome.failed?.name, outcome.failed?.code, outcome.head], [...fails, undefined]);
    assert.equal(outcome.failed.evidence, undefined);
    assert.deepEqual((await page.read(client, "evidence")).evidence, []);
    assert.equal(await page.kept(client), log.notes.get(700));
    await goesOn(client);
  });
}

test("refuses the fork's entries under the first history's head", async () => {
  for (const call of [["entry", 250], ["entry", 50], ["entries", {}]]) {
    const client = newClient(log, proxy.url);
    proxy.use(showing(log, 1500), all());
    const outcome = await page.read(client, ...call);
    assert.deepEqual([outcome.failed?.name, outcome.failed?.code, outcome.count], ["TamperingError", "root_mismatch", 0]);
    await goesOn(client);
  }
});

const evidenceOf = (kept, shown) => ({ kept, shown });

async function keep(client, size) {
  proxy.use(showing(log, size));
  assert.equal((await page.read(client, "checkpoint")).head?.size, size);
}

/** The call fails with both notes as evidence, which is kept, opens under the policy, and does not replace the head kept. */
async function refuses(client, rules, call, kept, shown, history = log) {
  proxy.use(...rules);
  const outcome = await page.read(client, ...call);
  const { name, kind, code, evidence } = outcome.failed ?? {};
  assert.deepEqual([name, kind, code], ["TamperingError", "verify", "history_rewritten"], outcome.failed?.message);
  assert.deepEqual(evidence, { kept, shown });
  assert.deepEqual([outcome.count, outcome.head, outcome.receipt], [0, undefined, undefined]);
  assertTrue(outcome, history);
  assert.deepEqual((await page.read(again(client), "evidence")).evidence, [evidence]);
  assert.equal(await page.kept(client), kept);
  for (const note of [evidence.kept, evidence.shown]) {
    const opened = await page.evaluate(([note, policy]) => globalThis.opened(note, policy), [note, log.policy]);
    assert.deepEqual(opened, { origin: ORIGIN, size: Number(note.split("\n")[1]), note });
  }
}

/** The honest log is read again, by this client and by one that starts anew, and the evidence stays. */
async function goesOn(client) {
  const before = (await page.read(client, "evidence")).evidence;
  proxy.use();
  for (const next of [again(client), client]) {
    assert.equal((await page.read(next, "checkpoint")).head?.note, log.notes.get(1500));
    assertRead(await page.read(next, "entries", { from: 90 }), log, 90, 1410);
    assertRead(await page.read(next, "receipt", 650), log, 650, 1);
  }
  assert.equal(await page.kept(client), log.notes.get(1500));
  assert.deepEqual((await page.read(client, "evidence")).evidence, before);
}
