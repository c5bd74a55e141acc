-- Why: the Merkle tree over each log, and the heads that were signed over it. Full tiles and checkpoints never change;
-- what does change is one row a log in `tree`, and it changes only where its size is still the one that was read.
-- Locks: none; all of it is new.

create table tree (
    log_id integer not null,
    size integer not null default 0,
    -- The size of the newest checkpoint.
    signed_size integer not null default 0,
    -- The partial tiles of all levels, the lowest first; their widths follow from the size.
    edge blob not null default x'',
    constraint tree_pk primary key (log_id),
    constraint tree_log_exists foreign key (log_id) references log (log_id),
    constraint tree_signed_not_beyond_size check (signed_size between 0 and size),
    constraint tree_edge_is_hashes check (length(edge) % 32 = 0)
) strict;

-- Finds the trees that have grown past their newest checkpoint.
create index tree_unsigned on tree (log_id) where signed_size < size;

create table tile (
    log_id integer not null,
    level integer not null,
    "index" integer not null,
    hashes blob not null,
    constraint tile_pk primary key (log_id, level, "index"),
    constraint tile_is_full check (length(hashes) = 8192)
) strict;

create table checkpoint (
    log_id integer not null,
    size integer not null,
    -- The signed note, byte for byte as it is served.
    note blob not null,
    created_at integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
    constraint checkpoint_pk primary key (log_id, size),
    constraint checkpoint_size_not_negative check (size >= 0)
) strict, without rowid;

create trigger tree_is_not_deleted before delete on tree begin
    select raise(abort, 'DELETE on attestlog.tree is refused: an audit log is only appended to');
end;

create trigger tile_is_append_only_update before update on tile begin
    select raise(abort, 'UPDATE on attestlog.tile is refused: an audit log is only appended to');
end;
create trigger tile_is_append_only_delete before delete on tile begin
    select raise(abort, 'DELETE on attestlog.tile is refused: an audit log is only appended to');
end;
create trigger tile_is_append_only_replace before insert on tile
    when exists (select 1 from tile where log_id = new.log_id and level = new.level and "index" = new."index") begin
    select raise(abort, 'REPLACE on attestlog.tile is refused: an audit log is only appended to');
end;

create trigger checkpoint_is_append_only_update before update on checkpoint begin
    select raise(abort, 'UPDATE on attestlog.checkpoint is refused: an audit log is only appended to');
end;
create trigger checkpoint_is_append_only_delete before delete on checkpoint begin
    select raise(abort, 'DELETE on attestlog.checkpoint is refused: an audit log is only appended to');
end;
create trigger checkpoint_is_append_only_replace before insert on checkpoint
    when exists (select 1 from checkpoint where log_id = new.log_id and size = new.size) begin
    select raise(abort, 'REPLACE on attestlog.checkpoint is refused: an audit log is only appended to');
end;
