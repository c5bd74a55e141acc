// The log that is measured: a tree of 2^30 leaves of which a few are real, and one of 100,000 real entries.

import { createHash } from "node:crypto";
import { Key } from "../test/sample-log.mjs";

const HEIGHT = 30;
const sha256 = (...parts) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
};
const leafHash = (entry) => sha256(Buffer.of(0), entry);
const nodeHash = (left, right) => sha256(Buffer.of(1), left, right);
const key = new Key("example.com/bench", 9);

export const policy = `log ${key.vkey}\nquorum none\n`;
export const vkey = key.vkey;

/** An audit event of about 300 bytes. */
const entryOf = (index) =>
  Buffer.from(JSON.stringify({ id: `event-${index}`, action: "invoice.voided", actor: { type: "user", id: `usr_${index % 977}` }, metadata: { note: "x".repeat(180 + (index % 61)) } }));

const signed = (size, root) => {
  const text = `${key.name}\n${size}\n${root.toString("base64")}\n`;
  return `${text}\n${key.line(text)}`;
};

/** The leaves at these sorted indexes with their proofs, in a tree whose other nodes are what they are. */
export function sparse(indexes) {
  const entries = indexes.map(entryOf);
  let row = new Map(indexes.map((index, at) => [index, leafHash(entries[at])]));
  const proofs = indexes.map(() => []);
  for (let level = 0; level < HEIGHT; level++) {
    const above = new Map();
    const node = (index) => row.get(index) ?? sha256(`${level}/${index}`);
    indexes.forEach((leaf, at) => proofs[at].push(node(Math.floor(leaf / 2 ** level) ^ 1)));
    for (const index of row.keys()) above.set(index >> 1, nodeHash(node(index & ~1), node(index | 1)));
    row = above;
  }
  const note = signed(2 ** HEIGHT, row.get(0));
  const receipts = [0].map((at) => `c2sp.org/tlog-proof@v1\nindex ${indexes[at]}\n${proofs[at].map((hash) => `${hash.toString("base64")}\n`).join("")}\n${note}`);
  return { note, indexes, entries, proofs: proofs.map((proof) => Buffer.concat(proof)), receipt: receipts[0] };
}

/** `count` entries, as the entry bundles of tlog-tiles. */
export function run(count) {
  const entries = Array.from({ length: count }, (_, index) => entryOf(index));
  let row = entries.map(leafHash);
  while (row.length > 1) {
    row = Array.from({ length: Math.ceil(row.length / 2) }, (_, at) => (2 * at + 1 < row.length ? nodeHash(row[2 * at], row[2 * at + 1]) : row[2 * at]));
  }
  const bundles = [];
  for (let first = 0; first < count; first += 256) {
    bundles.push(Buffer.concat(entries.slice(first, first + 256).flatMap((entry) => [Buffer.of(entry.length >> 8, entry.length & 255), entry])));
  }
  return { note: signed(count, row[0]), bundles, count };
}

/** Bytes for the page: a length of four bytes before each part. */
export const packed = (parts) =>
  Buffer.concat(
    parts.flatMap((part) => {
      const bytes = Buffer.from(part);
      const length = Buffer.alloc(4);
      length.writeUInt32LE(bytes.length);
      return [length, bytes];
    }),
  );
