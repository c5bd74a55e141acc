-- Why: an append and a batch cost more than they have to. A check constraint is parsed again for each statement, a domain's
-- is kept; `set search_path` on a function, a function within a function, and a statement of its own for the log's number
-- each cost about half a plain insert. "attestlog bench --through sql --baseline" measures it.
-- Locks: append_only_log exclusively, while the rows that wait in it are written again; the rest replaces functions.

-- The bytes of an entry.
create domain attestlog.entry as bytea constraint entry_size check (octet_length(value) between 1 and 65535);

alter table attestlog.append_only_log drop constraint append_only_log_entry_size;
alter table attestlog.append_only_log alter column data type attestlog.entry;

-- One row for each entry, in their order: its ticket, and whether its idempotency key belongs to another entry. An
-- application's open transaction may hold one of the keys; whoever gives longest_wait, in milliseconds, waits no
-- longer for it. That holds until the end of the calling transaction.
create or replace function attestlog.append_rows(
    log_ids bigint[], entries bytea[], idempotency_keys text[] default null, longest_wait integer default null)
returns table (ticket bigint, key_reused boolean)
language plpgsql security definer set search_path = attestlog, pg_temp as $$
declare
    ids bigint[];
    keyed constant integer := coalesce(cardinality(array_remove(idempotency_keys, null)), 0);
    fresh bigint[];
    unknown bigint;
begin
    -- The server calls this, and acknowledges when it returns: the commit must be durable.
    if current_setting('synchronous_commit') in ('off', 'local') then
        perform set_config('synchronous_commit', 'on', true);
    end if;
    select l into unknown from (select distinct l from unnest(log_ids) l) d
        where not exists (select from log where log_id = l) limit 1;
    if found then
        raise exception 'log % does not exist', unknown using errcode = 'foreign_key_violation';
    end if;
    if keyed = 0 then
        -- They are numbered, and returned, in the order of the array.
        return query insert into append_only_log (log_id, data)
            select l, d from unnest(log_ids, entries) as u (l, d) returning id, false;
        return;
    end if;
    ids := array(select nextval('append_only_log_id_seq') from generate_series(1, cardinality(entries)));
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

-- attestlog.append for what its one insert does not take: it has a key, its log is strict, or something is wrong.
create function attestlog.append_checked(log text, data bytea, idempotency_key text) returns bigint
language plpgsql security definer set search_path = attestlog, pg_temp as $$
declare
    target attestlog.log;
    appended record;
begin
    select * into target from attestlog.log l where l.name = append_checked.log;
    if not found then
        raise exception 'log "%" does not exist', append_checked.log
            using errcode = 'undefined_object', hint = 'make it with: attestlog log create NAME --origin ORIGIN';
    end if;
    if data is null or octet_length(data) not between 1 and 65535 then
        raise exception 'an entry has 1 to 65535 bytes, this one has %', coalesce(octet_length(data), 0)
            using errcode = 'program_limit_exceeded';
    end if;
    if target.events = 'strict' and not is_event(data) then
        raise exception 'log "%" takes audit events only', append_checked.log
            using errcode = 'check_violation',
                  hint = 'an event is JSON with action, occurred_at, actor.type and actor.id';
    end if;
    if append_checked.idempotency_key is null then
        insert into append_only_log (log_id, data) values (target.log_id, append_checked.data)
            returning id into appended;
        return appended.id;
    end if;
    select * into appended
        from append_rows(array[target.log_id], array[append_checked.data], array[append_checked.idempotency_key]);
    if appended.key_reused then
        raise exception 'idempotency key "%" was used for a different entry', append_checked.idempotency_key
            using errcode = 'unique_violation', hint = 'use a new key for each entry, and the same one only to retry';
    end if;
    return appended.ticket;
end
$$;

-- Appends one entry, in the caller's transaction. Returns its ticket. Every name and operator says its schema, so the
-- caller's search_path does not matter, and setting another one is saved.
create or replace function attestlog.append(log text, data bytea, idempotency_key text default null) returns bigint
language plpgsql security definer as $$
declare
    ticket bigint;
begin
    if append.idempotency_key is null then
        insert into attestlog.append_only_log (log_id, data)
            select l.log_id, append.data from attestlog.log l
            where l.name operator(pg_catalog.=) append.log and l.events operator(pg_catalog.=) 'any'
                and pg_catalog.octet_length(append.data) operator(pg_catalog.>) 0
                and pg_catalog.octet_length(append.data) operator(pg_catalog.<=) 65535
            returning id into ticket;
        if found then
            return ticket;
        end if;
    end if;
    return attestlog.append_checked(append.log, append.data, append.idempotency_key);
end
$$;

-- The same for jsonb. The entry is the text that PostgreSQL makes of the value, in UTF-8.
create or replace function attestlog.append(log text, data jsonb, idempotency_key text default null) returns bigint
language plpgsql security definer as $$
declare
    entry constant pg_catalog.bytea := pg_catalog.convert_to(append.data::pg_catalog.text, 'UTF8');
    ticket bigint;
begin
    if append.idempotency_key is null then
        insert into attestlog.append_only_log (log_id, data)
            select l.log_id, entry from attestlog.log l
            where l.name operator(pg_catalog.=) append.log and l.events operator(pg_catalog.=) 'any'
                and pg_catalog.octet_length(entry) operator(pg_catalog.<=) 65535
            returning id into ticket;
        if found then
            return ticket;
        end if;
    end if;
    return attestlog.append_checked(append.log, entry, append.idempotency_key);
end
$$;

-- attestlog.append_all for what its one insert does not take.
--
-- A generic plan compares each of 10,000 keys with each of the others (0.5 s instead of 0.17 s): it does not know how
-- long the arrays are, nor hash them.
create function attestlog.append_all_checked(log text, entries bytea[], idempotency_keys text[]) returns bigint[]
language plpgsql security definer
set search_path = attestlog, pg_temp set plan_cache_mode = force_custom_plan as $$
declare
    target attestlog.log;
    wrong record;
    reused bigint;
    tickets bigint[];
begin
    select * into target from attestlog.log l where l.name = append_all_checked.log;
    if not found then
        raise exception 'log "%" does not exist', append_all_checked.log
            using errcode = 'undefined_object', hint = 'make it with: attestlog log create NAME --origin ORIGIN';
    end if;
    if entries is null then
        raise exception 'entries is null' using errcode = 'null_value_not_allowed';
    end if;
    if cardinality(idempotency_keys) <> cardinality(entries) then
        raise exception '% entries have % idempotency keys', cardinality(entries), cardinality(idempotency_keys)
            using errcode = 'array_subscript_error', hint = 'give one key an entry, null for an entry without one';
    end if;
    select n, coalesce(octet_length(d), 0) as size into wrong from unnest(entries) with ordinality as u (d, n)
        where d is null or octet_length(d) not between 1 and 65535 order by n limit 1;
    if found then
        raise exception 'an entry has 1 to 65535 bytes, this one has %', wrong.size
            using errcode = 'program_limit_exceeded', detail = format('It is entry %s of the call.', wrong.n);
    end if;
    if target.events = 'strict' then
        select n into wrong from unnest(entries) with ordinality as u (d, n) where not is_event(d) order by n limit 1;
        if found then
            raise exception 'log "%" takes audit events only', append_all_checked.log
                using errcode = 'check_violation', detail = format('Entry %s of the call is none.', wrong.n),
                      hint = 'an event is JSON with action, occurred_at, actor.type and actor.id';
        end if;
    end if;
    select array_agg(r.ticket order by r.n), min(r.n) filter (where r.key_reused) into tickets, reused
        from append_rows(array_fill(target.log_id, array[cardinality(entries)]), entries, idempotency_keys)
             with ordinality as r (ticket, key_reused, n);
    if reused is not null then
        raise exception 'idempotency key "%" was used for a different entry',
                        (select k from unnest(idempotency_keys) with ordinality as u (k, n) where n = reused)
            using errcode = 'unique_violation', detail = format('It is that of entry %s of the call.', reused),
                  hint = 'use a new key for each entry, and the same one only to retry';
    end if;
    return coalesce(tickets, '{}');
end
$$;

-- Appends these entries in their order, in the caller's transaction. Returns their tickets, in the same order. Key N
-- belongs to entry N; null for an entry without one. Entries of one call with the same key are one entry.
create or replace function attestlog.append_all(log text, entries bytea[], idempotency_keys text[] default null)
returns bigint[] language plpgsql security definer as $$
declare
    tickets bigint[];
begin
    if append_all.idempotency_keys is null and not exists (
        select from pg_catalog.unnest(append_all.entries) d
        where d is null or pg_catalog.octet_length(d) operator(pg_catalog.=) 0
            or pg_catalog.octet_length(d) operator(pg_catalog.>) 65535
    ) then
        with appended as (
            insert into attestlog.append_only_log (log_id, data)
                select l.log_id, d from attestlog.log l cross join pg_catalog.unnest(append_all.entries) d
                where l.name operator(pg_catalog.=) append_all.log and l.events operator(pg_catalog.=) 'any'
                returning id
        )
        -- They were numbered in the order of the array, so that of their numbers is the same.
        select pg_catalog.array_agg(id order by id) into tickets from appended;
        if tickets is not null then
            return tickets;
        end if;
    end if;
    return attestlog.append_all_checked(append_all.log, append_all.entries, append_all.idempotency_keys);
end
$$;

-- As before, with less work a row: rows are chosen and numbered without their entries, and an entry is touched where it
-- is copied and where it is deleted.
--
-- Moves the next rows from append_only_log to processed_log, at most max_rows of them and about 16 MB, and returns them.
-- If it looks at everything, nothing is inferred from earlier calls about where new rows are. Returns nothing while
-- another transaction holds the lock. Whoever calls it by hand only moves rows: the server adds them to the trees.
--
-- Statistics never fit a table whose rows come and go within a second, so the settings leave the planner no choice but
-- the indexes. Without jit = off it would compile each query that has to pass over a table after all.
create or replace function attestlog.process_next_batch(max_rows integer, look_at_everything boolean default false)
returns table (log_id bigint, id bigint, source_id bigint, data bytea, leaf_hash bytea)
language plpgsql security definer
set search_path = attestlog, pg_temp set enable_seqscan = off set enable_bitmapscan = off set jit = off
set max_parallel_workers_per_gather = 0 set work_mem = '64MB' set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
    max_bytes constant bigint := 16 * 1024 * 1024;
    mark processing_mark;
    now_running pg_snapshot;
    here bigint;
    mark_holds boolean;
    trusted boolean;
    low_xid xid8;
    ended xid8[] := '{}';
    batch record;
    rows bigint;
    new_low xid8;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'process_next_batch needs READ COMMITTED, not %', current_setting('transaction_isolation');
    end if;
    if not pg_try_advisory_xact_lock(6962, 1) then
        return;
    end if;
    -- The head that follows from this batch will be signed and shown: the commit must be durable.
    if current_setting('synchronous_commit') in ('off', 'local') then
        perform set_config('synchronous_commit', 'on', true);
    end if;

    now_running := pg_current_snapshot();
    here := (select s.system_identifier from pg_control_system() s);
    select * into mark from processing_mark order by revision desc limit 1;
    mark_holds := coalesce(mark.system_identifier = here and mark.low <= pg_snapshot_xmax(now_running), false);
    trusted := mark_holds and not look_at_everything;
    low_xid := case when trusted then mark.low else '0' end;
    if trusted then
        ended := array(select x from unnest(mark.running) x
                       where pg_visible_in_snapshot(x, now_running) and x is distinct from mark.cut_xid order by x);
    else
        mark.cut_id := 0;
    end if;

    -- The rest of a transaction that was cut, then transactions that ended late, then the others; each part in the
    -- order of its writers, and none begun before max_rows are found without it.
    with candidate as materialized (
        select * from (
            (select 0 as part, ctid as place, log_id, xid, id, octet_length(data) as size from append_only_log
             where xid = mark.cut_xid and id > mark.cut_id order by xid, id limit max_rows)
            union all
            (select 1, r.* from unnest(ended) e cross join lateral (
                 select ctid, log_id, xid, id, octet_length(data) from append_only_log
                 where xid = e order by xid, id limit max_rows) r)
            union all
            (select 2, ctid, log_id, xid, id, octet_length(data) from append_only_log
             where xid >= low_xid and xid is distinct from mark.cut_xid order by xid, id limit max_rows)
        ) parts limit max_rows
    ),
    found as (
        select count(*) as rows, sum(size) as bytes from candidate
    ),
    -- All of them, or as many as are not too long together.
    chosen as materialized (
        select part, place, log_id, xid, id from candidate where (select bytes from found) <= max_bytes
        union all
        select part, place, log_id, xid, id
        from (select *, sum(size) over (order by part, xid, id) as bytes_up_to from candidate) c
        where (select bytes from found) > max_bytes and bytes_up_to <= max_bytes
    ),
    last as (
        select part, xid, id from chosen order by part desc, xid desc, id desc limit 1
    ),
    -- One probe for each log, however many of the rows are in it.
    next as materialized (
        select l.log_id, coalesce((select max(p.id) from processed_log p where p.log_id = l.log_id), -1) as id
        from (select distinct log_id from chosen) l
    ),
    numbered as (
        select place, log_id, row_number() over (partition by log_id order by part, xid, id) as n from chosen
    )
    select array_agg(place) as places, array_agg(next.id + n) as ids, count(*) as rows,
           count(*) = max_rows or count(*) < (select rows from found) as cut,
           (select part from last) as last_part, (select xid from last) as last_xid, (select id from last) as last_id
        into batch from numbered join next using (log_id);

    if batch.rows > 0 then
        return query
            insert into processed_log (log_id, id, source_id, appended_at, data)
                select s.log_id, u.id, s.id, s.appended_at, s.data
                from unnest(batch.places, batch.ids) as u (place, id) join append_only_log s on s.ctid = u.place
                returning log_id, id, source_id, data, leaf_hash;
        get diagnostics rows = row_count;
        if rows = batch.rows then
            delete from append_only_log where ctid = any (batch.places);
            get diagnostics rows = row_count;
        end if;
        -- Someone with the owner's rights deletes rows at this moment.
        if rows <> batch.rows then
            raise exception 'append_only_log was changed by someone else' using errcode = 'serialization_failure';
        end if;
    end if;

    if batch.rows > 0 or not trusted then
        -- The snapshot was taken before the rows were looked for, so whatever it calls running may be missing from them.
        new_low := case
            when not batch.cut then pg_snapshot_xmax(now_running)
            when batch.last_part = 2 then
                least((batch.last_xid::text::numeric + 1)::text::xid8, pg_snapshot_xmax(now_running))
            -- Cut within the earlier parts: the last one is still to be looked at, from where it was.
            when mark_holds then mark.low
        end;
        update processing_mark set
            revision = revision + 1,
            low = new_low,
            running = case
                when not batch.cut or batch.last_part = 2
                    then array(select x from pg_snapshot_xip(now_running) x where x < new_low)
                when batch.last_part = 1
                    then array(select x from unnest(mark.running) x where not (x = any (ended) and x <= batch.last_xid))
                else mark.running end,
            cut_xid = case when batch.cut then batch.last_xid end,
            cut_id = case when batch.cut then batch.last_id end,
            system_identifier = here
        where revision = mark.revision;
    end if;
end
$$;

revoke execute on function
    attestlog.append_checked(text, bytea, text), attestlog.append_all_checked(text, bytea[], text[]) from public;
