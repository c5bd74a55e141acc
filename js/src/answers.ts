// The log's tiles and entry bundles as they were received: fetched once, kept up to a number of bytes, never trusted.

import { within } from "./deadline.js";
import { VerificationError } from "./errors.js";
import { MOST_BYTES, type Remote } from "./remote.js";

// As many as a browser opens to one host over HTTP/1.1; more would only wait there, with their deadlines running.
const REQUESTS_AT_ONCE = 6;

interface Request {
  answer: Promise<Uint8Array>;
  waiting: number;
  stop: AbortController;
}

export class Answers {
  readonly #remote: Remote;
  readonly #most: number;
  // In the order of last use, the longest ago first.
  readonly #kept = new Map<string, Uint8Array>();
  readonly #requests = new Map<string, Request>();
  readonly #doubted = new Set<string>();
  readonly #queue: (() => void)[] = [];
  #running = 0;
  #bytes = 0;

  constructor(remote: Remote, most: number) {
    this.#remote = remote;
    this.#most = most;
  }

  /**
   * What `prove` makes of the answers to the paths. Where that fails, once more with new answers: those that failed may have
   * been a cache's, the browser's say, which would go on to give them for a year.
   */
  async proven<T>(paths: string[], prove: (answers: Uint8Array[]) => T, signal?: AbortSignal, again = true): Promise<T> {
    try {
      const answers = await this.#all(paths, signal);
      try {
        return prove(answers);
      } catch (error) {
        this.#doubt(paths);
        throw error;
      }
    } catch (error) {
      // Two histories are proven by right answers, and what was late has taken all its time.
      if (!again || !(error instanceof VerificationError) || /^(history_rewritten|timed_out)$/.test(error.code)) throw error;
      return this.proven(paths, prove, signal, false);
    }
  }

  /** The answers to all of the paths, in their order; the first failure stops the others. */
  #all(paths: string[], signal?: AbortSignal): Promise<Uint8Array[]> {
    return within(undefined, signal, (inner) => Promise.all(paths.map((path) => this.#get(path, inner))));
  }

  /** The answer to one path; callers that ask at the same time share a request, and the last who gives up ends it. */
  async #get(path: string, signal?: AbortSignal): Promise<Uint8Array> {
    signal?.throwIfAborted();
    const kept = this.#kept.get(path);
    if (kept) {
      this.#kept.delete(path);
      this.#kept.set(path, kept);
      return kept;
    }
    const request = this.#requests.get(path) ?? this.#request(path);
    request.waiting++;
    try {
      return await within(undefined, signal, () => request.answer);
    } finally {
      if (--request.waiting === 0) {
        request.stop.abort();
        if (this.#requests.get(path) === request) this.#requests.delete(path);
      }
    }
  }

  /** Forgets answers, and asks past the browser's cache the next time. */
  #doubt(paths: string[]): void {
    for (const path of paths) {
      this.#forget(path);
      this.#doubted.add(path);
    }
  }

  #request(path: string): Request {
    const stop = new AbortController();
    const request = { answer: this.#fetched(path, stop.signal), waiting: 0, stop };
    this.#requests.set(path, request);
    return request;
  }

  async #fetched(path: string, signal: AbortSignal): Promise<Uint8Array> {
    if (this.#running === REQUESTS_AT_ONCE) await new Promise<void>((go) => this.#queue.push(go));
    else this.#running++;
    try {
      const most = path.startsWith("tile/entries/") ? MOST_BYTES.bundle : MOST_BYTES.tile;
      const answer = await this.#remote.get(path, most, this.#doubted.has(path) ? "reload" : "default", signal);
      this.#doubted.delete(path);
      this.#keep(path, answer);
      return answer;
    } catch (error) {
      if (!signal.aborted) this.#doubt([path]);
      throw error;
    } finally {
      // The next in the queue takes over this one's place.
      const next = this.#queue.shift();
      if (next) next();
      else this.#running--;
    }
  }

  #keep(path: string, answer: Uint8Array): void {
    this.#forget(path);
    this.#kept.set(path, answer);
    this.#bytes += answer.length;
    for (const oldest of this.#kept.keys()) {
      if (this.#bytes <= this.#most) break;
      this.#forget(oldest);
    }
  }

  #forget(path: string): void {
    this.#bytes -= this.#kept.get(path)?.length ?? 0;
    this.#kept.delete(path);
  }
}
