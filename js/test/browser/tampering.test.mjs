// A proxy between Chromium and the real server changes one thing at a time: each is refused with its own code, nothing
// unproven is returned or kept, and the next honest answer is read.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { again, assertRead, assertTrue, newClient, startBrowser } from "./browser.mjs";
import { assorted, makeSecret, small, startServer } from "./deployment.mjs";
import { startProxy } from "./proxy.mjs";

const HASH = 32;
const logs = {};
let secret, server, proxy, browser, page;

before(async () => {
  secret = await makeSecret();
  server = await startServer(secret);
  proxy = await startProxy(server.url);
  browser = await startBrowser(proxy.origin);
  page = await (await browser.newUser()).newPage();
  logs.acme = await server.makeLog("acme", "example.com/acme");
  for (const size of [300, 2000, 3000]) await logs.acme.append(assorted(logs.acme.size, size));
  // With another entry at each index, and more of them: whatever is asked of acme, this log has too.
  logs.neighbour = await server.makeLog("neighbour", "example.com/neighbour");
  await logs.neighbour.append(assorted(0, 3100, "another"));
  logs.large = await server.makeLog("large", "example.com/large");
  for (const size of [5000, 65_800, 66_100]) await logs.large.append(small(logs.large.size, size));
});

after(async () => {
  await browser?.stop();
  await proxy?.stop();
  await server?.stop();
  await secret?.remove();
});

const flip = (at) => (bytes) => bytes.with(at < 0 ? bytes.length + at : at, bytes.at(at) ^ 1);
const text = (change) => (bytes, path) => {
  const before = bytes.toString();
  const after = change(before, path);
  assert.notEqual(after, before);
  return Buffer.from(after);
};
/** The base64 of `match`, its bytes changed. */
const recoded = (base64, change) => Buffer.from(change(Buffer.from(base64, "base64"))).toString("base64");
const checkpoint = (change) => [{ at: /^checkpoint$/, bytes: text(change) }];
const signature = (change) => checkpoint((note) => note.replace(/(\u2014 \S+ )(\S+)/, (_, name, line) => name + recoded(line, change)));
const showing = (size, log) => ({ at: /^checkpoint$/, bytes: () => logs[log].notes.get(size) });
const lasting = (size, log) => {
  const headers = { "cache-control": "public, max-age=31536000, immutable" };
  return { at: /^checkpoint$/, answer: (response, real) => response.writeHead(200, { ...real, ...headers }).end(logs[log].notes.get(size)) };
};
/** Every hash of a tile, so that one that is looked at is among them. */
const everyHash = (bytes) => bytes.map((byte, at) => (at % HASH === 7 ? byte ^ 0x80 : byte));
const receipt = (change) => [{ at: /^entries\/\d+\/receipt$/, bytes: text(change) }];

const tampering = (code) => ({ name: "TamperingError", kind: "verify", code });
const unreadable = (code) => ({ name: "UnreadableError", kind: "parse", code });
const unchecked = (code) => ({ name: "UncheckedError", kind: "unchecked", code });

const L = 2n ** 252n + 27742317777372353535851937790883648493n;
/** S + L for S: the same signature to a lenient verifier. */
function malleable(line) {
  let s = BigInt(`0x${Buffer.from(line.subarray(-32)).reverse().toString("hex")}`) + L;
  const other = Buffer.from(line);
  for (let at = line.length - 32; at < line.length; at++, s >>= 8n) other[at] = Number(s & 255n);
  return other;
}
const stranger = `\u2014 example.com/stranger ${Buffer.alloc(68, 9).toString("base64")}\n`;

/** Rows: what is changed, by which rules, and what comes of it; `fails` is missing where it must be accepted. */
const ofCheckpoints = [
  ["a byte of its root", checkpoint((note) => note.replace(/\n(\S{44})\n/, (_, root) => `\n${recoded(root, flip(3))}\n`)), tampering("bad_signature")],
  ["a larger size", checkpoint((note) => note.replace("\n3000\n", "\n3001\n")), tampering("bad_signature")],
  ["a smaller size", checkpoint((note) => note.replace("\n3000\n", "\n2999\n")), tampering("bad_signature")],
  ["a size in another spelling", checkpoint((note) => note.replace("\n3000\n", "\n03000\n")), unreadable("malformed_number")],
  ["its origin line", checkpoint((note) => note.replace("example.com/acme", "example.com/acmf")), tampering("bad_signature")],
  ["an extension line", checkpoint((note) => note.replace("\n\n", "\nmore\n\n")), tampering("bad_signature")],
  ["a byte of its signature", signature(flip(40)), tampering("bad_signature")],
  ["the last byte of its signature", signature(flip(-1)), tampering("bad_signature")],
  ["its signature's other form that lenient verifiers accept", signature(malleable), tampering("bad_signature")],
  ["its key id", signature(flip(0)), unchecked("no_trusted_signature")],
  ["its key name", checkpoint((note) => note.replace("\u2014 example.com/acme", "\u2014 example.com/acmf")), unchecked("no_trusted_signature")],
  ["its signature's key name and its origin", checkpoint((note) => note.replaceAll("example.com/acme", "example.com/acmf")), unchecked("no_trusted_signature")],
  ["a signature of another length", signature((line) => line.subarray(0, -1)), tampering("bad_signature")],
  ["a signature line less", checkpoint((note) => note.replace(/\n\u2014.*\n/, "\n")), unreadable("malformed_note")],
  ["its signature line twice", checkpoint((note) => note + note.slice(note.indexOf("\u2014"))), unreadable("malformed_note")],
  ["carriage returns", checkpoint((note) => note.replaceAll("\n", "\r\n")), unreadable("malformed_note")],
  ["text after it", checkpoint((note) => `${note}\n`), unreadable("malformed_note")],
  ["a byte order mark before it", checkpoint((note) => `\ufeff${note}`), tampering("bad_signature")],
  ["a line of a signer whom nobody knows", checkpoint((note) => note + stranger), undefined],
  ["that line before the log's own", checkpoint((note) => note.replace("\n\n", `\n\n${stranger}`)), undefined],
  ["another log's checkpoint", [{ at: /^checkpoint$/, log: "neighbour" }], unchecked("no_trusted_signature")],
  ["a redirect to another log's checkpoint", [{ at: /^checkpoint$/, answer: elsewhere }], unchecked("no_trusted_signature")],
].map(([name, rules, fails]) => ({ name: `a checkpoint with ${name}`, log: "acme", call: ["checkpoint"], rules, fails }));

function elsewhere(response, headers) {
  const location = `${proxy.origin}/elsewhere/logs/neighbour/checkpoint?moved`;
  response.writeHead(302, { "access-control-allow-origin": headers["access-control-allow-origin"], location }).end();
}

const kept = [
  {
    name: "an older checkpoint after a newer one was kept",
    log: "acme", before: 3000, call: ["checkpoint"], rules: () => [showing(2000, "acme")], fails: unchecked("older_checkpoint"),
  },
  {
    name: "an older checkpoint to one who wants the newest entries",
    log: "acme", before: 3000, call: ["entries", { from: 0 }], rules: () => [showing(300, "acme")], fails: unchecked("older_checkpoint"),
  },
  {
    name: "an older checkpoint, which the browser may keep for a year",
    log: "acme", before: 3000, call: ["checkpoint"], rules: () => [lasting(300, "acme")], fails: unchecked("older_checkpoint"),
  },
  {
    name: "an older checkpoint with tiles that do not lead to it",
    log: "acme", before: 3000, call: ["checkpoint"], rules: () => [showing(300, "acme"), { at: /^tile\/0\//, bytes: everyHash }], fails: tampering("root_mismatch"),
  },
];

const group = { from: 200, to: 1500 };
const bundle = (at, bytes) => [{ at, bytes }];
const ofEntries = [
  ["a byte of the first entry", ["entry", 0], bundle(/^tile\/entries\/000$/, flip(4)), tampering("root_mismatch")],
  ["a byte of a neighbour of the entry", ["entry", 5], bundle(/^tile\/entries\/000$/, flip(-3)), tampering("root_mismatch")],
  ["a byte of the last entry, in a partial bundle", ["entry", 2999], bundle(/^tile\/entries\/011\.p\/184$/, flip(-1)), tampering("root_mismatch")],
  ["a byte of an entry in the middle of a run", ["entries", group], bundle(/^tile\/entries\/003$/, flip(9000)), tampering("root_mismatch")],
  ["a byte of the last bundle of a run", ["entries", group], bundle(/^tile\/entries\/005$/, flip(9000)), tampering("root_mismatch")],
  ["a byte of the last bundle of all", ["entries", {}], bundle(/^tile\/entries\/011\.p/, flip(900)), tampering("root_mismatch")],
  ["the length of an entry", ["entry", 0], bundle(/^tile\/entries\/000$/, flip(1)), unreadable("malformed_entry_bundle")],
  ["two entries for each other", ["entry", 0], bundle(/^tile\/entries\/000$/, swapped), tampering("root_mismatch")],
  ["a byte less", ["entry", 300], bundle(/^tile\/entries\/001$/, (bytes) => bytes.subarray(0, -1)), unreadable("malformed_entry_bundle")],
  ["a byte more", ["entry", 300], bundle(/^tile\/entries\/001$/, (bytes) => Buffer.concat([bytes, Buffer.of(0)])), unreadable("malformed_entry_bundle")],
  ["an entry more", ["entry", 300], bundle(/^tile\/entries\/001$/, (bytes) => Buffer.concat([bytes, Buffer.of(0, 1, 55)])), unreadable("malformed_entry_bundle")],
  ["the bundle beside it", ["entry", 300], [{ at: /^tile\/entries\/001$/, path: "tile/entries/002" }], tampering("root_mismatch")],
  ["another log's bundle", ["entry", 300], [{ at: /^tile\/entries\/001$/, log: "neighbour" }], tampering("root_mismatch")],
  ["another log's bundles, all of them", ["entries", group], [{ at: /^tile\/entries\//, log: "neighbour" }], tampering("root_mismatch")],
  ["another log's tiles and bundles", ["entries", {}], [{ at: /^tile\//, log: "neighbour" }], tampering("root_mismatch")],
  ["another log's tiles", ["entry", 2999], [{ at: /^tile\/\d/, log: "neighbour" }], tampering("root_mismatch")],
].map(([name, call, rules, fails]) => ({ name: `entries with ${name}`, log: "acme", call, rules, fails }));

/** The second entry of the sample is the one byte 7; the first and it change places. */
function swapped(bytes) {
  const first = bytes.subarray(0, 2 + bytes.readUInt16BE());
  const second = bytes.subarray(first.length, first.length + 3);
  return Buffer.concat([second, first, bytes.subarray(first.length + 3)]);
}

// Each tile that these reads use: full ones and partial ones, on each level that a log of 66,100 entries has.
const reads = [
  ["large", undefined, ["entry", 0]],
  ["large", undefined, ["entry", 65_535]],
  ["large", undefined, ["entry", 66_099]],
  ["large", undefined, ["entries", { from: 65_700, to: 65_900 }]],
  ["large", 5000, ["checkpoint"]],
  ["large", 65_800, ["checkpoint"]],
  ["acme", 300, ["checkpoint"]],
  ["acme", undefined, ["entry", 2900]],
];

const ofReceipts = [
  ["a byte of the entry", [{ at: /^entries\/\d+$/, bytes: flip(3) }], tampering("root_mismatch")],
  ["another entry", [{ at: /^entries\/\d+$/, path: "entries/1502" }], tampering("root_mismatch")],
  ["another log's entry", [{ at: /^entries\/\d+$/, log: "neighbour" }], tampering("root_mismatch")],
  ["another entry's receipt", [{ at: /receipt$/, path: "entries/1502/receipt" }], tampering("root_mismatch")],
  ["another entry and its receipt", [{ at: /receipt$/, path: "entries/1502/receipt" }, { at: /^entries/, path: "entries/1502" }], tampering("index_mismatch")],
  ["another log's receipt", [{ at: /receipt$/, log: "neighbour" }], unchecked("no_trusted_signature")],
  ["another log's entry and its receipt", [{ at: /^entries/, log: "neighbour" }], unchecked("no_trusted_signature")],
  ["another index", receipt((text) => text.replace("\nindex 1501\n", "\nindex 1500\n")), tampering("root_mismatch")],
  ["an index beyond its tree", receipt((text) => text.replace("\nindex 1501\n", "\nindex 3000\n")), tampering("index_beyond_tree")],
  ["a hash less", receipt((text) => text.replace(/\n\S{44}\n/, "\n")), tampering("proof_length")],
  ["a hash more", receipt((text) => text.replace(/\n(\S{44}\n)/, "\n$1$1")), tampering("proof_length")],
  ["a byte of its checkpoint's root", receipt((text) => text.replace(/\n3000\n(\S{44})\n/, (_, root) => `\n3000\n${recoded(root, flip(3))}\n`)), tampering("bad_signature")],
  ["a byte of its checkpoint's signature", receipt((text) => text.replace(/(\u2014 \S+ )(\S+)/, (_, name, line) => name + recoded(line, flip(40)))), tampering("bad_signature")],
  ["another size in its checkpoint", receipt((text) => text.replace("\n3000\n", "\n2999\n")), tampering("bad_signature")],
  ["another version of the format", receipt((text) => text.replace("@v1", "@v2")), unreadable("malformed_receipt")],
].map(([name, rules, fails]) => ({ name: `a receipt with ${name}`, log: "acme", call: ["receipt", 1501], rules, fails }));

for (const row of [...ofCheckpoints, ...kept, ...ofEntries, ...ofReceipts]) {
  test(`${row.fails ? "refuses" : "accepts"} ${row.name}`, () => check(row));
}

for (const [log, before, call] of reads) {
  const since = before ? ` after that of ${before} entries` : "";
  test(`refuses any wrong tile for ${call[0]} ${JSON.stringify(call[1] ?? "")} of ${log}${since}`, async () => {
    const paths = await tilesOf(log, before, call);
    for (const path of paths) {
      const at = new RegExp(`^${path.replaceAll(".", "\\.")}$`);
      const row = { name: path, log, before, call, fails: tampering("root_mismatch") };
      await check({ ...row, rules: [{ at, bytes: everyHash }] });
      await check({ ...row, rules: [{ at, bytes: (bytes) => bytes.subarray(HASH) }], fails: unreadable("malformed_tile") }, [again]);
      await anyByte({ ...row, at });
    }
  });
}

test("the tiles that are changed are full and partial ones of the levels 0, 1 and 2", async () => {
  const kinds = new Set();
  for (const read of reads) {
    for (const path of await tilesOf(...read)) kinds.add(`${path.split("/")[1]} ${path.includes(".p/") ? "partial" : "full"}`);
  }
  assert.deepEqual([...kinds].sort(), ["0 full", "0 partial", "1 full", "1 partial", "2 partial"]);
});

test("refuses a receipt with a changed byte in any hash of its proof", async () => {
  const { receipt: honest } = await page.read(newClient(logs.acme, proxy.url), "receipt", 1501);
  const count = honest.split("\n\n")[0].match(/\n\S{44}(?=\n|$)/g).length;
  assert.equal(count, 12);
  for (let place = 0; place < count; place++) {
    let at = 0;
    const change = (text) => text.replace(/^\S{44}$/gm, (hash) => (at++ % (count + 1) === place ? recoded(hash, flip(9)) : hash));
    await check({ log: "acme", call: ["receipt", 1501], rules: receipt(change), fails: tampering("root_mismatch") }, [again]);
  }
});

test("a policy of both logs does not take the one's checkpoint for the other's", async () => {
  const policy = `log ${logs.acme.policy}\nlog ${logs.neighbour.policy}\nquorum none\n`;
  for (const call of [["checkpoint"], ["receipt", 7]]) {
    const rules = [{ at: /./, log: "neighbour" }];
    await check({ log: "acme", call, rules, fails: tampering("origin_mismatch"), options: { policy, origin: logs.acme.origin } });
  }
});

/** The tiles that a read asks for, entry bundles aside. */
async function tilesOf(log, before, call) {
  const client = newClient(logs[log], proxy.url);
  await see(client, log, before);
  assertRight(await page.read(client, ...call), logs[log], call);
  return proxy.asked.filter((path) => /^tile\/\d/.test(path));
}

/** Lets a client keep the checkpoint of a size, if one is named. */
async function see(client, log, size) {
  proxy.use(...(size ? [showing(size, log)] : []));
  if (size) assert.equal((await page.read(client, "checkpoint")).head?.size, size);
  proxy.use();
}

/**
 * The row's call fails as it says, with nothing but the truth returned and kept before; then the log is honest again, and
 * the same call succeeds: of the same client, and of one that starts anew with what the browser's cache has.
 */
async function check({ log: name, before, call, rules, fails, options }, then = [(client) => client, again]) {
  const log = logs[name];
  for (const next of then) {
    const client = newClient(log, proxy.url, options);
    await see(client, name, before);
    const kept = await page.kept(client);
    proxy.use(...(typeof rules === "function" ? rules() : rules));
    const outcome = await page.read(client, ...call);
    assert.ok(proxy.applied.length > 0, "nothing was changed");
    if (fails) assertRefused(outcome, log, call, fails);
    else assert.deepEqual([outcome.failed, outcome.head.size], [undefined, log.size]);
    const now = await page.kept(client);
    if (fails && /checkpoint|receipt/.test(call[0])) assert.equal(now, kept);
    else if (fails) assert.equal(now, log.notes.get(log.size));
    proxy.use();
    assertRight(await page.read(next(client), ...call), log, call);
    assert.deepEqual((await page.read(client, "evidence")).evidence, []);
  }
}

function assertRefused(outcome, log, call, fails) {
  assert.ok(outcome.settled);
  assert.ok(outcome.failed, "it was accepted");
  const { name, kind, code } = outcome.failed;
  assert.deepEqual({ name, kind, code }, fails, outcome.failed.message);
  assertTrue(outcome, log);
  const [first, count] = rangeOf(log, call);
  assert.ok(outcome.count < Math.max(count, 1));
  if (outcome.count) assert.equal(outcome.first, first);
  assert.equal(outcome.head, undefined);
  assert.equal(outcome.failed.evidence, undefined);
}

function assertRight(outcome, log, call) {
  assertRead(outcome, log, ...rangeOf(log, call));
  if (call[0] === "checkpoint") assert.equal(outcome.head.size, log.size);
}

function rangeOf(log, [name, given]) {
  if (name === "checkpoint") return [undefined, 0];
  const { from = 0, to = log.size } = name === "entries" ? given : { from: given, to: given + 1 };
  return [from, to - from];
}

let place = 0;

/** One byte, at another place of each tile: where nobody looks at it, the truth is returned. */
async function anyByte({ log: name, before, call, at }) {
  const log = logs[name];
  const client = newClient(log, proxy.url);
  await see(client, name, before);
  place += 40_503;
  proxy.use({ at, bytes: (bytes) => flip(place % bytes.length)(bytes) });
  const outcome = await page.read(client, ...call);
  assert.ok(proxy.applied.length > 0, "nothing was changed");
  if (outcome.failed) assertRefused(outcome, log, call, tampering("root_mismatch"));
  else assertRight(outcome, log, call);
}
