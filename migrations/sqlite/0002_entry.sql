-- Why: append_only_log takes what writers commit; processed_log has the one order. A row is in exactly one of the two,
-- always: a batch moves it within one transaction. SQLite has one writer at a time, so the order of the ids is the
-- order of the commits, and nothing else need be kept to find what is new.
-- Locks: none; all of it is new.

create table append_only_log (
    -- The ticket that an append returns. Never given twice (autoincrement), though the rows leave.
    id integer not null constraint append_only_log_pk primary key autoincrement,
    log_id integer not null,
    appended_at integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
    data blob not null,
    constraint append_only_log_log_exists foreign key (log_id) references log (log_id),
    constraint append_only_log_entry_size check (length(data) between 1 and 65535)
) strict;

-- Clustered by log and index: a scan of one log reads neighbouring pages.
create table processed_log (
    log_id integer not null,
    -- The leaf index: 0, 1, 2, … without a gap.
    id integer not null,
    source_id integer not null,
    appended_at integer not null,
    -- RFC 6962's leaf hash, computed by the server at the move, since SQLite has no SHA-256, and again before it signs.
    leaf_hash blob not null,
    data blob not null,
    constraint processed_log_pk primary key (log_id, id),
    constraint processed_log_source_unique unique (source_id),
    constraint processed_log_id_not_negative check (id >= 0),
    constraint processed_log_leaf_hash_size check (length(leaf_hash) = 32),
    constraint processed_log_entry_size check (length(data) between 1 and 65535)
) strict, without rowid;

create table idempotency_key (
    log_id integer not null,
    key text not null,
    ticket integer not null,
    constraint idempotency_key_pk primary key (log_id, key),
    constraint idempotency_key_length check (length(cast(key as blob)) between 1 and 255)
) strict, without rowid;

create trigger append_only_log_rows_do_not_change before update on append_only_log begin
    select raise(abort, 'UPDATE on attestlog.append_only_log is refused: an audit log is only appended to');
end;

create trigger processed_log_is_append_only_update before update on processed_log begin
    select raise(abort, 'UPDATE on attestlog.processed_log is refused: an audit log is only appended to');
end;
create trigger processed_log_is_append_only_delete before delete on processed_log begin
    select raise(abort, 'DELETE on attestlog.processed_log is refused: an audit log is only appended to');
end;
create trigger processed_log_is_append_only_replace before insert on processed_log
    when exists (select 1 from processed_log where log_id = new.log_id and id = new.id)
    or exists (select 1 from processed_log where source_id = new.source_id) begin
    select raise(abort, 'REPLACE on attestlog.processed_log is refused: an audit log is only appended to');
end;

create trigger idempotency_key_is_append_only_update before update on idempotency_key begin
    select raise(abort, 'UPDATE on attestlog.idempotency_key is refused: an audit log is only appended to');
end;
create trigger idempotency_key_is_append_only_delete before delete on idempotency_key begin
    select raise(abort, 'DELETE on attestlog.idempotency_key is refused: an audit log is only appended to');
end;
create trigger idempotency_key_is_append_only_replace before insert on idempotency_key
    when exists (select 1 from idempotency_key where log_id = new.log_id and key = new.key) begin
    select raise(abort, 'REPLACE on attestlog.idempotency_key is refused: an audit log is only appended to');
end;
