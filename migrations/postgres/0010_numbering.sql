-- Why: to number its rows, a batch sorted, joined and copied them several times. Nearly every batch is of one log, whose rows
-- are numbered by counting. "scripts/bench costs" measures what a row costs.
-- Locks: nothing; it replaces a function.

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
    waiting record;
    chosen bigint;
    cut boolean;
    last_part integer;
    last_xid xid8;
    last_id bigint;
    next_id bigint;
    ids bigint[];
    moved bigint;
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

    -- Where they are, without their entries. The rest of a transaction that was cut, then transactions that ended late,
    -- then the others; each part in the order of its writers, and none begun before max_rows are found without it.
    select array_agg(place) as places, array_agg(log_id) as logs, min(log_id) as least_log, max(log_id) as greatest_log,
           array_agg(size) as sizes, sum(size) as bytes,
           count(*) as rows, count(*) filter (where part = 0) as rest, count(*) filter (where part <= 1) as rest_and_late
        into waiting
        from (
            select * from (
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
            ) candidate order by part, xid, id
        ) ordered;
    chosen := waiting.rows;
    -- As many as are not too long together.
    if waiting.bytes > max_bytes then
        chosen := (select count(*) from (select sum(size) over (order by n) as bytes
                                         from unnest(waiting.sizes) with ordinality as u (size, n)) s
                   where bytes <= max_bytes);
        waiting.places := waiting.places[:chosen];
        waiting.logs := waiting.logs[:chosen];
    end if;
    cut := chosen = max_rows or chosen < waiting.rows;

    if chosen > 0 then
        last_part := case when chosen <= waiting.rest then 0 when chosen <= waiting.rest_and_late then 1 else 2 end;
        select xid, id into last_xid, last_id from append_only_log where ctid = waiting.places[chosen];
        if waiting.least_log = waiting.greatest_log then
            next_id := (select coalesce(max(p.id) + 1, 0) from processed_log p where p.log_id = waiting.least_log);
            ids := array(select generate_series(next_id, next_id + chosen - 1));
        else
            -- One probe for each log, however many of the rows are in it.
            ids := array(
                with row as (
                    select log_id, n, row_number() over (partition by log_id order by n) as nth
                    from unnest(waiting.logs) with ordinality as u (log_id, n)
                ), next as materialized (
                    select l.log_id, coalesce((select max(p.id) from processed_log p where p.log_id = l.log_id), -1) as id
                    from (select distinct log_id from row) l
                )
                select next.id + nth from row join next using (log_id) order by n);
        end if;
        return query
            insert into processed_log (log_id, id, source_id, appended_at, data)
                select s.log_id, u.id, s.id, s.appended_at, s.data
                from unnest(waiting.places, ids) as u (place, id) join append_only_log s on s.ctid = u.place
                returning log_id, id, source_id, data, leaf_hash;
        get diagnostics moved = row_count;
        if moved = chosen then
            delete from append_only_log where ctid = any (waiting.places);
            get diagnostics moved = row_count;
        end if;
        -- Someone with the owner's rights deletes rows at this moment.
        if moved <> chosen then
            raise exception 'append_only_log was changed by someone else' using errcode = 'serialization_failure';
        end if;
    end if;

    if chosen > 0 or not trusted then
        -- The snapshot was taken before the rows were looked for, so whatever it calls running may be missing from them.
        new_low := case
            when not cut then pg_snapshot_xmax(now_running)
            when last_part = 2 then least((last_xid::text::numeric + 1)::text::xid8, pg_snapshot_xmax(now_running))
            -- Cut within the earlier parts: the last one is still to be looked at, from where it was.
            when mark_holds then mark.low
        end;
        update processing_mark set
            revision = revision + 1,
            low = new_low,
            running = case
                when not cut or last_part = 2
                    then array(select x from pg_snapshot_xip(now_running) x where x < new_low)
                when last_part = 1
                    then array(select x from unnest(mark.running) x where not (x = any (ended) and x <= last_xid))
                else mark.running end,
            cut_xid = case when cut then last_xid end,
            cut_id = case when cut then last_id end,
            system_identifier = here
        where revision = mark.revision;
    end if;
end
$$;
