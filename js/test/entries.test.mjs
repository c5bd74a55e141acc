// Reading runs of entries: all of them, in order, proven in groups, with little of it in memory, and ended when the reader ends.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { LogClient, TamperingError } from "attestlog";
import { numbered, SampleLog } from "./sample-log.mjs";
import { BY_ITSELF, withSite } from "./site.mjs";

const log = new SampleLog(numbered(5000));
const { vkey: policy } = log.key;
const known = new Map();
// The sample log is slow; its answers at full size do not change.
const answer = (path) => known.get(path) ?? known.set(path, log.answer(path)).get(path);

const reading = (change, body) => withSite((path, response) => change(path, response) ?? answer(path), (site) =>
  body(new LogClient(site.url, { policy, timeout: 20_000 }), site));

async function collected(entries) {
  const all = [];
  for await (const entry of entries) all.push(entry);
  return all;
}

test("all entries come in their order, once, with their bytes", () => reading(() => {}, async (client, { asked }) => {
  const all = await collected(client.entries());
  assert.deepEqual(all.map((entry) => entry.text()), numbered(5000));
  assert.ok(all.every((entry, at) => entry.index === BigInt(at) && entry.checkpoint.size === 5000n));
  assert.equal(new Set(asked).size, asked.length);
}));

test("a range begins and ends where it is told", () => reading(() => {}, async (client) => {
  for (const [from, to] of [[0, 1], [255, 257], [256, 512], [3, 4999], [4999, 5000], [4998n, undefined], [5000, undefined], [7, 7], [0, 0]]) {
    const indexes = (await collected(client.entries({ from, to }))).map((entry) => Number(entry.index));
    assert.deepEqual(indexes, numbered(5000).map((_, at) => at).slice(Number(from), to));
  }
}));

test("what the log does not have yet is not covered, before the first entry", () => reading(() => {}, async (client) => {
  await assert.rejects(collected(client.entries({ from: 5001 })), { code: "not_covered_yet" });
  await assert.rejects(collected(client.entries({ to: 5001 })), { code: "not_covered_yet" });
  for (const range of [{ from: -1 }, { from: 1.5 }, { to: 2n ** 64n }, { from: 2, to: 1 }]) {
    assert.throws(() => client.entries(range), RangeError);
  }
}));

test("the groups before a wrong one are given, and nothing of it", () => {
  const wrong = (path) => {
    if (!path.startsWith("tile/entries/009")) return undefined;
    const bytes = Buffer.from(answer(path));
    bytes[2] ^= 1;
    return bytes;
  };
  return reading(wrong, async (client) => {
    const all = [];
    const read = async () => { for await (const entry of client.entries()) all.push(entry.text()); };
    await assert.rejects(read(), TamperingError);
    assert.ok(all.length > 0 && all.length <= 9 * 256, String(all.length));
    assert.deepEqual(all, numbered(all.length));
  });
});

test("a reader that stops ends the requests on their way, and starts no more", () => {
  const closed = [];
  let both;
  const arrived = new Promise((resolve) => { both = resolve; });
  const hold = (path, response) => {
    if (!path.startsWith("tile/entries/") || path.startsWith("tile/entries/000")) return undefined;
    closed.push(once(response, "close"));
    if (closed.length === 2) both();
    return BY_ITSELF;
  };
  return reading(hold, async (client, { asked }) => {
    for await (const entry of client.entries()) {
      await arrived;
      if (entry.index === 9n) break;
    }
    await Promise.all(closed);
    const before = asked.length;
    await client.checkpoint();
    assert.deepEqual(asked.slice(before), ["checkpoint"]);
  });
});

test("a reader that returns while it waits does not wait for the answer", () => {
  const hold = (path) => (path.startsWith("tile/") ? BY_ITSELF : undefined);
  return reading(hold, async (client) => {
    const entries = client.entries()[Symbol.asyncIterator]();
    const next = entries.next();
    const returned = entries.return();
    await assert.rejects(next, { name: "AbortError" });
    assert.deepEqual(await returned, { done: true, value: undefined });
  });
});

test("the caller's signal ends a run with its reason", () => reading(() => {}, async (client) => {
  const stop = new AbortController();
  const reason = new Error("enough");
  const read = async () => {
    for await (const entry of client.entries({ signal: stop.signal })) if (entry.index === 3n) stop.abort(reason);
  };
  await assert.rejects(read(), reason);
  await assert.rejects(collected(client.entries({ signal: stop.signal })), reason);
}));

test("a slow reader does not make the client run ahead", () => reading(() => {}, async (client, { asked }) => {
  const entries = client.entries()[Symbol.asyncIterator]();
  await entries.next();
  await entries.next();
  let before;
  do {
    before = asked.length;
    await client.checkpoint();
    await client.checkpoint();
  } while (asked.length > before + 2);
  // One bundle at first, and two groups ahead of it.
  const bundles = asked.filter((path) => path.startsWith("tile/entries/"));
  assert.ok(bundles.length <= 4, bundles.join(" "));
  await entries.return();
}));

test("large entries are read in small groups", () => {
  const large = new SampleLog(numbered(2000).map((entry) => entry.padEnd(20_000, ".")));
  return withSite((path) => large.answer(path), async ({ url, asked }) => {
    const client = new LogClient(url, { policy });
    let [count, most] = [0, 0];
    for await (const entry of client.entries()) {
      assert.equal(entry.index, BigInt(count++));
      const bundles = asked.filter((path) => path.startsWith("tile/entries/")).length;
      most = Math.max(most, bundles - Math.floor(count / 256));
    }
    assert.equal(count, 2000);
    assert.ok(most <= 6, String(most));
  });
});

test("one iterable can be read twice", () => reading(() => {}, async (client) => {
  const entries = client.entries({ from: 10, to: 20 });
  assert.equal((await collected(entries)).length, 10);
  assert.equal((await collected(entries)).length, 10);
}));
