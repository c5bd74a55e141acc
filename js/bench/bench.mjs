// Times the package in Chromium against @noble and WebCrypto, in one page, and prints medians, spreads and ratios:
// npm run bench. With --json, the numbers as JSON.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { loadavg } from "node:os";
import { build } from "esbuild";
import { launch } from "../test/chromium.mjs";
import { packed, policy, run, sparse, vkey } from "./log.mjs";

const json = process.argv.includes("--json");
const path = (name) => new URL(name, import.meta.url).pathname;
const script = (await build({ entryPoints: [path("page.js")], bundle: true, minify: true, format: "esm", write: false, external: ["/attestlog.js"] })).outputFiles[0].text;

const some = new Set();
while (some.size < 10_000) some.add(Math.floor(Math.random() * 2 ** 30));
const random = sparse([...some].sort((one, other) => one - other));
const consecutive = sparse(Array.from({ length: 10_000 }, (_, at) => 700_000_001 + at));
const batch = ({ note, indexes, entries, proofs }) => packed([note, JSON.stringify(indexes), ...indexes.flatMap((_, at) => [entries[at], proofs[at]])]);
const { note, bundles } = run(100_000);
const answers = new Map([
  ["/", ["text/html", '<!doctype html><meta charset="utf-8"><script type="module" src="/page.js"></script>']],
  ["/page.js", ["text/javascript", script]],
  ["/attestlog.js", ["text/javascript", await readFile(path("../dist/index.js"))]],
  ["/receipt", ["application/octet-stream", packed([random.receipt, random.entries[0], policy, vkey])]],
  ["/random", ["application/octet-stream", batch(random)]],
  ["/consecutive", ["application/octet-stream", batch(consecutive)]],
  ["/run", ["application/octet-stream", packed([note, ...bundles])]],
]);
const server = createServer((request, response) => {
  const [type, body] = answers.get(request.url) ?? ["text/plain", ""];
  response.writeHead(answers.has(request.url) ? 200 : 404, { "content-type": type, "cache-control": "max-age=600" }).end(body);
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const address = `http://127.0.0.1:${server.address().port}/`;

const browser = await launch();
try {
  const cold = { count: 1, attestlog: [], noble: [], webcrypto: [] };
  for (let round = 0; round < 15; round++) {
    for (const which of ["attestlog", "noble", "webcrypto"]) {
      const context = await browser.newContext();
      const page = await context.newPage();
      await page.goto(address);
      await page.waitForFunction(() => typeof globalThis.cold === "function");
      cold[which].push(await page.evaluate((which) => globalThis.cold(which), which));
      await context.close();
    }
  }
  const page = await browser.newPage();
  await page.goto(address);
  await page.waitForFunction(() => typeof globalThis.measure === "function");
  const results = { "receipt, cold page": cold, ...(await page.evaluate(() => globalThis.measure())) };
  if (json) console.log(JSON.stringify(results));
  else print(results, browser.version());
} finally {
  await browser.close();
  server.close();
}

function print(results, version) {
  console.log(`Chromium ${version}, load ${loadavg()[0].toFixed(1)}; medians, and in brackets the 10th and 90th percentiles\n`);
  for (const [name, { count, ...times }] of Object.entries(results)) {
    console.log(`${name}`);
    const median = {};
    for (const [which, all] of Object.entries(times)) {
      const sorted = [...all].sort((one, other) => one - other);
      const at = (share) => sorted[Math.floor(share * (sorted.length - 1))];
      median[which] = at(0.5);
      const rate = count === 1 ? `${at(0.5).toFixed(2)} ms` : `${Math.round((count / at(0.5)) * 1000).toLocaleString("en")} /s`;
      const spread = count === 1 ? `${at(0.1).toFixed(2)} to ${at(0.9).toFixed(2)} ms` : `${Math.round((count / at(0.9)) * 1000).toLocaleString("en")} to ${Math.round((count / at(0.1)) * 1000).toLocaleString("en")}`;
      const ratio = which === "attestlog" ? "" : `attestlog is ${(median[which] / median.attestlog).toFixed(2)} times as fast`;
      console.log(`  ${which.padEnd(10)} ${rate.padStart(14)}  [${spread}]  ${ratio}`);
    }
  }
}
