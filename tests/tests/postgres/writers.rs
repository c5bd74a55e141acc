//! Many writers, some of which take their time or change their minds, and two processors that race.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use attestlog_server::store::{LogId, ProcessedEntry, Store, StoreError};
use attestlog_tests::databases::{connection, fresh_postgres};
use attestlog_tests::sequencing::{create_log, process, process_all};
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use sqlx::{Connection, Executor, PgConnection};

const WRITERS: u8 = 8;
const TRANSACTIONS: u32 = 150;
const LOGS: u32 = 3;

/// What a writer knows to be committed: the entries of each transaction, by log, in its order.
type Committed = Vec<HashMap<LogId, Vec<String>>>;

fn random(seed: u8) -> impl FnMut(u32) -> u32 {
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    move |below| rng.next_u32() % below
}

async fn append(connection: &mut PgConnection, log: u32, text: &str) {
    sqlx::query("select attestlog.append('log' || $1, convert_to($2, 'UTF8'))")
        .bind(i64::from(log))
        .bind(text)
        .execute(connection)
        .await
        .unwrap();
}

/// Transactions of random length, a fifth of which roll back, with savepoints that roll back half of the time, and
/// every tenth prepared, to be committed from elsewhere.
async fn write(url: String, writer: u8) -> Committed {
    let mut random = random(writer);
    let (mut app, mut other, mut committed) =
        (connection(&url).await, connection(&url).await, Committed::new());
    for number in 0..TRANSACTIONS {
        let mut entries: HashMap<LogId, Vec<String>> = HashMap::new();
        app.execute("begin").await.unwrap();
        let length = if random(10) == 0 { 100 } else { random(8) };
        for step in 0..length {
            let (log, text) = (random(LOGS), format!("{writer} {number} {step}"));
            let kept = match random(4) {
                0 => {
                    let kept = random(2) == 0;
                    app.execute("savepoint s").await.unwrap();
                    append(&mut app, log, &text).await;
                    app.execute(if kept { "release s" } else { "rollback to s" }).await.unwrap();
                    kept
                }
                _ => {
                    append(&mut app, log, &text).await;
                    true
                }
            };
            if kept {
                entries.entry(LogId(i64::from(log) + 1)).or_default().push(text);
            }
        }
        match random(10) {
            0 | 1 => {
                app.execute("rollback").await.unwrap();
                continue;
            }
            2 => {
                let name = format!("{writer}_{number}_{}", std::process::id());
                let prepare = format!("prepare transaction '{name}'");
                app.execute(sqlx::AssertSqlSafe(prepare)).await.unwrap();
                let commit = format!("commit prepared '{name}'");
                other.execute(sqlx::AssertSqlSafe(commit)).await.unwrap();
            }
            _ => {
                app.execute("commit").await.unwrap();
            }
        }
        committed.push(entries);
    }
    committed
}

/// Processes as a server does, batches of random size, until it is told to stop.
async fn serve(store: Arc<dyn Store>, seed: u8, stop: Arc<AtomicBool>) -> u64 {
    let (mut random, mut moved) = (random(seed), 0);
    while !stop.load(Ordering::Relaxed) {
        match process(&*store, 1 + random(40), random(20) == 0).await {
            Ok(Some(entries)) => moved += u64::try_from(entries.len()).unwrap(),
            Ok(None) => tokio::task::yield_now().await,
            Err(StoreError::TreeMoved(log)) => panic!("the tree of {log:?} moved under the lock"),
            Err(error) => panic!("{error}"),
        }
    }
    moved
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_committed_entry_is_there_once_and_in_its_transaction_s_order() {
    let (store, url, _guard) = fresh_postgres().await;
    for number in 0..LOGS {
        create_log(&store, &format!("log{number}")).await;
    }
    let mut open = connection(&url).await;
    let mut open = open.begin().await.unwrap();
    append(&mut open, 0, "open all along").await;

    let store: Arc<dyn Store> = Arc::new(store);
    let stop = Arc::new(AtomicBool::new(false));
    let servers: Vec<_> =
        (100..102).map(|seed| tokio::spawn(serve(Arc::clone(&store), seed, Arc::clone(&stop)))).collect();
    let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(write(url.clone(), writer))).collect();
    let mut committed = Committed::new();
    for writer in writers {
        committed.extend(writer.await.unwrap());
    }
    stop.store(true, Ordering::Relaxed);
    let mut moved = 0;
    for server in servers {
        moved += server.await.unwrap();
    }
    assert!(moved > 0, "the servers were at work meanwhile");
    process_all(&*store, 1000).await;
    open.commit().await.unwrap();
    let last: Vec<ProcessedEntry> = process_all(&*store, 1000).await;
    assert_eq!(last.len(), 1);
    committed.push(HashMap::from([(LogId(1), vec!["open all along".to_owned()])]));

    for log in (1..=i64::from(LOGS)).map(LogId) {
        let mut stored = Vec::new();
        store
            .scan(log, 0..u64::MAX, &mut |index, data, hash| {
                assert_eq!(index.0, stored.len() as u64, "gapless");
                assert_eq!(hash, attestlog_core::Hash::leaf(data).0);
                stored.push(String::from_utf8(data.to_vec()).unwrap());
            })
            .await
            .unwrap();
        let positions: HashMap<&str, usize> =
            stored.iter().enumerate().map(|(position, text)| (text.as_str(), position)).collect();
        assert_eq!(positions.len(), stored.len(), "nothing twice");
        let mut expected = 0;
        for entries in committed.iter().filter_map(|transaction| transaction.get(&log)) {
            expected += entries.len();
            let first = *positions.get(entries[0].as_str()).expect("nothing lost");
            assert_eq!(&stored[first..first + entries.len()], entries, "together and in order");
        }
        assert_eq!(stored.len(), expected, "nothing that was rolled back");
        let tree = store.tree(log).await.unwrap().unwrap();
        assert_eq!(tree.edge.size().0, stored.len() as u64);
    }
}

/// Vacuum would cut the end of an empty table off under a lock that appends wait for.
#[tokio::test]
async fn vacuum_leaves_the_room_of_what_was_processed_to_the_next_appends() {
    let (store, url, _guard) = fresh_postgres().await;
    create_log(&store, "log0").await;
    let mut app = connection(&url).await;
    let mut appended_and_processed = async || {
        app.execute("select attestlog.append('log0', convert_to('entry ' || n, 'UTF8')) from generate_series(1, 5000) n")
            .await
            .unwrap();
        assert_eq!(process_all(&store, 10_000).await.len(), 5000);
        app.execute("vacuum attestlog.append_only_log").await.unwrap();
        let size = "select pg_relation_size('attestlog.append_only_log')";
        sqlx::query_scalar::<_, i64>(size).fetch_one(&mut app).await.unwrap()
    };
    let size = appended_and_processed().await;
    assert!(size > 0);
    assert_eq!(appended_and_processed().await, size);
}
