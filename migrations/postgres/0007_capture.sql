-- Why: row capture. attestlog.track makes each change of a table's rows an audit event, within the statement that
-- changes them, whoever runs it. The triggers are per statement and read its transition tables.
-- Locks: none; all of it is new. attestlog.track itself takes SHARE ROW EXCLUSIVE on the table that it is given.

-- What each trigger function captures; track makes one for each table and partition. Its triggers are what leads to the
-- table: they follow it through renames, and into another database with a dump, where oids and column numbers differ.
create table attestlog.capture (
    function_name text not null,
    log_id bigint not null,
    -- The table and, by their numbers, the names of its columns when it was tracked. In this database a column is known
    -- by its number, which a rename does not change; where the table has another oid, it was restored: by its name.
    table_oid oid not null,
    column_names text[] not null,
    ignore text[] not null,
    omit text[] not null,
    constraint capture_pk primary key (function_name),
    constraint capture_log_exists foreign key (log_id) references attestlog.log (log_id)
);

-- The columns of a table, and what its events do with each: show, ignore or omit it. As long as a restored table has
-- columns that it did not have when it was tracked, they are omitted if anything is.
create function attestlog.capture_columns(settings attestlog.capture, relation oid)
returns table (number smallint, name text, base_type oid, key_position integer, treatment text)
language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    with recursive known as (
        select a.attnum, a.attname::text as name, a.atttypid,
               case when relation = (settings).table_oid then (settings).column_names[a.attnum]
                    when a.attname = any ((settings).column_names) then a.attname::text end as tracked_as
        from pg_attribute a
        -- A virtual generated column has no value in a transition table.
        where a.attrelid = relation and a.attnum > 0 and not a.attisdropped and a.attgenerated <> 'v'
    ),
    base (attnum, type) as (
        select known.attnum, known.atttypid from known
        union all
        select b.attnum, t.typbasetype from base b join pg_type t on t.oid = b.type where t.typtype = 'd'
    ),
    -- The primary key, or else the unique index that ALTER TABLE … REPLICA IDENTITY USING INDEX has named.
    chosen as (
        select (string_to_array(i.indkey::text, ' ')::smallint[])[:i.indnkeyatts] as numbers from pg_index i
        where i.indrelid = relation and (i.indisprimary or i.indisreplident) and i.indisvalid
        order by i.indisprimary desc limit 1
    )
    select k.attnum, k.name, t.oid, array_position(c.numbers, k.attnum),
           case when k.tracked_as = any ((settings).omit) then 'omit'
                when k.tracked_as = any ((settings).ignore) then 'ignore'
                when k.tracked_as is null and relation <> (settings).table_oid and (settings).omit <> '{}' then 'omit'
                else 'show' end
    from known k
    join base b on b.attnum = k.attnum
    join pg_type t on t.oid = b.type and t.typtype <> 'd'
    left join chosen c on true
    order by k.attnum;
end;

-- A table's columns as one text. Where it is no longer what it was when the trigger function was made, the queries in
-- there do not fit any more, and would even be dangerous: see capture_value.
create function attestlog.capture_signature(relation oid) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return (select string_agg(concat(attnum, ' ', atttypid, ' ', attname), ',' order by attnum)
            from pg_attribute where attrelid = relation and attnum > 0 and not attisdropped);
end
$$;

-- SQL for a value as JSON text. It runs with the rights of attestlog's owner, so it may not call anything that the
-- table's owner could have defined: to_json and :: would call a cast of a type of theirs, and concat calls the type's
-- output function only. A json value is shown as a string, since jsonb, which checks events, does not take all of them.
create function attestlog.capture_value(value text, base_type oid) returns text
language sql stable set search_path = pg_catalog, pg_temp
return format('coalesce(%s, ''null'')', case
    when base_type = any ('{int2, int4, int8, bool, jsonb}'::regtype[]) then format('%s::text', value)
    when base_type = 'json'::regtype then format('to_json(%s::text)::text', value)
    when base_type < 16384 and base_type <> 'json[]'::regtype
         and (select typtype <> 'c' and typcategory <> 'P' from pg_type where oid = base_type)
        then format('to_json(%s)::text', value)
    else format('case when num_nonnulls(%1$s) = 1 then to_json(concat(%1$s))::text end', value) end);

-- SQL for whether a column has changed: whether its bytes have. 1.0 and 1.00 differ, 'a' and 'A' in any collation; and
-- no operator is called that the table's owner could have defined.
create function attestlog.capture_changed(number smallint, base_type oid) returns text
language sql stable set search_path = pg_catalog, pg_temp
return format(case
    when base_type = any ('{bool, int2, int4, int8, oid, uuid, bytea, date, time, timestamp, timestamptz}'::regtype[])
        then 'o.c%1$s is distinct from n.c%1$s'
    when base_type = any ('{text, varchar}'::regtype[])
        then 'o.c%1$s collate "C" is distinct from n.c%1$s collate "C"'
    else 'record_image_ne(row(o.c%1$s), row(n.c%1$s))' end, number);

-- SQL for a row, `o` or `n`: its key as a JSON string, and the members of the object that shows its columns. The key is
-- the text of its column or, if it has several, the JSON array of their values.
create function attestlog.capture_row(
    settings attestlog.capture, relation oid, row_name text, out key text, out members text)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
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
$$;

-- The query that makes the events of a statement, to be run in its trigger function. `frame` names there the four texts
-- of attestlog.capture_frame.
--
-- An old and a new row are one that was updated if they come at the same place and have the same key: PostgreSQL fills
-- both tables row by row. What remains are rows whose key has changed: a deletion and an insertion each. Were the tables
-- ever filled otherwise, all rows would become that, and each event would still be true.
create function attestlog.capture_query(
    settings attestlog.capture, relation oid, operation text, frame text[]) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
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
$$;

-- The body of a table's trigger function. Its queries are planned once for each session. When the table's columns are
-- no longer those that it was made for, the query is made anew for each statement: slower, and right.
create function attestlog.capture_body(settings attestlog.capture, relation oid) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
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
$$;

-- A JSON object, or null where the text is none.
create function attestlog.capture_object(given text) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if given !~ '^\s*\{' then
        return null;
    end if;
    return given::jsonb;
exception
    when data_exception or statement_too_complex then return null;
end
$$;

-- Who acts. What an application has set is never refused, which would undo its change, and never lost: what is no actor
-- becomes the identifier of a user.
create function attestlog.capture_actor() returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
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

-- What stands for a text that is too long.
create function attestlog.capture_digest(value text) returns jsonb
language sql immutable set search_path = pg_catalog, pg_temp
return jsonb_build_object('sha256', encode(sha256(convert_to(value, 'UTF8')), 'hex'), 'bytes', octet_length(value));

-- The texts that all events of a statement share. Between them come the verb, the key, the changes, what was omitted.
create function attestlog.capture_frame(
    relation oid, operation text, out head text, out who text, out how text, out tail text)
language plpgsql set search_path = pg_catalog, pg_temp as $$
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

-- An event that is longer than an entry may be, with the longest values of its columns replaced by their digests, as few
-- as will do. metadata.digests names them. Each counts for less than it saves, so that one pass is enough.
create function attestlog.shorten_event(event text) returns bytea
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
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

-- Makes the trigger function of a table. It runs with the rights of its owner; that the caller may have triggers on the
-- table is for CREATE TRIGGER to check.
create function attestlog.make_capture(relation oid, log text, ignore text[], omit text[]) returns text
language plpgsql security definer set search_path = attestlog, pg_temp as $$
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

-- Drops the trigger functions that no trigger calls any more.
create function attestlog.drop_unused_captures() returns void
language plpgsql security definer set search_path = attestlog, pg_temp as $$
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

-- Refuses what cannot be tracked, and says why.
create function attestlog.check_trackable(tracked regclass, ignore text[], omit text[]) returns void
language plpgsql stable set search_path = attestlog, pg_temp as $$
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

-- The table and, if it is partitioned, all its partitions that exist now.
create function attestlog.capture_tree(tracked regclass) returns setof regclass
language sql stable set search_path = attestlog, pg_temp
begin atomic
    select tracked union select relid from pg_partition_tree(tracked);
end;

-- From now on, each change of the table's rows is an event in the log. A change of nothing but columns to ignore is
-- none; of a column to omit the event says that it has changed, and never a value. For a table that is tracked already
-- this replaces its settings, and takes in new columns and partitions.
create function attestlog.track(tracked regclass, log text, ignore text[] default '{}', omit text[] default '{}')
returns void
language plpgsql set search_path = attestlog, pg_temp set client_min_messages = warning as $$
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

-- What the triggers of a table are, and what they capture.
create function attestlog.capture_triggers()
returns table (relation regclass, settings attestlog.capture, enabled bigint)
language sql stable security definer set search_path = attestlog, pg_temp
begin atomic
    select t.tgrelid::regclass, c, count(*) filter (where t.tgenabled = 'A')
    from attestlog.capture c
    join pg_proc p on p.proname = c.function_name and p.pronamespace = 'attestlog'::regnamespace
    join pg_trigger t on t.tgfoid = p.oid
    group by t.tgrelid, c.*;
end;

-- From now on, changes of the table's rows are no events any more.
create function attestlog.untrack(tracked regclass) returns void
language plpgsql set search_path = attestlog, pg_temp as $$
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

-- The tables that are tracked, each with its settings. Where the table has changed since, or its triggers have, `problem`
-- says how; to track it again puts it right.
create function attestlog.tracked()
returns table (tracked regclass, log text, ignore text[], omit text[], up_to_date boolean, problem text)
language sql stable security definer set search_path = attestlog, pg_temp
begin atomic
    with captured as materialized (
        select * from attestlog.capture_triggers()
    ),
    root as (
        select c.* from captured c
        where not exists (select from pg_partition_ancestors(c.relation) a
                          join captured p on p.relation = a.relid and p.relation <> c.relation)
    ),
    problem as (
        select r.relation, string_agg(concat(tree.relation, ' ', wrong.what), '; ' order by tree.relation::text) as found
        from root r
        cross join lateral attestlog.capture_tree(r.relation) tree (relation)
        left join captured c on c.relation = tree.relation
        left join pg_proc p on p.proname = (c.settings).function_name and p.pronamespace = 'attestlog'::regnamespace
        cross join lateral (select case
            when c.relation is null then 'is not tracked'
            when c.enabled < 4 then 'lacks a trigger, or has one that is disabled'
            when exists (select from pg_inherits i join pg_class k on k.oid = i.inhrelid
                         where i.inhparent = tree.relation and not k.relispartition) then 'has heirs'
            when p.prosrc is distinct from attestlog.capture_body(c.settings, tree.relation)
                then 'has other columns or another key than when it was tracked' end) wrong (what)
        where wrong.what is not null
        group by r.relation
    )
    select r.relation, l.name,
           array(select c.name from attestlog.capture_columns(r.settings, r.relation) c where c.treatment = 'ignore'),
           array(select c.name from attestlog.capture_columns(r.settings, r.relation) c where c.treatment = 'omit'),
           p.found is null, p.found
    from root r
    join attestlog.log l on l.log_id = (r.settings).log_id
    left join problem p on p.relation = r.relation
    order by r.relation::text;
end;

revoke execute on all functions in schema attestlog from public;
-- To track a table takes the right to append, and the table.
grant execute on function
    attestlog.track(regclass, text, text[], text[]), attestlog.untrack(regclass), attestlog.tracked(),
    attestlog.check_trackable(regclass, text[], text[]), attestlog.capture_tree(regclass),
    attestlog.make_capture(oid, text, text[], text[]), attestlog.drop_unused_captures()
    to attestlog_writer;
grant execute on function attestlog.tracked() to attestlog_processor, attestlog_reader;
