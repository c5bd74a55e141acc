-- What the migrations make of an empty database. Made by scripts/schema-dump; not to be edited.

CREATE SCHEMA attestlog;

CREATE FUNCTION attestlog.append(log text, data bytea, idempotency_key text DEFAULT NULL::text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'attestlog', 'pg_temp'
    AS $$
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

CREATE FUNCTION attestlog.append(log text, data jsonb, idempotency_key text DEFAULT NULL::text) RETURNS bigint
    LANGUAGE sql
    SET search_path TO 'attestlog', 'pg_temp'
    RETURN attestlog.append(log, convert_to((data)::text, 'UTF8'::name), idempotency_key);

CREATE FUNCTION attestlog.append_rows(log_ids bigint[], entries bytea[], idempotency_keys text[] DEFAULT NULL::text[], longest_wait integer DEFAULT NULL::integer) RETURNS TABLE(ticket bigint, key_reused boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'attestlog', 'pg_temp'
    AS $$
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

CREATE TABLE attestlog.append_only_log (
    id bigint NOT NULL,
    log_id bigint NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    appended_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    data bytea NOT NULL,
    CONSTRAINT append_only_log_entry_size CHECK (((octet_length(data) >= 1) AND (octet_length(data) <= 65535)))
)
WITH (autovacuum_vacuum_threshold='5000', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_cost_delay='0', autovacuum_vacuum_insert_threshold='-1', toast.autovacuum_vacuum_cost_delay='0');

CREATE TABLE attestlog.processing_mark (
    revision bigint DEFAULT 0 NOT NULL,
    low xid8,
    running xid8[] DEFAULT '{}'::xid8[] NOT NULL,
    cut_xid xid8,
    cut_id bigint,
    system_identifier bigint DEFAULT 0 NOT NULL
)
WITH (autovacuum_vacuum_threshold='200', autovacuum_vacuum_scale_factor='0');

CREATE FUNCTION attestlog.backlog(most integer) RETURNS TABLE(waiting bigint, oldest_seconds double precision)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'attestlog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    BEGIN ATOMIC
 SELECT count(*) AS count,
     (COALESCE(EXTRACT(epoch FROM (clock_timestamp() - min(unprocessed.appended_at))), (0)::numeric))::double precision AS "coalesce"
    FROM ( WITH mark AS MATERIALIZED (
                  SELECT processing_mark.revision,
                     processing_mark.low,
                     processing_mark.running,
                     processing_mark.cut_xid,
                     processing_mark.cut_id,
                     processing_mark.system_identifier
                    FROM attestlog.processing_mark
                   ORDER BY processing_mark.revision DESC
                  LIMIT 1
                 )
          SELECT parts.appended_at
            FROM (( SELECT s.appended_at
                    FROM mark m,
                     attestlog.append_only_log s
                   WHERE ((s.xid = m.cut_xid) AND (s.id > m.cut_id))
                  LIMIT backlog.most)
                 UNION ALL
                 ( SELECT s.appended_at
                    FROM (mark m
                      CROSS JOIN LATERAL unnest(m.running) r(r)),
                     attestlog.append_only_log s
                   WHERE ((s.xid = r.r) AND (r.r IS DISTINCT FROM m.cut_xid))
                  LIMIT backlog.most)
                 UNION ALL
                 ( SELECT s.appended_at
                    FROM attestlog.append_only_log s
                   WHERE ((s.xid >= COALESCE(( SELECT mark.low
                            FROM mark), '0'::xid8)) AND (s.xid IS DISTINCT FROM ( SELECT mark.cut_xid
                            FROM mark)))
                   ORDER BY s.xid
                  LIMIT backlog.most)) parts
          LIMIT backlog.most) unprocessed;
END;

CREATE FUNCTION attestlog.find_tickets(tickets bigint[]) RETURNS TABLE(ticket bigint, log_id bigint, id bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'attestlog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    AS $$
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

CREATE FUNCTION attestlog.is_event(data bytea) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION attestlog.process_next_batch(max_rows integer, look_at_everything boolean DEFAULT false) RETURNS TABLE(log_id bigint, id bigint, source_id bigint, data bytea, leaf_hash bytea)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'attestlog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    SET max_parallel_workers_per_gather TO '0'
    SET work_mem TO '64MB'
    AS $$
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

CREATE FUNCTION attestlog.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    raise exception '% on attestlog.% is refused: an audit log is only appended to', tg_op, tg_table_name
        using errcode = 'insufficient_privilege';
end
$$;

CREATE FUNCTION attestlog.search_after(log bigint, terms bytea[], times bigint[], ids bigint[], end_time bigint, end_id bigint, most integer) RETURNS TABLE(n bigint, first_time bigint, first_id bigint, postings bytea)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'attestlog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
begin
    return query
        select sought.n, found.first_time, found.first_id, found.postings
        from unnest(terms, times, ids) with ordinality as sought (term, time, id, n)
        left join lateral (
            select b.first_time, b.first_id from search_block b
            where b.log_id = log and b.term = sought.term and (b.first_time, b.first_id) <= (sought.time, sought.id)
            order by b.first_time desc, b.first_id desc limit 1
        ) begin_at on true
        cross join lateral (
            select b.first_time, b.first_id, b.postings from search_block b
            where b.log_id = log and b.term = sought.term
                and (b.first_time, b.first_id) >= (coalesce(begin_at.first_time, sought.time), coalesce(begin_at.first_id, sought.id))
                and (b.first_time, b.first_id) <= (end_time, end_id)
            order by b.first_time, b.first_id limit most
        ) found;
end
$$;

CREATE FUNCTION attestlog.search_at(log bigint, terms bytea[], times bigint[], ids bigint[]) RETURNS TABLE(term bytea, first_time bigint, first_id bigint, postings bytea)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'attestlog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
begin
    return query
        select b.term, b.first_time, b.first_id, b.postings from search_block b
        where b.ctid = any (array(
            select distinct place.ctid
            from unnest(terms, times, ids) as sought (term, time, id)
            cross join lateral (
                select b.ctid from search_block b
                where b.log_id = log and b.term = sought.term and (b.first_time, b.first_id) <= (sought.time, sought.id)
                order by b.first_time desc, b.first_id desc limit 1
            ) place
        ));
end
$$;

CREATE FUNCTION attestlog.search_before(log bigint, terms bytea[], times bigint[], ids bigint[], end_time bigint, end_id bigint, most integer) RETURNS TABLE(n bigint, first_time bigint, first_id bigint, postings bytea)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'attestlog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
begin
    return query
        select sought.n, found.first_time, found.first_id, found.postings
        from unnest(terms, times, ids) with ordinality as sought (term, time, id, n)
        left join lateral (
            select b.first_time, b.first_id from search_block b
            where b.log_id = log and b.term = sought.term and (b.first_time, b.first_id) <= (end_time, end_id)
            order by b.first_time desc, b.first_id desc limit 1
        ) last on true
        cross join lateral (
            select b.first_time, b.first_id, b.postings from search_block b
            where b.log_id = log and b.term = sought.term
                and (b.first_time, b.first_id) < (sought.time, sought.id)
                and (b.first_time, b.first_id) >= (coalesce(last.first_time, end_time), coalesce(last.first_id, end_id))
            order by b.first_time desc, b.first_id desc limit most
        ) found;
end
$$;

CREATE FUNCTION attestlog.search_terms(log bigint, low bytea, high bytea, most integer) RETURNS SETOF bytea
    LANGUAGE plpgsql STABLE
    SET search_path TO 'attestlog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
    found_term bytea;
begin
    select b.term into found_term from search_block b
        where b.log_id = log and b.term >= low and b.term < high order by b.term limit 1;
    while found_term is not null and most > 0 loop
        return next found_term;
        most := most - 1;
        select b.term into found_term from search_block b
            where b.log_id = log and b.term > found_term and b.term < high order by b.term limit 1;
    end loop;
end
$$;

ALTER TABLE attestlog.append_only_log ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME attestlog.append_only_log_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE attestlog.checkpoint (
    log_id bigint NOT NULL,
    size bigint NOT NULL,
    note bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT checkpoint_size_not_negative CHECK ((size >= 0))
);

CREATE TABLE attestlog.idempotency_key (
    log_id bigint NOT NULL,
    key text NOT NULL,
    ticket bigint NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    CONSTRAINT idempotency_key_length CHECK (((octet_length(key) >= 1) AND (octet_length(key) <= 255)))
);

CREATE TABLE attestlog.log (
    log_id bigint NOT NULL,
    name text NOT NULL,
    origin text NOT NULL,
    vkey text NOT NULL,
    events text DEFAULT 'any'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT log_events_known CHECK ((events = ANY (ARRAY['any'::text, 'strict'::text]))),
    CONSTRAINT log_name_is_a_path_segment CHECK ((name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'::text)),
    CONSTRAINT log_origin_length CHECK (((octet_length(origin) >= 1) AND (octet_length(origin) <= 255)))
);

ALTER TABLE attestlog.log ALTER COLUMN log_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME attestlog.log_log_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE attestlog.migration (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);

CREATE TABLE attestlog.processed_log (
    log_id bigint NOT NULL,
    id bigint NOT NULL,
    source_id bigint NOT NULL,
    appended_at timestamp with time zone NOT NULL,
    data bytea NOT NULL,
    leaf_hash bytea GENERATED ALWAYS AS (sha256(('\x00'::bytea || data))) STORED NOT NULL,
    CONSTRAINT processed_log_entry_size CHECK (((octet_length(data) >= 1) AND (octet_length(data) <= 65535))),
    CONSTRAINT processed_log_id_not_negative CHECK ((id >= 0))
);

CREATE TABLE attestlog.search_block (
    log_id bigint NOT NULL,
    term bytea NOT NULL,
    first_time bigint NOT NULL,
    first_id bigint NOT NULL,
    postings bytea NOT NULL,
    CONSTRAINT search_block_term_length CHECK ((octet_length(term) <= 65))
)
WITH (fillfactor='85', autovacuum_vacuum_scale_factor='0.02', autovacuum_analyze_scale_factor='0.2');
ALTER TABLE ONLY attestlog.search_block ALTER COLUMN postings SET STORAGE PLAIN;

CREATE TABLE attestlog.search_mark (
    log_id bigint NOT NULL,
    next bigint NOT NULL,
    CONSTRAINT search_mark_not_negative CHECK ((next >= 0))
)
WITH (fillfactor='50', autovacuum_vacuum_threshold='200', autovacuum_vacuum_scale_factor='0.1');

CREATE TABLE attestlog.tile (
    log_id bigint NOT NULL,
    level smallint NOT NULL,
    index bigint NOT NULL,
    hashes bytea NOT NULL,
    CONSTRAINT tile_is_full CHECK ((octet_length(hashes) = 8192))
);
ALTER TABLE ONLY attestlog.tile ALTER COLUMN hashes SET STORAGE EXTERNAL;

CREATE TABLE attestlog.tree (
    log_id bigint NOT NULL,
    size bigint DEFAULT 0 NOT NULL,
    edge bytea DEFAULT '\x'::bytea NOT NULL,
    signed_size bigint DEFAULT 0 NOT NULL,
    CONSTRAINT tree_edge_is_hashes CHECK (((octet_length(edge) % 32) = 0)),
    CONSTRAINT tree_signed_not_beyond_size CHECK (((signed_size >= 0) AND (signed_size <= size)))
)
WITH (fillfactor='50', autovacuum_vacuum_threshold='200', autovacuum_vacuum_scale_factor='0.1');
ALTER TABLE ONLY attestlog.tree ALTER COLUMN edge SET STORAGE EXTERNAL;

ALTER TABLE ONLY attestlog.checkpoint
    ADD CONSTRAINT checkpoint_pk PRIMARY KEY (log_id, size);

ALTER TABLE ONLY attestlog.idempotency_key
    ADD CONSTRAINT idempotency_key_pk PRIMARY KEY (log_id, key);

ALTER TABLE ONLY attestlog.log
    ADD CONSTRAINT log_name_unique UNIQUE (name);

ALTER TABLE ONLY attestlog.log
    ADD CONSTRAINT log_origin_unique UNIQUE (origin);

ALTER TABLE ONLY attestlog.log
    ADD CONSTRAINT log_pk PRIMARY KEY (log_id);

ALTER TABLE ONLY attestlog.migration
    ADD CONSTRAINT migration_pkey PRIMARY KEY (version);

ALTER TABLE ONLY attestlog.processed_log
    ADD CONSTRAINT processed_log_pk PRIMARY KEY (log_id, id);

ALTER TABLE ONLY attestlog.processed_log
    ADD CONSTRAINT processed_log_source_unique UNIQUE (source_id);

ALTER TABLE ONLY attestlog.processing_mark
    ADD CONSTRAINT processing_mark_pk PRIMARY KEY (revision);

ALTER TABLE ONLY attestlog.search_block
    ADD CONSTRAINT search_block_pk PRIMARY KEY (log_id, term, first_time, first_id);

ALTER TABLE ONLY attestlog.search_mark
    ADD CONSTRAINT search_mark_pk PRIMARY KEY (log_id);

ALTER TABLE ONLY attestlog.tile
    ADD CONSTRAINT tile_pk PRIMARY KEY (log_id, level, index);

ALTER TABLE ONLY attestlog.tree
    ADD CONSTRAINT tree_pk PRIMARY KEY (log_id, size);

CREATE INDEX append_only_log_order ON attestlog.append_only_log USING btree (xid, id);

CREATE INDEX tree_unsigned ON attestlog.tree USING btree (log_id) WHERE (signed_size < size);

CREATE TRIGGER append_only_log_rows_do_not_change BEFORE UPDATE OR TRUNCATE ON attestlog.append_only_log FOR EACH STATEMENT EXECUTE FUNCTION attestlog.refuse_change();

ALTER TABLE attestlog.append_only_log ENABLE ALWAYS TRIGGER append_only_log_rows_do_not_change;

CREATE TRIGGER checkpoint_is_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON attestlog.checkpoint FOR EACH STATEMENT EXECUTE FUNCTION attestlog.refuse_change();

ALTER TABLE attestlog.checkpoint ENABLE ALWAYS TRIGGER checkpoint_is_append_only;

CREATE TRIGGER idempotency_key_is_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON attestlog.idempotency_key FOR EACH STATEMENT EXECUTE FUNCTION attestlog.refuse_change();

ALTER TABLE attestlog.idempotency_key ENABLE ALWAYS TRIGGER idempotency_key_is_append_only;

CREATE TRIGGER log_is_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON attestlog.log FOR EACH STATEMENT EXECUTE FUNCTION attestlog.refuse_change();

ALTER TABLE attestlog.log ENABLE ALWAYS TRIGGER log_is_append_only;

CREATE TRIGGER processed_log_is_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON attestlog.processed_log FOR EACH STATEMENT EXECUTE FUNCTION attestlog.refuse_change();

ALTER TABLE attestlog.processed_log ENABLE ALWAYS TRIGGER processed_log_is_append_only;

CREATE TRIGGER tile_is_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON attestlog.tile FOR EACH STATEMENT EXECUTE FUNCTION attestlog.refuse_change();

ALTER TABLE attestlog.tile ENABLE ALWAYS TRIGGER tile_is_append_only;

CREATE TRIGGER tree_is_not_deleted BEFORE DELETE OR TRUNCATE ON attestlog.tree FOR EACH STATEMENT EXECUTE FUNCTION attestlog.refuse_change();

ALTER TABLE attestlog.tree ENABLE ALWAYS TRIGGER tree_is_not_deleted;

ALTER TABLE ONLY attestlog.tree
    ADD CONSTRAINT tree_log_exists FOREIGN KEY (log_id) REFERENCES attestlog.log(log_id);

GRANT USAGE ON SCHEMA attestlog TO attestlog_writer;
GRANT USAGE ON SCHEMA attestlog TO attestlog_processor;
GRANT USAGE ON SCHEMA attestlog TO attestlog_reader;

REVOKE ALL ON FUNCTION attestlog.append(log text, data bytea, idempotency_key text) FROM PUBLIC;
GRANT ALL ON FUNCTION attestlog.append(log text, data bytea, idempotency_key text) TO attestlog_writer;
GRANT ALL ON FUNCTION attestlog.append(log text, data bytea, idempotency_key text) TO attestlog_processor;

REVOKE ALL ON FUNCTION attestlog.append(log text, data jsonb, idempotency_key text) FROM PUBLIC;
GRANT ALL ON FUNCTION attestlog.append(log text, data jsonb, idempotency_key text) TO attestlog_writer;
GRANT ALL ON FUNCTION attestlog.append(log text, data jsonb, idempotency_key text) TO attestlog_processor;

REVOKE ALL ON FUNCTION attestlog.append_rows(log_ids bigint[], entries bytea[], idempotency_keys text[], longest_wait integer) FROM PUBLIC;
GRANT ALL ON FUNCTION attestlog.append_rows(log_ids bigint[], entries bytea[], idempotency_keys text[], longest_wait integer) TO attestlog_processor;

GRANT SELECT ON TABLE attestlog.append_only_log TO attestlog_processor;

GRANT SELECT ON TABLE attestlog.processing_mark TO attestlog_processor;

REVOKE ALL ON FUNCTION attestlog.backlog(most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION attestlog.backlog(most integer) TO attestlog_processor;

REVOKE ALL ON FUNCTION attestlog.find_tickets(tickets bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION attestlog.find_tickets(tickets bigint[]) TO attestlog_processor;
GRANT ALL ON FUNCTION attestlog.find_tickets(tickets bigint[]) TO attestlog_reader;

REVOKE ALL ON FUNCTION attestlog.is_event(data bytea) FROM PUBLIC;

REVOKE ALL ON FUNCTION attestlog.process_next_batch(max_rows integer, look_at_everything boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION attestlog.process_next_batch(max_rows integer, look_at_everything boolean) TO attestlog_processor;

REVOKE ALL ON FUNCTION attestlog.refuse_change() FROM PUBLIC;

REVOKE ALL ON FUNCTION attestlog.search_after(log bigint, terms bytea[], times bigint[], ids bigint[], end_time bigint, end_id bigint, most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION attestlog.search_after(log bigint, terms bytea[], times bigint[], ids bigint[], end_time bigint, end_id bigint, most integer) TO attestlog_processor;
GRANT ALL ON FUNCTION attestlog.search_after(log bigint, terms bytea[], times bigint[], ids bigint[], end_time bigint, end_id bigint, most integer) TO attestlog_reader;

REVOKE ALL ON FUNCTION attestlog.search_at(log bigint, terms bytea[], times bigint[], ids bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION attestlog.search_at(log bigint, terms bytea[], times bigint[], ids bigint[]) TO attestlog_processor;
GRANT ALL ON FUNCTION attestlog.search_at(log bigint, terms bytea[], times bigint[], ids bigint[]) TO attestlog_reader;

REVOKE ALL ON FUNCTION attestlog.search_before(log bigint, terms bytea[], times bigint[], ids bigint[], end_time bigint, end_id bigint, most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION attestlog.search_before(log bigint, terms bytea[], times bigint[], ids bigint[], end_time bigint, end_id bigint, most integer) TO attestlog_processor;
GRANT ALL ON FUNCTION attestlog.search_before(log bigint, terms bytea[], times bigint[], ids bigint[], end_time bigint, end_id bigint, most integer) TO attestlog_reader;

REVOKE ALL ON FUNCTION attestlog.search_terms(log bigint, low bytea, high bytea, most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION attestlog.search_terms(log bigint, low bytea, high bytea, most integer) TO attestlog_processor;
GRANT ALL ON FUNCTION attestlog.search_terms(log bigint, low bytea, high bytea, most integer) TO attestlog_reader;

GRANT SELECT,INSERT ON TABLE attestlog.checkpoint TO attestlog_processor;
GRANT SELECT ON TABLE attestlog.checkpoint TO attestlog_reader;

GRANT SELECT ON TABLE attestlog.idempotency_key TO attestlog_processor;

GRANT SELECT,INSERT ON TABLE attestlog.log TO attestlog_processor;
GRANT SELECT ON TABLE attestlog.log TO attestlog_reader;

GRANT SELECT ON TABLE attestlog.migration TO attestlog_processor;
GRANT SELECT ON TABLE attestlog.migration TO attestlog_reader;

GRANT SELECT ON TABLE attestlog.processed_log TO attestlog_processor;
GRANT SELECT ON TABLE attestlog.processed_log TO attestlog_reader;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE attestlog.search_block TO attestlog_processor;
GRANT SELECT ON TABLE attestlog.search_block TO attestlog_reader;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE attestlog.search_mark TO attestlog_processor;
GRANT SELECT ON TABLE attestlog.search_mark TO attestlog_reader;

GRANT SELECT,INSERT ON TABLE attestlog.tile TO attestlog_processor;
GRANT SELECT ON TABLE attestlog.tile TO attestlog_reader;

GRANT SELECT,INSERT ON TABLE attestlog.tree TO attestlog_processor;
GRANT SELECT ON TABLE attestlog.tree TO attestlog_reader;

GRANT UPDATE(size) ON TABLE attestlog.tree TO attestlog_processor;

GRANT UPDATE(edge) ON TABLE attestlog.tree TO attestlog_processor;

GRANT UPDATE(signed_size) ON TABLE attestlog.tree TO attestlog_processor;

