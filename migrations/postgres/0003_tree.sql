-- Why: the Merkle tree over each log, and the heads that were signed over it. Full tiles and checkpoints never change;
-- what does change is one row a log in `tree`, and it changes only where its size is still the one that was read.
-- Locks: none; all of it is new.

create table attestlog.tree (
    log_id bigint not null,
    size bigint not null default 0,
    -- The partial tiles of all levels, the lowest first; their widths follow from the size.
    edge bytea not null default '\x',
    -- The size of the newest checkpoint.
    signed_size bigint not null default 0,
    -- A row a log. The size is in the key so that the newest version of the row is found first, and not behind all the
    -- old ones that a long transaction keeps.
    constraint tree_pk primary key (log_id, size),
    constraint tree_log_exists foreign key (log_id) references attestlog.log (log_id),
    constraint tree_signed_not_beyond_size check (signed_size between 0 and size),
    constraint tree_edge_is_hashes check (octet_length(edge) % 32 = 0)
) with (fillfactor = 50, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0.1);

-- Hashes do not compress.
alter table attestlog.tree alter column edge set storage external;

-- Finds the trees that have grown past their newest checkpoint.
create index tree_unsigned on attestlog.tree (log_id) where signed_size < size;

create table attestlog.tile (
    log_id bigint not null,
    level smallint not null,
    index bigint not null,
    hashes bytea not null,
    constraint tile_pk primary key (log_id, level, index),
    constraint tile_is_full check (octet_length(hashes) = 8192)
);
alter table attestlog.tile alter column hashes set storage external;

create table attestlog.checkpoint (
    log_id bigint not null,
    size bigint not null,
    -- The signed note, byte for byte as it is served.
    note bytea not null,
    created_at timestamptz not null default now(),
    constraint checkpoint_pk primary key (log_id, size),
    constraint checkpoint_size_not_negative check (size >= 0)
);

create trigger tile_is_append_only before update or delete or truncate on attestlog.tile
    for each statement execute function attestlog.refuse_change();
create trigger checkpoint_is_append_only before update or delete or truncate on attestlog.checkpoint
    for each statement execute function attestlog.refuse_change();
create trigger tree_is_not_deleted before delete or truncate on attestlog.tree
    for each statement execute function attestlog.refuse_change();
alter table attestlog.tile enable always trigger tile_is_append_only;
alter table attestlog.checkpoint enable always trigger checkpoint_is_append_only;
alter table attestlog.tree enable always trigger tree_is_not_deleted;

grant select on attestlog.tree, attestlog.tile, attestlog.checkpoint to attestlog_processor, attestlog_reader;
grant insert on attestlog.tree, attestlog.tile, attestlog.checkpoint to attestlog_processor;
grant update (size, edge, signed_size) on attestlog.tree to attestlog_processor;
