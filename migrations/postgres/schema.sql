-- What the migrations make of an empty database. Made by scripts/schema-dump; not to be edited.

CREATE SCHEMA attestlog;

CREATE DOMAIN attestlog.entry AS bytea
	CONSTRAINT entry_size CHECK (((octet_length(VALUE) >= 1) AND (octet_length(VALUE) <= 65535)));

CREATE FUNCTION attestlog.append(log text, data bytea, idempotency_key text DEFAULT NULL::text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    AS $$
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

CREATE FUNCTION attestlog.append(log text, data jsonb, idempotency_key text DEFAULT NULL::text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    AS $$
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

CREATE FUNCTION attestlog.append_all(log text, entries bytea[], idempotency_keys text[] DEFAULT NULL::text[]) RETURNS bigint[]
    LANGUAGE plpgsql SECURITY DEFINER
    AS $$
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

CREATE FUNCTION attestlog.append_all_checked(log text, entries bytea[], idempotency_keys text[]) RETURNS bigint[]
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'attestlog', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    AS $$
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

CREATE FUNCTION attestlog.append_checked(log text, data bytea, idempotency_key text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'attestlog', 'pg_temp'
    AS $$
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

CREATE FUNCTION attestlog.append_rows(log_ids bigint[], entries bytea[], idempotency_keys text[] DEFAULT NULL::text[], longest_wait integer DEFAULT NULL::integer) RETURNS TABLE(ticket bigint, key_reused boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'attestlog', 'pg_temp'
    AS $$
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

CREATE TABLE attestlog.append_only_log (
    id bigint NOT NULL,
    log_id bigint NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    appended_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    data attestlog.entry NOT NULL
)
WITH (autovacuum_vacuum_threshold='5000', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_cost_delay='0', autovacuum_vacuum_insert_threshold='-1', vacuum_truncate='false', autovacuum_analyze_threshold='2000000000', autovacuum_analyze_scale_factor='0', toast.autovacuum_vacuum_cost_delay='0', toast.vacuum_truncate='false');
ALTER TABLE ONLY attestlog.append_only_log ALTER COLUMN data SET STATISTICS 0;

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

CREATE FUNCTION attestlog.capture_actor() RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    given constant text := current_setting('attestlog.actor', true);
    actor jsonb;
begin
    if coalesce(given, '') !~ '\S' then
        return jsonb_build_object('type', 'service', 'id', session_user);
    end if;
    actor := '{"type": "user"}' || attestlog.capture_object(given);
    if jsonb_typeof(actor -> 'id') = 'number' then
        actor := jsonb_set(actor, '{id}', to_jsonb(actor ->> 'id'));
    end if;
    if actor ->> 'type' in ('user', 'service', 'api_key', 'system', 'anonymous')
       and jsonb_typeof(actor -> 'id') = 'string' and actor ->> 'id' <> '' and octet_length(actor::text) <= 4096 then
        return actor;
    end if;
    return jsonb_build_object('type', 'user', 'id', case when octet_length(given) <= 4096 then given
        else 'sha256:' || encode(sha256(convert_to(given, 'UTF8')), 'hex') end);
end
$$;

CREATE TABLE attestlog.capture (
    function_name text NOT NULL,
    log_id bigint NOT NULL,
    table_oid oid NOT NULL,
    column_names text[] NOT NULL,
    ignore text[] NOT NULL,
    omit text[] NOT NULL
);

CREATE FUNCTION attestlog.capture_body(settings attestlog.capture, relation oid) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    frame constant text[] := '{head, who, how, tail}';
begin
    return format($body$
declare
    head text;
    who text;
    how text;
    tail text;
begin
    if tg_op = 'INSERT' then
        if not exists (select from new_rows) then return null; end if;
    elsif tg_op <> 'TRUNCATE' then
        if not exists (select from old_rows) then return null; end if;
    end if;
    select f.* into head, who, how, tail from attestlog.capture_frame(tg_relid, tg_op) f;
    if tg_op = 'TRUNCATE' then
        insert into attestlog.append_only_log (log_id, data)
            values (%s, convert_to(concat(head, 'truncated', who, '"*"', how, tail, '}}'), 'UTF8'));
    elsif attestlog.capture_signature(tg_relid) is distinct from %L then
        execute (select attestlog.capture_query(c, tg_relid, tg_op, '{$1, $2, $3, $4}') from attestlog.capture c
                 where c.function_name = %L)
            using head, who, how, tail;
    elsif tg_op = 'INSERT' then
        %s;
    elsif tg_op = 'UPDATE' then
        %s;
    else
        %s;
    end if;
    return null;
end
$body$, settings.log_id, attestlog.capture_signature(relation), settings.function_name,
        attestlog.capture_query(settings, relation, 'INSERT', frame),
        attestlog.capture_query(settings, relation, 'UPDATE', frame),
        attestlog.capture_query(settings, relation, 'DELETE', frame));
end
$_$;

CREATE FUNCTION attestlog.capture_changed(number smallint, base_type oid) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    RETURN format(CASE WHEN (base_type = ANY (('{boolean,smallint,integer,bigint,oid,uuid,bytea,date,"time without time zone","timestamp without time zone","timestamp with time zone"}'::regtype[])::oid[])) THEN 'o.c%1$s is distinct from n.c%1$s'::text WHEN (base_type = ANY (('{text,"character varying"}'::regtype[])::oid[])) THEN 'o.c%1$s collate "C" is distinct from n.c%1$s collate "C"'::text ELSE 'record_image_ne(row(o.c%1$s), row(n.c%1$s))'::text END, number);

CREATE FUNCTION attestlog.capture_columns(settings attestlog.capture, relation oid) RETURNS TABLE(number smallint, name text, base_type oid, key_position integer, treatment text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    BEGIN ATOMIC
 WITH RECURSIVE known AS (
          SELECT a.attnum,
             (a.attname)::text AS name,
             a.atttypid,
                 CASE
                     WHEN (capture_columns.relation = (capture_columns.settings).table_oid) THEN (capture_columns.settings).column_names[a.attnum]
                     WHEN (a.attname = ANY ((capture_columns.settings).column_names)) THEN (a.attname)::text
                     ELSE NULL::text
                 END AS tracked_as
            FROM pg_attribute a
           WHERE ((a.attrelid = capture_columns.relation) AND (a.attnum > 0) AND (NOT a.attisdropped) AND (a.attgenerated <> 'v'::"char"))
         ), base(attnum, type) AS (
          SELECT known.attnum,
             known.atttypid
            FROM known
         UNION ALL
          SELECT b_1.attnum,
             t_1.typbasetype
            FROM (base b_1
              JOIN pg_type t_1 ON ((t_1.oid = b_1.type)))
           WHERE (t_1.typtype = 'd'::"char")
         ), chosen AS (
          SELECT ((string_to_array((i.indkey)::text, ' '::text))::smallint[])[:i.indnkeyatts] AS numbers
            FROM pg_index i
           WHERE ((i.indrelid = capture_columns.relation) AND (i.indisprimary OR i.indisreplident) AND i.indisvalid)
           ORDER BY i.indisprimary DESC
          LIMIT 1
         )
  SELECT k.attnum,
     k.name,
     t.oid,
     array_position(c.numbers, k.attnum) AS array_position,
         CASE
             WHEN (k.tracked_as = ANY ((capture_columns.settings).omit)) THEN 'omit'::text
             WHEN (k.tracked_as = ANY ((capture_columns.settings).ignore)) THEN 'ignore'::text
             WHEN ((k.tracked_as IS NULL) AND (capture_columns.relation <> (capture_columns.settings).table_oid) AND ((capture_columns.settings).omit <> '{}'::text[])) THEN 'omit'::text
             ELSE 'show'::text
         END AS "case"
    FROM (((known k
      JOIN base b ON ((b.attnum = k.attnum)))
      JOIN pg_type t ON (((t.oid = b.type) AND (t.typtype <> 'd'::"char"))))
      LEFT JOIN chosen c ON (true))
   ORDER BY k.attnum;
END;

CREATE FUNCTION attestlog.capture_digest(value text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    RETURN jsonb_build_object('sha256', encode(sha256(convert_to(value, 'UTF8'::name)), 'hex'::text), 'bytes', octet_length(value));

CREATE FUNCTION attestlog.capture_frame(relation oid, operation text, OUT head text, OUT who text, OUT how text, OUT tail text) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    root constant oid := coalesce(pg_partition_root(relation), relation);
    table_name constant text := (select format('%I.%I', n.nspname, c.relname) from pg_class c
                                 join pg_namespace n on n.oid = c.relnamespace where c.oid = root);
    given constant text := current_setting('attestlog.context', true);
    context jsonb;
begin
    if coalesce(given, '') ~ '\S' then
        context := coalesce(attestlog.capture_object(given), jsonb_build_object('malformed', given));
        if octet_length(context::text) > 16384 then
            context := jsonb_build_object('too_long', attestlog.capture_digest(given));
        end if;
    end if;
    head := '{"action": ' || rtrim(to_json(table_name || '.')::text, '"');
    who := concat('", "occurred_at": "', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                  '", "actor": ', attestlog.capture_actor(), ', "targets": [{"type": ', to_json(table_name), ', "id": ');
    how := concat('}], "outcome": "success"', ', "context": ' || context::text, ', "changes": {');
    tail := concat('}, "metadata": {"operation": ', to_json(operation), ', "role": ', to_json(session_user::text),
                   ', "transaction": "', pg_current_xact_id(), '"',
                   ', "partition": ' || case when relation <> root then to_json(relation::regclass::text)::text end);
end
$$;

CREATE FUNCTION attestlog.capture_object(given text) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if given !~ '^\s*\{' then
        return null;
    end if;
    return given::jsonb;
exception
    when data_exception or statement_too_complex then return null;
end
$$;

CREATE FUNCTION attestlog.capture_query(settings attestlog.capture, relation oid, operation text, frame text[]) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    event constant text := format(
        'concat(%s, %%L, %s, %%s, %s, %%s, %s, %%s, ''}}'')', frame[1], frame[2], frame[3], frame[4]);
    picked text;
    omitted text;
    same_key text;
    changed text;
    before text;
    after text;
    changed_omitted text;
    old_row record;
    new_row record;
    inserted text;
    deleted text;
    updated text;
    events text;
begin
    select string_agg(format('t.%I as c%s', c.name, c.number), ', ' order by c.number),
           coalesce(format('%L', ', "omitted": ' || to_json(array_agg(c.name order by c.number)
               filter (where c.treatment = 'omit'))::text), ''''''),
           coalesce(string_agg('not ' || c.changed, ' and ') filter (where c.key_position is not null), 'true'),
           coalesce(string_agg(c.changed, ' or ' order by c.number) filter (where c.treatment <> 'ignore'), 'false'),
           string_agg(format('case when %s then %L || %s end', c.changed, c.label, c.old), ', ' order by c.number)
               filter (where c.treatment = 'show' and c.key_position is null),
           string_agg(format('case when %s then %L || %s end', c.changed, c.label, c.new), ', ' order by c.number)
               filter (where c.treatment = 'show' and c.key_position is null),
           string_agg(format('case when %s then %L end', c.changed, to_json(c.name)), ', ' order by c.number)
               filter (where c.treatment = 'omit')
        into picked, omitted, same_key, changed, before, after, changed_omitted
        from (
            select k.*, '(' || attestlog.capture_changed(k.number, k.base_type) || ')' as changed,
                   to_json(k.name)::text || ': ' as label,
                   attestlog.capture_value('o.c' || k.number, k.base_type) as old,
                   attestlog.capture_value('n.c' || k.number, k.base_type) as new
            from attestlog.capture_columns(settings, relation) k
        ) c;
    old_row := attestlog.capture_row(settings, relation, 'o');
    new_row := attestlog.capture_row(settings, relation, 'n');
    inserted := format(event, 'inserted', new_row.key, format('''"after": {'', %s, ''}''', new_row.members), omitted);
    deleted := format(event, 'deleted', old_row.key, format('''"before": {'', %s, ''}''', old_row.members), omitted);
    updated := format(event, 'updated', new_row.key,
        format('''"before": {'', array_to_string(array[%s]::text[], '', ''), '
               '''}, "after": {'', array_to_string(array[%s]::text[], '', ''), ''}''', before, after),
        case when changed_omitted is null then '''''' else format(
            ''', "omitted": ['' || nullif(array_to_string(array[%s]::text[], '', ''), '''') || '']''',
            changed_omitted) end);
    events := case operation
        when 'INSERT' then format('select %s as event from (select %s from new_rows t) n', inserted, picked)
        when 'DELETE' then format('select %s as event from (select %s from old_rows t) o', deleted, picked)
        else format(
            'select unnest(case when o.position = n.position and %1$s then array[%2$s]
                                when n.position is null then array[%3$s]
                                when o.position is null then array[%4$s]
                                else array[%3$s, %4$s] end) as event
             from (select row_number() over () as position, %5$s from old_rows t) o
             full join (select row_number() over () as position, %5$s from new_rows t) n on o.position = n.position
             where o.position is null or n.position is null or %6$s
             order by coalesce(o.position, n.position)', same_key, updated, deleted, inserted, picked, changed) end;
    -- With offset 0 an event is made once, and not again wherever it is used.
    return format(
        'insert into attestlog.append_only_log (log_id, data)
         select %s, case when octet_length(e.event) <= 65535 then convert_to(e.event, ''UTF8'')
                         else attestlog.shorten_event(e.event) end
         from (%s offset 0) e', settings.log_id, events);
end
$_$;

CREATE FUNCTION attestlog.capture_row(settings attestlog.capture, relation oid, row_name text, OUT key text, OUT members text) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    plain boolean;
begin
    select case when count(c.key_position) = 1
                    then format('concat(%s)', max(c.reference) filter (where c.key_position is not null))
                else format('concat(''['', array_to_string(array[%s]::text[], '', ''), '']'')',
                            string_agg(c.value, ', ' order by c.key_position)
                                filter (where c.key_position is not null)) end,
           count(c.key_position) = 1 and bool_and(c.base_type = any ('{int2, int4, int8, uuid}'::regtype[]))
               filter (where c.key_position is not null),
           format('array_to_string(array[%s]::text[], '', '')',
                  string_agg(format('%L || %s', c.label, c.value), ', ' order by c.number)
                      filter (where c.treatment = 'show'))
        into key, plain, members
        from (
            select k.*, r.reference, to_json(k.name)::text || ': ' as label,
                   attestlog.capture_value(r.reference, k.base_type) as value
            from attestlog.capture_columns(settings, relation) k
            cross join lateral (select format('%s.c%s', row_name, k.number) as reference) r
        ) c;
    key := case when plain then format('concat(''"'', %s, ''"'')', key)
                -- A key that can be compressed may be longer than it looks to its index.
                else format('to_json(case when octet_length(%1$s) <= 1000 then %1$s else '
                            '''sha256:'' || encode(sha256(convert_to(%1$s, ''UTF8'')), ''hex'') end)::text', key) end;
end
$_$;

CREATE FUNCTION attestlog.capture_signature(relation oid) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    return (select string_agg(concat(attnum, ' ', atttypid, ' ', attname), ',' order by attnum)
            from pg_attribute where attrelid = relation and attnum > 0 and not attisdropped);
end
$$;

CREATE FUNCTION attestlog.capture_tree(tracked regclass) RETURNS SETOF regclass
    LANGUAGE sql STABLE
    SET search_path TO 'attestlog', 'pg_temp'
    BEGIN ATOMIC
 SELECT capture_tree.tracked AS tracked
 UNION
  SELECT pg_partition_tree.relid
    FROM pg_partition_tree(capture_tree.tracked) pg_partition_tree(relid, parentrelid, isleaf, level);
END;

CREATE FUNCTION attestlog.capture_triggers() RETURNS TABLE(relation regclass, settings attestlog.capture, enabled bigint)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'attestlog', 'pg_temp'
    BEGIN ATOMIC
 SELECT (t.tgrelid)::regclass AS tgrelid,
     c.*::attestlog.capture AS c,
     count(*) FILTER (WHERE (t.tgenabled = 'A'::"char")) AS count
    FROM ((attestlog.capture c
      JOIN pg_proc p ON (((p.proname = c.function_name) AND (p.pronamespace = ('attestlog'::regnamespace)::oid))))
      JOIN pg_trigger t ON ((t.tgfoid = p.oid)))
   GROUP BY t.tgrelid, c.*;
END;

CREATE FUNCTION attestlog.capture_value(value text, base_type oid) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    RETURN format('coalesce(%s, ''null'')'::text, CASE WHEN (base_type = ANY (('{smallint,integer,bigint,boolean,jsonb}'::regtype[])::oid[])) THEN format('%s::text'::text, value) WHEN (base_type = ('json'::regtype)::oid) THEN format('to_json(%s::text)::text'::text, value) WHEN ((base_type < (16384)::oid) AND (base_type <> ('json[]'::regtype)::oid) AND (SELECT ((pg_type.typtype <> 'c'::"char") AND (pg_type.typcategory <> 'P'::"char")) FROM pg_type WHERE (pg_type.oid = capture_value.base_type))) THEN format('to_json(%s)::text'::text, value) ELSE format('case when num_nonnulls(%1$s) = 1 then to_json(concat(%1$s))::text end'::text, value) END);

CREATE FUNCTION attestlog.check_trackable(tracked regclass, ignore text[], omit text[]) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'attestlog', 'pg_temp'
    AS $$
declare
    relation pg_class;
    key text[];
    wrong text;
begin
    select * into relation from pg_class where oid = tracked;
    if relation.relnamespace in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace,
                                 'attestlog'::regnamespace) or relation.relkind not in ('r', 'p')
       or relation.relpersistence = 't' then
        raise exception '% cannot be tracked', tracked using errcode = 'wrong_object_type',
            hint = 'only tables can: no views, foreign or temporary tables, and none of the system or of attestlog';
    end if;
    if not pg_has_role(current_user, relation.relowner, 'usage') then
        raise exception 'must be owner of table %', tracked using errcode = 'insufficient_privilege';
    end if;
    if not relation.relispartition and exists (select from pg_inherits where inhrelid = tracked)
       or relation.relkind = 'r' and exists (select from pg_inherits where inhparent = tracked) then
        raise exception '% cannot be tracked: it inherits from a table, or one from it', tracked
            using errcode = 'feature_not_supported', hint = 'use declarative partitioning, which can be tracked';
    end if;
    -- The query for updates has all columns twice, and a query has at most 1664.
    if (select count(*) from pg_attribute where attrelid = tracked and attnum > 0 and not attisdropped) > 800 then
        raise exception '% cannot be tracked: it has more than 800 columns', tracked
            using errcode = 'program_limit_exceeded';
    end if;
    if getdatabaseencoding() <> 'UTF8' then
        raise exception 'tables can be tracked in databases in UTF8 only, and this one is in %', getdatabaseencoding()
            using errcode = 'feature_not_supported';
    end if;
    key := array(select a.attname from pg_index i join pg_attribute a on a.attrelid = i.indrelid
                 where i.indrelid = tracked and (i.indisprimary or i.indisreplident) and i.indisvalid
                     and a.attnum = any ((string_to_array(i.indkey::text, ' ')::smallint[])[:i.indnkeyatts])
                     and (i.indisprimary or not exists (
                         select from pg_index p where p.indrelid = tracked and p.indisprimary)));
    if key = '{}' then
        raise exception '% has no primary key, so an event could not say which row it is about', tracked
            using errcode = 'object_not_in_prerequisite_state',
                  hint = 'add one, or name a unique index: alter table … replica identity using index …';
    end if;
    select c into wrong from unnest(ignore || omit) c
        where c is null or not exists (select from pg_attribute
                                       where attrelid = tracked and attname = c and attnum > 0 and not attisdropped);
    if found then
        raise exception '% has no column "%"', tracked, wrong using errcode = 'undefined_column';
    end if;
    select c into wrong from unnest(ignore || omit) c where c = any (key) or c = any (ignore) and c = any (omit);
    if found then
        raise exception 'column "%" of % cannot be ignored or omitted%', wrong, tracked,
                case when wrong = any (key) then ': it is part of the key' else ' at once' end
            using errcode = 'invalid_parameter_value';
    end if;
end
$$;

CREATE FUNCTION attestlog.drop_unused_captures() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'attestlog', 'pg_temp'
    AS $$
declare
    unused text;
begin
    for unused in
        select c.function_name from capture c
        where not exists (select from pg_trigger t join pg_proc p on p.oid = t.tgfoid
                          where p.pronamespace = 'attestlog'::regnamespace and p.proname = c.function_name)
        for update skip locked
    loop
        execute format('drop function if exists attestlog.%I()', unused);
        delete from capture c where c.function_name = unused;
    end loop;
end
$$;

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

CREATE FUNCTION attestlog.make_capture(relation oid, log text, ignore text[], omit text[]) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'attestlog', 'pg_temp'
    AS $$
declare
    settings attestlog.capture;
begin
    settings.log_id := (select l.log_id from log l where l.name = make_capture.log);
    if settings.log_id is null then
        raise exception 'log "%" does not exist', log
            using errcode = 'undefined_object', hint = 'make it with: attestlog log create NAME --origin ORIGIN';
    end if;
    settings.function_name := 'capture_' || replace(gen_random_uuid()::text, '-', '');
    settings.table_oid := relation;
    settings.column_names := array(select case when not attisdropped then attname::text end
                                   from pg_attribute where attrelid = relation and attnum > 0 order by attnum);
    settings.ignore := ignore;
    settings.omit := omit;
    insert into capture select settings.*;
    execute format(
        'create function attestlog.%I() returns trigger language plpgsql security definer '
        'set search_path = pg_catalog, pg_temp set timezone = ''UTC'' set datestyle = ''ISO'' '
        'set intervalstyle = ''postgres'' set bytea_output = ''hex'' set extra_float_digits = 1 set lc_monetary = ''C'' '
        'set quote_all_identifiers = off set jit = off set enable_mergejoin = off as %L', settings.function_name, capture_body(settings, relation));
    execute format('revoke all on function attestlog.%I() from public', settings.function_name);
    -- What it takes to make a trigger that calls it. A writer may append whatever it likes anyway.
    execute format('grant execute on function attestlog.%I() to attestlog_writer', settings.function_name);
    return settings.function_name;
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
    SET plan_cache_mode TO 'force_generic_plan'
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

CREATE FUNCTION attestlog.shorten_event(event text) RETURNS bytea
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    shortened jsonb := event::jsonb;
    excess constant integer := octet_length(shortened::text) - 65535 + 100;
    digests jsonb;
    replaced jsonb;
begin
    with value as (
        select side, name, content, octet_length(content::text) - octet_length(to_json(name)::text) - 150 as saves
        from jsonb_each(shortened -> 'changes') c (side, columns) cross join jsonb_each(columns) v (name, content)
    ),
    ranked as (
        select *, saves > 0 and sum(saves) over (order by saves desc, side, name) - saves < excess as chosen from value
    ),
    side as (
        select side, jsonb_object_agg(name, case
                   when chosen then attestlog.capture_digest(case jsonb_typeof(content)
                       when 'string' then content #>> '{}' else content::text end)
                   else content end) as columns
        from ranked group by side
    )
    select (select jsonb_object_agg(side, columns) from side),
           (select coalesce(jsonb_agg(side || '.' || name order by side, name), '[]') from ranked where chosen)
        into replaced, digests;
    shortened := jsonb_set(shortened, '{changes}', shortened -> 'changes' || replaced);
    shortened := jsonb_set(shortened, '{metadata,digests}', digests);
    -- Hundreds of columns: their names alone are too long.
    if octet_length(shortened::text) > 65535 then
        shortened := jsonb_set(event::jsonb, '{changes}', (
            select jsonb_object_agg(side, attestlog.capture_digest(columns::text))
            from jsonb_each(event::jsonb -> 'changes') c (side, columns)));
        shortened := jsonb_set(shortened, '{metadata,digests}',
                               to_jsonb(array(select jsonb_object_keys(shortened -> 'changes'))));
        if shortened #> '{metadata,omitted}' is not null then
            shortened := jsonb_set(shortened, '{metadata,omitted}',
                                   attestlog.capture_digest(shortened #>> '{metadata,omitted}'));
        end if;
    end if;
    return convert_to(shortened::text, 'UTF8');
end
$$;

CREATE FUNCTION attestlog.track(tracked regclass, log text, ignore text[] DEFAULT '{}'::text[], omit text[] DEFAULT '{}'::text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'attestlog', 'pg_temp'
    SET client_min_messages TO 'warning'
    AS $$
declare
    relation regclass;
    function_name text;
    operation text;
begin
    perform check_trackable(tracked, coalesce(ignore, '{}'), coalesce(omit, '{}'));
    execute format('lock table %s in share row exclusive mode', tracked);
    for relation in select * from capture_tree(tracked) loop
        function_name := make_capture(relation, log, coalesce(ignore, '{}'), coalesce(omit, '{}'));
        foreach operation in array '{insert, update, delete, truncate}'::text[] loop
            execute format('drop trigger if exists %I on %s', 'attestlog_' || operation, relation);
            execute format(
                'create trigger %I after %s on %s %s for each statement execute function attestlog.%I()',
                'attestlog_' || operation, operation, relation, case operation
                    when 'insert' then 'referencing new table as new_rows'
                    when 'update' then 'referencing old table as old_rows new table as new_rows'
                    when 'delete' then 'referencing old table as old_rows' end, function_name);
            -- Also where session_replication_role is replica.
            execute format('alter table %s enable always trigger %I', relation, 'attestlog_' || operation);
        end loop;
    end loop;
    perform drop_unused_captures();
end
$$;

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

CREATE FUNCTION attestlog.tracked() RETURNS TABLE(tracked regclass, log text, ignore text[], omit text[], up_to_date boolean, problem text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'attestlog', 'pg_temp'
    BEGIN ATOMIC
 WITH captured AS MATERIALIZED (
          SELECT capture_triggers.relation,
             capture_triggers.settings,
             capture_triggers.enabled
            FROM attestlog.capture_triggers() capture_triggers(relation, settings, enabled)
         ), root AS (
          SELECT c.relation,
             c.settings,
             c.enabled
            FROM captured c
           WHERE (NOT (EXISTS ( SELECT
                    FROM (pg_partition_ancestors(c.relation) a(relid)
                      JOIN captured p_1 ON ((((p_1.relation)::oid = (a.relid)::oid) AND ((p_1.relation)::oid <> (c.relation)::oid)))))))
         ), problem AS (
          SELECT r_1.relation,
             string_agg(concat(tree.relation, ' ', wrong.what), '; '::text ORDER BY (tree.relation)::text) AS found
            FROM ((((root r_1
              CROSS JOIN LATERAL attestlog.capture_tree(r_1.relation) tree(relation))
              LEFT JOIN captured c ON (((c.relation)::oid = (tree.relation)::oid)))
              LEFT JOIN pg_proc p_1 ON (((p_1.proname = (c.settings).function_name) AND (p_1.pronamespace = ('attestlog'::regnamespace)::oid))))
              CROSS JOIN LATERAL ( SELECT
                         CASE
                             WHEN (c.relation IS NULL) THEN 'is not tracked'::text
                             WHEN (c.enabled < 4) THEN 'lacks a trigger, or has one that is disabled'::text
                             WHEN (EXISTS ( SELECT
                                FROM (pg_inherits i
                                  JOIN pg_class k ON ((k.oid = i.inhrelid)))
                               WHERE ((i.inhparent = (tree.relation)::oid) AND (NOT k.relispartition)))) THEN 'has heirs'::text
                             WHEN (p_1.prosrc IS DISTINCT FROM attestlog.capture_body(c.settings, (tree.relation)::oid)) THEN 'has other columns or another key than when it was tracked'::text
                             ELSE NULL::text
                         END AS "case") wrong(what))
           WHERE (wrong.what IS NOT NULL)
           GROUP BY r_1.relation
         )
  SELECT r.relation,
     l.name,
     ARRAY( SELECT c.name
            FROM attestlog.capture_columns(r.settings, (r.relation)::oid) c(number, name, base_type, key_position, treatment)
           WHERE (c.treatment = 'ignore'::text)) AS "array",
     ARRAY( SELECT c.name
            FROM attestlog.capture_columns(r.settings, (r.relation)::oid) c(number, name, base_type, key_position, treatment)
           WHERE (c.treatment = 'omit'::text)) AS "array",
     (p.found IS NULL),
     p.found
    FROM ((root r
      JOIN attestlog.log l ON ((l.log_id = (r.settings).log_id)))
      LEFT JOIN problem p ON (((p.relation)::oid = (r.relation)::oid)))
   ORDER BY (r.relation)::text;
END;

CREATE FUNCTION attestlog.untrack(tracked regclass) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'attestlog', 'pg_temp'
    AS $$
declare
    found_trigger record;
    any_found boolean := false;
begin
    for found_trigger in
        select t.tgname, t.tgrelid::regclass as relation
        from capture_tree(tracked) r
        join pg_trigger t on t.tgrelid = r
        join pg_proc p on p.oid = t.tgfoid and p.pronamespace = 'attestlog'::regnamespace
            and starts_with(p.proname, 'capture_')
    loop
        execute format('drop trigger %I on %s', found_trigger.tgname, found_trigger.relation);
        any_found := true;
    end loop;
    if not any_found then
        raise exception '% is not tracked', tracked using errcode = 'undefined_object';
    end if;
    perform drop_unused_captures();
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
ALTER TABLE ONLY attestlog.checkpoint ALTER COLUMN note SET STATISTICS 0;

CREATE TABLE attestlog.idempotency_key (
    log_id bigint NOT NULL,
    key text NOT NULL,
    ticket bigint NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    CONSTRAINT idempotency_key_length CHECK (((octet_length(key) >= 1) AND (octet_length(key) <= 255)))
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
ALTER TABLE ONLY attestlog.processed_log ALTER COLUMN log_id SET STATISTICS 10;
ALTER TABLE ONLY attestlog.processed_log ALTER COLUMN id SET STATISTICS 10;
ALTER TABLE ONLY attestlog.processed_log ALTER COLUMN source_id SET STATISTICS 10;
ALTER TABLE ONLY attestlog.processed_log ALTER COLUMN appended_at SET STATISTICS 10;
ALTER TABLE ONLY attestlog.processed_log ALTER COLUMN data SET STATISTICS 0;
ALTER TABLE ONLY attestlog.processed_log ALTER COLUMN leaf_hash SET STATISTICS 0;

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
ALTER TABLE ONLY attestlog.tile ALTER COLUMN hashes SET STATISTICS 0;
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

ALTER TABLE ONLY attestlog.capture
    ADD CONSTRAINT capture_pk PRIMARY KEY (function_name);

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

ALTER TABLE ONLY attestlog.capture
    ADD CONSTRAINT capture_log_exists FOREIGN KEY (log_id) REFERENCES attestlog.log(log_id);

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

REVOKE ALL ON FUNCTION attestlog.append_all(log text, entries bytea[], idempotency_keys text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION attestlog.append_all(log text, entries bytea[], idempotency_keys text[]) TO attestlog_writer;
GRANT ALL ON FUNCTION attestlog.append_all(log text, entries bytea[], idempotency_keys text[]) TO attestlog_processor;

REVOKE ALL ON FUNCTION attestlog.append_all_checked(log text, entries bytea[], idempotency_keys text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION attestlog.append_checked(log text, data bytea, idempotency_key text) FROM PUBLIC;

REVOKE ALL ON FUNCTION attestlog.append_rows(log_ids bigint[], entries bytea[], idempotency_keys text[], longest_wait integer) FROM PUBLIC;
GRANT ALL ON FUNCTION attestlog.append_rows(log_ids bigint[], entries bytea[], idempotency_keys text[], longest_wait integer) TO attestlog_processor;

GRANT SELECT ON TABLE attestlog.append_only_log TO attestlog_processor;

GRANT SELECT ON TABLE attestlog.processing_mark TO attestlog_processor;

REVOKE ALL ON FUNCTION attestlog.backlog(most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION attestlog.backlog(most integer) TO attestlog_processor;

REVOKE ALL ON FUNCTION attestlog.capture_actor() FROM PUBLIC;

REVOKE ALL ON FUNCTION attestlog.capture_body(settings attestlog.capture, relation oid) FROM PUBLIC;

REVOKE ALL ON FUNCTION attestlog.capture_changed(number smallint, base_type oid) FROM PUBLIC;

REVOKE ALL ON FUNCTION attestlog.capture_columns(settings attestlog.capture, relation oid) FROM PUBLIC;

REVOKE ALL ON FUNCTION attestlog.capture_digest(value text) FROM PUBLIC;

REVOKE ALL ON FUNCTION attestlog.capture_frame(relation oid, operation text, OUT head text, OUT who text, OUT how text, OUT tail text) FROM PUBLIC;

REVOKE ALL ON FUNCTION attestlog.capture_object(given text) FROM PUBLIC;

REVOKE ALL ON FUNCTION attestlog.capture_query(settings attestlog.capture, relation oid, operation text, frame text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION attestlog.capture_row(settings attestlog.capture, relation oid, row_name text, OUT key text, OUT members text) FROM PUBLIC;

REVOKE ALL ON FUNCTION attestlog.capture_signature(relation oid) FROM PUBLIC;

REVOKE ALL ON FUNCTION attestlog.capture_tree(tracked regclass) FROM PUBLIC;
GRANT ALL ON FUNCTION attestlog.capture_tree(tracked regclass) TO attestlog_writer;

REVOKE ALL ON FUNCTION attestlog.capture_triggers() FROM PUBLIC;

REVOKE ALL ON FUNCTION attestlog.capture_value(value text, base_type oid) FROM PUBLIC;

REVOKE ALL ON FUNCTION attestlog.check_trackable(tracked regclass, ignore text[], omit text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION attestlog.check_trackable(tracked regclass, ignore text[], omit text[]) TO attestlog_writer;

REVOKE ALL ON FUNCTION attestlog.drop_unused_captures() FROM PUBLIC;
GRANT ALL ON FUNCTION attestlog.drop_unused_captures() TO attestlog_writer;

REVOKE ALL ON FUNCTION attestlog.find_tickets(tickets bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION attestlog.find_tickets(tickets bigint[]) TO attestlog_processor;
GRANT ALL ON FUNCTION attestlog.find_tickets(tickets bigint[]) TO attestlog_reader;

REVOKE ALL ON FUNCTION attestlog.is_event(data bytea) FROM PUBLIC;

REVOKE ALL ON FUNCTION attestlog.make_capture(relation oid, log text, ignore text[], omit text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION attestlog.make_capture(relation oid, log text, ignore text[], omit text[]) TO attestlog_writer;

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

REVOKE ALL ON FUNCTION attestlog.shorten_event(event text) FROM PUBLIC;

REVOKE ALL ON FUNCTION attestlog.track(tracked regclass, log text, ignore text[], omit text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION attestlog.track(tracked regclass, log text, ignore text[], omit text[]) TO attestlog_writer;

GRANT SELECT,INSERT ON TABLE attestlog.log TO attestlog_processor;
GRANT SELECT ON TABLE attestlog.log TO attestlog_reader;

REVOKE ALL ON FUNCTION attestlog.tracked() FROM PUBLIC;
GRANT ALL ON FUNCTION attestlog.tracked() TO attestlog_writer;
GRANT ALL ON FUNCTION attestlog.tracked() TO attestlog_processor;
GRANT ALL ON FUNCTION attestlog.tracked() TO attestlog_reader;

REVOKE ALL ON FUNCTION attestlog.untrack(tracked regclass) FROM PUBLIC;
GRANT ALL ON FUNCTION attestlog.untrack(tracked regclass) TO attestlog_writer;

GRANT SELECT,INSERT ON TABLE attestlog.checkpoint TO attestlog_processor;
GRANT SELECT ON TABLE attestlog.checkpoint TO attestlog_reader;

GRANT SELECT ON TABLE attestlog.idempotency_key TO attestlog_processor;

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

