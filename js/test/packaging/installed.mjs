// The packed package, installed as an application would, into fresh folders.

import { execFile } from "node:child_process";
import { mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = await realpath(await mkdtemp(join(tmpdir(), "attestlog-packaging-")));
after(() => rm(folder, { recursive: true }));

const npm = async (cwd, ...words) => (await promisify(execFile)("npm", words, { cwd })).stdout;

let tarball;
const pack = async () => join(folder, JSON.parse(await npm(root, "pack", "--json", "--pack-destination", folder))[0].filename);

/** A fresh folder that has the package in node_modules, and these files: their texts by their names. */
export async function installed(name, files, { type = "module" } = {}) {
  tarball ??= pack();
  const home = join(folder, name.replace(/\W+/g, "-"));
  await mkdir(home);
  await write(home, { "package.json": JSON.stringify({ name: "consumer", private: true, type }), ...files });
  await npm(home, "install", "--offline", "--no-audit", "--no-fund", await tarball);
  return home;
}

export async function write(home, files) {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(home, name)), { recursive: true });
    await writeFile(join(home, name), text);
  }
}
