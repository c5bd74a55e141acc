// The functions that verify: what holds, what does not, and arguments that wasm-bindgen would have bent into shape.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as attestlog from "attestlog";
import { Key, numbered, SampleLog } from "./sample-log.mjs";

const log = new SampleLog(numbered(300));
const policy = log.key.vkey;
const head = await attestlog.openCheckpoint(log.checkpoint(), { policy });
const joined = (hashes) => new Uint8Array(Buffer.concat(hashes));
const inclusion = (index) => ({ index, entry: log.entries[index], proof: joined(log.inclusion(index)) });

test("a checkpoint has what was signed, and gives away copies only", () => {
  assert.equal(head.origin, "example.com/log");
  assert.equal(head.size, 300n);
  assert.equal(Buffer.from(head.note).toString(), log.checkpoint());
  head.root.fill(0);
  head.note.fill(0);
  assert.equal(Buffer.from(head.note).toString(), log.checkpoint());
  assert.notEqual(head.root[0] + head.root[1] + head.root[2], 0);
  assert.throws(() => { head.size = 5n; }, TypeError);
});

test("nobody but the package makes a checkpoint", async () => {
  assert.throws(() => new attestlog.Checkpoint({}, head.note, ["example.com/log", 300n, head.root]), TypeError);
  const alike = { origin: head.origin, size: head.size, root: head.root, note: head.note };
  const proofs = [
    (forged) => attestlog.verifyInclusion(forged, inclusion(3)),
    (forged) => attestlog.verifyInclusions(forged, [inclusion(3)]),
    (forged) => attestlog.entriesPaths(forged, { from: 0, to: 300 }),
    (forged) => attestlog.verifyEntries(forged, { from: 0, to: 300 }, []),
    (forged) => attestlog.tilePaths(forged, { level: 0, index: 0 }),
    (forged) => attestlog.verifyTile(forged, { level: 0, index: 0 }, [log.tile("tile/0/000")]),
    (forged) => attestlog.consistencyPaths(forged, head),
    (forged) => attestlog.consistencyPaths(head, forged),
    (forged) => attestlog.verifyConsistency(forged, head, []),
    (forged) => attestlog.verifyConsistency(head, forged, []),
  ];
  for (const prove of proofs) {
    for (const forged of [alike, Object.create(attestlog.Checkpoint.prototype, Object.getOwnPropertyDescriptors(alike)), null]) {
      await assert.rejects(prove(forged), TypeError);
    }
  }
});

test("a note opens as text and as bytes, and only under a policy that knows its key", async () => {
  await attestlog.openCheckpoint(Buffer.from(log.checkpoint()), { policy, origin: "example.com/log" });
  const other = new Key("example.com/other", 9).vkey;
  const { UncheckedError, UnreadableError, TamperingError } = attestlog;
  await rejects(attestlog.openCheckpoint(log.checkpoint(), { policy: other }), UncheckedError, "no_trusted_signature");
  await rejects(attestlog.openCheckpoint("not a note", { policy }), UnreadableError, "malformed_note");
  await rejects(attestlog.openCheckpoint(log.checkpoint(), { policy: "" }), UnreadableError, "malformed_verifier_key");
  await rejects(attestlog.openCheckpoint(log.checkpoint(), { policy: "nonsense" }), UnreadableError, "malformed_verifier_key");
  await rejects(attestlog.openCheckpoint(log.checkpoint(), { policy: "nonsense\n" }), UnreadableError, "malformed_policy");
  const changed = log.checkpoint().replace("\n300\n", "\n301\n");
  await rejects(attestlog.openCheckpoint(changed, { policy }), TamperingError, "bad_signature");
});

test("a policy's witnesses are asked for", async () => {
  const witness = new Key("witness.example", 8, 4);
  const trust = { policy: `log ${policy}\nwitness w ${witness.vkey}\nquorum w\n` };
  await attestlog.openCheckpoint(log.checkpoint(300, [witness]), trust);
  await rejects(attestlog.openCheckpoint(log.checkpoint(), trust), attestlog.UncheckedError, "quorum_not_met");
});

test("inclusion holds for the entry, its index and its proof, and for no other", async () => {
  await attestlog.verifyInclusion(head, inclusion(299));
  await attestlog.verifyInclusion(head, { ...inclusion(7), proof: log.inclusion(7).map((hash) => hash.toString("base64")) });
  const wrong = (change, code = "root_mismatch") =>
    rejects(attestlog.verifyInclusion(head, { ...inclusion(7), ...change }), attestlog.TamperingError, code);
  await wrong({ index: 8 });
  await wrong({ entry: Buffer.from("entry 8") });
  await wrong({ proof: joined(log.inclusion(8)) });
  await wrong({ index: 300n }, "index_beyond_tree");
  await wrong({ index: 2n ** 64n - 1n }, "index_beyond_tree");
  await wrong({ proof: joined(log.inclusion(7).slice(1)) }, "proof_length");
  await rejects(attestlog.verifyInclusion(head, { ...inclusion(7), proof: ["AAAA"] }), attestlog.UnreadableError, "malformed_base64");
});

test("an index is an integer from 0 to 2^64 - 1, and is not wrapped", async () => {
  for (const index of [2n ** 64n + 3n, 2n ** 64n, -1, -1n, 1.5, NaN, Infinity, 2 ** 53, -0.5]) {
    await assert.rejects(attestlog.verifyInclusion(head, { ...inclusion(3), index }), RangeError, String(index));
    await assert.rejects(attestlog.verifyInclusions(head, [inclusion(2), { ...inclusion(3), index }]), RangeError);
    for (const run of [{ from: index, to: 300 }, { from: 0, to: index }]) {
      await assert.rejects(attestlog.entriesPaths(head, run), RangeError);
      await assert.rejects(attestlog.verifyEntries(head, run, []), RangeError);
    }
    for (const tile of [{ level: index, index: 0 }, { level: 0, index }, { level: 0, index: 0, width: index }]) {
      await assert.rejects(attestlog.tilePaths(head, tile), RangeError);
      await assert.rejects(attestlog.verifyTile(head, tile, []), RangeError);
    }
  }
  for (const index of ["3", null, undefined, [3], new Date(3)]) {
    await assert.rejects(attestlog.verifyInclusion(head, { ...inclusion(3), index }), TypeError);
    await assert.rejects(attestlog.entriesPaths(head, { from: index, to: 300 }), TypeError);
    await assert.rejects(attestlog.tilePaths(head, { level: index, index: 0 }), TypeError);
  }
});

test("bytes are a Uint8Array, and nothing that turns into one", async () => {
  for (const entry of [[...log.entries[3]], "entry 3", new Uint16Array(7), new DataView(new ArrayBuffer(7)), new ArrayBuffer(7), null]) {
    await assert.rejects(attestlog.verifyInclusion(head, { ...inclusion(3), entry }), TypeError);
    await assert.rejects(attestlog.verifyInclusions(head, [{ ...inclusion(3), entry }]), TypeError);
    await assert.rejects(attestlog.verifyEntries(head, { from: 0, to: 300 }, [entry]), TypeError);
    await assert.rejects(attestlog.verifyEntries(head, { from: 0, to: 300 }, entry), TypeError);
    await assert.rejects(attestlog.verifyReceipt(log.receipt(3), entry, { policy }), TypeError);
    await assert.rejects(attestlog.verifyTile(head, { level: 0, index: 0 }, [entry]), TypeError);
  }
  for (const proof of [[1, 2], "AAAA", null, { length: 0 }]) {
    await assert.rejects(attestlog.verifyInclusion(head, { ...inclusion(3), proof }), TypeError);
  }
  await assert.rejects(attestlog.openCheckpoint([1, 2], { policy }), TypeError);
  await assert.rejects(attestlog.openCheckpoint(log.checkpoint(), { policy: Buffer.from(policy) }), TypeError);
  await assert.rejects(attestlog.openCheckpoint(log.checkpoint(), { policy, origin: null }), TypeError);
});

test("many inclusions hold together, and of the wrong ones that of the lowest index is named", async () => {
  const all = [250, 3, 3, 299, 0].map(inclusion);
  await attestlog.verifyInclusions(head, all);
  await attestlog.verifyInclusions(head, []);
  const wrong = (at) => { all[at] = { ...all[at], entry: Buffer.from("entry 4") }; };
  const named = (position) => assert.rejects(attestlog.verifyInclusions(head, all), { name: "TamperingError", code: "root_mismatch", position });
  wrong(2);
  await named(2);
  wrong(3);
  await named(2);
  wrong(1);
  await named(1);
  wrong(4);
  await named(4);
});

const answers = (paths) => paths.map((path) => log.answer(path));

test("a run of entries holds as a whole, and is all that was asked for", async () => {
  for (const [from, to] of [[0, 300], [4n, 5n], [255, 257], [256, 300], [0, 1], [299, 300]]) {
    const paths = await attestlog.entriesPaths(head, { from, to });
    const entries = await attestlog.verifyEntries(head, { from, to }, answers(paths));
    assert.deepEqual(entries.map((entry) => Buffer.from(entry)), log.entries.slice(Number(from), Number(to)));
  }
  assert.deepEqual(await attestlog.entriesPaths(head, { from: 4, to: 5 }), ["tile/entries/000", "tile/0/001.p/44"]);
});

test("a run is refused where it is empty, beyond the tree, or not what the answers have", async () => {
  const { TamperingError, UnreadableError } = attestlog;
  for (const [from, to] of [[0, 0], [5, 4], [299, 301], [300, 301], [2n ** 64n - 2n, 2n ** 64n - 1n]]) {
    await rejects(attestlog.entriesPaths(head, { from, to }), TamperingError, "index_beyond_tree");
    await rejects(attestlog.verifyEntries(head, { from, to }, []), TamperingError, "index_beyond_tree");
  }
  const run = { from: 250, to: 260 };
  const given = answers(await attestlog.entriesPaths(head, run));
  const changed = Buffer.from(given[1]);
  changed[changed.length - 1] ^= 1;
  await rejects(attestlog.verifyEntries(head, run, [given[0], changed]), TamperingError, "root_mismatch");
  await rejects(attestlog.verifyEntries(head, run, [given[0], given[1].subarray(1)]), UnreadableError, "malformed_entry_bundle");
  for (const wrong of [[], [given[0]], [...given, given[1]]]) {
    await rejects(attestlog.verifyEntries(head, run, wrong), UnreadableError, "malformed_tile");
  }
});

test("a run of more entries than are proven at once is refused, and not cut short", async () => {
  const most = 65_535 * 256;
  const text = `example.com/log\n${2n ** 63n}\n${log.leaves[0].toString("base64")}\n`;
  const large = await attestlog.openCheckpoint(`${text}\n${log.key.line(text)}`, { policy });
  for (const from of [0, 1, 255]) {
    const paths = await attestlog.entriesPaths(large, { from, to: from + most });
    assert.equal(paths.filter((path) => path.startsWith("tile/entries/")).length, from === 0 ? 65_535 : 65_536);
    await assert.rejects(attestlog.entriesPaths(large, { from, to: from + most + 257 }), { code: "index_beyond_tree" });
    await assert.rejects(attestlog.verifyEntries(large, { from, to: 2n ** 63n }, []), { code: "index_beyond_tree" });
  }
});

test("a tile holds where it stands, whole or in part", async () => {
  const tiles = [{ level: 0, index: 0 }, { level: 0, index: 1n, width: 44 }, { level: 0, index: 1, width: 7 }, { level: 1, index: 0, width: 1 }];
  for (const tile of tiles) {
    const paths = await attestlog.tilePaths(head, tile);
    await attestlog.verifyTile(head, tile, answers(paths));
    for (const at of paths.keys()) {
      const given = answers(paths).map(Buffer.from);
      // Of a tile beside it, only what the proof needs is looked at: that has the last hash in all of these.
      given[at][given[at].length - 1] ^= 1;
      await rejects(attestlog.verifyTile(head, tile, given), attestlog.TamperingError, "root_mismatch");
    }
    const short = answers(paths).map((answer, at) => (at === 0 ? answer.subarray(1) : answer));
    await rejects(attestlog.verifyTile(head, tile, short), attestlog.UnreadableError, "malformed_tile");
  }
  for (const tile of [{ level: 0, index: 1 }, { level: 0, index: 1, width: 45 }, { level: 0, index: 0, width: 0 }, { level: 0, index: 2 }, { level: 8, index: 0 }]) {
    await rejects(attestlog.tilePaths(head, tile), attestlog.TamperingError, "index_beyond_tree");
  }
});

test("consistency holds from older to newer, in one log", async () => {
  const { TamperingError, UnreadableError } = attestlog;
  const opened = (log, size) => attestlog.openCheckpoint(log.checkpoint(size), { policy: log.key.vkey });
  for (const size of [0, 1, 100, 255, 256, 257, 299, 300]) {
    const older = await opened(log, size);
    await attestlog.verifyConsistency(older, head, answers(await attestlog.consistencyPaths(older, head)));
  }
  const older = await opened(log, 100);
  const paths = await attestlog.consistencyPaths(older, head);
  assert.deepEqual(paths, ["tile/0/000", "tile/0/001.p/44"]);
  for (const at of paths.keys()) {
    const given = answers(paths).map(Buffer.from);
    given[at][0] ^= 1;
    await rejects(attestlog.verifyConsistency(older, head, given), TamperingError, "root_mismatch");
    const short = answers(paths).map((answer, of) => (of === at ? answer.subarray(1) : answer));
    await rejects(attestlog.verifyConsistency(older, head, short), UnreadableError, "malformed_tile");
  }
  await rejects(attestlog.verifyConsistency(older, head, []), UnreadableError, "malformed_tile");
  await rejects(attestlog.consistencyPaths(head, older), TamperingError, "tree_shrank");
  await rejects(attestlog.verifyConsistency(head, older, answers(paths)), TamperingError, "tree_shrank");
  const empty = await opened(new SampleLog([], new Key("example.com/other", 9)));
  await rejects(attestlog.verifyConsistency(empty, head, []), TamperingError, "origin_mismatch");
  const rewritten = await opened(new SampleLog(numbered(100, "other ")));
  await rejects(attestlog.verifyConsistency(rewritten, head, answers(paths)), TamperingError, "history_rewritten");
  const twin = await opened(new SampleLog(numbered(300, "other ")));
  await rejects(attestlog.verifyConsistency(twin, head, answers(await attestlog.consistencyPaths(twin, head))), TamperingError, "history_rewritten");
});

test("a receipt proves its entry, with its index and its checkpoint", async () => {
  for (const receipt of [log.receipt(42), Buffer.from(log.receipt(42))]) {
    const { index, checkpoint } = await attestlog.verifyReceipt(receipt, log.entries[42], { policy });
    assert.equal(index, 42n);
    assert.ok(checkpoint instanceof attestlog.Checkpoint);
    assert.deepEqual([checkpoint.origin, checkpoint.size, checkpoint.root], [head.origin, head.size, head.root]);
    assert.equal(Buffer.from(checkpoint.note).toString(), log.checkpoint());
  }
  const { TamperingError, UnreadableError } = attestlog;
  await rejects(attestlog.verifyReceipt(log.receipt(42), log.entries[43], { policy }), TamperingError, "root_mismatch");
  await rejects(attestlog.verifyReceipt(log.receipt(42).slice(1), log.entries[42], { policy }), UnreadableError, "malformed_receipt");
});

test("what goes wrong has a class, a kind and a code", async () => {
  const error = await attestlog.openCheckpoint("not a note", { policy }).catch((error) => error);
  assert.ok(error instanceof attestlog.VerificationError && error instanceof Error);
  assert.deepEqual([error.name, error.kind, error.code], ["UnreadableError", "parse", "malformed_note"]);
  assert.ok(error.message.length > 10);
  assert.match(String(error.stack), /^UnreadableError|UnreadableError/);
});

async function rejects(promise, constructor, code) {
  const error = await promise.then(() => assert.fail("it was accepted"), (error) => error);
  assert.ok(error instanceof constructor && error.code === code, `${error.name} ${error.code}: ${error.message}`);
}

test("a hundred thousand proofs are one batch", async () => {
  const few = Array.from({ length: 300 }, (_, at) => inclusion(at));
  const items = Array.from({ length: 100_000 }, (_, at) => few[at % 300]);
  await attestlog.verifyInclusions(head, items);
  items[99_999] = { ...items[99_999], entry: Buffer.from("another") };
  await assert.rejects(attestlog.verifyInclusions(head, items), { code: "root_mismatch", position: 99_999 });
});
