// What can go wrong, in the three classes that a caller treats differently; the codes are listed in docs/format.md.

import type { Evidence } from "./heads.js";

/** `parse`: it cannot be read. `verify`: it is proven false. `unchecked`: it could not be checked. */
export type Kind = "parse" | "verify" | "unchecked";

/** What an error can have besides its code. */
export interface Details {
  cause?: unknown;
  position?: number;
  status?: number;
  evidence?: Evidence;
}

/** Why something is not proven. Branch on the class, or on `code`, which is stable; `message` is for people. */
export abstract class VerificationError extends Error {
  abstract readonly kind: Kind;
  readonly code: string;
  /** Of `verifyInclusions`: which of the items it is, from 0 on. Of a policy: its line, from 1 on. */
  declare readonly position?: number;

  constructor(code: string, message: string, details?: Details) {
    super(message, details);
    this.code = code;
    Object.assign(this, details);
  }
}

/** It was read, and it is proven false: evidence of tampering. */
export class TamperingError extends VerificationError {
  override readonly name = "TamperingError";
  readonly kind = "verify";
  /** With code `history_rewritten`: the two signed notes that contradict each other. */
  declare readonly evidence?: Evidence;
}

/** It cannot be read, which says nothing about the log. */
export class UnreadableError extends VerificationError {
  override readonly name = "UnreadableError";
  readonly kind = "parse";
}

/** It could not be checked: no network, no key, not enough cosignatures, not yet covered. */
export class UncheckedError extends VerificationError {
  override readonly name = "UncheckedError";
  readonly kind = "unchecked";
  /** With code `unreachable`: the HTTP status, if there was an answer. */
  declare readonly status?: number;
}
