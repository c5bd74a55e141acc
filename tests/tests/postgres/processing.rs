//! `process_next_batch`: what it moves, in what order, and what that costs.

use attestlog_core::{LeafIndex, TreeSize};
use attestlog_server::store::postgres::PostgresStore;
use attestlog_server::store::{LogId, ProcessedEntry, Store, StoreError, TreeChange};
use attestlog_tests::databases::{connection, execute, fresh_postgres};
use attestlog_tests::sequencing::{create_log, process, process_all};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

/// Inserts `rows` entries named `name 0`, `name 1`, … into log 1 and, when there are two logs, into log 2 in turn.
async fn insert(connection: &mut PgConnection, logs: u32, name: &str, rows: u32) {
    let sql = format!(
        "insert into attestlog.append_only_log (log_id, data)
         select 1 + n % {logs}, convert_to('{name} ' || n, 'UTF8') from generate_series(0, {rows} - 1) n"
    );
    connection.execute(AssertSqlSafe(sql)).await.unwrap();
}

fn texts(entries: &[ProcessedEntry]) -> Vec<String> {
    entries.iter().map(|entry| String::from_utf8(entry.data.to_vec()).unwrap()).collect()
}

/// The texts `name 0`, `name 1`, …
fn named(name: &str, rows: u32) -> Vec<String> {
    (0..rows).map(|n| format!("{name} {n}")).collect()
}

#[tokio::test]
async fn a_transaction_that_a_batch_cuts_is_finished_before_any_other() {
    let (store, url, _guard) = fresh_postgres().await;
    create_log(&store, "one").await;
    let (mut early, mut middle) = (connection(&url).await, connection(&url).await);
    let (mut late, mut last) = (connection(&url).await, connection(&url).await);
    let mut early = early.begin().await.unwrap();
    insert(&mut early, 1, "early", 2).await;
    insert(&mut middle, 1, "middle", 10).await;
    let mut late = late.begin().await.unwrap();
    insert(&mut late, 1, "late", 7).await;
    // The batch ends within `middle`. Then one with a lower transaction id commits, and one with a higher one.
    let mut order = texts(&process(&store, 4, false).await.unwrap().unwrap());
    early.commit().await.unwrap();
    insert(&mut last, 1, "last", 5).await;
    order.extend(texts(&process(&store, 3, false).await.unwrap().unwrap()));
    late.commit().await.unwrap();
    order.extend(texts(&process(&store, 2, true).await.unwrap().unwrap()));
    order.extend(texts(&process_all(&store, 2).await));
    let expected = [named("middle", 10), named("early", 2), named("late", 7), named("last", 5)].concat();
    assert_eq!(order, expected);
}

#[tokio::test]
async fn transactions_that_ended_late_are_each_finished_when_a_batch_cuts_them() {
    let (store, url, _guard) = fresh_postgres().await;
    create_log(&store, "one").await;
    let mut connections = Vec::new();
    for _ in 0..5 {
        connections.push(connection(&url).await);
    }
    let mut open = Vec::new();
    for (number, connection) in connections.iter_mut().enumerate() {
        let mut transaction = connection.begin().await.unwrap();
        insert(&mut transaction, 1, &format!("t{number}"), 5).await;
        open.push(transaction);
    }
    // The hint now lists all of them.
    let mut other = connection(&url).await;
    insert(&mut other, 1, "first", 1).await;
    let mut order = texts(&process(&store, 100, false).await.unwrap().unwrap());
    let mut open = open.into_iter();
    let mut commit_next = async || open.next().unwrap().commit().await.unwrap();
    commit_next().await;
    commit_next().await;
    commit_next().await;
    order.extend(texts(&process(&store, 7, false).await.unwrap().unwrap()));
    commit_next().await;
    order.extend(texts(&process(&store, 2, false).await.unwrap().unwrap()));
    commit_next().await;
    insert(&mut other, 1, "last", 1).await;
    order.extend(texts(&process_all(&store, 2).await));
    let late: Vec<String> = (0..5).flat_map(|number| named(&format!("t{number}"), 5)).collect();
    assert_eq!(order, [named("first", 1), late, named("last", 1)].concat());
}

#[tokio::test]
async fn a_transaction_s_entries_are_contiguous_in_each_of_its_logs() {
    let (store, url, _guard) = fresh_postgres().await;
    let (one, two) = (create_log(&store, "one").await, create_log(&store, "two").await);
    let mut app = connection(&url).await;
    for name in ["a", "b", "c"] {
        insert(&mut app, 2, name, 7).await;
    }
    let entries = process_all(&store, 4).await;
    for (log, parity) in [(one.id, 0), (two.id, 1)] {
        let mine: Vec<ProcessedEntry> = entries.iter().filter(|entry| entry.log == log).cloned().collect();
        let indexes: Vec<u64> = mine.iter().map(|entry| entry.index.0).collect();
        assert_eq!(indexes, (0..mine.len() as u64).collect::<Vec<_>>());
        let expected: Vec<String> = ["a", "b", "c"]
            .iter()
            .flat_map(|name| named(name, 7).into_iter().skip(parity).step_by(2))
            .collect();
        assert_eq!(texts(&mine), expected);
    }
}

#[tokio::test]
async fn a_batch_takes_no_more_than_16_megabytes_of_all_logs_together() {
    for logs in 1..=2 {
        let (store, url, _guard) = fresh_postgres().await;
        create_log(&store, "one").await;
        create_log(&store, "two").await;
        let large = format!(
            "insert into attestlog.append_only_log (log_id, data)
             select 1 + n % {logs}, convert_to(lpad(n::text, 65535, 'x'), 'UTF8') from generate_series(0, 599) n"
        );
        execute(&url, &large).await;
        let mut seen = 0..600_u32;
        for rows in [256, 256, 88, 0] {
            let mut entries = process(&store, 10_000, false).await.unwrap().unwrap();
            assert_eq!(entries.len(), rows);
            entries.sort_by_key(|entry| (entry.index, entry.log));
            for (entry, number) in entries.iter().zip(seen.by_ref()) {
                assert!(entry.data.ends_with(format!("x{number}").as_bytes()));
                assert_eq!(
                    (entry.log.0, entry.index.0),
                    (i64::from(1 + number % logs), u64::from(number / logs))
                );
            }
        }
    }
}

#[tokio::test]
async fn computes_the_leaf_hash_of_rfc_6962() {
    let (store, url, _guard) = fresh_postgres().await;
    create_log(&store, "one").await;
    insert(&mut connection(&url).await, 1, "entry", 3).await;
    for entry in process_all(&store, 10).await {
        assert_eq!(entry.leaf_hash, Some(attestlog_core::Hash::leaf(&entry.data)));
    }
}

#[tokio::test]
async fn a_second_processor_gets_nothing_while_the_first_is_at_work() {
    let (store, url, _guard) = fresh_postgres().await;
    create_log(&store, "one").await;
    insert(&mut connection(&url).await, 1, "entry", 3).await;
    let mut first = store.begin_batch().await.unwrap().unwrap();
    assert!(store.begin_batch().await.unwrap().is_none());
    assert_eq!(first.process_next_batch(10, false).await.unwrap().len(), 3);
    let by_hand: i64 = sqlx::query_scalar("select count(*) from attestlog.process_next_batch(10)")
        .fetch_one(&mut connection(&url).await)
        .await
        .unwrap();
    assert_eq!(by_hand, 0);
    // Dropped without a commit it changed nothing, and the lock is free as soon as the connection knows.
    drop(first);
    assert_eq!(process_all(&store, 10).await.len(), 3);
}

#[tokio::test]
async fn a_tree_that_has_moved_is_not_overwritten() {
    let (store, url, _guard) = fresh_postgres().await;
    let log = create_log(&store, "one").await;
    insert(&mut connection(&url).await, 1, "entry", 300).await;
    let mut batch = store.begin_batch().await.unwrap().unwrap();
    let stale = batch.trees(&[log.id]).await.unwrap();
    drop(batch);
    process_all(&store, 1000).await;
    let before = store.tree(log.id).await.unwrap();
    loop {
        let Some(mut batch) = store.begin_batch().await.unwrap() else { continue };
        let (mut edge, mut full_tiles) = (stale[0].edge.clone(), Vec::new());
        for _ in 0..300 {
            edge.append(attestlog_core::Hash::leaf(b"another history"), &mut full_tiles);
        }
        let change = TreeChange {
            log: log.id,
            old_size: TreeSize(0),
            edge,
            full_tiles,
            checkpoint: Some(b"another".to_vec()),
        };
        let error = batch.write(&[change]).await.unwrap_err();
        assert!(matches!(error, StoreError::TreeMoved(moved) if moved == log.id), "{error}");
        break;
    }
    assert_eq!(store.tree(log.id).await.unwrap(), before);
}

#[tokio::test]
async fn rows_that_were_moved_by_hand_are_found_beyond_the_trees() {
    let (store, url, _guard) = fresh_postgres().await;
    create_log(&store, "one").await;
    create_log(&store, "two").await;
    let mut app = connection(&url).await;
    insert(&mut app, 2, "moved", 700).await;
    app.execute("select count(*) from attestlog.process_next_batch(10000)").await.unwrap();
    let mut batch = store.begin_batch().await.unwrap().unwrap();
    let mut beyond = batch.entries_beyond_trees(1000).await.unwrap();
    assert_eq!(batch.entries_beyond_trees(256).await.unwrap(), beyond[..256]);
    assert_eq!(beyond.iter().map(|entry| (entry.log, entry.index.0)).collect::<Vec<_>>(), places(700));
    assert!(batch.process_next_batch(100, true).await.unwrap().is_empty());
    assert!(texts(&std::mem::take(&mut beyond)).iter().all(|text| text.starts_with("moved ")));
}

/// The first entries of two logs that share them evenly.
fn places(entries: u64) -> Vec<(LogId, u64)> {
    (1..=2).flat_map(|log| (0..entries / 2).map(move |index| (LogId(log), index))).collect()
}

#[tokio::test]
async fn refuses_an_isolation_level_that_cannot_see_what_was_committed_meanwhile() {
    let (_store, url, _guard) = fresh_postgres().await;
    let mut app = connection(&url).await;
    for level in ["repeatable read", "serializable"] {
        let mut transaction =
            app.begin_with(AssertSqlSafe(format!("begin isolation level {level}"))).await.unwrap();
        let error = transaction.execute("select * from attestlog.process_next_batch(1)").await.unwrap_err();
        assert!(error.to_string().contains("READ COMMITTED"), "{error}");
    }
}

#[tokio::test]
async fn processes_where_the_database_s_default_is_serializable() {
    let (store, url, _guard) = fresh_postgres().await;
    create_log(&store, "one").await;
    insert(&mut connection(&url).await, 1, "entry", 2).await;
    let sql = "do $$ begin execute format(
        'alter database %I set default_transaction_isolation = serializable', current_database()); end $$";
    execute(&url, sql).await;
    let store = PostgresStore::connect(&url, 2).unwrap();
    assert_eq!(process_all(&store, 1).await.len(), 2);
}

#[tokio::test]
async fn a_hint_that_is_wrong_in_any_way_loses_nothing() {
    let (store, url, _guard) = fresh_postgres().await;
    create_log(&store, "one").await;
    let mut app = connection(&url).await;
    let mut expected = Vec::new();
    for (number, damage) in [
        // As a dump brings it along into a cluster that counts transactions from lower, or from higher numbers.
        "low = '999999999', running = '{5,6}', cut_xid = '7', cut_id = 1, system_identifier = 1",
        "low = '3', running = '{}', cut_xid = '999999999', cut_id = 1, system_identifier = 1",
        // The same cluster, its transaction counter set back.
        "low = '999999999', running = '{999999998}', cut_xid = null, cut_id = null",
        "low = null, running = '{}', cut_xid = '3', cut_id = null",
    ]
    .iter()
    .enumerate()
    {
        insert(&mut app, 1, &format!("before {number}"), 10).await;
        expected.extend(named(&format!("before {number}"), 10));
        app.execute(AssertSqlSafe(format!("update attestlog.processing_mark set {damage}"))).await.unwrap();
        insert(&mut app, 1, &format!("after {number}"), 10).await;
        expected.extend(named(&format!("after {number}"), 10));
        process_all(&store, 3).await;
    }
    app.execute("delete from attestlog.processing_mark").await.unwrap();
    insert(&mut app, 1, "no mark", 10).await;
    expected.extend(named("no mark", 10));
    process_all(&store, 3).await;
    let stored: Vec<String> = store
        .entries(LogId(1), LeafIndex(0), 1000)
        .await
        .unwrap()
        .into_iter()
        .map(|data| String::from_utf8(data).unwrap())
        .collect();
    assert_eq!(stored, expected);
}

#[tokio::test]
async fn rows_that_the_hint_hides_are_found_when_it_looks_at_everything() {
    let (store, url, _guard) = fresh_postgres().await;
    create_log(&store, "one").await;
    insert(&mut connection(&url).await, 1, "entry", 10).await;
    process_all(&store, 100).await;
    // What no writer can do: a row under a transaction id that is long past.
    execute(&url, "insert into attestlog.append_only_log (log_id, xid, data) values (1, '4', 'hidden')")
        .await;
    assert_eq!(process(&store, 10, false).await.unwrap().unwrap().len(), 0);
    assert_eq!(process(&store, 10, true).await.unwrap().unwrap()[0].data, b"hidden".as_slice());
}

/// Calls the function in a transaction of its own; returns the rows moved, the index entries of append_only_log that
/// were read for it, and the passes over whole tables.
async fn cost_of_a_call(connection: &mut PgConnection, max_rows: u32) -> (i64, i64, i64) {
    // These counters go on from one transaction to the next, until the connection reports them.
    let counters = "select pg_stat_get_xact_tuples_returned('attestlog.append_only_log_order'::regclass),
                           pg_stat_get_xact_numscans('attestlog.append_only_log'::regclass)
                               + pg_stat_get_xact_numscans('attestlog.processed_log'::regclass)";
    let mut transaction = connection.begin().await.unwrap();
    let before: (i64, i64) = sqlx::query_as(counters).fetch_one(&mut *transaction).await.unwrap();
    let moved: i64 = sqlx::query_scalar("select count(*) from attestlog.process_next_batch($1)")
        .bind(i32::try_from(max_rows).unwrap())
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
    let after: (i64, i64) = sqlx::query_as(counters).fetch_one(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    (moved, after.0 - before.0, after.1 - before.1)
}

#[tokio::test]
async fn a_call_costs_the_same_however_long_another_transaction_is_open() {
    let (store, url, _guard) = fresh_postgres().await;
    create_log(&store, "one").await;
    let (mut app, mut processor) = (connection(&url).await, connection(&url).await);
    let mut open = connection(&url).await;
    let mut open = open.begin().await.unwrap();
    insert(&mut open, 1, "open", 1).await;
    for round in 0..30 {
        insert(&mut app, 1, "entry", 1000).await;
        let (moved, read, passes) = cost_of_a_call(&mut processor, 2000).await;
        assert_eq!((moved, passes), (1000, 0));
        assert!(read <= 1010, "{read} index entries in round {round}");
        let (moved, read, _) = cost_of_a_call(&mut processor, 2000).await;
        assert!(moved == 0 && read <= 10, "{read} index entries for nothing");
    }
    // A transaction of many batches, with its dead rows kept as well; then one that ended late.
    for late in [false, true] {
        let mut large = connection(&url).await;
        let mut large = large.begin().await.unwrap();
        insert(&mut large, 1, "large", 20_000).await;
        if late {
            insert(&mut app, 1, "entry", 1).await;
            cost_of_a_call(&mut processor, 2000).await;
        }
        large.commit().await.unwrap();
        insert(&mut app, 1, "behind it", 20_000).await;
        for batch in 0..40 {
            let (moved, read, passes) = cost_of_a_call(&mut processor, 1000).await;
            assert_eq!((moved, passes), (1000, 0));
            assert!(read <= 1010, "{read} index entries in batch {batch}, {late}");
        }
    }
    open.commit().await.unwrap();
    let (moved, read, _) = cost_of_a_call(&mut processor, 1000).await;
    assert!(moved == 1 && read <= 10, "{moved} rows, {read} index entries");
    assert_eq!(store.backlog(10).await.unwrap().rows, 0);
}

#[tokio::test]
async fn old_versions_that_a_long_transaction_keeps_are_not_passed_over() {
    let (store, url, _guard) = fresh_postgres().await;
    create_log(&store, "one").await;
    let (mut app, mut open) = (connection(&url).await, connection(&url).await);
    let mut open = open.begin().await.unwrap();
    insert(&mut open, 1, "open", 1).await;
    for _ in 0..300 {
        insert(&mut app, 1, "entry", 1).await;
        assert_eq!(process(&store, 10, false).await.unwrap().unwrap().len(), 1);
    }
    let counters = "select pg_stat_get_xact_tuples_returned('attestlog.processing_mark_pk'::regclass)
                         + pg_stat_get_xact_tuples_returned('attestlog.tree_pk'::regclass)";
    let mut transaction = app.begin().await.unwrap();
    transaction.execute("set local enable_seqscan = off").await.unwrap();
    let before: i64 = sqlx::query_scalar(counters).fetch_one(&mut *transaction).await.unwrap();
    insert(&mut transaction, 1, "entry", 1).await;
    transaction.execute("select count(*) from attestlog.process_next_batch(10)").await.unwrap();
    let newest = "select size from attestlog.tree where log_id = 1 order by size desc limit 1";
    let size: i64 = sqlx::query_scalar(newest).fetch_one(&mut *transaction).await.unwrap();
    let after: i64 = sqlx::query_scalar(counters).fetch_one(&mut *transaction).await.unwrap();
    assert_eq!(size, 300);
    assert!(after - before <= 10, "{} versions", after - before);
}

#[tokio::test]
async fn statistics_that_mislead_do_not_lead_to_passes_over_the_tables() {
    let (store, url, _guard) = fresh_postgres().await;
    for number in 0..50 {
        create_log(&store, &format!("log{number}")).await;
    }
    let mut app = connection(&url).await;
    // First as if the tables were always empty, with plans made for that, then as if they were large.
    app.execute("analyze attestlog.append_only_log; analyze attestlog.processed_log").await.unwrap();
    for round in 0..12 {
        insert(&mut app, 50, "entry", 3_000).await;
        if round == 8 {
            app.execute("analyze attestlog.append_only_log; analyze attestlog.processed_log").await.unwrap();
        }
        let (moved, read, passes) = cost_of_a_call(&mut app, 3_000).await;
        assert_eq!((moved, passes), (3_000, 0), "in round {round}");
        assert!(read <= 3_010, "{read} index entries in round {round}");
    }
}

#[tokio::test]
async fn counts_what_waits_wherever_it_is() {
    let (store, url, _guard) = fresh_postgres().await;
    create_log(&store, "one").await;
    assert_eq!(store.backlog(10).await.unwrap().rows, 0);
    let mut app = connection(&url).await;
    insert(&mut app, 1, "before the first batch", 5).await;
    let backlog = store.backlog(10).await.unwrap();
    assert_eq!(backlog.rows, 5);
    assert!(backlog.oldest_seconds > 0.0);
    assert_eq!(store.backlog(3).await.unwrap().rows, 3);
    let mut late = connection(&url).await;
    let mut late = late.begin().await.unwrap();
    insert(&mut late, 1, "late", 4).await;
    insert(&mut app, 1, "cut", 6).await;
    process(&store, 8, false).await.unwrap();
    assert_eq!(store.backlog(10).await.unwrap().rows, 3, "the rest of a transaction");
    late.commit().await.unwrap();
    insert(&mut app, 1, "new", 2).await;
    assert_eq!(store.backlog(10).await.unwrap().rows, 9);
    assert_eq!(store.backlog(4).await.unwrap().rows, 4);
    let mut rest = 9;
    while rest > 0 {
        let moved = process(&store, 2, false).await.unwrap().unwrap().len();
        rest -= u64::try_from(moved).unwrap();
        assert_eq!(store.backlog(10).await.unwrap().rows, rest);
    }
    assert!(store.backlog(10).await.unwrap().oldest_seconds == 0.0);
}
