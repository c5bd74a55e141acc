//! Fails the sequencer at every call it makes, before and after the call has done its work, and checks that the log is
//! whole after each step, with the next step of the same sequencer and with a new one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use attestlog_server::deployment::{Deployment, Signing};
use attestlog_server::published::PublishedHeads;
use attestlog_server::publisher::Publisher;
use attestlog_server::sequencer::{Pace, Step};
use attestlog_server::store::{Appended, Log, LogId, NewEntry, Store};
use attestlog_tests::faulty::{Call, Failure, FaultyStore};
use attestlog_tests::log::{TestLog, append, entry};

/// What a fault leaves behind at once; after the next step everything is there in every row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// The entries are still waiting.
    None,
    /// The tree has them, though the step was reported as failed.
    Committed,
}

use Failure::{After, Before};
use Progress::{Committed, None as Nothing};

/// Where it fails; whether the call had done its work; what is left behind.
const FAULTS: &[(Call, Failure, Progress)] = &[
    (Call::BeginBatch, Before, Nothing),
    (Call::BeginBatch, After, Nothing),
    (Call::EntriesBeyondTrees, Before, Nothing),
    (Call::EntriesBeyondTrees, After, Nothing),
    (Call::ProcessNextBatch, Before, Nothing),
    (Call::ProcessNextBatch, After, Nothing),
    (Call::Trees, Before, Nothing),
    (Call::Trees, After, Nothing),
    (Call::UnsignedTrees, Before, Nothing),
    (Call::UnsignedTrees, After, Nothing),
    (Call::Write, Before, Nothing),
    (Call::Write, After, Nothing),
    (Call::Commit, Before, Nothing),
    // Commit succeeded but was reported as failed.
    (Call::Commit, After, Committed),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_at_any_call_loses_and_doubles_nothing() {
    for &(call, failure, progress) in FAULTS {
        // Around a tile's boundary, where most is written.
        for before in [0, 1, 255, 256] {
            let log = TestLog::embedded().await;
            log.append_range(0..before).await;
            log.sequence().await;
            log.verify(before).await;

            log.append_range(before..before + 3).await;
            let faulty = Arc::new(FaultyStore::new(Arc::clone(&log.store), call, failure));
            let mut sequencer = log.sequencer_on(Arc::clone(&faulty) as Arc<dyn Store>);
            let now = Instant::now();
            let failed = sequencer.step(now).await;
            assert!(failed.is_err() && !faulty.is_armed(), "{call:?} {failure:?}: {failed:?}");
            let size = if progress == Committed { before + 3 } else { before };
            log.verify(size).await;

            // The same sequencer goes on, with more entries; then a new one.
            log.append_range(before + 3..before + 5).await;
            sequencer.step(now).await.unwrap();
            log.verify(before + 5).await;
            log.append_range(before + 5..before + 6).await;
            log.sequence().await;
            log.verify(before + 6).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_whose_record_fails_is_not_shown_and_is_recorded_by_the_next_reader() {
    let log = TestLog::embedded().await;
    log.append_range(0..2).await;
    log.sequence().await;
    let shown = log.publisher.checkpoint(&log.log).await.unwrap();
    // The record's file turns into a directory: it can be neither locked nor written.
    let (record, aside) = (log.heads_path(), log.heads_path().with_extension("aside"));
    std::fs::rename(&record, &aside).unwrap();
    std::fs::create_dir(&record).unwrap();
    log.append_range(2..4).await;
    let failed = log.sequencer_on(Arc::clone(&log.store)).step(Instant::now()).await;
    assert!(failed.is_err(), "{failed:?}");
    assert!(log.publisher.checkpoint(&log.log).await.is_err());
    assert_eq!(shown.checkpoint.size().0, 2);
    std::fs::remove_dir(&record).unwrap();
    std::fs::rename(&aside, &record).unwrap();
    assert_eq!(log.publisher.checkpoint(&log.log).await.unwrap().checkpoint.size().0, 4);
    log.verify(4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sequencers_take_turns_and_only_one_is_in_a_batch() {
    let log = TestLog::embedded().await;
    let (mut one, mut other) = (log.sequencer(), log.sequencer());
    for turn in 0..40_u64 {
        log.append_range(turn..turn + 1).await;
        let now = Instant::now();
        let (a, b) = tokio::join!(one.step(now), other.step(now));
        let batches =
            [a.unwrap(), b.unwrap()].into_iter().filter(|step| matches!(step, Step::Batch { .. })).count();
        assert_eq!(batches, 1, "turn {turn}");
        log.verify(turn + 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_is_not_signed_on() {
    let log = TestLog::embedded().await;
    log.append_range(0..5).await;
    log.sequence().await;
    log.store.close().await;
    let backup = std::fs::read(log.database_path()).unwrap();
    let log = log.reopen().await;
    log.append_range(5..9).await;
    log.sequence().await;
    log.store.close().await;

    std::fs::write(log.database_path(), backup).unwrap();
    let log = log.reopen().await;
    assert!(
        log.publisher.checkpoint(&log.log).await.unwrap_err().is_conflict(),
        "the older head is not shown"
    );
    // Other entries take the place of those that the backup lacks: a second history.
    for count in 1..=6 {
        append(&*log.store, log.log.id, &[format!("other {count}").into_bytes()]).await;
        log.sequence().await;
    }
    let newest = log.store.checkpoint(log.log.id).await.unwrap().unwrap();
    assert_eq!(newest.size.0, 5, "nothing was signed beyond the backup's head");
    let tree = log.store.tree(log.log.id).await.unwrap().unwrap();
    assert_eq!(tree.edge.size().0, 11, "and nothing that was appended is lost");
    assert!(log.publisher.checkpoint(&log.log).await.unwrap_err().is_conflict());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refused_log_does_not_stop_the_others() {
    let log = TestLog::embedded().await;
    let other = log.create("other", "example.com/other").await;
    log.append_range(0..2).await;
    append(&*log.store, other.id, &[entry(0)]).await;
    log.sequence().await;
    // A record that the database contradicts.
    let forged = attestlog_core::TreeHead {
        size: attestlog_core::TreeSize(1),
        root: attestlog_core::Hash::leaf(b"x"),
    };
    let line = format!("{} {} {}\n", forged.size, forged.root, log.log.origin);
    std::fs::write(log.heads_path(), line).unwrap();
    let log = log.reopen().await;
    log.append_range(2..3).await;
    append(&*log.store, other.id, &[entry(1)]).await;
    log.sequence().await;
    assert_eq!(log.store.checkpoint(log.log.id).await.unwrap().unwrap().size.0, 2);
    assert_eq!(log.store.checkpoint(other.id).await.unwrap().unwrap().size.0, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_are_spaced_by_the_head_interval_and_the_last_one_is_made_in_the_end() {
    let log = TestLog::embedded().await;
    let pace = Pace { head_interval: Duration::from_secs(10), ..Pace::default() };
    let mut sequencer = log.sequencer_at(pace);
    let start = Instant::now();
    let signed = async || log.store.checkpoint(log.log.id).await.unwrap().unwrap().size.0;
    log.append_range(0..1).await;
    sequencer.step(start).await.unwrap();
    assert_eq!(signed().await, 1);
    log.append_range(1..3).await;
    sequencer.step(start + Duration::from_secs(9)).await.unwrap();
    assert_eq!(signed().await, 1);
    assert_eq!(log.store.tree(log.log.id).await.unwrap().unwrap().edge.size().0, 3);
    sequencer.step(start + Duration::from_secs(10)).await.unwrap();
    assert_eq!(signed().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_logs_share_a_batch() {
    let log = TestLog::embedded().await;
    let mut ids: Vec<LogId> = Vec::new();
    for number in 0..1000 {
        ids.push(log.create(&format!("log-{number}"), &format!("example.com/{number}")).await.id);
    }
    for round in 0..2_u64 {
        let entries: Vec<NewEntry> =
            ids.iter().map(|&log| NewEntry { log, data: entry(round), idempotency_key: None }).collect();
        let appended = log.store.append(&entries).await.unwrap();
        assert!(appended.iter().all(|appended| matches!(appended, Appended::Ticket(_))));
        let step = log.sequencer().step(Instant::now()).await.unwrap();
        assert_eq!(step, Step::Batch { entries: 1000, heads: 1000, full: false });
    }
    let sizes: Vec<u64> = log.store.logs().await.unwrap().into_iter().map(|(_, size)| size.0).collect();
    assert_eq!(sizes.iter().filter(|&&size| size == 2).count(), 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_secret_is_noticed_at_the_start() {
    let log = TestLog::embedded().await;
    std::fs::remove_file(log.secret_path()).unwrap();
    let deployment: Deployment = log.deployment();
    let missing = deployment.signing(Arc::clone(&log.store)).await.map(|_: Signing| ()).unwrap_err();
    assert!(missing.to_string().contains("secret is missing"), "{missing}");
    attestlog_server::secret::Secret::generate().unwrap().write_new(&log.secret_path()).unwrap();
    let wrong = deployment.signing(Arc::clone(&log.store)).await.map(|_: Signing| ()).unwrap_err();
    assert!(wrong.to_string().contains("not the one that log \"default\" was made with"), "{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_server_published_is_checked_before_it_is_shown() {
    let log = TestLog::embedded().await;
    log.append_range(0..3).await;
    log.sequence().await;
    // A second server with a record of its own, which has published an earlier head.
    let directory = tempfile::tempdir().unwrap();
    let heads = PublishedHeads::open(&directory.path().join("published-heads")).unwrap();
    let other = Publisher::new(Arc::clone(&log.store), heads);
    let log_row: &Log = &log.log;
    assert_eq!(other.checkpoint(log_row).await.unwrap().checkpoint.size().0, 3);
    log.append_range(3..300).await;
    log.sequence().await;
    assert_eq!(other.checkpoint(log_row).await.unwrap().checkpoint.size().0, 300);
}
