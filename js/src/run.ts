// Reading consecutive entries: a group of bundles at a time is proven as a whole, while the next ones are on their way.

import { follow } from "./deadline.js";
import type { Entry } from "./entry.js";

/** Reads and proves the entries of `[first, end)`. */
export type Read = (first: bigint, end: bigint, signal: AbortSignal) => Promise<Entry[]>;

const BUNDLE = 256n;
const GROUPS_AHEAD = 2;
// A group grows while its entries are small, and shrinks where they are large: memory stays at a few groups.
const MOST_BUNDLES = 8n;
const SMALL_GROUP = 1 << 20;
const LARGE_GROUP = 4 << 20;

/** What is to be read; only known once a checkpoint is. */
export interface Bounds {
  first: bigint;
  end: bigint;
  read: Read;
}

/** An iterator over the entries within `bounds()`; its `return` aborts what is on its way. */
export function runOf(bounds: (signal: AbortSignal) => Promise<Bounds>, signal?: AbortSignal): AsyncGenerator<Entry, void> {
  const stop = new AbortController();
  const entries = generator(bounds, stop, signal);
  // The generator's own `return` would wait for the group that a pending `next` waits for.
  const leave = entries.return.bind(entries);
  entries.return = (value) => {
    stop.abort();
    return leave(value);
  };
  return entries;
}

async function* generator(
  bounds: (signal: AbortSignal) => Promise<Bounds>,
  stop: AbortController,
  caller: AbortSignal | undefined,
): AsyncGenerator<Entry, void> {
  const { signal } = stop;
  follow(caller, stop);
  try {
    const { first, end, read } = await bounds(signal);
    const groups: Promise<Entry[]>[] = [];
    let bundles = 1n;
    for (let next = first; ; ) {
      while (next < end && groups.length <= GROUPS_AHEAD) {
        const boundary = (next / BUNDLE + bundles) * BUNDLE;
        const group = read(next, boundary < end ? boundary : end, signal);
        // It is awaited in its turn; until then its failure is nobody's.
        group.catch(() => {});
        groups.push(group);
        next = boundary;
      }
      const entries = await groups.shift();
      if (!entries) return;
      const bytes = entries.reduce((sum, entry) => sum + entry.bytes.length, 0);
      if (bytes < SMALL_GROUP && bundles < MOST_BUNDLES) bundles *= 2n;
      if (bytes > LARGE_GROUP && bundles > 1n) bundles /= 2n;
      for (const entry of entries) {
        signal.throwIfAborted();
        yield entry;
      }
    }
  } finally {
    stop.abort();
  }
}
