// Proofs against an opened checkpoint: inclusion, runs of entries, tiles, consistency, receipts.

import { bytes, encoded, list, text, u64 } from "./arguments.js";
import { type Checkpoint, checkpointOf, treeOf, type Trust, trusted } from "./checkpoint.js";
import { TamperingError } from "./errors.js";
import * as verifier from "./verifier.js";

/** A proof's hashes: their bytes one after the other, or each in base64 as the log's JSON has them. */
export type Proof = Uint8Array | readonly string[];

/** That `entry` stands at `index`. */
export interface Inclusion {
  index: number | bigint;
  entry: Uint8Array;
  proof: Proof;
}

/** Resolves if the entry stands there. */
export async function verifyInclusion(checkpoint: Checkpoint, { index, entry, proof }: Inclusion): Promise<void> {
  const tree = treeOf(checkpoint);
  verifier.proveInclusion(tree, u64(index, "index"), bytes(entry, "entry"), hashes(proof));
}

/** Resolves if all of them hold; else the error's `position` says which is the first that does not. Faster than one by one. */
export async function verifyInclusions(checkpoint: Checkpoint, inclusions: readonly Inclusion[]): Promise<void> {
  const tree = treeOf(checkpoint);
  const all = list(inclusions, "inclusions");
  verifier.proveInclusions(
    tree,
    all.map(({ index }) => u64(index, "index")),
    all.map(({ entry }) => bytes(entry, "entry")),
    all.map(({ proof }) => hashes(proof)),
  );
}

/** Resolves if these entries stand one after the other, the first of them at `first`. */
export async function verifyEntries(
  checkpoint: Checkpoint,
  { first, entries, proof }: { first: number | bigint; entries: readonly Uint8Array[]; proof: Proof },
): Promise<void> {
  const tree = treeOf(checkpoint);
  const run = list(entries, "entries").map((entry) => bytes(entry, "entry"));
  verifier.proveEntries(tree, u64(first, "first"), run, hashes(proof));
}

/** Resolves if these are the tree's hashes at the tile's path, such as `tile/0/x001/234`. */
export async function verifyTile(
  checkpoint: Checkpoint,
  { path, tile, proof }: { path: string; tile: Uint8Array; proof: Proof },
): Promise<void> {
  const tree = treeOf(checkpoint);
  verifier.proveTile(tree, text(path, "path"), bytes(tile, "tile"), hashes(proof));
}

/** Resolves if the newer tree begins with the older one: nothing was changed, and nothing taken out. */
export async function verifyConsistency(older: Checkpoint, newer: Checkpoint, proof: Proof): Promise<void> {
  const trees = [treeOf(older), treeOf(newer)] as const;
  if (older.origin !== newer.origin) {
    throw new TamperingError("origin_mismatch", `${older.origin} and ${newer.origin} are two logs`);
  }
  verifier.proveConsistency(...trees, hashes(proof));
}

/** Verifies a receipt with nothing but the policy: needs no network. */
export async function verifyReceipt(
  receipt: string | Uint8Array,
  entry: Uint8Array,
  trust: Trust,
): Promise<{ index: bigint; checkpoint: Checkpoint }> {
  const given = [encoded(receipt, "receipt"), bytes(entry, "entry"), ...trusted(trust)] as const;
  const [index, note, ...head] = verifier.openReceipt(...given);
  return { index, checkpoint: checkpointOf(note, head) };
}

function hashes(proof: Proof): Uint8Array {
  if (!Array.isArray(proof)) return bytes(proof, "proof");
  return verifier.parseProof(proof.map((hash) => text(hash, "a proof's hash")));
}
