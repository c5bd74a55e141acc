// The named vectors of the repository, run with the package and with the build of its wasm that has the parsers one by
// one. Nothing in here is Node's: Chromium runs this file too.

const utf8 = (text) => new TextEncoder().encode(text);
const same = (one, other) => one.length === other.length && one.every((byte, at) => byte === other[at]);

/** An input as bytes: a string, or an object with the key `hex`. */
const bytes = (value) => (typeof value === "string" ? utf8(value) : unhex(value.hex));

// As an application has it: the package takes texts, and no bytes, for a policy.
const text = (value) => (typeof value === "string" ? value : new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(unhex(value.hex)));

/** A size or an index; JSON's numbers are exact up to 2^53. */
function integer(value) {
  if (typeof value === "number" && !Number.isSafeInteger(value)) throw new Error(`${value} is not exact: it has to be a string`);
  return BigInt(value);
}

function unhex(hex) {
  if (!/^([0-9a-f]{2})*$/.test(hex)) throw new Error(`${hex} is not hexadecimal`);
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

const tree = (size, root, verifier) => [integer(size), verifier.parseProof([root])];

/** What runs the vectors of each file, all of a file's with one; it throws what the vector is refused with. */
const CHECKS = {
  base64: ({ text }, { readBack }) => readBack(100, bytes(text)),
  decimal: ({ text }, { readBack }) => readBack(101, bytes(text)),
  vkey: ({ vkey }, { readBack }) => readBack(102, bytes(vkey)),
  note: ({ note, keys }, { readBack }) => readBack(104, bytes(note), ...keys.map(utf8)),
  async policy({ policy, checkpoint }, { perform, readBack, attestlog }) {
    const [written] = perform(103, [bytes(policy)]);
    readBack(103, written);
    if (checkpoint !== undefined) await attestlog.openCheckpoint(bytes(checkpoint), { policy: text(policy) });
  },
  async checkpoint({ checkpoint, vkey }, { attestlog }) {
    const { note } = await attestlog.openCheckpoint(bytes(checkpoint), { policy: text(vkey) });
    if (!same(note, bytes(checkpoint))) throw new Error("opened as another note");
  },
  cosignature: ({ checkpoint, policy }, { attestlog }) => attestlog.openCheckpoint(bytes(checkpoint), { policy: text(policy) }),
  receipt: ({ receipt, entry, policy }, { attestlog }) => attestlog.verifyReceipt(bytes(receipt), bytes(entry), { policy: text(policy) }),
  inclusion: ({ size, root, index, entry, proof }, { verifier }) =>
    verifier.proveInclusion(tree(size, root, verifier), integer(index), bytes(entry), verifier.parseProof(proof)),
  consistency: ({ old_size, old_root, new_size, new_root, proof }, { perform }) =>
    perform(105, [utf8(old_root), integer(old_size), integer(new_size), utf8(new_root), ...proof.map(utf8)]),
  tile: ({ size, root, level, index, width, answers }, { verifier }) =>
    verifier.proveTile(tree(size, root, verifier), [1n, integer(level), integer(index), integer(width)], answers.map(bytes)),
};

export const FILES = Object.keys(CHECKS);

// Opened with a key in Rust; here a key is a policy, and a witness's is none.
const OTHERWISE = { checkpoint_opened_with_a_witness_key: "malformed_policy" };

/** Runs a file's vectors: how many, and those with another verdict or code than the file's. `build` is `vectors-build.mjs`'s. */
export async function runVectors(name, vectors, attestlog, build) {
  /** That what is read is written back as it was. */
  const readBack = (operation, read, ...further) => {
    const [written] = build.perform(operation, [read, ...further]);
    if (!same(written, read)) throw new Error("written back as something else");
  };
  const tools = { attestlog, ...build, readBack };
  const wrong = [];
  let run = 0;
  for (const { name: vector, input, expect } of vectors) {
    let code = "ok";
    try {
      await CHECKS[name](input, tools);
    } catch (error) {
      code = error.code ?? String(error);
    }
    run++;
    if (code !== (OTHERWISE[vector] ?? expect)) wrong.push(`${vector}: ${code}, not ${expect}`);
  }
  return { run, wrong };
}
