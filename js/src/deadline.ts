// Waiting that ends: with a result, with the caller's signal, or with a deadline, also where the work ignores its signal.

import { UncheckedError } from "./errors.js";

/** Aborts `inner` when `outer` aborts, until it aborts by itself; throws where `outer` has aborted before. */
export function follow(outer: AbortSignal | undefined, inner: AbortController): void {
  outer?.throwIfAborted();
  outer?.addEventListener("abort", () => inner.abort(outer.reason), { signal: inner.signal });
}

/** What `work` returns, unless `signal` aborts or `milliseconds` pass before. The signal given to it aborts when this ends. */
export async function within<T>(
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
  milliseconds?: number,
): Promise<T> {
  const inner = new AbortController();
  follow(signal, inner);
  const late = () => inner.abort(new UncheckedError("timed_out", `no complete answer within ${milliseconds} ms`));
  const timer = milliseconds === undefined ? undefined : setTimeout(late, milliseconds);
  try {
    return await new Promise<T>((resolve, reject) => {
      inner.signal.addEventListener("abort", () => reject(inner.signal.reason));
      work(inner.signal).then(resolve, reject);
    });
  } finally {
    clearTimeout(timer);
    // Where one of several parts failed, the others need not go on.
    inner.abort();
  }
}
