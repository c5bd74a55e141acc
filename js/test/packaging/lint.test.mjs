// What publint and arethetypeswrong have to say about the package: nothing.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const root = fileURLToPath(new URL("../..", import.meta.url));

test("npm run lint finds nothing", async () => {
  const { stdout } = await promisify(execFile)("npm", ["run", "lint"], { cwd: root }).catch(({ stdout, stderr }) => assert.fail(stdout + stderr));
  assert.match(stdout, /All good!/);
  for (const entry of ["attestlog", "attestlog/slim", "attestlog/node", "attestlog/event"]) {
    assert.ok(stdout.includes(`"${entry}"\n\nnode16 (from CJS): 🟢 (CJS)\nnode16 (from ESM): 🟢 (ESM)\nbundler: 🟢`), stdout);
  }
});
