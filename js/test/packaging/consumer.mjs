// The application of the packaging tests: verifies a receipt, and the same receipt three ways wrong.

import { Key, numbered, SampleLog } from "../sample-log.mjs";

const log = new SampleLog(numbered(12));
const given = {
  receipt: log.receipt(7),
  entry: "entry 7",
  policy: log.key.vkey,
  otherPolicy: new Key(log.key.name, 8).vkey,
};

/** A module that exports `verdicts(attestlog)`, in what any environment can run. */
export const check = `
const given = ${JSON.stringify(given)};
const bytes = (text) => new TextEncoder().encode(text);

export async function verdicts({ verifyReceipt, VerificationError }) {
  const verdict = async (receipt, entry, policy) => {
    try {
      const { index, checkpoint } = await verifyReceipt(receipt, bytes(entry), { policy });
      return \`\${typeof index} \${index} of \${checkpoint.size} in \${checkpoint.origin}\`;
    } catch (error) {
      return error instanceof VerificationError ? \`\${error.name} \${error.code}\` : String(error);
    }
  };
  return {
    right: await verdict(given.receipt, given.entry, given.policy),
    changedEntry: await verdict(given.receipt, given.entry.replace("7", "8"), given.policy),
    otherPolicy: await verdict(given.receipt, given.entry, given.otherPolicy),
    truncated: await verdict(given.receipt.slice(0, -10), given.entry, given.policy),
  };
}
`;

export const EXPECTED = {
  right: "bigint 7 of 12 in example.com/log",
  changedEntry: "TamperingError root_mismatch",
  otherPolicy: "UncheckedError no_trusted_signature",
  truncated: "UnreadableError malformed_note",
};

/** All of them with this verdict. */
export const all = (verdict) => Object.fromEntries(Object.keys(EXPECTED).map((name) => [name, verdict]));

/** The page's script: what it finds is `globalThis.verdicts`. `loaded` is whence, and awaits what is to be awaited first. */
export const pageScript = (imports, first = "") => `
${imports}
import { verdicts } from "./check.js";
${first}
globalThis.verdicts = verdicts(attestlog);
`;

/** The page's script that leaves the work to a module worker, and the worker's. */
export const workerPageScript = `
const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
globalThis.verdicts = new Promise((resolve, reject) => {
  worker.onmessage = ({ data }) => resolve(data);
  worker.onerror = ({ message }) => reject(new Error(message));
});
`;
export const workerScript = (from) => `
import * as attestlog from ${JSON.stringify(from)};
import { verdicts } from "./check.js";
verdicts(attestlog).then(postMessage, (error) => { throw error; });
`;

export const page = (script = "/main.js", head = "") => `<!doctype html>
<html><head><meta charset="utf-8"><title>consumer</title><link rel="icon" href="data:,">${head}</head>
<body><script type="module" src="${script}"></script></body></html>
`;
