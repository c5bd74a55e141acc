// The heads of a browser: one IndexedDB database for all tabs of the page's origin.

import { type Kept, KeptHeads } from "./heads.js";

const STORE = "heads";

/** Heads in IndexedDB. Its read-write transactions run one after the other, in all tabs, which makes a step atomic. */
export class IndexedDbHeadStore extends KeptHeads {
  readonly #name: string;

  constructor(name = "attestlog") {
    super();
    this.#name = name;
  }

  protected async step<T>(origin: string, work: (kept: Kept, put: (next: Kept) => void) => T): Promise<T> {
    // A connection for each: browsers close those of pages in the background, and an open one blocks other tabs' upgrades.
    const database = await this.#open();
    try {
      return await new Promise<T>((resolve, reject) => {
        // The result counts once the transaction is complete, on the disk if the browser can say so.
        const transaction = database.transaction(STORE, "readwrite", { durability: "strict" });
        const store = transaction.objectStore(STORE);
        const kept = store.get(origin);
        let result: T;
        kept.onsuccess = () => {
          result = work(kept.result ?? {}, (next) => void store.put(next, origin));
        };
        transaction.oncomplete = () => resolve(result);
        transaction.onabort = () => reject(transaction.error);
      });
    } finally {
      database.close();
    }
  }

  #open(): Promise<IDBDatabase> {
    return new Promise((resolve, reject) => {
      const request = indexedDB.open(this.#name);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  }
}
