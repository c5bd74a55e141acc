// The heads of a Node process or of many: files in one directory, with no lock that a crash could leave behind.

/// <reference types="node" />

import { createHash, randomUUID } from "node:crypto";
import { link, mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Evidence, type HeadStore, MOST_EVIDENCE, same } from "./heads.js";

interface Generation {
  number: number;
  note: Uint8Array | undefined;
}

/**
 * Heads in a directory. Each head of an origin is a new file, `HASH.NUMBER.note`, and the highest number counts: `replace`
 * links the next number, which one of several processes can do, and none can do in part. It needs hard links.
 */
export class FileHeadStore implements HeadStore {
  readonly #directory: string;

  constructor(directory: string) {
    if (typeof directory !== "string") throw new TypeError("directory must be a string");
    this.#directory = directory;
  }

  async get(origin: string): Promise<Uint8Array | undefined> {
    return (await this.#newest(prefixOf(origin))).note;
  }

  async replace(origin: string, expected: Uint8Array | undefined, next: Uint8Array): Promise<boolean> {
    const prefix = prefixOf(origin);
    const newest = await this.#newest(prefix);
    return same(newest.note, expected) && this.#advance(prefix, newest.number + 1, next);
  }

  async addEvidence(origin: string, { kept, shown }: Evidence): Promise<void> {
    const prefix = prefixOf(origin);
    if ((await this.evidence(origin)).length >= MOST_EVIDENCE) return;
    const name = `${prefix}.${digest(kept)}-${digest(shown)}`;
    // A crash in between leaves a `kept` without its `shown`, which counts for nothing.
    for (const [end, note] of [["kept", kept], ["shown", shown]] as const) {
      await rename(await this.#written(prefix, note), this.#path(`${name}.${end}`));
    }
    await this.#sync();
  }

  async evidence(origin: string): Promise<Evidence[]> {
    const names = await this.#names(prefixOf(origin), ".shown");
    const pair = async (shown: string) => {
      const kept = shown.replace(/shown$/, "kept");
      return { kept: await this.#read(kept), shown: await this.#read(shown) };
    };
    return Promise.all(names.map(pair));
  }

  async forget(origin: string): Promise<void> {
    const prefix = prefixOf(origin);
    // An empty file, since a number must never come twice: a slow `replace` could take the second for the first.
    while (!(await this.#advance(prefix, (await this.#newest(prefix)).number + 1, new Uint8Array())));
    for (const end of [".shown", ".kept"]) {
      for (const name of await this.#names(prefix, end)) await rm(this.#path(name), { force: true });
    }
  }

  async #newest(prefix: string): Promise<Generation> {
    for (;;) {
      const number = Math.max(0, ...(await this.#numbers(prefix)));
      if (number === 0) return { number, note: undefined };
      try {
        const note = await this.#read(`${prefix}.${number}.note`);
        return { number, note: note.length ? note : undefined };
      } catch (error) {
        // It was removed since it was listed, so there is a higher one.
        if (codeOf(error) !== "ENOENT") throw error;
      }
    }
  }

  /** Makes `note` generation `number`, if no other has it. */
  async #advance(prefix: string, number: number, note: Uint8Array): Promise<boolean> {
    const written = await this.#written(prefix, note);
    try {
      await link(written, this.#path(`${prefix}.${number}.note`));
    } catch (error) {
      if (codeOf(error) === "EEXIST") return false;
      throw error;
    } finally {
      await rm(written, { force: true });
    }
    await this.#sync();
    const numbers = await this.#numbers(prefix);
    // The one before stays: a directory that is listed while it changes may hide what comes or goes meanwhile.
    for (const old of numbers) {
      if (old < number - 1) await rm(this.#path(`${prefix}.${old}.note`), { force: true });
    }
    // With a higher one there, others went on while this one was slow: theirs counts, and the caller compares again.
    return Math.max(...numbers) === number;
  }

  /** Writes a file under a name that nobody reads: what a crash leaves of it does no harm. */
  async #written(prefix: string, note: Uint8Array): Promise<string> {
    await mkdir(this.#directory, { recursive: true });
    const path = this.#path(`${prefix}.${randomUUID()}.tmp`);
    const file = await open(path, "wx");
    try {
      await file.writeFile(note);
      await file.sync();
    } finally {
      await file.close();
    }
    return path;
  }

  /** Makes the directory's new names durable; where a directory cannot be opened (Windows), the system does so itself. */
  async #sync(): Promise<void> {
    const directory = await open(this.#directory, "r").catch(() => undefined);
    await directory?.sync().catch(() => {});
    await directory?.close();
  }

  async #numbers(prefix: string): Promise<number[]> {
    const names = await this.#names(prefix, ".note");
    return names.map((name) => Number(name.slice(prefix.length + 1, -".note".length)));
  }

  async #names(prefix: string, end: string): Promise<string[]> {
    try {
      const names = await readdir(this.#directory);
      return names.filter((name) => name.startsWith(`${prefix}.`) && name.endsWith(end)).sort();
    } catch (error) {
      if (codeOf(error) === "ENOENT") return [];
      throw error;
    }
  }

  async #read(name: string): Promise<Uint8Array> {
    return new Uint8Array(await readFile(this.#path(name)));
  }

  #path(name: string): string {
    return join(this.#directory, name);
  }
}

// Not the origin itself, which has slashes and may be longer than a file's name, and case that some systems ignore.
const prefixOf = (origin: string) => digest(new TextEncoder().encode(origin));

const digest = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex").slice(0, 32);

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code;
