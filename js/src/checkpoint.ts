// A checkpoint: a signed tree head, which only exists where a policy vouched for it.

import { encoded, text } from "./arguments.js";
import { type Head, openNote, type Tree } from "./verifier.js";

/** Whom to trust: the text of a tlog-policy, or one vkey. */
export interface Trust {
  policy: string;
  /** The log that is expected; without it, any log that the policy names. */
  origin?: string | undefined;
}

const NOT_OPENED = "not a Checkpoint that was opened";

// Known to this file only, so that nobody else makes a Checkpoint.
const key = {};

/** A log's size and root that trusted keys have signed. There is no other way to one than `openCheckpoint` and its like. */
export class Checkpoint {
  declare readonly origin: string;
  declare readonly size: bigint;
  readonly #root: Uint8Array;
  readonly #note: Uint8Array;

  private constructor(given: object, note: Uint8Array, [origin, size, root]: Head) {
    if (given !== key) throw new TypeError(NOT_OPENED);
    this.origin = origin;
    this.size = size;
    this.#root = root;
    this.#note = note;
    Object.freeze(this);
  }

  /** A copy of the 32 bytes of the root. */
  get root(): Uint8Array {
    return this.#root.slice();
  }

  /** A copy of the signed note. */
  get note(): Uint8Array {
    return this.#note.slice();
  }

  /** @internal Throws for all that only looks like a checkpoint. */
  static treeOf(checkpoint: Checkpoint): Tree {
    if (typeof checkpoint === "object" && checkpoint && #root in checkpoint) {
      return [checkpoint.size, checkpoint.#root.slice()];
    }
    throw new TypeError(NOT_OPENED);
  }
}

/** The tree of a checkpoint that was opened; a TypeError for anything else. */
export const treeOf = (checkpoint: Checkpoint): Tree => Checkpoint.treeOf(checkpoint);

/** The checkpoint of a head that the verifier has returned for this note. */
export const checkpointOf = (note: Uint8Array, head: Head): Checkpoint => Reflect.construct(Checkpoint, [key, note, head]);

/** A copy, checked for its types. */
export const trusted = ({ policy, origin }: Trust): Trust => ({
  policy: text(policy, "policy"),
  origin: origin === undefined ? origin : text(origin, "origin"),
});

/** Opens a signed note: the log's signature, the witnesses' as the policy asks, and the origin. */
export async function openCheckpoint(note: string | Uint8Array, trust: Trust): Promise<Checkpoint> {
  return opened(encoded(note, "note"), trusted(trust), true);
}

/** As `openCheckpoint`; without `quorum`, the log's own signature is enough. */
export function opened(note: Uint8Array, trust: Trust, quorum: boolean): Checkpoint {
  const copy = note.slice();
  return checkpointOf(copy, openNote(copy, trust, quorum));
}
