-- Why: puts what has been committed into the one order. A row's id says when its INSERT ran, and its xid when its
-- transaction began to write; neither says when it committed. So nothing is inferred from either: a row is new because
-- it is still in append_only_log.
-- Locks: one advisory lock per database, (6962, 1), until the transaction ends. Writers never take it.

-- Where to look for new rows: a hint, and never more. It keeps the scan off the dead rows that a long transaction
-- stops vacuum from removing. Every row with an xid below `low` has been moved, except those of the transactions in
-- `running`, which had not ended when `low` was set.
create table attestlog.processing_mark (
    one boolean default true,
    low xid8,
    running xid8[] not null default '{}',
    -- The transaction at which the last batch was cut: its rest comes first in the next batch.
    cut_xid xid8,
    -- A dump that is restored elsewhere brings this hint along, but not the transaction numbers it speaks of.
    system_identifier bigint not null default 0,
    constraint processing_mark_pk primary key (one),
    constraint processing_mark_one_row check (one)
) with (fillfactor = 10);
insert into attestlog.processing_mark default values;

-- Moves the next rows from append_only_log to processed_log, at most max_rows of them and about 16 MB. Returns the rows
-- that the trees lack: those just moved or, when it looks at everything, those that an earlier call moved and nobody
-- added to the tree. Returns nothing while another transaction holds the lock.
create function attestlog.process_next_batch(max_rows integer, look_at_everything boolean default false)
returns table (log_id bigint, id bigint, source_id bigint, data bytea, leaf_hash bytea)
language plpgsql security definer
set search_path = attestlog, pg_temp set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    max_bytes constant bigint := 16 * 1024 * 1024;
    mark processing_mark;
    now_running pg_snapshot;
    here bigint;
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

    if look_at_everything then
        return query
            select p.log_id, p.id, p.source_id, p.data, p.leaf_hash
            from tree t cross join lateral (
                select * from processed_log p
                where p.log_id = t.log_id and p.id >= t.size order by p.id limit least(max_rows, 256)
            ) p
            limit least(max_rows, 256);
        if found then
            return;
        end if;
    end if;

    now_running := pg_current_snapshot();
    here := (select s.system_identifier from pg_control_system() s);
    select * into mark from processing_mark;
    trusted := not look_at_everything and mark.low is not null and mark.system_identifier = here
               and mark.low <= pg_snapshot_xmax(now_running);
    low_xid := case when trusted then mark.low else '0' end;
    if trusted then
        ended := array(select x from unnest(mark.running) x where pg_visible_in_snapshot(x, now_running));
    end if;

    -- The rest of a transaction that was cut, then transactions that ended late, then the others; each part in the
    -- order of its writers.
    with candidate as (
        (select 0 as part, ctid as place, xid, id, octet_length(data) as size from append_only_log
         where xid = mark.cut_xid order by xid, id limit max_rows)
        union all
        (select 1, ctid, xid, id, octet_length(data) from append_only_log
         where xid = any (ended) and xid is distinct from mark.cut_xid order by xid, id limit max_rows)
        union all
        (select 2, ctid, xid, id, octet_length(data) from append_only_log
         where xid >= low_xid and xid is distinct from mark.cut_xid order by xid, id limit max_rows)
    ),
    ordered as (
        select *, row_number() over w as position, sum(size) over w as bytes
        from candidate window w as (order by part, xid, id)
    ),
    chosen as (
        select * from ordered where position <= max_rows and (bytes <= max_bytes or position = 1)
    )
    select array_agg(place) as places, count(*) as rows,
           count(*) = max_rows or count(*) < (select count(*) from ordered) as cut,
           (array_agg(part order by position desc))[1] as last_part,
           (array_agg(xid order by position desc))[1] as last_xid
        into batch from chosen;

    if batch.rows > 0 then
        return query
            with moved as (
                delete from append_only_log where ctid = any (batch.places)
                returning log_id, id as source_id, appended_at, data, xid,
                          case when xid = mark.cut_xid then 0 when xid = any (ended) then 1 else 2 end as part
            ),
            next as (
                select m.log_id, coalesce((select max(p.id) + 1 from processed_log p where p.log_id = m.log_id), 0) as id
                from (select distinct log_id from moved) m
            )
            insert into processed_log (log_id, id, source_id, appended_at, data)
                select m.log_id,
                       n.id - 1 + row_number() over (partition by m.log_id order by m.part, m.xid, m.source_id),
                       m.source_id, m.appended_at, m.data
                from moved m join next n on n.log_id = m.log_id
                returning log_id, id, source_id, data, leaf_hash;
    end if;

    -- The snapshot was taken before the rows were looked for, so whatever it calls running may be missing from them.
    new_low := case
        when not batch.cut then pg_snapshot_xmax(now_running)
        when batch.last_part = 2 then least(batch.last_xid, pg_snapshot_xmax(now_running))
        -- Cut within the earlier parts: all that was running is still to be looked at.
        when trusted then mark.low
    end;
    if batch.rows > 0 or not trusted then
        update processing_mark set
            low = new_low,
            running = case when batch.cut and batch.last_part < 2 then mark.running
                      else array(select x from pg_snapshot_xip(now_running) x where x < new_low) end,
            cut_xid = case when batch.cut then batch.last_xid end,
            system_identifier = here;
    end if;
end
$$;

-- The rows that are still to be processed, counted up to `most`, and the seconds that the oldest of them has waited.
create function attestlog.backlog(most integer) returns table (waiting bigint, oldest_seconds double precision)
language sql stable security definer
set search_path = attestlog, pg_temp set enable_seqscan = off set enable_bitmapscan = off
begin atomic
    select count(*), extract(epoch from clock_timestamp() - min(appended_at))::double precision
    from (
        (select appended_at from attestlog.append_only_log s, attestlog.processing_mark m
         where s.xid = any (m.running) limit most)
        union all
        (select appended_at from attestlog.append_only_log s
         where s.xid >= coalesce((select low from attestlog.processing_mark), '0') order by s.xid limit most)
    ) unprocessed;
end;

grant select on attestlog.processing_mark to attestlog_processor;
revoke execute on all functions in schema attestlog from public;
grant execute on function attestlog.process_next_batch(integer, boolean), attestlog.backlog(integer)
    to attestlog_processor;
