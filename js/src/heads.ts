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

/** `list` and `added`, once, as long as there is room. */
export function withEvidence(list: Evidence[], added: Evidence): Evidence[] {
  const known = list.some(({ kept, shown }) => same(kept, added.kept) && same(shown, added.shown));
  return known || list.length >= MOST_EVIDENCE ? list : [...list, copied(added)];
}

const copied = ({ kept, shown }: Evidence): Evidence => ({ kept: kept.slice(), shown: shown.slice() });

/** Heads for as long as the object lives: a log that is rewritten between two visits goes unnoticed. */
export class MemoryHeadStore implements HeadStore {
  readonly #heads = new Map<string, Uint8Array>();
  readonly #evidence = new Map<string, Evidence[]>();

  async get(origin: string): Promise<Uint8Array | undefined> {
    return this.#heads.get(origin)?.slice();
  }

  async replace(origin: string, expected: Uint8Array | undefined, next: Uint8Array): Promise<boolean> {
    if (!same(this.#heads.get(origin), expected)) return false;
    this.#heads.set(origin, next.slice());
    return true;
  }

  async addEvidence(origin: string, evidence: Evidence): Promise<void> {
    this.#evidence.set(origin, withEvidence(this.#evidence.get(origin) ?? [], evidence));
  }

  async evidence(origin: string): Promise<Evidence[]> {
    return (this.#evidence.get(origin) ?? []).map(copied);
  }

  async forget(origin: string): Promise<void> {
    this.#heads.delete(origin);
    this.#evidence.delete(origin);
  }
}
