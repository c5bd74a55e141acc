-- Why: what any language calls to append. EXECUTE is all that a writer needs, and it sees nothing: the functions run
-- with their owner's rights, and nobody but the database sets id, xid and appended_at.
-- Locks: none. Two appends with the same idempotency key wait for one another; no others do.

-- One row for each entry, in their order: its ticket, and whether its idempotency key belongs to another entry. An
-- application's open transaction may hold one of the keys; whoever gives longest_wait, in milliseconds, waits no
-- longer for it. That holds until the end of the calling transaction.
create function attestlog.append_rows(
    log_ids bigint[], entries bytea[], idempotency_keys text[] default null, longest_wait integer default null)
returns table (ticket bigint, key_reused boolean)
language plpgsql security definer set search_path = attestlog, pg_temp as $$
declare
    ids constant bigint[] := array(
        select nextval('append_only_log_id_seq') from generate_series(1, cardinality(entries)));
    keyed constant integer := coalesce(cardinality(array_remove(idempotency_keys, null)), 0);
    fresh bigint[];
    unknown bigint;
begin
    -- The server calls this, and acknowledges when it returns: the commit must be durable.
    if current_setting('synchronous_commit') in ('off', 'local') then
        perform set_config('synchronous_commit', 'on', true);
    end if;
    select l into unknown from unnest(log_ids) l where not exists (select from log where log_id = l) limit 1;
    if found then
        raise exception 'log % does not exist', unknown using errcode = 'foreign_key_violation';
    end if;
    if keyed = 0 then
        insert into append_only_log (id, log_id, data) overriding system value
            select i, l, d from unnest(ids, log_ids, entries) as u (i, l, d);
        return query select i, false from unnest(ids) as i;
        return;
    end if;
    if longest_wait is not null then
        perform set_config('lock_timeout', longest_wait::text, true);
    end if;
    -- In one order for everyone, so that two calls with the same keys cannot deadlock.
    with taken as (
        insert into idempotency_key (log_id, key, ticket)
            select l, k, i from unnest(ids, log_ids, idempotency_keys) as u (i, l, k)
            where k is not null order by l, k, i
            on conflict on constraint idempotency_key_pk do nothing
            returning idempotency_key.ticket as id
    )
    select coalesce(array_agg(id), '{}') into fresh from taken;
    insert into append_only_log (id, log_id, data) overriding system value
        select i, l, d from unnest(ids, log_ids, entries, idempotency_keys) as u (i, l, d, k)
        where k is null or i = any (fresh);
    if cardinality(fresh) = keyed then
        return query select i, false from unnest(ids) as i;
        return;
    end if;
    -- A key that was taken leads to the first append, which is in one of the two tables.
    return query
        select coalesce(f.ticket, u.i),
               coalesce(f.ticket <> u.i, false) and coalesce(p.data, s.data) is distinct from u.d
        from unnest(ids, log_ids, entries, idempotency_keys) with ordinality as u (i, l, d, k, n)
        left join idempotency_key f on f.log_id = u.l and f.key = u.k
        left join processed_log p on p.source_id = f.ticket and f.ticket <> u.i
        left join append_only_log s on s.xid = f.xid and s.id = f.ticket and f.ticket <> u.i
        order by u.n;
end
$$;

-- Whether these bytes are a typed audit event: JSON with action, occurred_at, actor.type and actor.id.
create function attestlog.is_event(data bytea) returns boolean
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
    event jsonb;
begin
    event := convert_from(data, 'UTF8')::jsonb;
    return coalesce(
        event ->> 'action' <> '' and jsonb_typeof(event -> 'action') = 'string'
        and jsonb_typeof(event -> 'occurred_at') = 'string'
        and event #>> '{actor,type}' in ('user', 'service', 'api_key', 'system', 'anonymous')
        and event #>> '{actor,id}' <> '' and jsonb_typeof(event #> '{actor,id}') = 'string', false);
exception
    -- The last one is JSON nested too deeply.
    when data_exception or statement_too_complex then return false;
end
$$;

-- Appends one entry, in the caller's transaction. Returns its ticket.
create function attestlog.append(log text, data bytea, idempotency_key text default null) returns bigint
language plpgsql security definer set search_path = attestlog, pg_temp as $$
declare
    target attestlog.log;
    appended record;
begin
    select * into target from attestlog.log l where l.name = append.log;
    if not found then
        raise exception 'log "%" does not exist', append.log
            using errcode = 'undefined_object', hint = 'make it with: attestlog log create NAME --origin ORIGIN';
    end if;
    if data is null or octet_length(data) not between 1 and 65535 then
        raise exception 'an entry has 1 to 65535 bytes, this one has %', coalesce(octet_length(data), 0)
            using errcode = 'program_limit_exceeded';
    end if;
    if target.events = 'strict' and not is_event(data) then
        raise exception 'log "%" takes audit events only', append.log
            using errcode = 'check_violation',
                  hint = 'an event is JSON with action, occurred_at, actor.type and actor.id';
    end if;
    if append.idempotency_key is null then
        insert into append_only_log (log_id, data) values (target.log_id, append.data) returning id into appended;
        return appended.id;
    end if;
    select * into appended
        from append_rows(array[target.log_id], array[append.data], array[append.idempotency_key]);
    if appended.key_reused then
        raise exception 'idempotency key "%" was used for a different entry', append.idempotency_key
            using errcode = 'unique_violation', hint = 'use a new key for each entry, and the same one only to retry';
    end if;
    return appended.ticket;
end
$$;

-- The same for jsonb. The entry is the text that PostgreSQL makes of the value, in UTF-8.
create function attestlog.append(log text, data jsonb, idempotency_key text default null) returns bigint
language sql security invoker set search_path = attestlog, pg_temp
return attestlog.append(log, convert_to(data::text, 'UTF8'), idempotency_key);

revoke execute on all functions in schema attestlog from public;
grant execute on function attestlog.append(text, bytea, text), attestlog.append(text, jsonb, text)
    to attestlog_writer, attestlog_processor;
grant execute on function attestlog.append_rows(bigint[], bytea[], text[], integer) to attestlog_processor;
