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
    (forged) => attestlog.verifyEntries(forged, { first: 0, entries: log.entries, proof: [] }),
    (forged) => attestlog.verifyTile(forged, { path: "tile/0/000", tile: log.tile("tile/0/000"), proof: [] }),
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
  await rejects(attestlog.openCheckpoint(log.checkpoint(), { policy: "nonsense" }), UnreadableError, "malformed_policy");
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
    await assert.rejects(attestlog.verifyEntries(head, { first: index, entries: log.entries, proof: [] }), RangeError);
  }
  for (const index of ["3", null, undefined, [3], new Date(3)]) {
    await assert.rejects(attestlog.verifyInclusion(head, { ...inclusion(3), index }), TypeError);
  }
});

test("bytes are a Uint8Array, and nothing that turns into one", async () => {
  for (const entry of [[...log.entries[3]], "entry 3", new Uint16Array(7), new DataView(new ArrayBuffer(7)), new ArrayBuffer(7), null]) {
    await assert.rejects(attestlog.verifyInclusion(head, { ...inclusion(3), entry }), TypeError);
    await assert.rejects(attestlog.verifyInclusions(head, [{ ...inclusion(3), entry }]), TypeError);
    await assert.rejects(attestlog.verifyEntries(head, { first: 0, entries: [entry], proof: [] }), TypeError);
    await assert.rejects(attestlog.verifyReceipt(log.receipt(3), entry, { policy }), TypeError);
    await assert.rejects(attestlog.verifyTile(head, { path: "tile/0/000", tile: entry, proof: [] }), TypeError);
  }
  for (const proof of [[1, 2], "AAAA", null, { length: 0 }]) {
    await assert.rejects(attestlog.verifyInclusion(head, { ...inclusion(3), proof }), TypeError);
  }
  await assert.rejects(attestlog.openCheckpoint([1, 2], { policy }), TypeError);
  await assert.rejects(attestlog.openCheckpoint(log.checkpoint(), { policy: Buffer.from(policy) }), TypeError);
  await assert.rejects(attestlog.openCheckpoint(log.checkpoint(), { policy, origin: null }), TypeError);
});

test("many inclusions hold together, and the first wrong one is named", async () => {
  const all = [250, 3, 3, 299, 0].map(inclusion);
  await attestlog.verifyInclusions(head, all);
  await attestlog.verifyInclusions(head, []);
  all[2] = { ...all[2], entry: Buffer.from("entry 4") };
  all[4] = { ...all[4], entry: Buffer.from("entry 4") };
  await assert.rejects(attestlog.verifyInclusions(head, all), { code: "root_mismatch", position: 2 });
});

test("a run of entries holds as a whole", async () => {
  await attestlog.verifyEntries(head, { first: 0, entries: log.entries, proof: new Uint8Array() });
  const run = { first: 4n, entries: log.entries.slice(4, 5), proof: joined(log.inclusion(4)) };
  await attestlog.verifyEntries(head, run);
  await assert.rejects(attestlog.verifyEntries(head, { ...run, first: 5n }), attestlog.TamperingError);
  await assert.rejects(attestlog.verifyEntries(head, { first: 0, entries: log.entries.slice(1), proof: [] }), attestlog.TamperingError);
});

test("a tile holds at its path", async () => {
  const upper = new SampleLog(numbered(256));
  const opened = await attestlog.openCheckpoint(upper.checkpoint(), { policy });
  await attestlog.verifyTile(opened, { path: "tile/0/000", tile: upper.tile("tile/0/000"), proof: [] });
  const tile = Buffer.from(upper.tile("tile/0/000"));
  tile[31] ^= 1;
  await rejects(attestlog.verifyTile(opened, { path: "tile/0/000", tile, proof: [] }), attestlog.TamperingError, "root_mismatch");
  await rejects(attestlog.verifyTile(opened, { path: "tile/0/0", tile, proof: [] }), attestlog.UnreadableError, "malformed_tile_path");
});

test("consistency holds from older to newer, in one log", async () => {
  const older = await attestlog.openCheckpoint(log.checkpoint(100), { policy });
  await attestlog.verifyConsistency(older, head, joined(log.consistency(100)));
  const proof = log.consistency(100).map((hash) => hash.toString("base64"));
  await attestlog.verifyConsistency(older, head, proof);
  await rejects(attestlog.verifyConsistency(head, older, proof), attestlog.TamperingError, "tree_shrank");
  const other = new SampleLog([], new Key("example.com/other", 9));
  const empty = await attestlog.openCheckpoint(other.checkpoint(), { policy: other.key.vkey });
  await rejects(attestlog.verifyConsistency(empty, head, []), attestlog.TamperingError, "origin_mismatch");
  const rewritten = new SampleLog(numbered(100, "other "));
  const forged = await attestlog.openCheckpoint(rewritten.checkpoint(), { policy });
  await assert.rejects(attestlog.verifyConsistency(forged, head, proof), attestlog.TamperingError);
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
