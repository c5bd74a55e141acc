// The audit event for servers in TypeScript: its type, how it is made, and how it is appended in a PostgreSQL transaction.

/** What kind of actor. */
export type ActorType = "user" | "service" | "api_key" | "system" | "anonymous";

/** How it ended. */
export type Outcome = "success" | "failure" | "denied" | "unknown";

/** Who did it: an identifier, not a name, which changes. */
export interface Actor {
  type: ActorType;
  id: string;
  name?: string;
  /** For whom it acted: the customer for whom support did it, say. */
  on_behalf_of?: Actor;
  [other: string]: unknown;
}

/** What it was done to. */
export interface Target {
  type: string;
  id: string;
  name?: string;
  [other: string]: unknown;
}

/** What happened: who did what to what, when, and how it ended. docs/event.md describes each field. */
export interface AuditEvent {
  /** A UUIDv7 unless you chose another; the idempotency key. */
  id: string;
  /** What was done, as `noun.verb` in the past: `invoice.voided`. */
  action: string;
  /** When, by the writer's clock: RFC 3339. */
  occurred_at: string;
  actor: Actor;
  targets?: Target[];
  outcome?: Outcome;
  context?: { ip?: string; user_agent?: string; request_id?: string; trace_id?: string; [other: string]: unknown };
  changes?: { before?: unknown; after?: unknown };
  metadata?: Record<string, unknown>;
  [other: string]: unknown;
}

/** What has to be said of an event; the rest is made. */
export type EventFields = Pick<AuditEvent, "action" | "actor"> & Partial<AuditEvent>;

/** What `appendEvent` needs of a connection: a `Client` or `PoolClient` of `pg`, in whose transaction the event is. */
export interface Connection {
  query(text: string, values: unknown[]): Promise<{ rows: { ticket: unknown }[] }>;
}

/** The most bytes of an entry. */
const MAX_ENTRY_SIZE = 65535;

/** An event that happens now, with an identifier of its own, unless `fields` has others. */
export function createEvent(fields: EventFields): AuditEvent {
  const { id = uuidv7(), action, occurred_at = new Date().toISOString(), actor, ...rest } = fields;
  return { id, action, occurred_at, actor, ...rest };
}

/**
 * The entry: these bytes are what is stored, hashed and proven.
 * @throws RangeError if a field that an event must have is missing, or the event has more than 65,535 bytes.
 */
export function formatEvent(event: AuditEvent): Uint8Array {
  const required = { action: event.action, occurred_at: event.occurred_at, "actor.type": event.actor?.type, "actor.id": event.actor?.id };
  for (const [name, value] of Object.entries(required)) {
    if (typeof value !== "string" || value === "") throw new RangeError(`the event has no ${name}`);
  }
  const entry = new TextEncoder().encode(JSON.stringify(event));
  if (entry.length > MAX_ENTRY_SIZE) {
    throw new RangeError(`the event has ${entry.length} bytes as JSON, and an entry at most ${MAX_ENTRY_SIZE}`);
  }
  return entry;
}

/**
 * Appends an event to the log of this name, in the transaction of `connection`, if one is open: the event commits with it
 * or not at all. Returns the ticket, which leads to the receipt once the transaction has committed.
 */
export async function appendEvent(connection: Connection, log: string, event: AuditEvent): Promise<string> {
  const text = "select attestlog.append($1::text, $2::bytea, $3::text)::text as ticket";
  const { rows } = await connection.query(text, [log, formatEvent(event), event.id || null]);
  return String(rows[0]?.ticket);
}

/** The last identifier's time, and how many were made in it: identifiers of one process sort as they were made. */
let last = 0;
let count = 0;

/** RFC 9562 §5.7, with a counter in the twelve bits after the time (§6.2, method 1). */
function uuidv7(): string {
  const now = Date.now();
  if (now > last) {
    last = now;
    count = 0;
  } else if (++count > 0xfff) {
    // More than 4,096 in a millisecond, or a clock that went back.
    last += 1;
    count = 0;
  }
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, Math.floor(last / 2 ** 32));
  view.setUint32(2, last % 2 ** 32);
  view.setUint16(6, 0x7000 | count);
  view.setUint8(8, 0x80 | (view.getUint8(8) & 0x3f));
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
