// The verifier's functions: what the wasm is called with, and nothing else that calls it.
//
// Sizes and indexes are within 64 bits, which `arguments.ts` sees to; proofs are hashes, one after the other.

import { run } from "./engine.js";
import { joined } from "./joined.js";
import * as wasm from "./wasm/verifier.js";

/** Origin, size and root of a checkpoint. */
export type Head = [origin: string, size: bigint, root: Uint8Array];

/** A tree that a checkpoint vouches for. */
export interface Tree {
  size: bigint;
  root: Uint8Array;
}

/** The origins of the logs that a policy trusts. */
export const policyOrigins = (policy: string): string[] => run(() => wasm.policyOrigins(policy));

/** A note's head, signed by a log of the policy, of this origin, and by the witnesses if `quorum` is asked. */
export const openNote = (note: Uint8Array, policy: string, origin: string | undefined, quorum: boolean): Head =>
  run(() => wasm.openCheckpoint(note, policy, origin, quorum));

export const openReceipt = (
  receipt: Uint8Array,
  entry: Uint8Array,
  policy: string,
  origin: string | undefined,
): [index: bigint, note: Uint8Array, ...head: Head] => run(() => wasm.verifyReceipt(receipt, entry, policy, origin));

export const proveInclusion = ({ size, root }: Tree, index: bigint, entry: Uint8Array, proof: Uint8Array): void =>
  run(() => wasm.verifyInclusion(size, root, index, entry, proof));

export const proveInclusions = ({ size, root }: Tree, indexes: bigint[], entries: Uint8Array[], proofs: Uint8Array[]): void =>
  run(() => wasm.verifyInclusions(size, root, new BigUint64Array(indexes), joined(entries), lengths(entries), joined(proofs)));

export const proveEntries = ({ size, root }: Tree, first: bigint, entries: Uint8Array[], proof: Uint8Array): void =>
  run(() => wasm.verifyEntries(size, root, first, joined(entries), lengths(entries), proof));

export const proveTile = ({ size, root }: Tree, path: string, tile: Uint8Array, proof: Uint8Array): void =>
  run(() => wasm.verifyTile(size, root, path, tile, proof));

export const proveConsistency = (older: Tree, newer: Tree, proof: Uint8Array): void =>
  run(() => wasm.verifyConsistency(older.size, older.root, newer.size, newer.root, proof));

/** Hashes in base64: their bytes, one after the other. */
export const parseProof = (hashes: string[]): Uint8Array =>
  run(() => wasm.parseProof(hashes.map((hash) => `${hash}\n`).join("")));

/** What to fetch, below the log's prefix, for the entries `[first, end)`. */
export const entriesPaths = (size: bigint, first: bigint, end: bigint): string[] =>
  run(() => wasm.entriesPaths(size, first, end));

/** The entries `[first, end)`, proven by what was fetched. */
export const openEntries = ({ size, root }: Tree, first: bigint, end: bigint, answers: Uint8Array[]): Uint8Array[] => {
  const [start, entries] = run(() => wasm.openEntries(size, root, first, end, answers));
  return entries.slice(Number(first - start), Number(end - start));
};

/** What to fetch to compare two of a log's trees. */
export const consistencyPaths = (oldSize: bigint, newSize: bigint): string[] =>
  run(() => wasm.consistencyPaths(oldSize, newSize));

export const proveConsistencyFromTiles = (older: Tree, newer: Tree, answers: Uint8Array[]): void =>
  run(() => wasm.verifyConsistencyFromTiles(older.size, older.root, newer.size, newer.root, answers));

const lengths = (parts: Uint8Array[]) => Uint32Array.from(parts, ({ length }) => length);
