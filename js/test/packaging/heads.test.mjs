// The heads in a real browser's IndexedDB: there after a reload and a restart, and raced for by two tabs.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launchIn } from "../chromium.mjs";
import { browser, served } from "./browser.mjs";
import { page as pageOf } from "./consumer.mjs";
import { installed } from "./installed.mjs";

const ORIGIN = "example.com/log";
const main = `
import { IndexedDbHeadStore } from "/node_modules/attestlog/dist/index.js";
const bytes = (text) => (text === undefined ? undefined : new TextEncoder().encode(text));
const text = (bytes) => (bytes === undefined ? undefined : new TextDecoder().decode(bytes));
const store = new IndexedDbHeadStore();
globalThis.heads = {
  get: async (origin) => text(await store.get(origin)),
  replace: (origin, expected, next) => store.replace(origin, bytes(expected), bytes(next)),
  addEvidence: (origin, { kept, shown }) => store.addEvidence(origin, { kept: bytes(kept), shown: bytes(shown) }),
  evidence: async (origin) => (await store.evidence(origin)).map(({ kept, shown }) => ({ kept: text(kept), shown: text(shown) })),
  forget: (origin) => store.forget(origin),
  /** Counts up from what is kept, so many times, each time from what it has just seen; how often another was faster. */
  async count(origin, times) {
    let missed = 0;
    for (let done = 0; done < times; ) {
      const seen = text(await store.get(origin));
      if (await store.replace(origin, bytes(seen), bytes(String(Number(seen ?? 0) + 1)))) done++;
      else missed++;
    }
    return missed;
  },
};
`;

let url;
before(async () => {
  url = await served(await installed("heads", { "main.js": main, "index.html": pageOf() }));
});

const heads = (page, method, ...given) => page.evaluate(([method, given]) => globalThis.heads[method](...given), [method, given]);

async function withTabs(count, body) {
  const context = await (await browser()).newContext();
  try {
    const tabs = [];
    for (let at = 0; at < count; at++) {
      tabs.push(await context.newPage());
      await tabs[at].goto(url);
    }
    return await body(...tabs);
  } finally {
    await context.close();
  }
}

test("a head and its evidence are there after a reload and in another tab, and not in another profile", async () => {
  await withTabs(2, async (one, other) => {
    assert.equal(await heads(one, "get", ORIGIN), undefined);
    assert.equal(await heads(one, "replace", ORIGIN, undefined, "a head"), true);
    await heads(one, "addEvidence", ORIGIN, { kept: "a head", shown: "another" });
    await one.reload();
    for (const tab of [one, other]) {
      assert.equal(await heads(tab, "get", ORIGIN), "a head");
      assert.deepEqual(await heads(tab, "evidence", ORIGIN), [{ kept: "a head", shown: "another" }]);
    }
    await heads(other, "forget", ORIGIN);
    assert.equal(await heads(one, "get", ORIGIN), undefined);
    assert.deepEqual(await heads(one, "evidence", ORIGIN), []);
    await heads(one, "replace", ORIGIN, undefined, "again");
  });
  await withTabs(1, async (tab) => assert.equal(await heads(tab, "get", ORIGIN), undefined));
});

test("a head is there after the browser was closed", async () => {
  const profile = await mkdtemp(join(tmpdir(), "attestlog-profile-"));
  after(() => rm(profile, { recursive: true, force: true, maxRetries: 5 }));
  const visit = async (body) => {
    const context = await launchIn(profile);
    try {
      const page = await context.newPage();
      await page.goto(url);
      return await body(page);
    } finally {
      await context.close();
    }
  };
  assert.equal(await visit((page) => heads(page, "replace", ORIGIN, undefined, "a head")), true);
  assert.equal(await visit((page) => heads(page, "get", ORIGIN)), "a head");
});

test("of two tabs that replace the same head at once, exactly one does, and its head is kept", () => withTabs(2, async (...tabs) => {
  const wins = [0, 0];
  let kept;
  for (let round = 0; round < 40; round++) {
    // Each asks first in every other round.
    const order = round % 2 ? [1, 0] : [0, 1];
    const done = await Promise.all(order.map((at) => heads(tabs[at], "replace", ORIGIN, kept, `round ${round} of tab ${at}`)));
    assert.equal(done.filter(Boolean).length, 1, `round ${round}`);
    const winner = order[done.indexOf(true)];
    wins[winner]++;
    kept = `round ${round} of tab ${winner}`;
    for (const tab of tabs) assert.equal(await heads(tab, "get", ORIGIN), kept);
  }
  assert.equal(wins[0] + wins[1], 40);
}));

test("two tabs that count as fast as they can lose no step", () => withTabs(2, async (one, other) => {
  // Several in each, so that there is always somebody in the middle of a step.
  const counters = [one, other, one, other, one, other];
  const missed = await Promise.all(counters.map((tab) => heads(tab, "count", ORIGIN, 40)));
  for (const tab of [one, other]) assert.equal(await heads(tab, "get", ORIGIN), "240");
  // They did meet: else this has shown nothing.
  assert.ok(missed.every((times) => times > 0), missed.join());
}));

test("a tab that is closed in the middle of its steps leaves a whole head", () => withTabs(2, async (one, other) => {
  const counting = heads(other, "count", ORIGIN, 1_000_000).catch((error) => error);
  await heads(one, "count", ORIGIN, 20);
  await other.close();
  assert.ok((await counting) instanceof Error);
  const before = Number(await heads(one, "get", ORIGIN));
  assert.ok(before >= 20);
  await heads(one, "count", ORIGIN, 5);
  assert.equal(await heads(one, "get", ORIGIN), String(before + 5));
}));
