// Audit events in the transaction of the change that they are about, from TypeScript with pg; receipts are verified with
// the npm package `attestlog`.
//
// Needs DATABASE_URL, ATTESTLOG_URL (a running server) and ATTESTLOG_POLICY (a file: whose signature to trust).

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { TamperingError, verifyReceipt } from "attestlog";
import { appendEvent, createEvent, formatEvent, type AuditEvent } from "attestlog/event";
import pg from "pg";

const LOG = "default";
const logUrl = `${environment("ATTESTLOG_URL")}/logs/${LOG}`;
const policy = readFileSync(environment("ATTESTLOG_POLICY"), "utf8");

function environment(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

/** What user 7 did to an invoice. The event's id is also its idempotency key. */
function event(action: string, invoice: number, changes?: AuditEvent["changes"]): AuditEvent {
  return createEvent({
    action,
    actor: { type: "user", id: "usr_7" },
    targets: [{ type: "invoice", id: String(invoice) }],
    outcome: "success",
    ...(changes && { changes }),
  });
}

/** Runs `work` in a transaction, which commits if it returns, and is rolled back if it throws. */
async function transaction<T>(pool: pg.Pool, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  try {
    await client.query("begin");
    const result = await work(client);
    await client.query("commit");
    return result;
  } catch (error) {
    await client.query("rollback");
    throw error;
  } finally {
    client.release();
  }
}

async function get(path: string): Promise<Response> {
  return fetch(`${logUrl}/${path}`, { signal: AbortSignal.timeout(10_000) });
}

async function bytes(path: string): Promise<Uint8Array> {
  const answer = await get(path);
  assert.equal(answer.status, 200, path);
  return new Uint8Array(await answer.arrayBuffer());
}

/** Waits until a signed head covers the entry. Returns its index and its receipt. */
async function waitForReceipt(ticket: string, milliseconds = 60_000): Promise<{ index: number; receipt: string }> {
  const deadline = Date.now() + milliseconds;
  while (Date.now() < deadline) {
    const status = JSON.parse(new TextDecoder().decode(await bytes(`tickets/${ticket}`)));
    if (status.status === "processed") {
      const receipt = new TextDecoder().decode(await bytes(`entries/${status.index}/receipt`));
      return { index: status.index, receipt };
    }
    await pause(50);
  }
  throw new Error(`no receipt for ticket ${ticket}`);
}

const pool = new pg.Pool({ connectionString: environment("DATABASE_URL") });
try {
  await pool.query("create table if not exists invoice (id bigint primary key, state text not null)");
  await pool.query("insert into invoice values (10, 'open') on conflict (id) do update set state = 'open'");

  // The change and its event: both, or neither.
  const voided = event("invoice.voided", 10, { before: { state: "open" }, after: { state: "void" } });
  const ticket = await transaction(pool, async (client) => {
    await client.query("update invoice set state = 'void' where id = 10");
    return appendEvent(client, LOG, voided);
  });
  console.log(`committed with ticket ${ticket}`);

  // Was it committed? After a lost connection nobody knows. The same event again is no second entry.
  const again = await transaction(pool, (client) => appendEvent(client, LOG, voided));
  assert.equal(again, ticket);
  console.log("the same event again has the same ticket");

  // Neither: the change that fails takes its event with it.
  let lost = "";
  const declined = new Error("card declined");
  const failing = transaction(pool, async (client) => {
    await client.query("update invoice set state = 'paid' where id = 10");
    lost = await appendEvent(client, LOG, event("invoice.paid", 10));
    throw declined;
  });
  await assert.rejects(failing, declined);
  const { rows } = await pool.query("select state from invoice where id = 10");
  assert.equal(rows[0].state, "void");

  const { index, receipt } = await waitForReceipt(ticket);
  assert.equal((await get(`tickets/${lost}`)).status, 404);
  console.log("rolled back without an event");

  // The bytes that were appended, and that the receipt is about.
  const entry = formatEvent(voided);
  assert.deepEqual(await bytes(`entries/${index}`), entry);
  const verified = await verifyReceipt(receipt, entry, { policy });
  assert.equal(verified.index, BigInt(index));
  const changed = formatEvent({ ...voided, actor: { type: "user", id: "usr_8" } });
  await assert.rejects(verifyReceipt(receipt, changed, { policy }), TamperingError);
  console.log(`entry ${index} is verified, and refused with one byte changed`);
} finally {
  await pool.end();
}
