// The files of tests/vectors, as Rust runs them too.

import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { FILES } from "./vectors.mjs";

const folder = new URL("../../tests/vectors/", import.meta.url);

/** Each file's name and vectors; fails if there is one that nothing here runs, or one is missing. */
export async function vectorFiles() {
  const names = (await readdir(folder)).map((file) => file.replace(/\.json$/, "")).sort();
  assert.deepEqual(names, [...FILES].sort());
  return Promise.all(names.map(async (name) => {
    const { count, vectors } = JSON.parse(await readFile(new URL(`${name}.json`, folder), "utf8"));
    assert.ok(count > 0 && vectors.length === count, `${name}.json does not have as many as it says`);
    return { name, count, vectors };
  }));
}
