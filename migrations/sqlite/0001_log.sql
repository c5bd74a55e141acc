-- Why: one file holds many logs, as one PostgreSQL database does; the tables and columns have the same names. A log is
-- made once and never changes. SQLite has no roles: whoever can write the file can change it, and the triggers are
-- there against accidents. What proves a change is the tree.
-- Locks: none; all of it is new.

create table log (
    log_id integer not null,
    name text not null,
    -- The log's identity for everyone who verifies it, and the name of its key.
    origin text not null,
    -- The public key, as signed-note writes it. Pinned here: a server with another secret must notice.
    vkey text not null,
    -- Whether the server asks for the fields of an audit event, or takes any bytes.
    events text not null default 'any',
    -- Milliseconds since 1970, like every time here.
    created_at integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
    constraint log_pk primary key (log_id),
    constraint log_name_unique unique (name),
    constraint log_origin_unique unique (origin),
    constraint log_name_is_a_path_segment check (
        name glob '[a-z0-9]*' and name not glob '*[^a-z0-9._-]*' and length(cast(name as blob)) <= 63
        -- To glob a text ends at its first NUL.
        and instr(name, char(0)) = 0),
    constraint log_origin_length check (length(cast(origin as blob)) between 1 and 255),
    constraint log_events_known check (events in ('any', 'strict'))
) strict;

create trigger log_is_append_only_update before update on log begin
    select raise(abort, 'UPDATE on attestlog.log is refused: an audit log is only appended to');
end;
create trigger log_is_append_only_delete before delete on log begin
    select raise(abort, 'DELETE on attestlog.log is refused: an audit log is only appended to');
end;
-- INSERT OR REPLACE deletes without asking the trigger above.
create trigger log_is_append_only_replace before insert on log
    when exists (select 1 from log where log_id = new.log_id or name = new.name or origin = new.origin) begin
    select raise(abort, 'REPLACE on attestlog.log is refused: an audit log is only appended to');
end;
