//! The newest head is shown again for a short time without asking the database, and no longer than that.

#![expect(clippy::unwrap_used, reason = "a publisher that fails where it must not fails the test")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use attestlog_server::published::PublishedHeads;
use attestlog_server::publisher::{PublishError, Publisher, RECENT};
use attestlog_tests::deadline::until;
use attestlog_tests::faulty::{Call, Failure, FaultyStore};
use attestlog_tests::log::TestLog;
use futures_util::future::join_all;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tempfile::TempDir;

/// A server beside the one that processes. Its next question for a checkpoint fails.
struct Reader {
    store: Arc<FaultyStore>,
    publisher: Publisher,
    _record: TempDir,
}

impl Reader {
    fn beside(log: &TestLog) -> Self {
        let record = tempfile::tempdir().unwrap();
        let heads = PublishedHeads::open(&record.path().join("published-heads")).unwrap();
        let store = Arc::new(FaultyStore::new(Arc::clone(&log.store), Call::Checkpoint, Failure::Before));
        Self { publisher: Publisher::new(store.clone(), heads), store, _record: record }
    }

    /// One that has asked, in vain and then with success, between the two instants.
    async fn that_has_asked(log: &TestLog) -> (Self, Instant, Instant) {
        let reader = Self::beside(log);
        assert!(reader.shown(log, Instant::now()).await.is_err());
        let before = Instant::now();
        reader.shown(log, before).await.unwrap();
        assert_eq!(reader.store.calls(), 2);
        (reader, before, Instant::now())
    }

    /// The size of the head that is shown at an instant.
    async fn shown(&self, log: &TestLog, now: Instant) -> Result<u64, PublishError> {
        self.publisher.recent_checkpoint(&log.log, now).await.map(|shown| shown.checkpoint.size().0)
    }
}

const AN_INSTANT: Duration = Duration::from_nanos(1);

async fn of_three_entries() -> TestLog {
    let log = TestLog::embedded().await;
    log.append_range(0..3).await;
    log.sequence().await;
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_asked_again_when_the_answer_is_no_longer_recent_and_not_before() {
    let log = of_three_entries().await;
    let (reader, before, after) = Reader::that_has_asked(&log).await;
    log.append_range(3..5).await;
    log.sequence().await;
    for now in [before, before + RECENT / 2, before + RECENT] {
        assert_eq!(reader.shown(&log, now).await.unwrap(), 3);
    }
    assert_eq!(reader.store.calls(), 2);
    assert_eq!(reader.shown(&log, after + RECENT + AN_INSTANT).await.unwrap(), 5);
    assert_eq!(reader.store.calls(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_needs_a_larger_tree_asks_at_once() {
    let log = of_three_entries().await;
    let (reader, before, _) = Reader::that_has_asked(&log).await;
    log.append_range(3..5).await;
    log.sequence().await;
    let found = reader.publisher.checkpoint_where(&log.log, |size| size.0 >= 4).await.unwrap();
    assert_eq!(found.checkpoint.size().0, 5);
    // And the others have it from then on.
    assert_eq!(reader.shown(&log, before).await.unwrap(), 5);
    assert_eq!(reader.store.calls(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_process_publishes_is_shown_at_once_and_without_asking() {
    let log = of_three_entries().await;
    for size in 4..9 {
        log.append_range(size - 1..size).await;
        let before = Instant::now();
        log.sequence().await;
        let shown = log.publisher.recent_at_hand(log.log.id, before + RECENT).unwrap();
        assert_eq!(shown.checkpoint.size().0, size);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_come_at_the_same_time_ask_once() {
    let log = of_three_entries().await;
    let (reader, ..) = Reader::that_has_asked(&log).await;
    for round in 1..=3 {
        let is_old = async || {
            let now = Instant::now();
            reader.publisher.recent_at_hand(log.log.id, now).is_none().then_some(now)
        };
        let now = until("the last answer is no longer recent", is_old).await;
        let all = join_all((0..50).map(|_| reader.shown(&log, now))).await;
        assert!(all.into_iter().all(|size| size.unwrap() == 3));
        assert_eq!(reader.store.calls(), 2 + round);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_that_of_one_and_nothing_older_is_shown_in_its_place() {
    let log = of_three_entries().await;
    let (reader, ..) = Reader::that_has_asked(&log).await;
    log.store.close().await;
    let later = Instant::now() + RECENT + AN_INSTANT;
    let all = join_all((0..10).map(|_| reader.shown(&log, later))).await;
    assert!(all.iter().all(Result::is_err), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_is_refused_as_soon_as_the_last_good_head_is_no_longer_recent() {
    let log = of_three_entries().await;
    log.append_range(3..5).await;
    log.sequence().await;
    let (reader, before, after) = Reader::that_has_asked(&log).await;
    // What a backup does not have of the checkpoints.
    let mut database = SqliteConnectOptions::new().filename(log.database_path()).connect().await.unwrap();
    let triggers: Vec<String> =
        sqlx::query_scalar("select 'drop trigger ' || name from sqlite_schema where tbl_name = 'checkpoint' and type = 'trigger'")
            .fetch_all(&mut database)
            .await
            .unwrap();
    for statement in triggers.into_iter().chain(["delete from checkpoint where size = 5".to_owned()]) {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut database).await.unwrap();
    }
    database.close().await.unwrap();
    assert_eq!(reader.shown(&log, before + RECENT).await.unwrap(), 5);
    for _ in 0..2 {
        let refused = reader.shown(&log, after + RECENT + AN_INSTANT).await.unwrap_err();
        assert!(refused.is_conflict(), "{refused}");
    }
}
