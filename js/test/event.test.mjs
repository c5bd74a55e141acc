// The typed event: what it is as bytes, and what appending it asks of a connection.

import assert from "node:assert/strict";
import { test } from "node:test";
import { appendEvent, createEvent, formatEvent } from "attestlog/event";

const actor = { type: "user", id: "usr_7" };

test("an event has an identifier and a time of its own, and its fields in their order", () => {
  const before = Date.now();
  const event = createEvent({ action: "invoice.voided", actor, targets: [{ type: "invoice", id: "inv_9" }], extra: 1 });
  assert.deepEqual(Object.keys(event), ["id", "action", "occurred_at", "actor", "targets", "extra"]);
  assert.match(event.id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.ok(Date.parse(event.occurred_at) >= before && Date.parse(event.occurred_at) <= Date.now());
  const made = Number.parseInt(event.id.replaceAll("-", "").slice(0, 12), 16);
  assert.ok(made >= before && made <= Date.now() + 10);
  assert.equal(new TextDecoder().decode(formatEvent(event)), JSON.stringify(event));
  const given = createEvent({ action: "a", actor, id: "mine", occurred_at: "2026-11-22T08:00:00Z" });
  assert.deepEqual(given, { id: "mine", action: "a", occurred_at: "2026-11-22T08:00:00Z", actor });
});

test("identifiers are new and sort as they were made, also many in a millisecond and when the clock goes back", (t) => {
  const ids = Array.from({ length: 20_000 }, () => createEvent({ action: "a", actor }).id);
  const now = Date.now();
  t.mock.method(Date, "now", () => now - 60_000);
  ids.push(...Array.from({ length: 5_000 }, () => createEvent({ action: "a", actor }).id));
  assert.equal(new Set(ids).size, ids.length);
  assert.deepEqual(ids, [...ids].sort());
});

test("what an event must have is asked for by name, and an entry has a limit", () => {
  for (const [fields, name] of [
    [{ action: "", actor }, "action"],
    [{ action: "a", actor: { type: "user", id: "" } }, "actor.id"],
    [{ action: "a", actor: { id: "u" } }, "actor.type"],
    [{ action: "a" }, "actor.type"],
    [{ action: "a", actor, occurred_at: "" }, "occurred_at"],
  ]) {
    assert.throws(() => formatEvent(createEvent(fields)), { name: "RangeError", message: `the event has no ${name}` });
  }
  const event = (note) => createEvent({ action: "a", actor, metadata: { note } });
  const room = 65_535 - formatEvent(event("")).length;
  assert.equal(formatEvent(event("x".repeat(room))).length, 65_535);
  assert.throws(() => formatEvent(event("x".repeat(room + 1))), /65536 bytes/);
  assert.throws(() => formatEvent(event("é".repeat(room / 2 + 1))), RangeError);
});

test("an append is one statement, with the bytes and the identifier", async () => {
  const asked = [];
  const connection = { query: async (...all) => (asked.push(all), { rows: [{ ticket: "42" }] }) };
  const event = createEvent({ action: "a", actor });
  assert.equal(await appendEvent(connection, "acme", event), "42");
  assert.equal(await appendEvent(connection, "acme", { ...event, id: "" }), "42");
  assert.match(asked[0][0], /^select attestlog\.append\(\$1::text, \$2::bytea, \$3::text\)/);
  assert.deepEqual(asked[0][1], ["acme", formatEvent(event), event.id]);
  assert.equal(asked[1][1][2], null);
});
