-- Why: finding events by what they say. An inverted index: for each term (an actor, an action, a word …) the places of
-- the events that have it, in order, in blocks of about a hundred. It is derived: it may be dropped and made again, and
-- each hit is checked against its entry. The same as in PostgreSQL rather than FTS5, so that both stores find the same.
-- Locks: none; all of it is new.

-- Clustered by term and place: a page of hits is neighbouring pages of the file.
create table search_block (
    log_id integer not null,
    -- What kind of term it is in the first byte, then its text, cut; no bytes at all are the term that every event has.
    term blob not null,
    -- The first posting: microseconds since 1970, and the leaf index. The blocks of a term do not overlap.
    first_time integer not null,
    first_id integer not null,
    -- The postings after it, as the server packs them.
    postings blob not null,
    constraint search_block_pk primary key (log_id, term, first_time, first_id),
    constraint search_block_term_length check (length(term) <= 65)
) strict, without rowid;

create table search_mark (
    log_id integer not null,
    -- The entries below this index are in search_block.
    next integer not null,
    constraint search_mark_pk primary key (log_id),
    constraint search_mark_not_negative check (next >= 0)
) strict;
