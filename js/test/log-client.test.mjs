// The client of a log: what it proves before it returns anything, and what it says when the log lies.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Checkpoint, LogClient, MemoryHeadStore, TamperingError, UncheckedError } from "attestlog";
import { Key, numbered, SampleLog } from "./sample-log.mjs";
import { withSite } from "./site.mjs";

const log = new SampleLog(numbered(600));
const policy = log.key.vkey;
// The same for the first 299 entries, and another history from there on.
const fork = new SampleLog([...numbered(299), ...numbered(500, "forged ")]);

/** A site that shows `state.log` at `state.size`, with `state.change` applied to its answers. */
function shown(size, body) {
  const state = { log, size, change: (path, bytes) => bytes };
  const answer = (path) => state.change(path, state.log.answer(path, state.size));
  return withSite(answer, (site) => body(state, site, (options) => new LogClient(site.url, { policy, ...options })));
}

const text = (bytes) => Buffer.from(bytes).toString();
const tampered = (promise, code) => assert.rejects(promise, { name: "TamperingError", kind: "verify", code });
const unchecked = (promise, code) => assert.rejects(promise, { name: "UncheckedError", kind: "unchecked", code });
const flip = (bytes, at) => Buffer.from(bytes).map((byte, index) => (index === at ? byte ^ 1 : byte));

test("a checkpoint is verified, kept, and compared with the next", () => shown(5, async (state, { asked }, client) => {
  const heads = new MemoryHeadStore();
  const reader = client({ heads });
  for (const size of [5, 5, 299, 300, 512, 600]) {
    state.size = size;
    const head = await reader.checkpoint();
    assert.ok(head instanceof Checkpoint);
    assert.equal(head.size, BigInt(size));
    assert.equal(text(await heads.get("example.com/log")), log.checkpoint(size));
  }
  // The tiles of the first size's own comparison are not asked for: there was none.
  assert.equal(asked[1], "checkpoint");
  assert.deepEqual(await reader.evidence(), []);
}));

test("a head is compared across clients with one store, and not across stores", () => shown(300, async (state, site, client) => {
  const heads = new MemoryHeadStore();
  await client({ heads }).checkpoint();
  Object.assign(state, { log: fork, size: 400 });
  await tampered(client({ heads }).checkpoint(), "history_rewritten");
  await client({ heads: new MemoryHeadStore() }).checkpoint();
}));

for (const [what, size] of [["newer", 400], ["as large", 300], ["older", 299 + 0.5]]) {
  test(`a second history is refused with both notes, where its head is ${what}`, () => shown(300, async (state, site, client) => {
    const heads = new MemoryHeadStore();
    const reader = client({ heads });
    await reader.checkpoint();
    // Older means: with more than what both share.
    if (size === 299.5) {
      state.size = 400;
      await reader.checkpoint();
    }
    const kept = log.checkpoint(state.size);
    Object.assign(state, { log: fork, size: Math.ceil(size) });
    if (size === 299.5) state.change = (path, bytes) => (path.startsWith("tile/") ? log.answer(path, 400) : bytes);
    for (const _ of [1, 2]) {
      const error = await reader.checkpoint().then(() => assert.fail("it was accepted"), (error) => error);
      assert.ok(error instanceof TamperingError, String(error));
      assert.equal(error.code, "history_rewritten");
      assert.deepEqual([text(error.evidence.kept), text(error.evidence.shown)], [kept, fork.checkpoint(state.size)]);
    }
    const evidence = await reader.evidence();
    assert.deepEqual(evidence.map(({ kept, shown }) => [text(kept), text(shown)]), [[kept, fork.checkpoint(state.size)]]);
    assert.equal(text(await heads.get("example.com/log")), kept);
    // The head that was kept is still the measure: the honest log goes on.
    Object.assign(state, { log, size: 600, change: (path, bytes) => bytes });
    assert.equal((await reader.checkpoint()).size, 600n);
  }));
}

test("the verdict stands where the evidence cannot be kept", () => shown(300, async (state, site, client) => {
  const heads = new MemoryHeadStore();
  await client({ heads }).checkpoint();
  heads.addEvidence = async () => { throw new Error("the disk is full"); };
  Object.assign(state, { log: fork, size: 400 });
  const error = await client({ heads }).checkpoint().catch((error) => error);
  assert.equal(error.code, "history_rewritten");
  assert.equal(text(error.evidence.kept), log.checkpoint(300));
}));

test("an older head of the same history is unchecked, and what is kept stays", () => shown(300, async (state, site, client) => {
  const heads = new MemoryHeadStore();
  await client({ heads }).checkpoint();
  state.size = 299;
  state.change = (path, bytes) => bytes ?? log.answer(path, 300);
  await unchecked(client({ heads }).checkpoint(), "older_checkpoint");
  assert.equal(text(await heads.get("example.com/log")), log.checkpoint(300));
}));

test("a head that another tab kept meanwhile makes no other head old", () => shown(300, async (state, site, client) => {
  const heads = new MemoryHeadStore();
  const other = client({ heads });
  await other.checkpoint();
  const slow = { heads: Object.create(heads) };
  let moved = false;
  slow.heads.replace = async (...given) => {
    if (!moved) {
      moved = true;
      state.size = 500;
      await other.checkpoint();
    }
    return heads.replace(...given);
  };
  slow.heads.get = (origin) => heads.get(origin);
  state.size = 400;
  assert.equal((await client(slow).checkpoint()).size, 400n);
  assert.equal(text(await heads.get("example.com/log")), log.checkpoint(500));
}));

test("a wrong tile is no evidence of two histories, and is asked for anew", () => shown(300, async (state, { asked }, client) => {
  const reader = client();
  await reader.checkpoint();
  state.size = 400;
  state.change = (path, bytes) => (path.startsWith("tile/") ? flip(bytes, 3) : bytes);
  const error = await reader.checkpoint().catch((error) => error);
  assert.ok(error instanceof TamperingError && error.code === "root_mismatch" && !("evidence" in error), String(error));
  assert.deepEqual(await reader.evidence(), []);
  state.change = (path, bytes) => (path.startsWith("tile/") ? bytes.subarray(1) : bytes);
  await assert.rejects(reader.checkpoint(), { name: "UnreadableError", code: "malformed_tile" });
  state.change = (path, bytes) => bytes;
  assert.equal((await reader.checkpoint()).size, 400n);
  const tiles = asked.filter((path) => path.startsWith("tile/"));
  // Twice where they were wrong, since a cache may have been at fault, and once where they were right.
  assert.equal(new Set(tiles).size * 5, tiles.length, tiles.join(" "));
}));

/** A `fetch` over a cache that keeps all that `kept` has by the path, and what it was asked with. */
function caching(kept) {
  const modes = [];
  const cached = async (url, options) => {
    const path = String(url).split("/log/")[1];
    modes.push([path, options.cache]);
    if (options.cache === "default" && kept.has(path)) return kept.get(path)();
    return fetch(url, options);
  };
  return [cached, modes];
}

test("what a cache gives wrongly is asked for past it, and is no alarm", () => shown(300, async (state, site, client) => {
  const bundle = "tile/entries/000";
  for (const wrong of [
    () => new Response(flip(log.answer(bundle), 5)),
    () => new Response("<!doctype html>"),
    () => new Response(new Uint8Array(20_000_000)),
    () => new Response("", { status: 404 }),
    () => Response.error(),
  ]) {
    const [fetch, modes] = caching(new Map([[bundle, wrong]]));
    assert.equal((await client({ fetch }).entry(3)).text(), "entry 3");
    assert.deepEqual(modes.filter(([path]) => path === bundle), [[bundle, "default"], [bundle, "reload"]]);
  }
}));

test("a second history is proven, with its evidence, where a cache still has tiles of the first", () => shown(300, async (state, site, client) => {
  const heads = new MemoryHeadStore();
  await client({ heads }).checkpoint();
  const kept = new Map(["tile/0/001.p/144", "tile/1/000.p/1"].map((path) => [path, () => new Response(log.answer(path, 400))]));
  Object.assign(state, { log: fork, size: 400 });
  const [fetch, modes] = caching(kept);
  const error = await client({ heads, fetch }).checkpoint().catch((error) => error);
  assert.equal(error.code, "history_rewritten");
  assert.deepEqual(modes.map(([, mode]) => mode), ["no-cache", "default", "default", "reload", "reload"]);
}));

test("answers that are wrong twice are refused, and asked for past the cache from then on", () => shown(300, async (state, site, client) => {
  const [fetch, modes] = caching(new Map());
  const reader = client({ fetch });
  state.change = (path, bytes) => (path.startsWith("tile/entries/") ? flip(bytes, 5) : bytes);
  await tampered(reader.entry(3), "root_mismatch");
  state.change = (path, bytes) => bytes;
  await reader.entry(3);
  await reader.entry(4);
  const bundles = modes.filter(([path]) => path === "tile/entries/000").map(([, mode]) => mode);
  assert.deepEqual(bundles, ["default", "reload", "reload"]);
}));

test("an entry is proven against the newest checkpoint, and a new one is taken when it must be", () => shown(300, async (state, { asked }, client) => {
  const reader = client();
  const entry = await reader.entry(299);
  assert.deepEqual([entry.index, entry.text(), entry.checkpoint.size], [299n, "entry 299", 300n]);
  state.size = 600;
  assert.equal((await reader.entry(0n)).checkpoint.size, 300n);
  assert.equal((await reader.entry(555)).checkpoint.size, 600n);
  assert.equal((await reader.entry(299)).checkpoint.size, 600n);
  await unchecked(reader.entry(600), "not_covered_yet");
  await unchecked(reader.entry(2n ** 64n - 1n), "not_covered_yet");
  assert.equal(asked.filter((path) => path === "checkpoint").length, 4);
}));

test("an entry's JSON and text are its bytes, with nothing replaced", () => {
  const odd = new SampleLog(["{\"a\": [1]}", Buffer.from([0x66, 0xff]), "\ufeffmark"]);
  return withSite((path) => odd.answer(path), async ({ url }) => {
    const reader = new LogClient(url, { policy });
    assert.deepEqual((await reader.entry(0)).json(), { a: [1] });
    const broken = await reader.entry(1);
    assert.throws(() => broken.text(), TypeError);
    assert.deepEqual(broken.bytes, new Uint8Array([0x66, 0xff]));
    assert.equal((await reader.entry(2)).text(), "\ufeffmark");
    broken.bytes.fill(0);
    assert.equal((await reader.entry(1)).bytes[0], 0x66);
  });
});

test("an entry that was changed, moved or cut is refused", () => shown(300, async (state, site, client) => {
  const bundle = (change) => {
    state.change = (path, bytes) => (path.startsWith("tile/entries/") ? change(bytes) : bytes);
  };
  bundle((bytes) => flip(bytes, 5));
  await tampered(client().entry(0), "root_mismatch");
  await tampered(client().entry(7), "root_mismatch");
  bundle((bytes) => bytes.subarray(0, -1));
  await assert.rejects(client().entry(0), { name: "UnreadableError", code: "malformed_entry_bundle" });
  bundle((bytes) => Buffer.concat([bytes, Buffer.of(0)]));
  await assert.rejects(client().entry(0), { name: "UnreadableError", code: "malformed_entry_bundle" });
  bundle(() => Buffer.alloc(0));
  await assert.rejects(client().entry(0), { name: "UnreadableError", code: "malformed_entry_bundle" });
  bundle(() => Buffer.alloc(16_777_473));
  await unchecked(client().entry(0), "answer_too_large");
  bundle(() => undefined);
  await unchecked(client().entry(0), "unreachable");
  state.change = (path, bytes) => (path.startsWith("tile/0/") ? Buffer.alloc(8193) : bytes);
  state.size = 513;
  await client().entry(0).then(() => assert.fail(), (error) => assert.match(error.code, /answer_too_large|malformed_tile/));
}));

test("each thing that can be wrong with a checkpoint has its code", () => shown(300, async (state, site, client) => {
  const note = (change) => {
    state.change = (path, bytes) => (path === "checkpoint" ? Buffer.from(change(text(bytes))) : bytes);
  };
  note((note) => note.replace("\n300\n", "\n299\n"));
  await tampered(client().checkpoint(), "bad_signature");
  note((note) => note.replace("\n300\n", "\n0300\n"));
  await assert.rejects(client().checkpoint(), { name: /Unreadable|Tampering/ });
  note((note) => `${note}x`);
  await assert.rejects(client().checkpoint(), { name: "UnreadableError", code: "malformed_note" });
  note(() => "<!doctype html>");
  await assert.rejects(client().checkpoint(), { name: "UnreadableError", code: "malformed_note" });
  const stranger = new SampleLog(numbered(300), new Key("example.com/log", 66));
  note(() => stranger.checkpoint());
  await unchecked(client().checkpoint(), "no_trusted_signature");
  const neighbour = new SampleLog(numbered(300), new Key("example.com/neighbour", 9));
  const both = `log ${policy}\nlog ${neighbour.key.vkey}\nquorum none\n`;
  note(() => neighbour.checkpoint());
  await tampered(client({ policy: both, origin: "example.com/log" }).checkpoint(), "origin_mismatch");
  const witnessed = `log ${policy}\nwitness w ${new Key("w.example", 5, 4).vkey}\nquorum w\n`;
  note((note) => note);
  await unchecked(client({ policy: witnessed }).checkpoint(), "quorum_not_met");
}));

test("a policy of several logs needs an origin", () => shown(300, async (state, { asked }, client) => {
  const both = `log ${policy}\nlog ${new Key("example.com/neighbour", 9).vkey}\nquorum none\n`;
  await assert.rejects(client({ policy: both }).checkpoint(), (error) => error instanceof TypeError && /origin/.test(error.message));
  await assert.rejects(client({ policy: "nonsense" }).checkpoint(), { code: "malformed_verifier_key" });
  await assert.rejects(client({ policy: "nonsense\n" }).checkpoint(), { code: "malformed_policy" });
  assert.equal(asked.length, 0);
  await client({ policy: both, origin: "example.com/log" }).checkpoint();
}));

test("a head that was kept under witnesses who have gone is still compared", () => shown(300, async (state, site, client) => {
  const heads = new MemoryHeadStore();
  await client({ heads }).checkpoint();
  const witness = new Key("w.example", 5, 4);
  state.size = 400;
  state.change = (path, bytes) => (path === "checkpoint" ? Buffer.from(log.checkpoint(400, [witness])) : bytes);
  await client({ heads, policy: `log ${policy}\nwitness w ${witness.vkey}\nquorum w\n` }).checkpoint();
}));

test("a store that fails, or holds what cannot be opened, is said to be at fault", () => shown(300, async (state, site, client) => {
  const broken = (changes) => Object.assign(new MemoryHeadStore(), changes);
  const fails = async () => { throw new DOMException("denied", "SecurityError"); };
  for (const heads of [
    broken({ get: fails }),
    broken({ replace: fails }),
    broken({ replace: async () => false }),
    broken({ get: async () => Buffer.from("garbage") }),
    broken({ get: async () => "a string" }),
    broken({ get: async () => Buffer.from(log.checkpoint().replace("\n600\n", "\n601\n")) }),
  ]) {
    await unchecked(client({ heads }).checkpoint(), "heads_unavailable");
  }
  await unchecked(client({ heads: broken({ get: () => new Promise(() => {}) }), timeout: 50 }).checkpoint(), "timed_out");
}));

test("a receipt is returned only with the entry that it proves, and compared with what was kept", () => shown(300, async (state, site, client) => {
  const heads = new MemoryHeadStore();
  const reader = client({ heads });
  const { index, receipt, entry, checkpoint } = await reader.receipt(42);
  assert.deepEqual([index, receipt, text(entry), checkpoint.size], [42n, log.receipt(42, 300), "entry 42", 300n]);
  assert.equal(text(await heads.get("example.com/log")), log.checkpoint(300));
  state.change = (path, bytes) => (path === "entries/42" ? Buffer.from("entry 43") : bytes);
  await tampered(reader.receipt(42), "root_mismatch");
  state.change = (path, bytes) => log.answer(path.replace("42", "43"), 300) ?? bytes;
  await tampered(reader.receipt(42), "index_mismatch");
  state.change = (path, bytes) => (path === "entries/42" ? Buffer.alloc(65_536) : bytes);
  await unchecked(reader.receipt(42), "answer_too_large");
  state.change = (path, bytes) => bytes;
  await unchecked(reader.receipt(300), "unreachable");
  Object.assign(state, { log: fork, size: 400 });
  await tampered(reader.receipt(350), "history_rewritten");
  assert.equal((await reader.evidence()).length, 1);
}));

test("a receipt under an older head of the same history is good", () => shown(600, async (state, site, client) => {
  const reader = client();
  await reader.checkpoint();
  state.change = (path, bytes) => (path === "entries/3/receipt" ? Buffer.from(log.receipt(3, 300)) : bytes);
  assert.equal((await reader.receipt(3)).checkpoint.size, 300n);
  assert.equal((await reader.checkpoint()).size, 600n);
}));

test("equal requests at the same time are one, also where one of the callers leaves", () => shown(600, async (state, { asked }, client) => {
  const reader = client();
  await reader.checkpoint();
  const stop = new AbortController();
  const left = reader.entry(5, { signal: stop.signal });
  const entries = [5, 6, 7].map((index) => reader.entry(index));
  stop.abort();
  await assert.rejects(left, { name: "AbortError" });
  assert.deepEqual((await Promise.all(entries)).map((entry) => entry.text()), ["entry 5", "entry 6", "entry 7"]);
  assert.equal(new Set(asked).size, asked.length, asked.join(" "));
}));

test("the cache keeps what was used last, within its bytes", () => shown(600, async (state, { asked }, client) => {
  const read = async (cacheBytes, indexes) => {
    const reader = client({ cacheBytes });
    await reader.checkpoint();
    asked.length = 0;
    for (const index of indexes) await reader.entry(index);
    return asked.filter((path) => path.startsWith("tile/entries/000") || path.startsWith("tile/entries/001")).length;
  };
  assert.equal(await read(1 << 20, [1, 2, 300, 3, 301]), 2);
  assert.equal(await read(0, [1, 2, 300, 3, 301]), 5);
}));

test("frameworks that wrap what can be extended leave clients and checkpoints alone", () => shown(5, async (state, site, client) => {
  const reader = client();
  assert.ok(!Object.isExtensible(reader) && !Object.isExtensible(await reader.checkpoint()));
}));

test("an older partial bundle that the log has taken away is read under a newer head", () => shown(300, async (state, site, client) => {
  const reader = client();
  await reader.checkpoint();
  state.size = 600;
  const outdated = /\.p\/44$/;
  state.change = (path, bytes) => (outdated.test(path) ? undefined : bytes);
  const entry = await reader.entry(299);
  assert.deepEqual([entry.text(), entry.checkpoint.size], ["entry 299", 600n]);
  state.change = (path, bytes) => (path.startsWith("tile/") ? undefined : bytes);
  await unchecked(client().entry(299), "unreachable");
}));
