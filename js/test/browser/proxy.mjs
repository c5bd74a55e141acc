// What stands between the browser and the real server: it passes everything on, but for what its rules say.

import { createServer } from "node:http";

const OURS = new Set(["connection", "content-length", "keep-alive", "transfer-encoding"]);

/**
 * A proxy to `upstream`. A path is `/RUN/logs/NAME/…`; RUN is dropped, and gives each test addresses that no cache knows.
 *
 * `rules` are tried in their order, and the first whose `at` matches what stands after NAME is used:
 * `from` is another server's URL to ask, `log` another log's name, `path` another path;
 * `bytes(bytes, path)` returns what to answer instead;
 * `answer(response, headers, bytes)` answers by itself, with the headers of the real answer if it likes.
 */
export async function startProxy(upstream) {
  const proxy = { rules: [], asked: [], applied: [], closed: [] };
  const server = createServer((request, response) => {
    handle(proxy, upstream, request, response).catch((error) => {
      console.error(`proxy: ${request.url}: ${error.stack}`);
      response.destroy();
    });
  });
  server.keepAliveTimeout = 60_000;
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  proxy.origin = `http://127.0.0.1:${server.address().port}`;
  proxy.url = (run, log) => `${proxy.origin}/${run}/logs/${log.name}`;
  proxy.use = (...rules) => Object.assign(proxy, { rules, asked: [], applied: [], closed: [] });
  proxy.stop = () => {
    server.closeAllConnections();
    return new Promise((closed) => server.close(closed));
  };
  return proxy;
}

async function handle(proxy, upstream, request, response) {
  const [, log, path] = /^\/[^/]+\/logs\/([^/]+)\/(.+)$/.exec(request.url) ?? [];
  if (!log) return response.writeHead(400).end();
  proxy.asked.push(path);
  const rule = proxy.rules.find(({ at }) => at.test(path));
  if (rule) proxy.applied.push(path);
  const url = `${rule?.from ?? upstream}/logs/${rule?.log ?? log}/${rule?.path ?? path}`;
  const real = await fetch(url, { headers: { "accept-encoding": "identity" } });
  const bytes = Buffer.from(await real.arrayBuffer());
  const headers = Object.fromEntries([...real.headers].filter(([name]) => !OURS.has(name)));
  if (rule?.answer) {
    proxy.closed.push(new Promise((closed) => response.on("close", closed)));
    return rule.answer(response, headers, bytes, path);
  }
  const changed = rule?.bytes && real.status === 200 ? Buffer.from(rule.bytes(bytes, path)) : bytes;
  // With the real answer's cache headers, so that a browser keeps what was changed as it would keep the truth.
  response.writeHead(real.status, { ...headers, "content-length": changed.length }).end(changed);
}
