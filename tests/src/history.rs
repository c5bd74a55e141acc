//! What writers know to be committed, and whether a log holds exactly that.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use attestlog_server::fsck;
use attestlog_server::progress::Progress;
use attestlog_server::published::PublishedHeads;
use attestlog_server::store::{Log, Store};

/// The entries of one transaction in one log, in order.
pub type Transaction = Vec<String>;

/// One writer's transactions in the order of their commits.
pub type Writer = Vec<Transaction>;

/// Checks that the log holds every committed transaction once and nothing else, each in one piece and in order, each
/// writer's in the order of their commits; and that fsck finds nothing wrong, also against the published heads that are
/// recorded in `data`.
///
/// # Panics
/// If it does not.
pub async fn verify(store: &Arc<dyn Store>, log: &Log, writers: &[Writer], data: &[&Path]) {
    let mut stored = Vec::new();
    let mut sink = |index: attestlog_core::LeafIndex, entry: &[u8], _: &[u8]| {
        assert_eq!(index.0, stored.len() as u64, "a gap in {}", log.name);
        stored.push(String::from_utf8(entry.to_vec()).unwrap());
    };
    store.scan(log.id, 0..u64::MAX, &mut sink).await.unwrap();
    verify_order(&stored, writers);
    for data in data {
        let heads = PublishedHeads::open(&data.join("published-heads")).unwrap();
        let options = fsck::Options { published: heads.head(&log.origin), ..fsck::Options::default() };
        let report = fsck::check(Arc::clone(store), log, options, Progress::default()).await.unwrap();
        assert!(report.is_clean(), "{report:?}");
        assert_eq!((report.size, report.signed_size), (stored.len() as u64, stored.len() as u64));
        assert_eq!(report.entries_beyond_tree, 0);
    }
}

fn verify_order(stored: &[String], writers: &[Writer]) {
    let positions: HashMap<&String, usize> = stored.iter().zip(0..).collect();
    assert_eq!(positions.len(), stored.len(), "an entry is there twice");
    let mut expected = 0;
    for writer in writers {
        let mut after = 0;
        for transaction in writer.iter().filter(|transaction| !transaction.is_empty()) {
            let first = *positions.get(&transaction[0]).unwrap_or_else(|| panic!("lost: {}", transaction[0]));
            let end = (first + transaction.len()).min(stored.len());
            assert_eq!(&stored[first..end], transaction, "not in one piece and in order, at {first}");
            assert!(first >= after, "before an earlier transaction of its writer: {}", transaction[0]);
            after = end;
            expected += transaction.len();
        }
    }
    assert_eq!(stored.len(), expected, "there is more than was committed");
}
