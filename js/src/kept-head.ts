// The head that was kept of one log, and how one that the log shows now is compared with it.

import type { Answers } from "./answers.js";
import { bytes } from "./arguments.js";
import { type Checkpoint, opened, treeOf, type Trust } from "./checkpoint.js";
import { within } from "./deadline.js";
import { TamperingError, UncheckedError, VerificationError } from "./errors.js";
import type { Evidence, HeadStore } from "./heads.js";
import { pathsOf, policyOrigins, proveConsistency, readConsistency } from "./verifier.js";

// Each failure to replace it means that another tab did; so many in a row mean that the store is broken.
const MOST_TRIES = 20;

export class KeptHead {
  readonly #trust: Trust;
  readonly #heads: HeadStore;
  readonly #answers: Answers;
  readonly #timeout: number;
  #origin: string | undefined;

  constructor(trust: Trust, heads: HeadStore, answers: Answers, timeout: number) {
    this.#trust = trust;
    this.#origin = trust.origin;
    this.#heads = heads;
    this.#answers = answers;
    this.#timeout = timeout;
  }

  /** The signed note that is kept. */
  get(signal?: AbortSignal): Promise<Uint8Array | undefined> {
    return this.#asked((heads, origin) => heads.get(origin), signal);
  }

  evidence(signal?: AbortSignal): Promise<Evidence[]> {
    return this.#asked((heads, origin) => heads.evidence(origin), signal);
  }

  /**
   * Compares `shown` with what is kept, and keeps it if it is newer. Returns whether it is at least as new as `before`,
   * the note that was kept when the log was asked: a head that another tab kept since then does not make it old.
   */
  async accept(shown: Checkpoint, before: Uint8Array | undefined, signal?: AbortSignal): Promise<boolean> {
    let note = before;
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      if (note) {
        const kept = this.#open(note);
        await this.#compare(kept, shown, signal);
        if (shown.size < kept.size) return tries > 0;
        if (shown.size === kept.size) return true;
      }
      const expected = note;
      if (await this.#asked((heads, origin) => heads.replace(origin, expected, shown.note), signal)) return true;
      note = await this.get(signal);
    }
    throw this.#unavailable("not replaced");
  }

  async #compare(kept: Checkpoint, shown: Checkpoint, signal?: AbortSignal): Promise<void> {
    const [older, newer] = shown.size < kept.size ? [treeOf(shown), treeOf(kept)] : [treeOf(kept), treeOf(shown)];
    const prove = (answers: Uint8Array[]) => proveConsistency(newer, older, answers);
    try {
      await this.#answers.proven(pathsOf(newer, readConsistency(older)), prove, signal);
    } catch (error) {
      // Any other failure only says that an answer was wrong, and proves nothing about the two heads.
      if (error instanceof VerificationError && error.code === "history_rewritten") {
        throw await this.#rewritten({ kept: kept.note, shown: shown.note }, error.message);
      }
      throw error;
    }
  }

  async #rewritten(evidence: Evidence, message: string): Promise<TamperingError> {
    // The verdict stands, and carries the evidence, also where it cannot be kept.
    await this.#asked((heads, origin) => heads.addEvidence(origin, evidence)).catch(() => {});
    return new TamperingError("history_rewritten", message, { evidence });
  }

  /** Opens what was verified when it was kept: the witnesses may have changed since, the log's key may not. */
  #open(note: Uint8Array): Checkpoint {
    try {
      return opened(bytes(note, "head"), this.#trust, false);
    } catch (cause) {
      if (cause instanceof UncheckedError && /^(wasm|verifier)_/.test(cause.code)) throw cause;
      throw this.#unavailable(`under this policy: ${cause}`, cause);
    }
  }

  async #asked<T>(question: (heads: HeadStore, origin: string) => Promise<T>, signal?: AbortSignal): Promise<T> {
    // Not in the constructor: the verifier, which reads the policy, may come later.
    const origin = (this.#origin ??= onlyOrigin(this.#trust.policy));
    try {
      return await within(signal, async () => question(this.#heads, origin), this.#timeout);
    } catch (cause) {
      if (signal?.aborted || cause instanceof VerificationError) throw cause;
      throw this.#unavailable(String(cause), cause);
    }
  }

  #unavailable(why: string, cause?: unknown): UncheckedError {
    return new UncheckedError("heads_unavailable", `the head kept of ${this.#origin}: ${why}`, { cause });
  }
}

function onlyOrigin(policy: string): string {
  const [origin, ...others] = policyOrigins(policy);
  if (origin !== undefined && !others.length) return origin;
  throw new TypeError("the policy names not one log: set `origin`");
}
