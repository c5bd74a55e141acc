//! fsck on PostgreSQL, where a superuser turns the triggers off and the leaf hash follows whatever the entry becomes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::time::Instant;

use attestlog_core::{Hash, TreeSize};
use attestlog_server::bundle::{Entries, ExportError, Selection, export};
use attestlog_server::fsck::{Finding, Options, What, check};
use attestlog_server::keyring::create_log;
use attestlog_server::progress::Progress;
use attestlog_server::sequencer::Step;
use attestlog_server::store::{Events, Log, NewEntry, Store};
use attestlog_tests::databases::{execute, fresh_postgres};
use attestlog_tests::sample_log::{ORIGIN, entry, key, secret, sequencer};

async fn fill(store: &Arc<dyn Store>, sizes: &[u64]) -> Log {
    let folder = tempfile::tempdir().unwrap();
    let log = create_log(&**store, &secret(), "sample", ORIGIN, Events::Any).await.unwrap();
    let mut sequencer = sequencer(store.clone(), folder.path());
    let mut from = 0;
    for &size in sizes {
        let new = |index| NewEntry { log: log.id, data: entry(index), idempotency_key: None };
        store.append(&(from..size).map(new).collect::<Vec<_>>()).await.unwrap();
        while sequencer.step(Instant::now()).await.unwrap() != Step::Idle {}
        from = size;
    }
    log
}

fn at(index: u64, what: What) -> Finding {
    Finding { index: Some(index), what }
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_each_kind_of_damage() {
    let (store, url, _guard) = fresh_postgres().await;
    let store: Arc<dyn Store> = Arc::new(store);
    let log = fill(&store, &[300, 66_100]).await;
    for table in ["processed_log", "tile", "tree", "checkpoint"] {
        execute(&url, &format!("alter table attestlog.{table} disable trigger all")).await;
    }
    let mut expected = Vec::new();
    for (statement, more) in [
        ("select", vec![]),
        ("update attestlog.processed_log set data = 'x' where id = 300", vec![at(300, What::EntryChanged)]),
        (
            "update attestlog.processed_log set data = 'x' where id = 66060",
            vec![at(66_060, What::EntryChanged)],
        ),
        (
            "delete from attestlog.processed_log where id = 1000",
            vec![at(1_000, What::EntryMissing { count: 1 })],
        ),
        (
            "update attestlog.tile set hashes = overlay(hashes placing 'x' from 33) where level = 0 and index = 9",
            vec![at(2_305, What::TileWrong { level: 0, tile: 9, hash: 1 })],
        ),
        (
            "delete from attestlog.tile where level = 0 and index = 10",
            vec![at(2_560, What::TileMissing { level: 0, tile: 10 })],
        ),
        (
            "update attestlog.tile set hashes = overlay(hashes placing 'x' from 8161) where level = 1",
            vec![at(65_280, What::TileWrong { level: 1, tile: 0, hash: 255 })],
        ),
        (
            "update attestlog.tree set edge = overlay(edge placing 'x' from 1)",
            vec![at(66_048, What::EdgeWrong { level: 0, hash: 0 })],
        ),
        (
            "update attestlog.checkpoint set size = 299 where size = 300",
            vec![Finding { index: None, what: What::CheckpointSizeWrong { size: 299, signed: 300 } }],
        ),
    ] {
        execute(&url, statement).await;
        let report = check(store.clone(), &log, Options::default(), Progress::default()).await.unwrap();
        expected.extend(more);
        expected.sort_by_key(|finding: &Finding| finding.index.unwrap_or(299));
        assert_eq!(report.findings, expected, "{statement}");
    }
    let checkpoint = attestlog_server::keyring::sign(&key(), TreeSize(300), Hash([9; 32])).unwrap();
    let target = tempfile::tempdir().unwrap();
    let (path, selection) =
        (target.path().join("b.tar"), Selection { entries: Entries::Range(5..9), receipts: false });
    let refused = export(&*store, &log, &checkpoint, selection, &path, &Progress::default()).await;
    assert!(matches!(refused, Err(ExportError::NotProven { index: Some(5) })), "{refused:?}");
}
