// The verifier's operations by their names: what the wasm is called with, and nothing else that calls it.
//
// Their numbers, and the order of what they take, are those of `verifier-wasm/src/operations.rs`. Sizes and indexes are
// within 64 bits, which `arguments.ts` sees to; a proof is hashes, one after the other.

import { type Argument, perform } from "./engine.js";
import { utf8 } from "./text.js";

/** Origin, size and root of a checkpoint. */
export type Head = [origin: string, size: bigint, root: Uint8Array];

/** A tree that a checkpoint vouches for. */
export interface Tree {
  size: bigint;
  root: Uint8Array;
}

/** What to read of a log: its number, and what it takes. */
export type Read = [0n, first: bigint, end: bigint] | [1n, level: bigint, index: bigint, width: bigint] | [2n, old: bigint];

/** The origins of the logs that a policy trusts. */
export const policyOrigins = (policy: string) => perform<string[]>(0, utf8(policy));

/** A note's head, signed by a log of the policy, of this origin, and by the witnesses if `quorum` is asked. */
export const openNote = (note: Uint8Array, policy: string, origin: string | undefined, quorum: boolean) =>
  perform<Head>(1, utf8(policy), utf8(origin), note, quorum ? 0n : 1n);

export const openReceipt = (receipt: Uint8Array, entry: Uint8Array, policy: string, origin: string | undefined) =>
  perform<[...head: Head, note: Uint8Array, index: bigint]>(2, utf8(policy), utf8(origin), receipt, entry);

export const proveInclusion = ({ size, root }: Tree, index: bigint, entry: Uint8Array, proof: Uint8Array) =>
  perform(3, size, root, index, entry, proof);

/** Of each item its entry, its index and its proof; in the order of the indexes, for shared paths to be hashed once. */
export const proveInclusions = ({ size, root }: Tree, items: Argument[]) => perform(4, size, root, ...items);

/** Hashes in base64: their bytes, one after the other. */
export const parseProof = (hashes: string[]) => perform<[Uint8Array]>(5, ...hashes.map((hash) => utf8(hash)))[0];

/** What to fetch below the log's prefix. */
export const pathsOf = (size: bigint, read: Read) => perform<string[]>(6, size, ...read);

/** The entries `[first, end)`, proven by what was fetched. */
export function openEntries({ size, root }: Tree, first: bigint, end: bigint, answers: Uint8Array[]): Uint8Array[] {
  const [start, ...entries] = perform<[bigint, ...Uint8Array[]]>(7, size, root, 0n, first, end, ...answers);
  return entries.slice(Number(first - start), Number(end - start));
}

export const proveTile = ({ size, root }: Tree, read: Read, answers: Uint8Array[]) => perform(8, size, root, ...read, ...answers);

/** That a tree begins with an older one, by the tiles that `pathsOf(newer.size, [2n, older.size])` names. */
export const proveConsistency = (older: Tree, newer: Tree, answers: Uint8Array[]) =>
  perform(9, newer.size, newer.root, older.size, older.root, 2n, older.size, ...answers);
