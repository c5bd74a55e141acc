-- Why: ANALYZE took a sample of 30,000 entries and sorted them, each time that a log had grown by a tenth, and kept some in
-- pg_statistic, where those of before stay. No query chooses among entries or hashes by their value. append_only_log is never what it was when it was
-- analyzed, so its queries do not ask for statistics at all.
-- Locks: each table against vacuum and analyze, for a moment; appends and reads go on.

alter table attestlog.processed_log
    alter column data set statistics 0,
    alter column leaf_hash set statistics 0,
    alter column log_id set statistics 10,
    alter column id set statistics 10,
    alter column source_id set statistics 10,
    alter column appended_at set statistics 10;
alter table attestlog.append_only_log
    alter column data set statistics 0,
    set (autovacuum_analyze_threshold = 2000000000, autovacuum_analyze_scale_factor = 0);
alter table attestlog.tile alter column hashes set statistics 0;
alter table attestlog.checkpoint alter column note set statistics 0;
