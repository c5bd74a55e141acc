// Where the last verified head of each log is kept, with compare and swap; and the evidence where two contradict each other.

/** Two signed notes of one log, neither of which can come from a tree that grew into the other's. */
export interface Evidence {
  kept: Uint8Array;
  shown: Uint8Array;
}

/** A place for signed notes, one an origin. It is what makes rewriting visible, so it should outlive the page. */
export interface HeadStore {
  get(origin: string): Promise<Uint8Array | undefined>;
  /** Puts `next` in the place of `expected` (nothing, if undefined) in one step; false, and no change, if another stands there. */
  replace(origin: string, expected: Uint8Array | undefined, next: Uint8Array): Promise<boolean>;
  /** Keeps it beside what is there; the same twice is kept once. */
  addEvidence(origin: string, evidence: Evidence): Promise<void>;
  evidence(origin: string): Promise<Evidence[]>;
  /** Forgets the head and the evidence of an origin: the next head shown is taken as it is. */
  forget(origin: string): Promise<void>;
}

// A log could sign other histories without end; the first few of them prove as much.
export const MOST_EVIDENCE = 16;

/** Whether both are missing, or have the same bytes. */
export function same(one: Uint8Array | undefined, other: Uint8Array | undefined): boolean {
  if (!one || !other) return one === other;
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}

/** All that is kept of one origin. */
export interface Kept {
  head?: Uint8Array;
  evidence?: Evidence[];
}

/** A store that keeps one value for each origin, and can look at it and change it in one step. */
export abstract class KeptHeads implements HeadStore {
  /** What `work` returns for the value that is kept, or for an empty one; and puts what it puts. */
  protected abstract step<T>(origin: string, work: (kept: Kept, put: (next: Kept) => void) => T): Promise<T>;

  get(origin: string): Promise<Uint8Array | undefined> {
    return this.step(origin, ({ head }) => head);
  }

  replace(origin: string, expected: Uint8Array | undefined, next: Uint8Array): Promise<boolean> {
    return this.step(origin, (kept, put) => {
      const equal = same(kept.head, expected);
      if (equal) put({ ...kept, head: next });
      return equal;
    });
  }

  addEvidence(origin: string, added: Evidence): Promise<void> {
    return this.step(origin, ({ head, evidence = [] }, put) => {
      const known = evidence.some(({ kept, shown }) => same(kept, added.kept) && same(shown, added.shown));
      if (!known && evidence.length < MOST_EVIDENCE) put({ ...(head && { head }), evidence: [...evidence, added] });
    });
  }

  evidence(origin: string): Promise<Evidence[]> {
    return this.step(origin, ({ evidence = [] }) => evidence);
  }

  forget(origin: string): Promise<void> {
    return this.step(origin, (_, put) => put({}));
  }
}

/** Heads for as long as the object lives: a log that is rewritten between two visits goes unnoticed. */
export class MemoryHeadStore extends KeptHeads {
  readonly #kept = new Map<string, Kept>();

  protected async step<T>(origin: string, work: (kept: Kept, put: (next: Kept) => void) => T): Promise<T> {
    // Cloned both ways: what a caller does to the bytes later is not kept.
    const put = (next: Kept) => void this.#kept.set(origin, structuredClone(next));
    return structuredClone(work(this.#kept.get(origin) ?? {}, put));
  }
}
