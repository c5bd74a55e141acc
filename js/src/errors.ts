// What can go wrong, in the three classes that a caller treats differently; the codes are listed in docs/format.md.

import type { Evidence } from "./heads.js";

/** `parse`: it cannot be read. `verify`: it is proven false. `unchecked`: it could not be checked. */
export type Kind = "parse" | "verify" | "unchecked";

/** Why something is not proven. Branch on the class, or on `code`, which is stable; `message` is for people. */
export class VerificationError extends Error {
  readonly kind: Kind;
  readonly code: string;
  /** Of `verifyInclusions`: which of the items it is, from 0 on. */
  declare readonly position?: number;

  constructor(kind: Kind, code: string, message: string, more: { cause?: unknown; position?: number } = {}) {
    super(message, "cause" in more ? { cause: more.cause } : undefined);
    this.name = "VerificationError";
    this.kind = kind;
    this.code = code;
    if (more.position !== undefined) this.position = more.position;
  }
}

/** It was read, and it is proven false: evidence of tampering. */
export class TamperingError extends VerificationError {
  /** With code `history_rewritten`: the two signed notes that contradict each other. */
  declare readonly evidence?: Evidence;

  constructor(code: string, message: string, more: { evidence?: Evidence; position?: number } = {}) {
    super("verify", code, message, more);
    this.name = "TamperingError";
    if (more.evidence) this.evidence = more.evidence;
  }
}

/** It cannot be read, which says nothing about the log. */
export class UnreadableError extends VerificationError {
  constructor(code: string, message: string, more: { position?: number } = {}) {
    super("parse", code, message, more);
    this.name = "UnreadableError";
  }
}

/** It could not be checked: no network, no key, not enough cosignatures, not yet covered. */
export class UncheckedError extends VerificationError {
  /** With code `unreachable`: the HTTP status, if there was an answer. */
  declare readonly status?: number;

  constructor(code: string, message: string, more: { cause?: unknown; status?: number; position?: number } = {}) {
    super("unchecked", code, message, more);
    this.name = "UncheckedError";
    if (more.status !== undefined) this.status = more.status;
  }
}
