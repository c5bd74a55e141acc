// A server that answers badly: no answer fills the memory, none keeps a promise waiting, and none is mistaken for another.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { LogClient, MemoryHeadStore, UncheckedError } from "attestlog";
import { numbered, SampleLog } from "./sample-log.mjs";
import { BY_ITSELF, withSite } from "./site.mjs";

const log = new SampleLog(numbered(10));
const policy = log.key.vkey;
const client = (url, options = {}) => new LogClient(url, { policy, heads: new MemoryHeadStore(), timeout: 20_000, ...options });

/** Expects `code` where the checkpoint is answered by `answer`, and that the connection is let go. */
async function refused(answer, code, options) {
  let closed;
  const witnessed = (path, response) => {
    closed = once(response, "close");
    answer(response);
    return BY_ITSELF;
  };
  return withSite(witnessed, async ({ url }) => {
    const error = await client(url, options).checkpoint().catch((error) => error);
    assert.ok(error instanceof UncheckedError, String(error));
    assert.equal(error.code, code, String(error));
    await closed;
    return error;
  });
}

test("a status other than 200 is unreachable, and has the status", async () => {
  for (const status of [204, 404, 500, 503]) {
    const error = await refused((response) => response.writeHead(status).end(), "unreachable");
    assert.equal(error.status, status);
  }
});

test("a body that belongs to a refusal is not read", async () => {
  const endless = (response) => {
    response.writeHead(500);
    response.on("close", () => clearInterval(timer));
    const timer = setInterval(() => response.write(Buffer.alloc(1 << 16)), 1);
  };
  await refused(endless, "unreachable");
});

test("nobody at the address, and a connection that breaks, are unreachable", async () => {
  const gone = await withSite(() => undefined, async ({ url }) => url);
  await assert.rejects(client(gone).checkpoint(), { name: "UncheckedError", code: "unreachable" });
  await refused((response) => response.destroy(), "unreachable");
  await refused((response) => response.writeHead(200).write("example.com", () => response.destroy()), "unreachable");
});

test("an answer that is cut off is unreachable", async () => {
  const note = Buffer.from(log.checkpoint());
  const cut = (response) => {
    response.writeHead(200, { "content-length": note.length + 1 });
    response.write(note, () => response.destroy());
  };
  await refused(cut, "unreachable");
});

test("an answer that is too large is refused, however it comes", async () => {
  await refused((response) => response.end(Buffer.alloc(1_000_001)), "answer_too_large");
  await refused((response) => pour(response), "answer_too_large");
});

test("a body that never ends is too large, or late", async () => {
  const trickle = (response) => {
    const timer = setInterval(() => response.write("x"), 5);
    response.on("close", () => clearInterval(timer));
  };
  await refused(trickle, "timed_out", { timeout: 200 });
});

test("an answer that never comes, or never goes on, is late", async () => {
  await refused(() => {}, "timed_out", { timeout: 100 });
  await refused((response) => response.writeHead(200).flushHeaders(), "timed_out", { timeout: 100 });
});

test("a fetch that ignores its signal keeps nobody waiting, and its late body is cancelled", async () => {
  let answer;
  const ignoring = () => new Promise((resolve) => { answer = resolve; });
  await assert.rejects(client("http://example.com/log", { fetch: ignoring, timeout: 50 }).checkpoint(), { code: "timed_out" });
  let cancelled;
  const late = new Promise((resolve) => { cancelled = resolve; });
  answer(new Response(new ReadableStream({ cancel: cancelled })));
  await late;
});

test("the caller's signal ends a request, with the caller's reason", async () => {
  const stop = new AbortController();
  const reason = new Error("the user left");
  const hanging = () => {
    stop.abort(reason);
    return BY_ITSELF;
  };
  await withSite(hanging, async ({ url, asked }) => {
    await assert.rejects(client(url).checkpoint({ signal: stop.signal }), reason);
    await assert.rejects(client(url).checkpoint({ signal: stop.signal }), reason);
    assert.equal(asked.length, 1);
  });
});

test("an address may have a query or a final slash, and follow a redirect", async () => {
  const moved = (path, response) => {
    if (path !== "checkpoint?key=1") return log.answer(path.replace("?key=2", ""));
    response.writeHead(302, { location: "/log/checkpoint?key=2" }).end();
    return BY_ITSELF;
  };
  await withSite(moved, async ({ url, asked }) => {
    await client(`${url}/?key=1`).checkpoint();
    assert.deepEqual(asked, ["checkpoint?key=1", "checkpoint?key=2"]);
    await client(new URL(`${url}/`)).checkpoint();
  });
});

test("the client's own options are checked", () => {
  for (const timeout of [-1, NaN, 2 ** 31, "5"]) assert.throws(() => client("http://example.com", { timeout }), RangeError);
  assert.throws(() => client("http://example.com", { cacheBytes: -1 }), RangeError);
  assert.throws(() => client("not a url"), TypeError);
  assert.throws(() => new LogClient("http://example.com", {}), TypeError);
});

function pour(response) {
  const more = () => {
    while (!response.destroyed && response.write(Buffer.alloc(1 << 16)));
  };
  response.on("drain", more);
  more();
}
