-- Why: puts what has been committed into the one order. A row's id says when its INSERT ran, and its xid when its
-- transaction began to write; neither says when it committed. So nothing is inferred from either: a row is new because
-- it is still in append_only_log.
-- Locks: one advisory lock per database, (6962, 1), until the transaction ends. Writers never take it.

-- Where to look for new rows: a hint, and never more. It keeps the scan off the dead rows that a long transaction
-- stops vacuum from removing. Every row with an xid below `low` has been moved, except those of the transactions in
-- `running`, which had not ended when `low` was set, and the rest of the transaction that the last batch cut through.
--
-- One row. A long transaction also keeps all its old versions, and then whatever finds the row by a constant key passes
-- over each of them. So the key grows, and the row is the first one from its end.
create table attestlog.processing_mark (
    revision bigint not null default 0,
    low xid8,
    running xid8[] not null default '{}',
    -- The transaction at which the last batch was cut, and the id of its last row there: the others come next.
    cut_xid xid8,
    cut_id bigint,
    -- A dump that is restored elsewhere brings this hint along, but not the transaction numbers it speaks of.
    system_identifier bigint not null default 0,
    constraint processing_mark_pk primary key (revision)
) with (autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0);
insert into attestlog.processing_mark default values;

-- Moves the next rows from append_only_log to processed_log, at most max_rows of them and about 16 MB, and returns them.
-- If it looks at everything, nothing is inferred from earlier calls about where new rows are. Returns nothing while
-- another transaction holds the lock. Whoever calls it by hand only moves rows: the server adds them to the trees.
--
-- Statistics never fit a table whose rows come and go within a second, so the settings leave the planner no choice but
-- the indexes. Without jit = off it would compile each query that has to pass over a table after all.
create function attestlog.process_next_batch(max_rows integer, look_at_everything boolean default false)
returns table (log_id bigint, id bigint, source_id bigint, data bytea, leaf_hash bytea)
language plpgsql security definer
set search_path = attestlog, pg_temp set enable_seqscan = off set enable_bitmapscan = off set jit = off
set max_parallel_workers_per_gather = 0 set work_mem = '64MB' as $$
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
    with candidate as (
        select * from (
            (select 0 as part, ctid as place, xid, id, octet_length(data) as size from append_only_log
             where xid = mark.cut_xid and id > mark.cut_id order by xid, id limit max_rows)
            union all
            (select 1, r.* from unnest(ended) e cross join lateral (
                 select ctid, xid, id, octet_length(data) from append_only_log
                 where xid = e order by xid, id limit max_rows) r)
            union all
            (select 2, ctid, xid, id, octet_length(data) from append_only_log
             where xid >= low_xid and xid is distinct from mark.cut_xid order by xid, id limit max_rows)
        ) parts limit max_rows
    ),
    ordered as (
        select *, row_number() over w as position, sum(size) over w as bytes
        from candidate window w as (order by part, xid, id)
    ),
    chosen as (
        select * from ordered where bytes <= max_bytes
    )
    select array_agg(place) as places, count(*) as rows,
           count(*) = max_rows or count(*) < (select count(*) from candidate) as cut,
           (array_agg(part order by position desc))[1] as last_part,
           (array_agg(xid order by position desc))[1] as last_xid,
           (array_agg(id order by position desc))[1] as last_id
        into batch from chosen;

    if batch.rows > 0 then
        return query
            with moved as (
                delete from append_only_log where ctid = any (batch.places)
                returning log_id, id as source_id, appended_at, data, xid,
                          case when xid = mark.cut_xid then 0 when xid = any (ended) then 1 else 2 end as part
            ),
            numbered as (
                select m.*, row_number() over (partition by m.log_id order by m.part, m.xid, m.source_id) as n
                from moved m
            ),
            -- One probe for each log, however many of the rows are in it.
            next as materialized (
                select m.log_id, coalesce((select max(p.id) from processed_log p where p.log_id = m.log_id), -1) as id
                from (select distinct log_id from moved) m
            )
            insert into processed_log (log_id, id, source_id, appended_at, data)
                select m.log_id, next.id + m.n, m.source_id, m.appended_at, m.data
                from numbered m join next on next.log_id = m.log_id
                returning log_id, id, source_id, data, leaf_hash;
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

-- The rows that are still to be processed, counted up to `most`, and the seconds that the oldest of them has waited.
-- Looks where the hint says: what a restored dump brought along counts from the first batch on.
create function attestlog.backlog(most integer) returns table (waiting bigint, oldest_seconds double precision)
language sql stable security definer
set search_path = attestlog, pg_temp set enable_seqscan = off set enable_bitmapscan = off set jit = off
begin atomic
    select count(*), coalesce(extract(epoch from clock_timestamp() - min(appended_at)), 0)::double precision
    from (
        with mark as materialized (select * from attestlog.processing_mark order by revision desc limit 1)
        select * from (
            (select s.appended_at from mark m, attestlog.append_only_log s
             where s.xid = m.cut_xid and s.id > m.cut_id limit most)
            union all
            (select s.appended_at from mark m cross join unnest(m.running) r, attestlog.append_only_log s
             where s.xid = r and r is distinct from m.cut_xid limit most)
            union all
            (select s.appended_at from attestlog.append_only_log s
             where s.xid >= coalesce((select low from mark), '0')
                 and s.xid is distinct from (select cut_xid from mark)
             order by s.xid limit most)
        ) parts limit most
    ) unprocessed;
end;

-- Where the entries of these tickets are: in a log and without an index, or with one. A ticket that was never given,
-- or rolled back, has no row. Stable, so that all of it sees one moment: a row on its way is in one of the two tables.
create function attestlog.find_tickets(tickets bigint[]) returns table (ticket bigint, log_id bigint, id bigint)
language plpgsql stable security definer
set search_path = attestlog, pg_temp set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
#variable_conflict use_column
declare
    missing bigint[];
    mark processing_mark;
begin
    return query select source_id, log_id, id from processed_log where source_id = any (tickets);
    missing := array(select t from unnest(tickets) t
                     where not exists (select from processed_log where source_id = t));
    if missing = '{}' then
        return;
    end if;
    -- append_only_log has no index on id alone, which every append would pay for. What waits is where the hint says.
    select * into mark from processing_mark order by revision desc limit 1;
    if mark.low <= pg_snapshot_xmax(pg_current_snapshot())
       and mark.system_identifier = (select system_identifier from pg_control_system()) then
        return query
            select s.id, s.log_id, null::bigint
            from unnest(array_append(mark.running, mark.cut_xid)) r
            join append_only_log s on s.xid = r and s.xid < mark.low
            where s.id = any (missing)
            union all
            select s.id, s.log_id, null from append_only_log s where s.xid >= mark.low and s.id + 0 = any (missing);
    else
        return query select s.id, s.log_id, null::bigint from append_only_log s where s.id + 0 = any (missing);
    end if;
end
$$;

grant select on attestlog.processing_mark to attestlog_processor;
revoke execute on all functions in schema attestlog from public;
grant execute on function
    attestlog.process_next_batch(integer, boolean), attestlog.backlog(integer), attestlog.find_tickets(bigint[])
    to attestlog_processor;
grant execute on function attestlog.find_tickets(bigint[]) to attestlog_reader;
