-- Why: a business change often has many events, and they should cost one call. attestlog.append_all is attestlog.append
-- for an array of entries: the same checks, the same answers, and all of them or none.
-- Locks: none on tables that exist; it makes a function.

-- Appends these entries in their order, in the caller's transaction. Returns their tickets, in the same order. Key N
-- belongs to entry N; null for an entry without one. Entries of one call with the same key are one entry.
--
-- A generic plan compares each of 10,000 keys with each of the others (0.5 s instead of 0.17 s): it does not know how
-- long the arrays are, nor hash them.
create function attestlog.append_all(log text, entries bytea[], idempotency_keys text[] default null) returns bigint[]
language plpgsql security definer
set search_path = attestlog, pg_temp set plan_cache_mode = force_custom_plan as $$
declare
    target attestlog.log;
    wrong record;
    reused bigint;
    tickets bigint[];
begin
    select * into target from attestlog.log l where l.name = append_all.log;
    if not found then
        raise exception 'log "%" does not exist', append_all.log
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
            raise exception 'log "%" takes audit events only', append_all.log
                using errcode = 'check_violation', detail = format('Entry %s of the call is none.', wrong.n),
                      hint = 'an event is JSON with action, occurred_at, actor.type and actor.id';
        end if;
    end if;
    if coalesce(cardinality(array_remove(idempotency_keys, null)), 0) = 0 then
        tickets := array(select nextval('append_only_log_id_seq') from generate_series(1, cardinality(entries)));
        insert into append_only_log (id, log_id, data) overriding system value
            select i, target.log_id, d from unnest(tickets, entries) as u (i, d);
        return tickets;
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
    return tickets;
end
$$;

revoke execute on function attestlog.append_all(text, bytea[], text[]) from public;
grant execute on function attestlog.append_all(text, bytea[], text[]) to attestlog_writer, attestlog_processor;
