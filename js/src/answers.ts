// The log's tiles and entry bundles as they were received: fetched once, kept up to a number of bytes, never trusted.

import { within } from "./deadline.js";
import { VerificationError } from "./errors.js";
import { MOST_BYTES, type Remote } from "./remote.js";

// As many as a browser opens to one host over HTTP/1.1; more would only wait there, with their deadlines running.
const REQUESTS_AT_ONCE = 6;

/** For one answer, which is on its way, or has come and is kept. */
interface Request {
  readonly path: string;
  readonly stop: AbortController;
  answer?: Promise<Uint8Array>;
  /** How many callers wait for it. */
  waiting: number;
  /** The bytes of the answer that has come. */
  length: number;
}

export class Answers {
  readonly #remote: Remote;
  readonly #most: number;
  // In the order of last use, the longest ago first.
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
  async proven<T>(paths: string[], prove: (answers: Uint8Array[]) => T, signal?: AbortSignal): Promise<T> {
    try {
      return await this.#proven(paths, prove, signal);
    } catch (error) {
      // Two histories are proven by right answers, and what was late has taken all its time.
      if (!(error instanceof VerificationError) || /^(history_rewritten|timed_out)$/.test(error.code)) throw error;
      return this.#proven(paths, prove, signal);
    }
  }

  async #proven<T>(paths: string[], prove: (answers: Uint8Array[]) => T, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    const requests = paths.map((path) => this.#request(path));
    try {
      const answers = await within(signal, () => Promise.all(requests.map(({ answer }) => answer!)));
      try {
        return prove(answers);
      } catch (error) {
        for (const request of requests) this.#doubt(request);
        throw error;
      }
    } finally {
      // Those that nobody waits for any more need not go on.
      for (const request of requests) {
        if (--request.waiting === 0 && !request.length) {
          request.stop.abort();
          this.#forget(request);
        }
      }
    }
  }

  /** The request for a path, which callers that ask for the same share. */
  #request(path: string): Request {
    let request = this.#requests.get(path);
    if (!request) {
      request = { path, stop: new AbortController(), waiting: 0, length: 0 };
      request.answer = this.#fetched(request);
    }
    request.waiting++;
    this.#requests.delete(path);
    this.#requests.set(path, request);
    return request;
  }

  async #fetched(request: Request): Promise<Uint8Array> {
    const { path, stop: { signal } } = request;
    if (this.#running === REQUESTS_AT_ONCE) await new Promise<void>((go) => this.#queue.push(go));
    else this.#running++;
    try {
      const most = path.startsWith("tile/entries/") ? MOST_BYTES.bundle : MOST_BYTES.tile;
      const answer = await this.#remote.get(path, most, signal, this.#doubted.has(path) ? "reload" : "default");
      this.#doubted.delete(path);
      this.#keep(request, answer.length);
      return answer;
    } catch (error) {
      if (!signal.aborted) this.#doubt(request);
      throw error;
    } finally {
      // The next in the queue takes over this one's place.
      const next = this.#queue.shift();
      if (next) next();
      else this.#running--;
    }
  }

  #keep(request: Request, length: number): void {
    if (this.#requests.get(request.path) !== request) return;
    request.length = length;
    this.#bytes += length;
    for (const oldest of this.#requests.values()) {
      if (this.#bytes <= this.#most) break;
      if (oldest.length) this.#forget(oldest);
    }
  }

  /** Forgets an answer, and asks past the browser's cache the next time. */
  #doubt(request: Request): void {
    this.#forget(request);
    this.#doubted.add(request.path);
  }

  #forget(request: Request): void {
    if (this.#requests.get(request.path) !== request) return;
    this.#requests.delete(request.path);
    this.#bytes -= request.length;
  }
}
