// Waiting that ends: with a result, with the caller's signal, or with a deadline, also where the work ignores its signal.

import { UncheckedError } from "./errors.js";

/** What `work` returns, unless `signal` aborts or `milliseconds` pass before. The signal given to it aborts when this ends. */
export async function within<T>(
  milliseconds: number | undefined,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const inner = new AbortController();
  const stop = () => inner.abort(signal?.reason);
  const late = () => inner.abort(new UncheckedError("timed_out", `no complete answer within ${milliseconds} ms`));
  const timer = milliseconds === undefined ? undefined : setTimeout(late, milliseconds);
  signal?.addEventListener("abort", stop);
  try {
    return await new Promise<T>((resolve, reject) => {
      inner.signal.addEventListener("abort", () => reject(inner.signal.reason));
      work(inner.signal).then(resolve, reject);
    });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
    // Where one of several parts failed, the others need not go on.
    inner.abort();
  }
}
