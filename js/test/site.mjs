// An HTTP server for the tests: answers as a function of the path, and counts what was asked.

import { createServer } from "node:http";

/** Runs `body` with a server at `url`; `answer(path, response, request)` returns bytes, undefined (404), or answers by itself. */
export async function withSite(answer, body) {
  const asked = [];
  const server = createServer((request, response) => {
    const path = request.url.replace(/^\/log\//, "");
    asked.push(path);
    const bytes = answer(path, response, request);
    if (bytes === BY_ITSELF) return;
    response.statusCode = bytes === undefined ? 404 : 200;
    response.end(bytes);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  try {
    return await body({ url: `http://127.0.0.1:${server.address().port}/log`, asked, server });
  } finally {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  }
}

/** Returned by an `answer` that writes the response itself. */
export const BY_ITSELF = Symbol("by itself");
