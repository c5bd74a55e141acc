-- Why: when vacuum finds the end of a table empty, it cuts it off under an ACCESS EXCLUSIVE lock, and appends wait for it.
-- append_only_log is empty most of the time and grows again at once. Now it keeps its size and uses the room again;
-- after a long outage, "vacuum (truncate) attestlog.append_only_log" gives it back.
-- Locks: append_only_log against vacuum, for a moment; appends go on.

alter table attestlog.append_only_log set (vacuum_truncate = false, toast.vacuum_truncate = false);
