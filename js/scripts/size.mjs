// Prints what each part of a download costs, and fails where the default entry is beyond its limits.

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { build } from "esbuild";
import { textOf } from "./wasm-text.mjs";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
const LIMITS = { gzip: 30_000, brotli: 26_000 };

const whole = readFileSync("dist/index.js");
const rows = {
  "verifier.wasm": readFileSync("dist/verifier.wasm"),
  "  the same as text": Buffer.from(textOf(readFileSync("dist/verifier.wasm"))),
  "wasm-bindgen's glue": await minified("src/wasm/verifier.js", []),
  TypeScript: await minified("src/index.ts", ["./wasm/*"]),
  "index.js, all that `attestlog` loads": whole,
  "slim.js, without the wasm": readFileSync("dist/slim.js"),
  "node.js": readFileSync("dist/node.js"),
};

const columns = (name, ...cells) => console.log(name.padEnd(38), ...cells.map((cell) => String(cell).padStart(9)));
columns("bytes", "raw", "gzip -9", "brotli 11");
for (const [name, bytes] of Object.entries(rows)) columns(name, bytes.length, gzip(bytes), brotli(bytes));
columns("limit of index.js", "", LIMITS.gzip, LIMITS.brotli);

if (gzip(whole) > LIMITS.gzip || brotli(whole) > LIMITS.brotli) {
  console.error("index.js is larger than it may be");
  process.exit(1);
}

async function minified(entry, external) {
  const alias = { "wasm-source": resolve("src/wasm-inline.ts") };
  const options = { bundle: true, minify: true, format: "esm", platform: "neutral", target: "es2022", charset: "utf8" };
  const result = await build({ entryPoints: [entry], external, alias, write: false, legalComments: "none", ...options });
  return result.outputFiles[0].contents;
}

function gzip(bytes) {
  return gzipSync(bytes, { level: 9 }).length;
}

function brotli(bytes) {
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
  return brotliCompressSync(bytes, { params }).length;
}
