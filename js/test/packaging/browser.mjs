// Pages in Chromium: what they find, and that nothing went wrong beside it.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { after } from "node:test";
import { launch } from "../chromium.mjs";

const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".json": "application/json",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};
// Longer than any of this takes; a hang fails by it.
const TOO_LONG = 30_000;

const closing = [];
after(async () => {
  for (const close of closing.reverse()) await close();
});

/** To be closed at the end, before what was opened earlier. */
export function closed(close) {
  closing.push(close);
}

const browsers = new Map();
/** The one browser of the test file with these further arguments. */
export function browser(...more) {
  const key = more.join(" ");
  if (!browsers.has(key)) {
    browsers.set(key, launch(more).then((launched) => {
      closed(() => launched.close());
      return launched;
    }));
  }
  return browsers.get(key);
}

/** Serves a folder, each answer with these headers, until the end of the test file; its address. */
export async function served(folder, headers = {}) {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    const path = join(folder, normalize(pathname === "/" ? "/index.html" : decodeURIComponent(pathname)));
    try {
      const bytes = await readFile(path);
      response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream", ...headers });
      response.end(bytes);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  closed(() => {
    server.closeAllConnections();
    return new Promise((done) => server.close(done));
  });
  return `http://127.0.0.1:${server.address().port}`;
}

/** What the page at this address leaves in `globalThis.verdicts`, and what it complained of. */
export async function opened(url, chromium = browser()) {
  const context = await (await chromium).newContext();
  try {
    const page = await context.newPage();
    const complaints = [];
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("console", (message) => /error|warning/.test(message.type()) && complaints.push(message.text()));
    await page.goto(url);
    return { verdicts: await polled(page, complaints), complaints };
  } finally {
    await context.close();
  }
}

/** `waitForFunction` would be blocked by the pages' Content-Security-Policy. */
export async function polled(page, complaints = []) {
  for (const end = Date.now() + TOO_LONG; Date.now() < end; ) {
    const looked = page.evaluate(() => globalThis.verdicts ?? new Promise((again) => setTimeout(again, 20)));
    // Vite's development server may load the page again while it is looked at.
    const verdicts = await Promise.race([looked.catch(reloaded), late(end)]);
    if (verdicts) return verdicts;
  }
  throw new Error(`no verdicts at ${page.url()}: ${complaints.join("; ")}`);
}

function reloaded(error) {
  if (!/context was destroyed|navigation/i.test(error.message)) throw error;
}

function late(end) {
  return new Promise((done) => setTimeout(done, end - Date.now()).unref());
}
