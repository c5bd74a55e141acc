// The heads of a browser: one IndexedDB database for all tabs of the page's origin.

import { type Evidence, type HeadStore, same, withEvidence } from "./heads.js";

type Store = "heads" | "evidence";

/** Heads in IndexedDB. Its read-write transactions run one after the other, in all tabs, which makes `replace` atomic. */
export class IndexedDbHeadStore implements HeadStore {
  readonly #name: string;

  constructor(name = "attestlog") {
    this.#name = name;
  }

  get(origin: string): Promise<Uint8Array | undefined> {
    return this.#run("readonly", (store, done) => {
      store("heads").get(origin).onsuccess = (event) => done(resultOf(event));
    });
  }

  replace(origin: string, expected: Uint8Array | undefined, next: Uint8Array): Promise<boolean> {
    return this.#run("readwrite", (store, done) => {
      store("heads").get(origin).onsuccess = (event) => {
        const equal = same(resultOf(event), expected);
        if (equal) store("heads").put(next, origin);
        done(equal);
      };
    });
  }

  addEvidence(origin: string, evidence: Evidence): Promise<void> {
    return this.#run("readwrite", (store, done) => {
      store("evidence").get(origin).onsuccess = (event) => {
        store("evidence").put(withEvidence(resultOf(event) ?? [], evidence), origin);
        done();
      };
    });
  }

  evidence(origin: string): Promise<Evidence[]> {
    return this.#run("readonly", (store, done) => {
      store("evidence").get(origin).onsuccess = (event) => done(resultOf(event) ?? []);
    });
  }

  forget(origin: string): Promise<void> {
    return this.#run("readwrite", (store, done) => {
      store("heads").delete(origin);
      store("evidence").delete(origin);
      done();
    });
  }

  /** Runs one transaction; its result counts once it is complete, on the disk if the browser can say so. */
  async #run<T>(
    mode: IDBTransactionMode,
    work: (store: (name: Store) => IDBObjectStore, done: (result: T) => void) => void,
  ): Promise<T> {
    // A connection for each: browsers close those of pages in the background, and an open one blocks other tabs' upgrades.
    const database = await opened(this.#name);
    try {
      return await new Promise<T>((resolve, reject) => {
        const transaction = database.transaction(["heads", "evidence"], mode, { durability: "strict" });
        let result: T;
        transaction.oncomplete = () => resolve(result);
        transaction.onabort = () => reject(transaction.error ?? new Error("the transaction was aborted"));
        work((name) => transaction.objectStore(name), (value) => (result = value));
      });
    } finally {
      database.close();
    }
  }
}

function opened(name: string): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("heads");
      request.result.createObjectStore("evidence");
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

const resultOf = (event: Event) => (event.target as IDBRequest).result;
