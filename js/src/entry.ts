// An entry that was proven, as the log's writer sent it.

import type { Checkpoint } from "./checkpoint.js";
import { textOf } from "./text.js";

export class Entry {
  declare readonly index: bigint;
  /** The exact bytes that were hashed: show these, and nothing that was derived elsewhere. */
  declare readonly bytes: Uint8Array;
  /** What the entry was proven against. */
  declare readonly checkpoint: Checkpoint;

  constructor(index: bigint, bytes: Uint8Array, checkpoint: Checkpoint) {
    this.index = index;
    this.bytes = bytes;
    this.checkpoint = checkpoint;
  }

  /** The bytes as UTF-8; throws a TypeError where they are not, since a replacement character is not what was hashed. */
  text(): string {
    return textOf(this.bytes);
  }

  /** The text as JSON. Of a field that stands there twice, this is the last. */
  json(): unknown {
    return JSON.parse(this.text());
  }
}
