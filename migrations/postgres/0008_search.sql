-- Why: finding events by what they say. An inverted index: for each term (an actor, an action, a word …) the places of
-- the events that have it, newest or oldest first, in blocks of about a hundred. It is derived: the server makes it from
-- processed_log, behind the tree, may drop it and make it again, and checks each hit against its entry.
-- Why not GIN: it gives the newest fifty of half a million hits only by reading and sorting them all. Here a page is as
-- many blocks as it takes, at any depth and for any term, and no extension is needed.
-- Locks: none; all of it is new.

create table attestlog.search_block (
    log_id bigint not null,
    -- What kind of term it is in the first byte, then its text, cut; no bytes at all are the term that every event has.
    term bytea not null,
    -- The first posting: microseconds since 1970, and the leaf index. The blocks of a term do not overlap.
    first_time bigint not null,
    first_id bigint not null,
    -- The postings after it, as the server packs them.
    postings bytea not null,
    constraint search_block_pk primary key (log_id, term, first_time, first_id),
    constraint search_block_term_length check (octet_length(term) <= 65)
) with (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.2);
alter table attestlog.search_block alter column postings set storage plain;

create table attestlog.search_mark (
    log_id bigint not null,
    -- The entries below this index are in search_block.
    next bigint not null,
    constraint search_mark_pk primary key (log_id),
    constraint search_mark_not_negative check (next >= 0)
) with (fillfactor = 50, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0.1);

-- Blocks of each sought term in which postings before its place can be, the newest first, `most` of each, none that ends
-- before the lower end. The settings: the primary key is always the way, whatever statistics say.
create function attestlog.search_before(
    log bigint, terms bytea[], times bigint[], ids bigint[], end_time bigint, end_id bigint, most integer
) returns table (n bigint, first_time bigint, first_id bigint, postings bytea)
language plpgsql stable
set search_path = attestlog, pg_temp set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
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

-- The same in the other direction: postings after each place, the oldest first, none that begins after the upper end.
create function attestlog.search_after(
    log bigint, terms bytea[], times bigint[], ids bigint[], end_time bigint, end_id bigint, most integer
) returns table (n bigint, first_time bigint, first_id bigint, postings bytea)
language plpgsql stable
set search_path = attestlog, pg_temp set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
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

-- The blocks that have, or would have, these postings, each block once: found by key, then read by place, since one
-- block may have many of them.
create function attestlog.search_at(log bigint, terms bytea[], times bigint[], ids bigint[])
returns table (term bytea, first_time bigint, first_id bigint, postings bytea)
language plpgsql stable
set search_path = attestlog, pg_temp set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
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

-- The terms from `low` on and below `high`, in their order, at most so many: one step into the primary key for each.
create function attestlog.search_terms(log bigint, low bytea, high bytea, most integer) returns setof bytea
language plpgsql stable
set search_path = attestlog, pg_temp set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
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

grant select on attestlog.search_block, attestlog.search_mark to attestlog_processor, attestlog_reader;
grant insert, update, delete on attestlog.search_block, attestlog.search_mark to attestlog_processor;
revoke execute on function
    attestlog.search_before(bigint, bytea[], bigint[], bigint[], bigint, bigint, integer),
    attestlog.search_after(bigint, bytea[], bigint[], bigint[], bigint, bigint, integer),
    attestlog.search_at(bigint, bytea[], bigint[], bigint[]),
    attestlog.search_terms(bigint, bytea, bytea, integer) from public;
grant execute on function
    attestlog.search_before(bigint, bytea[], bigint[], bigint[], bigint, bigint, integer),
    attestlog.search_after(bigint, bytea[], bigint[], bigint[], bigint, bigint, integer),
    attestlog.search_at(bigint, bytea[], bigint[], bigint[]),
    attestlog.search_terms(bigint, bytea, bytea, integer) to attestlog_processor, attestlog_reader;
