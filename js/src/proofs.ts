// Proofs against an opened checkpoint: inclusion, runs of entries, tiles, consistency, receipts.

import { bytes, encoded, joined, list, text, u64 } from "./arguments.js";
import { type Checkpoint, checkpointOf, rootOf, type Trust, trusted } from "./checkpoint.js";
import { verifier } from "./engine.js";
import { TamperingError } from "./errors.js";
import * as raw from "./wasm/verifier.js";

/** A proof's hashes: their bytes one after the other, or each in base64 as the log's JSON has them. */
export type Proof = Uint8Array | readonly string[];

/** That `entry` stands at `index`. */
export interface Inclusion {
  index: number | bigint;
  entry: Uint8Array;
  proof: Proof;
}

/** Resolves if the entry stands there. */
export async function verifyInclusion(checkpoint: Checkpoint, inclusion: Inclusion): Promise<void> {
  const root = rootOf(checkpoint);
  const index = u64(inclusion.index, "index");
  const entry = bytes(inclusion.entry, "entry");
  const proof = hashes(inclusion.proof);
  verifier(() => raw.verifyInclusion(checkpoint.size, root, index, entry, proof));
}

/** Resolves if all of them hold; else the error's `position` says which is the first that does not. Faster than one by one. */
export async function verifyInclusions(checkpoint: Checkpoint, inclusions: readonly Inclusion[]): Promise<void> {
  const root = rootOf(checkpoint);
  const all = list(inclusions, "inclusions");
  const indexes = BigUint64Array.from(all, ({ index }) => u64(index, "index"));
  const [entries, lengths] = packed(all.map(({ entry }) => entry));
  const proofs = joined(all.map(({ proof }) => hashes(proof)));
  verifier(() => raw.verifyInclusions(checkpoint.size, root, indexes, entries, lengths, proofs));
}

/** Resolves if these entries, and no others, stand one after the other from `first` on. */
export async function verifyEntries(
  checkpoint: Checkpoint,
  run: { first: number | bigint; entries: readonly Uint8Array[]; proof: Proof },
): Promise<void> {
  const root = rootOf(checkpoint);
  const first = u64(run.first, "first");
  const [entries, lengths] = packed(list(run.entries, "entries"));
  const proof = hashes(run.proof);
  verifier(() => raw.verifyEntries(checkpoint.size, root, first, entries, lengths, proof));
}

/** Resolves if these are the tree's hashes at the tile's path, such as `tile/0/x001/234`. */
export async function verifyTile(
  checkpoint: Checkpoint,
  { path, tile, proof }: { path: string; tile: Uint8Array; proof: Proof },
): Promise<void> {
  const root = rootOf(checkpoint);
  const given = [text(path, "path"), bytes(tile, "tile"), hashes(proof)] as const;
  verifier(() => raw.verifyTile(checkpoint.size, root, ...given));
}

/** Resolves if the newer tree begins with the older one: nothing was changed, and nothing taken out. */
export async function verifyConsistency(older: Checkpoint, newer: Checkpoint, proof: Proof): Promise<void> {
  const [oldRoot, newRoot] = [rootOf(older), rootOf(newer)];
  if (older.origin !== newer.origin) {
    throw new TamperingError("origin_mismatch", `${older.origin} and ${newer.origin} are two logs`);
  }
  const given = hashes(proof);
  verifier(() => raw.verifyConsistency(older.size, oldRoot, newer.size, newRoot, given));
}

/** Verifies a receipt with nothing but the policy: needs no network. */
export async function verifyReceipt(
  receipt: string | Uint8Array,
  entry: Uint8Array,
  trust: Trust,
): Promise<{ index: bigint; checkpoint: Checkpoint }> {
  const given = [encoded(receipt, "receipt"), bytes(entry, "entry"), ...trusted(trust)] as const;
  const [index, note, ...head] = verifier(() => raw.verifyReceipt(...given));
  return { index, checkpoint: checkpointOf(note, head) };
}

function packed(entries: readonly Uint8Array[]): [bytes: Uint8Array, lengths: Uint32Array] {
  const all = entries.map((entry) => bytes(entry, "entry"));
  return [joined(all), Uint32Array.from(all, ({ length }) => length)];
}

function hashes(proof: Proof): Uint8Array {
  if (!Array.isArray(proof)) return bytes(proof, "proof, if not an array of strings,");
  const lines = proof.map((hash) => text(hash, "a proof's hash") + "\n").join("");
  return verifier(() => raw.parseProof(lines));
}
