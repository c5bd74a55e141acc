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

/** Resolves if all of them hold; else the error's `position` says which does not. Much faster than one by one. */
export async function verifyInclusions(checkpoint: Checkpoint, inclusions: readonly Inclusion[]): Promise<void> {
  const tree = treeOf(checkpoint);
  const items = list(inclusions, "inclusions").map(({ index, entry, proof }, position) => {
    return { index: u64(index, "index"), entry: bytes(entry, "entry"), proof: hashes(proof), position };
  });
  // Neighbours share the most where they stand beside each other.
  items.sort((one, other) => Number(one.index - other.index));
  try {
    verifier.proveInclusions(tree, items.flatMap(({ index, entry, proof }) => [entry, index, proof]));
  } catch (error) {
    if (!(error instanceof TamperingError) || error.position === undefined) throw error;
    const { position } = items[error.position]!;
    throw new TamperingError(error.code, `not proven: ${position}`, { position });
  }
}

/** A run of entries: those from `from` up to, but not with, `to`; in at most 65,536 bundles of 256. */
export interface Run {
  from: number | bigint;
  to: number | bigint;
}

/** What to fetch below the log's prefix for `verifyEntries`. */
export async function entriesPaths(checkpoint: Checkpoint, run: Run): Promise<string[]> {
  return verifier.pathsOf(treeOf(checkpoint), entriesOf(run));
}

/** The entries of the run, proven as a whole by the answers to `entriesPaths`, in their order. */
export async function verifyEntries(checkpoint: Checkpoint, run: Run, answers: readonly Uint8Array[]): Promise<Uint8Array[]> {
  return verifier.openEntries(treeOf(checkpoint), entriesOf(run), pieces(answers));
}

const entriesOf = ({ from, to }: Run): verifier.ReadEntries => [0n, u64(from, "from"), u64(to, "to")];

/** A tile, or the first `width` hashes of it. */
export interface Tile {
  level: number;
  index: number | bigint;
  width?: number | undefined;
}

/** What to fetch below the log's prefix for `verifyTile`; the tile itself comes first. */
export async function tilePaths(checkpoint: Checkpoint, tile: Tile): Promise<string[]> {
  return verifier.pathsOf(treeOf(checkpoint), tileOf(tile));
}

/** Resolves if the first of the answers to `tilePaths` is that tile of the tree. */
export async function verifyTile(checkpoint: Checkpoint, tile: Tile, answers: readonly Uint8Array[]): Promise<void> {
  verifier.proveTile(treeOf(checkpoint), tileOf(tile), pieces(answers));
}

const tileOf = ({ level, index, width = 256 }: Tile): verifier.Read => [1n, u64(level, "level"), u64(index, "index"), u64(width, "width")];

const pieces = (answers: readonly Uint8Array[]) => list(answers, "answers").map((answer) => bytes(answer, "answer"));

/** What to fetch below the log's prefix for `verifyConsistency`. */
export async function consistencyPaths(older: Checkpoint, newer: Checkpoint): Promise<string[]> {
  return verifier.pathsOf(treeOf(newer), verifier.readConsistency(treeOf(older)));
}

/** Resolves if the newer tree begins with the older one: nothing was changed, and nothing taken out. */
export async function verifyConsistency(older: Checkpoint, newer: Checkpoint, answers: readonly Uint8Array[]): Promise<void> {
  const trees = [treeOf(newer), treeOf(older)] as const;
  if (older.origin !== newer.origin) {
    throw new TamperingError("origin_mismatch", `${older.origin}, ${newer.origin}`);
  }
  verifier.proveConsistency(...trees, pieces(answers));
}

/** Verifies a receipt with nothing but the policy: needs no network. */
export async function verifyReceipt(
  receipt: string | Uint8Array,
  entry: Uint8Array,
  trust: Trust,
): Promise<{ index: bigint; checkpoint: Checkpoint }> {
  const given = [encoded(receipt, "receipt"), bytes(entry, "entry"), trusted(trust)] as const;
  const [origin, size, root, note, index] = verifier.openReceipt(...given);
  return { index, checkpoint: checkpointOf(note, [origin, size, root]) };
}

function hashes(proof: Proof): Uint8Array {
  if (!Array.isArray(proof)) return bytes(proof, "proof");
  return verifier.parseProof(proof.map((hash) => text(hash, "hash")));
}
