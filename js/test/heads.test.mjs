// The stores of heads: compare and swap, evidence, forgetting; and many processes at one file store.

import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import "fake-indexeddb/auto";
import { IndexedDbHeadStore, MemoryHeadStore } from "attestlog";
import { FileHeadStore } from "attestlog/node";

const directory = await mkdtemp(join(tmpdir(), "attestlog-heads-"));
after(() => rm(directory, { recursive: true }));

const origin = `example.com/${"a/".repeat(120)}`;
const bytes = (text) => new Uint8Array(Buffer.from(text));
let number = 0;
const kinds = {
  memory: () => new MemoryHeadStore(),
  "a file": () => new FileHeadStore(join(directory, `store-${number++}`)),
  IndexedDB: () => new IndexedDbHeadStore(`store-${number++}`),
};

for (const [name, make] of Object.entries(kinds)) {
  test(`in ${name}, a head is replaced only where the expected one stands`, async () => {
    const store = make();
    assert.equal(await store.get(origin), undefined);
    assert.equal(await store.replace(origin, bytes("a"), bytes("b")), false);
    assert.equal(await store.replace(origin, undefined, bytes("a")), true);
    assert.equal(await store.replace(origin, undefined, bytes("b")), false);
    assert.equal(await store.replace(origin, bytes("aa"), bytes("b")), false);
    assert.equal(await store.replace(origin, bytes("b"), bytes("b")), false);
    assert.deepEqual(await store.get(origin), bytes("a"));
    assert.equal(await store.replace(origin, bytes("a"), bytes("b")), true);
    assert.deepEqual(await store.get(origin), bytes("b"));
    assert.equal(await store.get("example.com/other"), undefined);
  });

  test(`in ${name}, one of many at the same time replaces it`, async () => {
    const store = make();
    for (const expected of [undefined, bytes("0")]) {
      const tries = Array.from({ length: 8 }, (_, at) => store.replace(origin, expected, bytes(`try ${at}`)));
      const won = (await Promise.all(tries)).flatMap((done, at) => (done ? [`try ${at}`] : []));
      assert.equal(won.length, 1);
      assert.deepEqual(await store.get(origin), bytes(won[0]));
      await store.forget(origin);
      assert.equal(await store.replace(origin, undefined, bytes("0")), true);
    }
  });

  test(`in ${name}, evidence is kept once, and not without end`, async () => {
    const store = make();
    const one = { kept: bytes("kept"), shown: bytes("shown") };
    assert.deepEqual(await store.evidence(origin), []);
    await store.addEvidence(origin, one);
    await store.addEvidence(origin, { kept: bytes("kept"), shown: bytes("shown") });
    assert.deepEqual(await store.evidence(origin), [one]);
    for (let at = 0; at < 20; at++) await store.addEvidence(origin, { kept: bytes("kept"), shown: bytes(`shown ${at}`) });
    assert.equal((await store.evidence(origin)).length, 16);
    assert.deepEqual(await store.evidence("example.com/other"), []);
  });

  test(`in ${name}, forgetting takes head and evidence, of one origin`, async () => {
    const store = make();
    for (const log of [origin, "example.com/other"]) {
      await store.replace(log, undefined, bytes("a"));
      await store.addEvidence(log, { kept: bytes("a"), shown: bytes("b") });
    }
    await store.forget(origin);
    await store.forget(origin);
    assert.equal(await store.get(origin), undefined);
    assert.deepEqual(await store.evidence(origin), []);
    assert.deepEqual(await store.get("example.com/other"), bytes("a"));
    assert.equal((await store.evidence("example.com/other")).length, 1);
    assert.equal(await store.replace(origin, undefined, bytes("c")), true);
  });

  test(`in ${name}, what the caller does to the bytes later does not matter`, async () => {
    const store = make();
    const head = bytes("head");
    await store.replace(origin, undefined, head);
    head.fill(0);
    (await store.get(origin)).fill(0);
    assert.deepEqual(await store.get(origin), bytes("head"));
  });
}

test("a file store is there after a restart, and for another process", async () => {
  const path = join(directory, "deep", "down");
  await new FileHeadStore(path).replace(origin, undefined, bytes("a"));
  assert.deepEqual(await new FileHeadStore(path).get(origin), bytes("a"));
});

test("processes that race for a file store's head lose no step", async () => {
  const path = join(directory, "raced");
  const [processes, steps] = [3, 40];
  const script = fileURLToPath(new URL("head-racer.mjs", import.meta.url));
  const racers = Array.from({ length: processes }, () => fork(script, [path, origin, String(steps)]));
  const codes = await Promise.all(racers.map((racer) => once(racer, "exit").then(([code]) => code)));
  assert.deepEqual(codes, Array(processes).fill(0));
  const head = await new FileHeadStore(path).get(origin);
  // Each step replaced N by N + 1, so one that took the place of another would be missing. A refused one may have counted.
  assert.ok(Number(Buffer.from(head).toString()) >= processes * steps);
  const left = await readdir(path);
  assert.ok(left.length <= 2, left.join(" "));
});

test("what a crash leaves does not count, and stops nobody", async () => {
  const path = join(directory, "crashed");
  const store = new FileHeadStore(path);
  await store.replace(origin, undefined, bytes("a"));
  await store.addEvidence(origin, { kept: bytes("a"), shown: bytes("b") });
  const [head] = await readdir(path);
  const prefix = head.split(".")[0];
  await writeFile(join(path, `${prefix}.5f1d.tmp`), "half a he");
  await writeFile(join(path, `${prefix}.0-0.kept`), "a");
  assert.deepEqual(await store.get(origin), bytes("a"));
  assert.equal((await store.evidence(origin)).length, 1);
  assert.equal(await store.replace(origin, bytes("a"), bytes("b")), true);
});

test("a replacement that slept through others is refused, and its file does not count", async () => {
  const path = join(directory, "slept");
  const store = new FileHeadStore(path);
  await store.replace(origin, undefined, bytes("a"));
  const [name] = await readdir(path);
  for (const [old, next] of ["ab", "bc", "cd"]) assert.equal(await store.replace(origin, bytes(old), bytes(next)), true);
  // As if it had seen "a" as the newest, and links the next number only now, when that is gone already.
  await writeFile(join(path, name.replace(".1.", ".2.")), "late");
  assert.deepEqual(await store.get(origin), bytes("d"));
  assert.equal(await store.replace(origin, bytes("late"), bytes("e")), false);
  assert.equal(await store.replace(origin, bytes("d"), bytes("e")), true);
});

test("a directory that cannot be written is an error", { skip: process.getuid?.() === 0 && "root may write anywhere" }, async () => {
  const path = await mkdtemp(join(directory, "closed-"));
  await chmod(path, 0o500);
  await assert.rejects(new FileHeadStore(path).replace(origin, undefined, bytes("a")), { code: "EACCES" });
});
