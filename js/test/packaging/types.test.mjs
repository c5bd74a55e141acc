// TypeScript consumers of the installed package, under each way to resolve modules, with the strictest checks.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { installed } from "./installed.mjs";

const modules = fileURLToPath(new URL("../../node_modules/", import.meta.url));

const browserCode = `
import {
  Checkpoint, Entry, IndexedDbHeadStore, LogClient, MemoryHeadStore, TamperingError, UncheckedError, UnreadableError,
  VerificationError, consistencyPaths, entriesPaths, openCheckpoint, tilePaths, verifyConsistency, verifyEntries, verifyInclusion,
  verifyInclusions, verifyReceipt, verifyTile,
  type Evidence, type HeadStore, type Inclusion, type Kind, type LogClientOptions, type Proof, type Receipt, type Run,
  type Tile, type Trust, type Waiting,
} from "attestlog";
import { init, LogClient as SlimClient, type WasmSource } from "attestlog/slim";

const trust: Trust = { policy: "a policy" };
const heads: HeadStore = Math.random() < 0.5 ? new MemoryHeadStore() : new IndexedDbHeadStore("another name");
const options: LogClientOptions = { ...trust, heads, timeout: 1000 };

export async function all(bytes: Uint8Array, source: WasmSource, waiting: Waiting): Promise<bigint[]> {
  await init(source);
  const log = new LogClient(new URL("https://log.example"), options);
  new SlimClient("https://log.example", options);
  const head: Checkpoint = await log.checkpoint(waiting);
  const entry: Entry = await log.entry(4711);
  const sizes = [head.size, entry.index];
  for await (const { index, bytes } of log.entries({ from: 4n, to: 7 })) sizes.push(index, BigInt(bytes.length));
  const { index, receipt }: Receipt = await log.receipt(7n);
  const { checkpoint } = await verifyReceipt(receipt, bytes, trust);
  const proof: Proof = ["hash"];
  const inclusion: Inclusion = { index, entry: bytes, proof };
  await verifyInclusion(checkpoint, inclusion);
  await verifyInclusions(checkpoint, [inclusion]);
  const newer = await openCheckpoint("note", trust);
  await verifyConsistency(checkpoint, newer, [bytes]);
  const run: Run = { from: 0, to: head.size };
  const entries: Uint8Array[] = await verifyEntries(head, run, [bytes]);
  const tile: Tile = { level: 0, index: 0n, width: 7 };
  const paths: string[] = [...(await entriesPaths(head, run)), ...(await tilePaths(head, tile)), ...(await consistencyPaths(head, newer))];
  await verifyTile(head, tile, entries);
  const evidence: Evidence[] = await log.evidence();
  return [...sizes, BigInt(paths.length + evidence.length)];
}

export function kindOf(error: unknown): Kind | undefined {
  if (error instanceof TamperingError) return error.evidence ? error.kind : "verify";
  if (error instanceof UncheckedError || error instanceof UnreadableError) return error.kind;
  return error instanceof VerificationError ? error.kind : undefined;
}

export async function refused(head: Checkpoint, bytes: Uint8Array) {
  // @ts-expect-error: a checkpoint is made by nobody else
  new Checkpoint();
  // @ts-expect-error: what looks like one is none
  await verifyInclusion({ origin: "log", size: 7n, root: bytes, note: bytes }, { index: 7, entry: bytes, proof: [] });
  // @ts-expect-error: an index is no text
  await verifyInclusion(head, { index: "7", entry: bytes, proof: [] });
  // @ts-expect-error: an entry is bytes
  await verifyReceipt("receipt", "entry", trust);
  // @ts-expect-error: nothing is verified without saying whom to trust
  await openCheckpoint("note", {});
  // @ts-expect-error: the size is not to be written
  head.size = 7n;
}
`;

const nodeCode = `
import { type Evidence, FileHeadStore, type HeadStore } from "attestlog/node";
import { LogClient } from "attestlog";
export const heads: HeadStore = new FileHeadStore("heads");
export const log = new LogClient("https://log.example", { policy: "a policy", heads });
export const evidence = (): Promise<Evidence[]> => log.evidence();
`;

const strict = {
  target: "ES2022",
  strict: true,
  noEmit: true,
  skipLibCheck: false,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  verbatimModuleSyntax: false,
};
const nodenext = { ...strict, module: "NodeNext", moduleResolution: "NodeNext" };
const bundler = { ...strict, module: "ESNext", moduleResolution: "Bundler" };
const inBrowser = { lib: ["ES2022", "DOM"], types: [] };
const inNode = { lib: ["ES2022"], types: ["node"], typeRoots: [`${modules}@types`] };

const consumers = [
  ["ES modules under nodenext", "consumer.mts", browserCode, { ...nodenext, ...inBrowser }],
  ["CommonJS under nodenext", "consumer.cts", browserCode, { ...nodenext, ...inBrowser }],
  ["a bundler's resolution", "consumer.ts", browserCode, { ...bundler, ...inBrowser }],
  ["ES modules of Node", "consumer.mts", nodeCode, { ...nodenext, ...inNode }],
  ["CommonJS of Node", "consumer.cts", nodeCode, { ...nodenext, ...inNode }],
];

for (const [how, file, code, compilerOptions] of consumers) {
  test(`TypeScript has nothing to say about ${how}`, async () => {
    const home = await installed(how, { [file]: code, "tsconfig.json": JSON.stringify({ compilerOptions, files: [file] }) });
    const compiler = `${modules}typescript/bin/tsc`;
    await promisify(execFile)(process.execPath, [compiler], { cwd: home }).catch(({ stdout }) => assert.fail(stdout));
  });
}
