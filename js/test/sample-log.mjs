// A log made in memory, signed with a key that the tests know: straight from RFC 6962 and C2SP's texts, and slow.

import { createHash, createPrivateKey, createPublicKey, sign } from "node:crypto";

const sha256 = (...parts) => createHash("sha256").update(Buffer.concat(parts)).digest();
const leafHash = (entry) => sha256(Buffer.of(0), entry);
const nodeHash = (left, right) => sha256(Buffer.of(1), left, right);

/** MTH of RFC 6962, section 2.1, over leaf hashes. */
export function rootOf(leaves) {
  if (leaves.length === 0) return sha256();
  if (leaves.length === 1) return leaves[0];
  const left = 2 ** Math.floor(Math.log2(leaves.length - 1));
  return nodeHash(rootOf(leaves.slice(0, left)), rootOf(leaves.slice(left)));
}

/** PATH of RFC 6962, section 2.1.1. */
function path(index, leaves) {
  if (leaves.length <= 1) return [];
  const left = 2 ** Math.floor(Math.log2(leaves.length - 1));
  if (index < left) return [...path(index, leaves.slice(0, left)), rootOf(leaves.slice(left))];
  return [...path(index - left, leaves.slice(left)), rootOf(leaves.slice(0, left))];
}

/** SUBPROOF of RFC 6962, section 2.1.2. */
function subproof(old, leaves, whole) {
  if (old === leaves.length) return whole ? [] : [rootOf(leaves)];
  const left = 2 ** Math.floor(Math.log2(leaves.length - 1));
  if (old <= left) return [...subproof(old, leaves.slice(0, left), whole), rootOf(leaves.slice(left))];
  return [...subproof(old - left, leaves.slice(left), false), rootOf(leaves.slice(0, left))];
}

/** An Ed25519 key from a seed of 32 equal bytes; `type` is 1 for a log, 4 for a witness. */
export class Key {
  constructor(name, seed, type = 1) {
    const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), Buffer.alloc(32, seed)]);
    this.name = name;
    this.secret = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
    const typed = Buffer.concat([Buffer.of(type), createPublicKey(this.secret).export({ format: "der", type: "spki" }).subarray(-32)]);
    this.id = sha256(Buffer.from(`${name}\n`), typed).subarray(0, 4);
    this.vkey = `${name}+${this.id.toString("hex")}+${typed.toString("base64")}`;
  }

  line(message, prefix = Buffer.alloc(0)) {
    const signature = sign(null, Buffer.from(message), this.secret);
    return `\u2014 ${this.name} ${Buffer.concat([this.id, prefix, signature]).toString("base64")}\n`;
  }

  cosign(text, time = 1_700_000_000n) {
    const prefix = Buffer.alloc(8);
    prefix.writeBigUInt64BE(time);
    return this.line(`cosignature/v1\ntime ${time}\n${text}`, prefix);
  }
}

export class SampleLog {
  /** `entries` are strings or bytes; two logs with one key and other entries are two histories. */
  constructor(entries, key = new Key("example.com/log", 7)) {
    this.key = key;
    this.entries = entries.map((entry) => Buffer.from(entry));
    this.leaves = this.entries.map(leafHash);
  }

  get size() {
    return this.entries.length;
  }

  checkpointText(size = this.size) {
    return `${this.key.name}\n${size}\n${rootOf(this.leaves.slice(0, size)).toString("base64")}\n`;
  }

  checkpoint(size = this.size, witnesses = []) {
    const text = this.checkpointText(size);
    return `${text}\n${this.key.line(text)}${witnesses.map((witness) => witness.cosign(text)).join("")}`;
  }

  inclusion(index, size = this.size) {
    return path(index, this.leaves.slice(0, size));
  }

  consistency(old, size = this.size) {
    return old === 0 ? [] : subproof(old, this.leaves.slice(0, size), true);
  }

  receipt(index, size = this.size) {
    const hashes = this.inclusion(index, size).map((hash) => `${hash.toString("base64")}\n`);
    return `c2sp.org/tlog-proof@v1\nindex ${index}\n${hashes.join("")}\n${this.checkpoint(size)}`;
  }

  /** What tlog-tiles has at `path`, or undefined. */
  tile(path) {
    const match = /^tile\/(\d+|entries)\/((?:x\d{3}\/)*\d{3})(?:\.p\/(\d+))?$/.exec(path);
    if (!match) return undefined;
    const number = Number(match[2].replaceAll(/[x/]/g, ""));
    const level = match[1] === "entries" ? 0 : Number(match[1]);
    const width = match[3] ? Number(match[3]) : 256;
    const span = 256 ** level;
    const nodes = Array.from({ length: width }, (_, at) => (number * 256 + at) * span);
    if (nodes.at(-1) + span > this.size) return undefined;
    if (match[1] !== "entries") return Buffer.concat(nodes.map((at) => rootOf(this.leaves.slice(at, at + span))));
    const length = (entry) => Buffer.of(entry.length >> 8, entry.length & 255);
    return Buffer.concat(nodes.flatMap((at) => [length(this.entries[at]), this.entries[at]]));
  }

  /** What the log's server answers to a path below its prefix, at this size. */
  answer(path, size = this.size) {
    if (path === "checkpoint") return Buffer.from(this.checkpoint(size));
    const [, index, receipt] = /^entries\/(\d+)(\/receipt)?$/.exec(path) ?? [];
    if (index === undefined) return this.tile(path);
    if (Number(index) >= size) return undefined;
    return receipt ? Buffer.from(this.receipt(Number(index), size)) : this.entries[Number(index)];
  }
}

/** Entries that differ from each other: `prefix` and their index. */
export const numbered = (count, prefix = "entry ") => Array.from({ length: count }, (_, index) => `${prefix}${index}`);
