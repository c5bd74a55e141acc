// The verifier's operations by their names: what the wasm is called with, and nothing else that calls it.
//
// Their numbers, and the order of what they take, are those of `verifier-wasm/src/operations.rs`. Sizes and indexes are
// within 64 bits, which `arguments.ts` sees to; a proof is hashes, one after the other.

import type { Trust } from "./checkpoint.js";
import { type Argument, perform } from "./engine.js";
import { utf8 } from "./text.js";

/** Origin, size and root of a checkpoint. */
export type Head = [origin: string, size: bigint, root: Uint8Array];

/** A tree that a checkpoint vouches for. */
export type Tree = [size: bigint, root: Uint8Array];

/** Which entries to read of a log. */
export type ReadEntries = [0n, first: bigint, end: bigint];

/** What to read of a log: its number, and what it takes. */
export type Read = ReadEntries | [1n, level: bigint, index: bigint, width: bigint] | [2n, old: bigint];

/** The origins of the logs that a policy trusts. */
export const policyOrigins = (policy: string) => perform<string[]>(0, [utf8(policy)]);

/** A note's head, signed by a log of the policy, of this origin, and by the witnesses if `quorum` is asked. */
export const openNote = (note: Uint8Array, { policy, origin }: Trust, quorum: boolean) =>
  perform<Head>(1, [utf8(policy), utf8(origin), note, quorum ? 0n : 1n]);

export const openReceipt = (receipt: Uint8Array, entry: Uint8Array, { policy, origin }: Trust) =>
  perform<[...head: Head, note: Uint8Array, index: bigint]>(2, [utf8(policy), utf8(origin), receipt, entry]);

export const proveInclusion = (tree: Tree, index: bigint, entry: Uint8Array, proof: Uint8Array) =>
  perform(3, [...tree, index, entry, proof]);

/** Of each item its entry, its index and its proof; in the order of the indexes, for shared paths to be hashed once. */
export const proveInclusions = (tree: Tree, items: Argument[]) => perform(4, [...tree, ...items]);

/** Hashes in base64: their bytes, one after the other. */
export const parseProof = (hashes: string[]) => perform<[Uint8Array]>(5, hashes.map((hash) => utf8(hash)))[0];

/** What to fetch below the log's prefix. */
export const pathsOf = ([size]: Tree, read: Read) => perform<string[]>(6, [size, ...read]);

/** The entries that were to be read, proven by what was fetched. */
export function openEntries(tree: Tree, read: ReadEntries, answers: Uint8Array[]): Uint8Array[] {
  const [start, ...entries] = perform<[bigint, ...Uint8Array[]]>(7, [...tree, ...read, ...answers]);
  return entries.slice(Number(read[1] - start), Number(read[2] - start));
}

export const proveTile = (tree: Tree, read: Read, answers: Uint8Array[]) => perform(8, [...tree, ...read, ...answers]);

/** That a tree begins with an older one, by what `readConsistency` names. */
export const proveConsistency = (newer: Tree, older: Tree, answers: Uint8Array[]) =>
  perform(9, [...newer, ...older, ...readConsistency(older), ...answers]);

export const readConsistency = ([size]: Tree): Read => [2n, size];
