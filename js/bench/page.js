// What is timed in the page: the same work by attestlog, by @noble and by WebCrypto.

import { ed25519 } from "@noble/curves/ed25519.js";
import { sha256 } from "@noble/hashes/sha2.js";

const text = (bytes) => new TextDecoder().decode(bytes);
const fromBase64 = (string) => Uint8Array.from(atob(string), (character) => character.charCodeAt(0));
const concat = (...parts) => {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
};
const same = (one, other) => one.length === other.length && one.every((byte, at) => byte === other[at]);
const must = (holds) => {
  if (!holds) throw new Error("it does not hold");
};

async function parts(path) {
  const bytes = new Uint8Array(await (await fetch(path)).arrayBuffer());
  const view = new DataView(bytes.buffer);
  const all = [];
  for (let at = 0; at < bytes.length; ) {
    const length = view.getUint32(at, true);
    all.push(bytes.slice(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return all;
}

/** Checkpoint and receipt as a page would read them that brings its own lenient reader. */
const noteOf = (note) => {
  const [signedText, lines] = [note.slice(0, note.indexOf("\n\n") + 1), note.slice(note.indexOf("\n\n") + 2)];
  const [, size, root] = signedText.split("\n");
  return { message: new TextEncoder().encode(signedText), signature: fromBase64(lines.split(" ")[2].trim()).slice(4), size: Number(size), root: fromBase64(root) };
};
const receiptOf = (receipt) => {
  const end = receipt.indexOf("\n\n");
  const [, index, ...hashes] = receipt.slice(0, end).split("\n");
  return { index: Number(index.slice(6)), proof: concat(...hashes.map(fromBase64)), note: receipt.slice(end + 2) };
};
const keyOf = (vkey) => fromBase64(vkey.split("+").slice(2).join("+")).slice(1);

const noble = {
  hash: (bytes) => sha256(bytes),
  verify: (signature, message, key) => ed25519.verify(signature, message, key, { zip215: false }),
};
const webcrypto = {
  hash: async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)),
  verify: async (signature, message, key) =>
    crypto.subtle.verify("Ed25519", await crypto.subtle.importKey("raw", key, "Ed25519", false, ["verify"]), signature, message),
};

const ZERO = Uint8Array.of(0);
const ONE = Uint8Array.of(1);
function climbNoble(index, entry, proof) {
  let hash = noble.hash(concat(ZERO, entry));
  for (let at = 0, node = index; at < proof.length; at += 32, node = Math.floor(node / 2)) {
    const sibling = proof.subarray(at, at + 32);
    hash = noble.hash(node % 2 ? concat(ONE, sibling, hash) : concat(ONE, hash, sibling));
  }
  return hash;
}
async function climbWebCrypto(index, entry, proof) {
  let hash = await webcrypto.hash(concat(ZERO, entry));
  for (let at = 0, node = index; at < proof.length; at += 32, node = Math.floor(node / 2)) {
    const sibling = proof.subarray(at, at + 32);
    hash = await webcrypto.hash(node % 2 ? concat(ONE, sibling, hash) : concat(ONE, hash, sibling));
  }
  return hash;
}

function rootNoble(bundles) {
  let row = [];
  for (const bundle of bundles) {
    for (let at = 0; at < bundle.length; ) {
      const length = (bundle[at] << 8) | bundle[at + 1];
      row.push(noble.hash(concat(ZERO, bundle.subarray(at + 2, at + 2 + length))));
      at += 2 + length;
    }
  }
  while (row.length > 1) {
    row = Array.from({ length: Math.ceil(row.length / 2) }, (_, at) => (2 * at + 1 < row.length ? noble.hash(concat(ONE, row[2 * at], row[2 * at + 1])) : row[2 * at]));
  }
  return row[0];
}
async function rootWebCrypto(bundles) {
  let row = [];
  for (const bundle of bundles) {
    const leaves = [];
    for (let at = 0; at < bundle.length; ) {
      const length = (bundle[at] << 8) | bundle[at + 1];
      leaves.push(webcrypto.hash(concat(ZERO, bundle.subarray(at + 2, at + 2 + length))));
      at += 2 + length;
    }
    row.push(...(await Promise.all(leaves)));
  }
  while (row.length > 1) {
    const above = [];
    for (let first = 0; first < row.length; first += 512) {
      const some = row.slice(first, first + 512);
      const pairs = Array.from({ length: Math.ceil(some.length / 2) }, (_, at) => (2 * at + 1 < some.length ? webcrypto.hash(concat(ONE, some[2 * at], some[2 * at + 1])) : some[2 * at]));
      above.push(...(await Promise.all(pairs)));
    }
    row = above;
  }
  return row[0];
}

/** Milliseconds of each of `runs` runs, after one that is not counted. */
async function times(runs, work) {
  await work();
  const all = [];
  for (let run = 0; run < runs; run++) {
    const start = performance.now();
    await work();
    all.push(performance.now() - start);
  }
  return all;
}

/** The first receipt of a page: from before the verifier is there. */
globalThis.cold = async (which) => {
  const [receipt, entry, policy, vkey] = await parts("/receipt");
  const key = keyOf(text(vkey));
  if (which === "attestlog") await (await fetch("/attestlog.js")).arrayBuffer();
  const start = performance.now();
  if (which === "attestlog") {
    const { verifyReceipt } = await import("/attestlog.js");
    await verifyReceipt(receipt, entry, { policy: text(policy) });
  } else {
    const given = receiptOf(text(receipt));
    const note = noteOf(given.note);
    const [climb, verify] = which === "noble" ? [climbNoble, noble.verify] : [climbWebCrypto, webcrypto.verify];
    must(await verify(note.signature, note.message, key));
    must(same(await climb(given.index, entry, given.proof), note.root));
  }
  return performance.now() - start;
};

globalThis.measure = async () => {
  const { openCheckpoint, verifyEntries, verifyInclusion, verifyInclusions, verifyReceipt } = await import("/attestlog.js");
  const [receipt, entry, policyBytes, vkey] = await parts("/receipt");
  const [policy, key] = [text(policyBytes), keyOf(text(vkey))];
  const results = {};
  const row = async (name, count, works, runs = 15) => {
    results[name] = { count };
    for (const [which, work] of Object.entries(works)) results[name][which] = await times(runs, work);
  };

  const receiptText = text(receipt);
  await row("receipt, warm", 50, {
    attestlog: async () => {
      for (let at = 0; at < 50; at++) await verifyReceipt(receiptText, entry, { policy });
    },
    noble: async () => {
      for (let at = 0; at < 50; at++) {
        const given = receiptOf(receiptText);
        const note = noteOf(given.note);
        must(noble.verify(note.signature, note.message, key) && same(climbNoble(given.index, entry, given.proof), note.root));
      }
    },
    webcrypto: async () => {
      for (let at = 0; at < 50; at++) {
        const given = receiptOf(receiptText);
        const note = noteOf(given.note);
        must((await webcrypto.verify(note.signature, note.message, key)) && same(await climbWebCrypto(given.index, entry, given.proof), note.root));
      }
    },
  });

  for (const name of ["random", "consecutive"]) {
    const [noteBytes, indexes, ...rest] = await parts(`/${name}`);
    const note = text(noteBytes);
    const checkpoint = await openCheckpoint(note, { policy });
    const items = JSON.parse(text(indexes)).map((index, at) => ({ index, entry: rest[2 * at], proof: rest[2 * at + 1] }));
    const root = noteOf(note).root;
    if (name === "random") {
      const some = items.slice(0, 1000);
      await row("inclusion, one by one", some.length, {
        attestlog: async () => {
          for (const item of some) await verifyInclusion(checkpoint, item);
        },
        noble: async () => {
          for (const { index, entry, proof } of some) must(same(climbNoble(index, entry, proof), root));
        },
        webcrypto: async () => {
          for (const { index, entry, proof } of some.slice(0, 250)) must(same(await climbWebCrypto(index, entry, proof), root));
        },
      });
      results["inclusion, one by one"].webcrypto = results["inclusion, one by one"].webcrypto.map((time) => time * 4);
      const open = noteOf(note);
      await row("Ed25519 (a checkpoint opened)", 100, {
        attestlog: async () => {
          for (let at = 0; at < 100; at++) await openCheckpoint(note, { policy });
        },
        noble: async () => {
          for (let at = 0; at < 100; at++) must(noble.verify(open.signature, open.message, key));
        },
        webcrypto: async () => {
          for (let at = 0; at < 100; at++) must(await webcrypto.verify(open.signature, open.message, key));
        },
      });
    }
    const tenth = items.slice(0, 1000);
    await row(`batch of 10,000, ${name} leaves`, items.length, {
      attestlog: () => verifyInclusions(checkpoint, items),
      noble: async () => {
        for (const { index, entry, proof } of tenth) must(same(climbNoble(index, entry, proof), root));
      },
      webcrypto: async () => {
        await Promise.all(tenth.map(async ({ index, entry, proof }) => must(same(await climbWebCrypto(index, entry, proof), root))));
      },
    });
    for (const which of ["noble", "webcrypto"]) results[`batch of 10,000, ${name} leaves`][which] = results[`batch of 10,000, ${name} leaves`][which].map((time) => time * 10);
  }

  const [noteBytes, ...bundles] = await parts("/run");
  const note = text(noteBytes);
  const checkpoint = await openCheckpoint(note, { policy });
  const root = noteOf(note).root;
  await row(
    "run of 100,000 entries",
    Number(checkpoint.size),
    {
      attestlog: () => verifyEntries(checkpoint, { from: 0, to: checkpoint.size }, bundles),
      noble: async () => must(same(rootNoble(bundles), root)),
      webcrypto: async () => must(same(await rootWebCrypto(bundles), root)),
    },
    5,
  );
  return results;
};
