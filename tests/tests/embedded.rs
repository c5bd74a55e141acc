//! What is particular to the embedded store: its file, its triggers, several processes on it, and being killed.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a store that fails where it must not fails the test"
)]

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use attestlog_core::{Hash, RightEdge};
use attestlog_server::store::sqlite::SqliteStore;
use attestlog_server::store::{Batch, Events, Log, NewEntry, NewLog, Store, StoreError, TreeChange};
use attestlog_tests::embedded::Embedded;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};

async fn create(store: &SqliteStore) -> Log {
    let new = NewLog {
        name: "default".to_owned(),
        origin: "example.com/default".to_owned(),
        vkey: "example.com/default+00000000+AQ==".to_owned(),
        events: Events::Any,
        checkpoint: b"0".to_vec(),
    };
    store.create_log(&new).await.unwrap()
}

fn entry(log: &Log, data: impl Into<Vec<u8>>) -> NewEntry {
    NewEntry { log: log.id, data: data.into(), idempotency_key: None }
}

/// One batch, with a note that nobody signed.
async fn process(store: &SqliteStore, log: &Log, max_rows: u32) -> usize {
    let batch = store.begin_batch().await.unwrap().expect("nobody else writes");
    process_in(batch, log, max_rows).await
}

async fn process_in(mut batch: Box<dyn Batch>, log: &Log, max_rows: u32) -> usize {
    let entries = batch.process_next_batch(max_rows, false).await.unwrap();
    for tree in batch.trees(&[log.id]).await.unwrap() {
        let (old_size, mut edge, mut full_tiles) = (tree.edge.size(), tree.edge, Vec::new());
        for entry in &entries {
            assert_eq!(entry.index.0, edge.size().0);
            edge.append(Hash::leaf(&entry.data), &mut full_tiles);
        }
        let checkpoint = (!entries.is_empty()).then(|| b"note".to_vec());
        batch.write(&[TreeChange { log: log.id, old_size, edge, full_tiles, checkpoint }]).await.unwrap();
    }
    batch.commit().await.unwrap();
    entries.len()
}

/// A connection of somebody with an SQLite shell.
async fn shell(path: &Path) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await.unwrap()
}

#[tokio::test]
async fn only_the_owner_can_read_the_file_and_its_folder() {
    let embedded = Embedded::new();
    let store = embedded.open().await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(embedded.path().parent().unwrap()), 0o700);
    assert_eq!(mode(&embedded.path()), 0o600);
    for beside in ["log.db-wal", "log.db-shm"] {
        assert_eq!(mode(&embedded.path().with_file_name(beside)), 0o600);
    }
    store.close().await;
}

#[tokio::test]
async fn a_clean_close_leaves_everything_in_the_one_file() {
    let embedded = Embedded::new();
    let store = embedded.open().await;
    let log = create(&store).await;
    store.append(&[entry(&log, "1")]).await.unwrap();
    store.close().await;
    let files: Vec<PathBuf> = std::fs::read_dir(embedded.path().parent().unwrap())
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    assert_eq!(files, [embedded.path()]);
}

#[tokio::test]
async fn a_file_that_must_exist_is_not_made() {
    let embedded = Embedded::new();
    let missing = SqliteStore::open_existing(&embedded.path()).await;
    assert!(matches!(missing, Err(StoreError::Unavailable(_))), "{missing:?}");
    assert!(!embedded.path().exists());
}

#[tokio::test]
async fn an_empty_file_is_not_migrated_and_another_kind_of_file_is_damaged() {
    let embedded = Embedded::new();
    let store = SqliteStore::open(&embedded.path()).await.unwrap();
    assert!(!store.is_migrated().await.unwrap());
    store.close().await;
    std::fs::write(embedded.path(), "this is a text file and no database. ".repeat(100)).unwrap();
    let opened = SqliteStore::open(&embedded.path()).await;
    assert!(matches!(opened, Err(StoreError::Damaged(_))), "{opened:?}");
}

#[tokio::test]
async fn a_schema_of_a_newer_program_is_refused() {
    let embedded = Embedded::new();
    let store = embedded.open().await;
    let newer = "insert into attestlog_migration (version, description, success, checksum, execution_time)
                 values (9999, 'newer', true, x'00', 0)";
    sqlx::query(newer).execute(&mut shell(&embedded.path()).await).await.unwrap();
    assert!(!store.is_migrated().await.unwrap());
    assert!(matches!(store.migrate().await, Err(StoreError::Migration(_))));
}

#[tokio::test]
async fn history_cannot_be_updated_deleted_or_replaced() {
    let embedded = Embedded::new();
    let store = embedded.open().await;
    let log = create(&store).await;
    let keyed = NewEntry { idempotency_key: Some("key".to_owned()), ..entry(&log, "0") };
    store.append(&[keyed]).await.unwrap();
    store.append(&vec![entry(&log, "1"); 300]).await.unwrap();
    process(&store, &log, 256).await;
    let mut shell = shell(&embedded.path()).await;
    for (table, column) in [
        ("log", "vkey"),
        ("processed_log", "data"),
        ("idempotency_key", "ticket"),
        ("tile", "hashes"),
        ("checkpoint", "note"),
        ("append_only_log", "data"),
        ("tree", "edge"),
    ] {
        let mut attempts = Vec::new();
        if table != "tree" {
            attempts.push(("UPDATE", format!("update {table} set {column} = {column}")));
        }
        if table != "append_only_log" {
            attempts.push(("DELETE", format!("delete from {table}")));
        }
        if !["tree", "append_only_log"].contains(&table) {
            attempts.push(("REPLACE", format!("insert or replace into {table} select * from {table}")));
        }
        for (what, sql) in attempts {
            let refused = sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut shell).await.unwrap_err();
            let expected =
                format!("{what} on attestlog.{table} is refused: an audit log is only appended to");
            assert!(refused.to_string().contains(&expected), "{expected}: {refused}");
        }
    }
}

#[tokio::test]
async fn an_append_to_an_unknown_log_is_refused() {
    let embedded = Embedded::new();
    let store = embedded.open().await;
    let mut log = create(&store).await;
    log.id.0 += 1;
    assert!(matches!(store.append(&[entry(&log, "1")]).await, Err(StoreError::Refused(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_goes_away_leaves_no_transaction_behind() {
    let embedded = Embedded::new();
    let store = embedded.open().await;
    let log = create(&store).await;
    for polls in 0..60 {
        let entries = [entry(&log, "1"), entry(&log, "2")];
        let mut append = store.append(&entries);
        let mut left = polls;
        // Polled so many times, then dropped in whatever state it is.
        std::future::poll_fn(|context| {
            left -= 1;
            let done = left < 0 || append.as_mut().poll(context).is_ready();
            if done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        drop(append);
        store.append(&[entry(&log, "after")]).await.unwrap();
    }
    while process(&store, &log, 1000).await > 0 {}
    let mut entries = store.entries(log.id, attestlog_core::LeafIndex(0), 1000).await.unwrap();
    entries.retain(|entry| entry != b"after");
    assert!(entries.chunks(2).all(|pair| pair == [b"1", b"2"]), "half a call was stored");
}

#[tokio::test]
async fn a_damaged_row_is_shown_as_it_is() {
    let embedded = Embedded::new();
    let store = embedded.open().await;
    let log = create(&store).await;
    store.append(&[entry(&log, "0"), entry(&log, "1"), entry(&log, "2")]).await.unwrap();
    process(&store, &log, 10).await;
    let mut shell = shell(&embedded.path()).await;
    for sql in [
        "drop trigger processed_log_is_append_only_update",
        "pragma ignore_check_constraints = on",
        "update processed_log set leaf_hash = x'0102', data = x'' where id = 1",
    ] {
        sqlx::query(sql).execute(&mut shell).await.unwrap();
    }
    let mut seen = Vec::new();
    let sink = &mut |index: attestlog_core::LeafIndex, data: &[u8], leaf_hash: &[u8]| {
        seen.push((index.0, data.to_vec(), leaf_hash.to_vec()));
    };
    store.scan(log.id, 0..3, sink).await.unwrap();
    let good = |index: u64, data: &[u8]| (index, data.to_vec(), Hash::leaf(data).0.to_vec());
    assert_eq!(seen, [good(0, b"0"), (1, Vec::new(), vec![1, 2]), good(2, b"2")]);
}

const CRASH_FILE: &str = "ATTESTLOG_TEST_CRASH_FILE";

/// The child of the test below: appends and processes for as long as it lives, and says what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a part of an_acknowledged_entry_survives_being_killed"]
async fn appends_until_it_is_killed() {
    // Without it, somebody runs all tests that are ignored.
    let Some(path) = std::env::var_os(CRASH_FILE).map(PathBuf::from) else { return };
    let store = SqliteStore::open(&path).await.unwrap();
    let log = store.log("default").await.unwrap().unwrap();
    let writers = (0..3_u32).map(async |writer| {
        for call in 0_u32.. {
            let texts: Vec<String> = (0..=call % 7)
                .map(|entry| format!("{}-{writer}-{call}-{entry}", std::process::id()))
                .collect();
            let keyed =
                |text: &String| NewEntry { idempotency_key: Some(text.clone()), ..entry(&log, &**text) };
            store.append(&texts.iter().map(keyed).collect::<Vec<_>>()).await.unwrap();
            // One write, so that a line is there or not.
            std::io::stdout().write_all(format!("\nacknowledged {}\n", texts.join(" ")).as_bytes()).unwrap();
        }
    });
    let processor = async {
        loop {
            // None where the writers held the file for longer than a batch waits: a slow disk does that.
            if let Some(batch) = store.begin_batch().await.unwrap() {
                process_in(batch, &log, 20).await;
            }
        }
    };
    tokio::join!(futures_util::future::join_all(writers), processor);
}

#[tokio::test]
async fn an_acknowledged_entry_survives_being_killed() {
    let embedded = Embedded::new();
    let store = embedded.open().await;
    let log = create(&store).await;
    store.close().await;
    let mut acknowledged = HashSet::new();
    for round in 0..8_usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "appends_until_it_is_killed", "--ignored", "--nocapture"])
            .env(CRASH_FILE, embedded.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut calls = 0;
        // It writes on while this reads: whatever it does at the moment of the signal is cut.
        let kill_after = 5 + round * 37 % 113;
        for line in lines {
            if let Some(texts) = line.unwrap().strip_prefix("acknowledged ") {
                acknowledged.extend(texts.split(' ').map(str::to_owned));
                calls += 1;
            }
            if calls == kill_after {
                child.kill().unwrap();
            }
        }
        assert!(calls >= kill_after, "the child ended by itself");
        child.wait().unwrap();

        let store = SqliteStore::open(&embedded.path()).await.unwrap();
        while process(&store, &log, 1000).await > 0 {}
        let (mut seen, mut edge) = (HashSet::new(), RightEdge::EMPTY);
        store
            .scan(log.id, 0..u64::MAX, &mut |index, data, leaf_hash| {
                let text = std::str::from_utf8(data).unwrap().to_owned();
                assert_eq!(index.0, edge.size().0, "gapless");
                assert_eq!(leaf_hash, Hash::leaf(data).0);
                edge.append(Hash::leaf(data), &mut Vec::new());
                assert!(seen.insert(text), "an entry is there twice");
            })
            .await
            .unwrap();
        let lost: Vec<_> = acknowledged.difference(&seen).collect();
        assert!(lost.is_empty(), "round {round}: {lost:?} of {} are lost", acknowledged.len());
        assert_eq!(store.tree(log.id).await.unwrap().unwrap().edge, edge);
        store.close().await;
    }
}
