// Reads of a log in the browser, for page.js and worker.js: each settles as plain values that a test can compare.

const GUARD = 30_000;
const clients = new Map();

/** Calls of a client; `keep` takes each entry that was returned, and the rest is what the call returned besides. */
const calls = {
  checkpoint: async (client) => ({ head: plain(await client.checkpoint()) }),
  async entry(client, keep, index) {
    keep(await client.entry(index));
  },
  async entries(client, keep, range) {
    for await (const entry of client.entries(range)) keep(entry);
  },
  async receipt(client, keep, index) {
    const { index: proven, entry, receipt, checkpoint } = await client.receipt(index);
    keep({ index: proven, bytes: entry });
    return { receipt, head: plain(checkpoint), bytes: [...entry] };
  },
  evidence: async (client) => ({ evidence: (await client.evidence()).map(texts) }),
};

export function readsWith({ IndexedDbHeadStore, LogClient }) {
  const clientOf = ({ id, store, url, ...options }) => {
    if (!clients.has(id)) clients.set(id, new LogClient(url, { ...options, heads: new IndexedDbHeadStore(store) }));
    return clients.get(id);
  };
  /** `settled` is false where the call is still waiting after half a minute. */
  return async ({ log, ...options }, [name, ...given]) => {
    const entries = [];
    const start = performance.now();
    let guard;
    const hung = new Promise((late) => { guard = setTimeout(() => late({ settled: false }), GUARD); });
    const call = async () => ({ settled: true, ...(await calls[name](clientOf(options), (entry) => entries.push(entry), ...given)) });
    const outcome = await Promise.race([hung, call().catch((error) => ({ settled: true, failed: failureOf(error) }))]);
    clearTimeout(guard);
    const milliseconds = performance.now() - start;
    return { ...outcome, milliseconds, ...(await summary(entries)) };
  };
}

const text = (bytes) => new TextDecoder().decode(bytes);
const texts = ({ kept, shown }) => ({ kept: text(kept), shown: text(shown) });

export const plain = ({ origin, size, note }) => ({ origin, size: Number(size), note: text(note) });

export function failureOf(error) {
  const { name, kind, code, status, message, evidence } = error;
  return { name, kind, code, status, message, ...(evidence && { evidence: texts(evidence) }) };
}

/** The entries by their first index, their number and a digest; they stand one after the other. */
async function summary(entries) {
  const first = entries.length ? Number(entries[0].index) : undefined;
  entries.forEach(({ index }, at) => {
    if (Number(index) !== first + at) throw new Error(`entry ${index} came at place ${at} of a run from ${first}`);
  });
  const joined = new Uint8Array(entries.reduce((sum, { bytes }) => sum + 4 + bytes.length, 0));
  let at = 0;
  for (const { bytes } of entries) {
    new DataView(joined.buffer).setUint32(at, bytes.length);
    joined.set(bytes, at + 4);
    at += 4 + bytes.length;
  }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", joined));
  return { first, count: entries.length, digest: Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") };
}
