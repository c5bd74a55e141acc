-- Why: one database holds many logs, a tenant each, say. Three group roles separate who may append, who may process
-- and who may read; whoever runs this migration owns everything.
-- Locks: none; all of it is new.

-- The migrator made it already, for the table of what it has applied.
create schema if not exists attestlog;

do $$
declare
    role_name text;
begin
    foreach role_name in array array['attestlog_writer', 'attestlog_processor', 'attestlog_reader'] loop
        begin
            execute format('create role %I nologin', role_name);
        exception
            -- Roles belong to the whole cluster: another database's migration, or one running at this moment, made it.
            when duplicate_object or unique_violation then null;
            when insufficient_privilege then
                if not exists (select from pg_roles where rolname = role_name) then
                    raise exception 'this user may not create the role %', role_name
                        using hint = format('run "create role %s nologin" as a user with CREATEROLE, then migrate again',
                                            role_name);
                end if;
        end;
    end loop;
end
$$;

create table attestlog.log (
    log_id bigint generated always as identity,
    name text not null,
    -- The log's identity for everyone who verifies it, and the name of its key.
    origin text not null,
    -- The public key, as signed-note writes it. Pinned here: a server with another secret must notice.
    vkey text not null,
    -- Whether the server asks for the fields of an audit event, or takes any bytes.
    events text not null default 'any',
    created_at timestamptz not null default now(),
    constraint log_pk primary key (log_id),
    constraint log_name_unique unique (name),
    constraint log_origin_unique unique (origin),
    constraint log_name_is_a_path_segment check (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    constraint log_origin_length check (octet_length(origin) between 1 and 255),
    constraint log_events_known check (events in ('any', 'strict'))
);

create function attestlog.refuse_change() returns trigger
language plpgsql as $$
begin
    raise exception '% on attestlog.% is refused: an audit log is only appended to', tg_op, tg_table_name
        using errcode = 'insufficient_privilege';
end
$$;

create trigger log_is_append_only before update or delete or truncate on attestlog.log
    for each statement execute function attestlog.refuse_change();

alter table attestlog.log enable always trigger log_is_append_only;

grant usage on schema attestlog to attestlog_writer, attestlog_processor, attestlog_reader;
grant select on attestlog.migration, attestlog.log to attestlog_processor, attestlog_reader;
grant insert on attestlog.log to attestlog_processor;
