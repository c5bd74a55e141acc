// A log read over HTTP: what it returns is proven against a checkpoint, and the checkpoint against the last one seen.

import { Answers } from "./answers.js";
import { u64 } from "./arguments.js";
import { type Checkpoint, opened, treeOf, type Trust, trusted } from "./checkpoint.js";
import { within } from "./deadline.js";
import { Entry } from "./entry.js";
import { TamperingError, UncheckedError } from "./errors.js";
import { type Evidence, type HeadStore, MemoryHeadStore } from "./heads.js";
import { IndexedDbHeadStore } from "./heads-indexeddb.js";
import { KeptHead } from "./kept-head.js";
import { verifyReceipt } from "./proofs.js";
import { MOST_BYTES, Remote } from "./remote.js";
import { runOf } from "./run.js";
import { textOf } from "./text.js";
import { openEntries, pathsOf, type ReadEntries } from "./verifier.js";

export interface LogClientOptions {
  /** The text of a tlog-policy, or one vkey. It must not come from the log's own server. */
  policy: string;
  /** The log's origin; needed where the policy names several logs. */
  origin?: string | undefined;
  /** Where heads are kept; by default IndexedDB where there is one, else memory. */
  heads?: HeadStore | undefined;
  /** How many bytes of tiles and entry bundles are kept in memory; by default 16 MiB. */
  cacheBytes?: number | undefined;
  /** Milliseconds that a request may take, its whole answer included; by default 30,000. */
  timeout?: number | undefined;
  /** Instead of the global `fetch`, to add a header say. */
  fetch?: typeof globalThis.fetch | undefined;
}

export interface Waiting {
  signal?: AbortSignal | undefined;
}

/** A receipt that was verified, with the entry that it is of. */
export interface Receipt {
  index: bigint;
  /** The text of the tlog-proof; together with the entry and the policy it can be verified anywhere. */
  receipt: string;
  entry: Uint8Array;
  checkpoint: Checkpoint;
}

export class LogClient {
  readonly #trust: Trust;
  readonly #remote: Remote;
  readonly #answers: Answers;
  readonly #kept: KeptHead;
  #newest: Checkpoint | undefined;

  /** A client of the log below `url`, such as `https://audit.example.com/logs/acme`. */
  constructor(url: string | URL, options: LogClientOptions) {
    this.#trust = trusted(options);
    const timeout = count(options.timeout ?? 30_000, "timeout");
    const base = new URL(url, globalThis.location?.href);
    this.#remote = new Remote(base, options.fetch ?? ((...request) => fetch(...request)), timeout);
    this.#answers = new Answers(this.#remote, count(options.cacheBytes ?? 16 << 20, "cacheBytes"));
    const heads = options.heads ?? ("indexedDB" in globalThis ? new IndexedDbHeadStore() : new MemoryHeadStore());
    this.#kept = new KeptHead(this.#trust, heads, this.#answers, timeout);
    // Frameworks that wrap objects in proxies, which private fields cannot pass, leave a frozen one alone.
    Object.freeze(this);
  }

  /** The log's newest checkpoint: signed as the policy asks, and no contradiction to the last one that was kept. */
  async checkpoint({ signal }: Waiting = {}): Promise<Checkpoint> {
    const before = await this.#kept.get(signal);
    const note = await this.#remote.get("checkpoint", MOST_BYTES.note, signal);
    const shown = opened(note, this.#trust, true);
    if (!(await this.#kept.accept(shown, before, signal))) {
      throw new UncheckedError("older_checkpoint", `the log has shown more than ${shown.size} entries before`);
    }
    if (!this.#newest || shown.size > this.#newest.size) this.#newest = shown;
    return shown;
  }

  /** The entry at an index, proven against the newest checkpoint that this client has, or a new one. */
  async entry(index: number | bigint, { signal }: Waiting = {}): Promise<Entry> {
    const at = u64(index, "index");
    const head = await this.#covering(at + 1n, signal);
    const [entry] = await this.#read(head, at, at + 1n, signal);
    return entry!;
  }

  /** The entries of `[from, to)` in their order, up to the log's newest where `to` is missing. They are proven in groups. */
  entries(range: { from?: number | bigint | undefined; to?: number | bigint | undefined } & Waiting = {}): AsyncIterable<Entry> {
    const first = u64(range.from ?? 0, "from");
    const to = range.to === undefined ? undefined : u64(range.to, "to");
    if (to !== undefined && to < first) throw new RangeError("to must not be below from");
    const bounds = async (signal: AbortSignal) => {
      const head = to === undefined ? await this.checkpoint({ signal }) : await this.#covering(to, signal);
      if (first > head.size) throw notCovered(first, head);
      const read = (first: bigint, end: bigint, signal: AbortSignal) => this.#read(head, first, end, signal);
      return { first, end: to ?? head.size, read };
    };
    return { [Symbol.asyncIterator]: () => runOf(bounds, range.signal) };
  }

  /** The receipt of an entry, verified with it, and its checkpoint compared with the last one that was kept. */
  async receipt(index: number | bigint, { signal }: Waiting = {}): Promise<Receipt> {
    const at = u64(index, "index");
    const before = await this.#kept.get(signal);
    const [entry, bytes] = await within(signal, (both) =>
      Promise.all([
        this.#remote.get(`entries/${at}`, MOST_BYTES.entry, both),
        this.#remote.get(`entries/${at}/receipt`, MOST_BYTES.receipt, both),
      ]),
    );
    const proven = await verifyReceipt(bytes, entry, this.#trust);
    if (proven.index !== at) {
      throw new TamperingError("index_mismatch", `the receipt is of entry ${proven.index}, not ${at}`);
    }
    // An older checkpoint proves the entry as well as a newer one; what matters is that they are of one history.
    await this.#kept.accept(proven.checkpoint, before, signal);
    return { receipt: textOf(bytes), entry, ...proven };
  }

  /** What is kept of this log's contradictions. */
  async evidence({ signal }: Waiting = {}): Promise<Evidence[]> {
    return this.#kept.evidence(signal);
  }

  /** A verified checkpoint of at least this size. */
  async #covering(size: bigint, signal?: AbortSignal): Promise<Checkpoint> {
    if (this.#newest && size <= this.#newest.size) return this.#newest;
    const head = await this.checkpoint({ signal });
    if (size > head.size) throw notCovered(size, head);
    return head;
  }

  async #read(head: Checkpoint, first: bigint, end: bigint, signal?: AbortSignal, again = true): Promise<Entry[]> {
    const tree = treeOf(head);
    const range: ReadEntries = [0n, first, end];
    try {
      const entries = await this.#answers.proven(pathsOf(tree, range), (answers) => openEntries(tree, range, answers), signal);
      return entries.map((bytes, at) => new Entry(first + BigInt(at), bytes, head));
    } catch (error) {
      // A log may take away a partial tile once the full one is there (tlog-tiles); a newer head does not ask for it.
      if (!(again && error instanceof UncheckedError && error.status === 404)) throw error;
      const newer = await this.checkpoint({ signal });
      if (newer.size <= head.size) throw error;
      return this.#read(newer, first, end, signal, false);
    }
  }
}

function count(value: number, name: string): number {
  // What a timer can hold: beyond it, a timer fires at once.
  if (Number.isInteger(value) && value >= 0 && value < 2 ** 31) return value;
  throw new RangeError(`${name} must be an integer within 31 bits`);
}

function notCovered(size: bigint, head: Checkpoint): UncheckedError {
  return new UncheckedError("not_covered_yet", `the newest checkpoint covers ${head.size} entries, not ${size}`);
}
