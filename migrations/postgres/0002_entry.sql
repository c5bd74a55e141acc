-- Why: append_only_log takes what many writers commit, in whatever order; processed_log has the one order. A row is
-- in exactly one of the two, always: process_next_batch moves it with one statement.
-- Locks: none; all of it is new.

create table attestlog.append_only_log (
    -- The ticket that an append returns. It says when the INSERT ran, not when it committed.
    id bigint generated always as identity,
    log_id bigint not null,
    -- The writing transaction: its entries stay together and in their order.
    xid xid8 not null default pg_current_xact_id(),
    appended_at timestamptz not null default clock_timestamp(),
    data bytea not null,
    constraint append_only_log_entry_size check (octet_length(data) between 1 and 65535)
);

-- No primary key and no foreign key, to keep an append at one index: the sequence makes id unique, processed_log
-- checks it (source_id), and attestlog.append looks the log up.
create index append_only_log_order on attestlog.append_only_log (xid, id);

-- Each row is deleted soon after it came. Vacuum early and without pauses, or the scan meets dead rows.
alter table attestlog.append_only_log set (
    autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_threshold = -1, toast.autovacuum_vacuum_cost_delay = 0
);

create table attestlog.processed_log (
    log_id bigint not null,
    -- The leaf index: 0, 1, 2, … without a gap.
    id bigint not null,
    source_id bigint not null,
    appended_at timestamptz not null,
    data bytea not null,
    -- RFC 6962's leaf hash. The server computes it again before it signs.
    leaf_hash bytea not null generated always as (sha256('\x00'::bytea || data)) stored,
    constraint processed_log_pk primary key (log_id, id),
    constraint processed_log_source_unique unique (source_id),
    constraint processed_log_id_not_negative check (id >= 0),
    constraint processed_log_entry_size check (octet_length(data) between 1 and 65535)
);

create table attestlog.idempotency_key (
    log_id bigint not null,
    key text not null,
    -- The first append with this key, and the transaction that made it: what finds its row in append_only_log.
    ticket bigint not null,
    xid xid8 not null default pg_current_xact_id(),
    constraint idempotency_key_pk primary key (log_id, key),
    constraint idempotency_key_length check (octet_length(key) between 1 and 255)
);

create trigger append_only_log_rows_do_not_change before update or truncate on attestlog.append_only_log
    for each statement execute function attestlog.refuse_change();
create trigger processed_log_is_append_only before update or delete or truncate on attestlog.processed_log
    for each statement execute function attestlog.refuse_change();
create trigger idempotency_key_is_append_only before update or delete or truncate on attestlog.idempotency_key
    for each statement execute function attestlog.refuse_change();
-- Also where a superuser has set session_replication_role to replica.
alter table attestlog.append_only_log enable always trigger append_only_log_rows_do_not_change;
alter table attestlog.processed_log enable always trigger processed_log_is_append_only;
alter table attestlog.idempotency_key enable always trigger idempotency_key_is_append_only;

grant select on attestlog.append_only_log, attestlog.idempotency_key to attestlog_processor;
grant select on attestlog.processed_log to attestlog_processor, attestlog_reader;
