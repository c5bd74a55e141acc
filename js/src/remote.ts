// GET requests below a log's prefix, bounded in bytes and in time: a server can neither fill the memory nor keep us waiting.

import { within } from "./deadline.js";
import { UncheckedError, VerificationError } from "./errors.js";
import { joined } from "./joined.js";

/** The most bytes of each kind of answer: what the formats allow. */
export const MOST_BYTES = {
  note: 1_000_000,
  entry: 65_535,
  receipt: 1_200_000,
  tile: 256 * 32,
  bundle: 256 * (2 + 65_535),
};

export class Remote {
  readonly #base: URL;
  readonly #fetch: typeof fetch;
  readonly #timeout: number;

  constructor(base: URL, fetch: typeof globalThis.fetch, timeout: number) {
    this.#base = base;
    this.#fetch = fetch;
    this.#timeout = timeout;
  }

  /** The bytes at `path`, if the answer is complete and has the status 200. */
  get(path: string, most: number, signal?: AbortSignal, cache: RequestCache = "no-cache"): Promise<Uint8Array> {
    // A query that the log's address has, an access key say, stays.
    const url = new URL(this.#base);
    url.pathname = url.pathname.replace(/\/*$/, "/") + path;
    // Called without a receiver: a browser's fetch refuses any but its own.
    const fetch = this.#fetch;
    const answer = async (signal: AbortSignal) => {
      try {
        return await body(await fetch(url, { cache, signal }), most, signal);
      } catch (cause) {
        if (cause instanceof VerificationError) throw cause;
        throw new UncheckedError("unreachable", `${url.pathname}: ${cause}`, { cause });
      }
    };
    return within(signal, answer, this.#timeout);
  }
}

async function body(response: Response, most: number, signal: AbortSignal): Promise<Uint8Array> {
  const reader = response.body?.getReader();
  const cancel = () => void reader?.cancel().catch(() => {});
  signal.addEventListener("abort", cancel);
  try {
    signal.throwIfAborted();
    const { status } = response;
    if (status !== 200) throw new UncheckedError("unreachable", `status ${status}`, { status });
    const parts: Uint8Array[] = [];
    let length = 0;
    for (let part; (part = (await reader?.read())?.value); parts.push(part)) {
      length += part.length;
      if (length > most) throw new UncheckedError("answer_too_large", `more than ${most} bytes`);
    }
    return joined(parts);
  } finally {
    cancel();
  }
}
