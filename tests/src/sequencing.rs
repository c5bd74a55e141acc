//! A sequencer without keys: what tests of a store need to move entries into trees.
#![expect(clippy::expect_used, reason = "a test that cannot set up its database fails, and says why")]

use std::collections::BTreeMap;

use attestlog_core::{LeafIndex, RightEdge, TreeSize};
use attestlog_server::store::{Events, Log, LogId, NewLog, ProcessedEntry, Store, StoreError, TreeChange};

/// Makes a log that takes any bytes; its checkpoint is not one.
///
/// # Panics
/// If the store refuses it.
pub async fn create_log(store: &dyn Store, name: &str) -> Log {
    create_log_for(store, name, Events::Any).await
}

/// Makes a log; its checkpoint is not one.
///
/// # Panics
/// If the store refuses it.
pub async fn create_log_for(store: &dyn Store, name: &str, events: Events) -> Log {
    let new = NewLog {
        name: name.to_owned(),
        origin: format!("log.example/{name}"),
        vkey: format!("log.example/{name}+00000000+AQ"),
        events,
        checkpoint: b"empty".to_vec(),
    };
    store.create_log(&new).await.expect("a log can be made")
}

/// Processes one batch into the trees and commits it; `None` while another has the lock.
///
/// # Errors
/// What the store fails with.
pub async fn process(
    store: &dyn Store,
    max_rows: u32,
    look_at_everything: bool,
) -> Result<Option<Vec<ProcessedEntry>>, StoreError> {
    let Some(mut batch) = store.begin_batch().await? else { return Ok(None) };
    let entries = batch.process_next_batch(max_rows, look_at_everything).await?;
    let mut logs: BTreeMap<LogId, Vec<&ProcessedEntry>> = BTreeMap::new();
    for entry in &entries {
        logs.entry(entry.log).or_default().push(entry);
    }
    let ids: Vec<LogId> = logs.keys().copied().collect();
    let mut changes = Vec::new();
    for tree in batch.trees(&ids).await? {
        changes.push(grow(tree.log, tree.edge, logs.get(&tree.log).map_or(&[], Vec::as_slice)));
    }
    batch.write(&changes).await?;
    batch.commit().await?;
    Ok(Some(entries))
}

/// Processes until nothing is left, and returns all of it in the order in which it came.
///
/// # Panics
/// If the store fails.
pub async fn process_all(store: &dyn Store, max_rows: u32) -> Vec<ProcessedEntry> {
    let mut all = Vec::new();
    loop {
        match process(store, max_rows, false).await.expect("a batch can be processed") {
            Some(entries) if entries.is_empty() => return all,
            Some(entries) => all.extend(entries),
            None => tokio::task::yield_now().await,
        }
    }
}

fn grow(log: LogId, mut edge: RightEdge, entries: &[&ProcessedEntry]) -> TreeChange {
    let (old_size, mut full_tiles) = (edge.size(), Vec::new());
    for entry in entries {
        assert_eq!(LeafIndex(edge.size().0), entry.index, "the next entry of log {}", log.0);
        edge.append(attestlog_core::Hash::leaf(&entry.data), &mut full_tiles);
    }
    let checkpoint =
        Some(format!("{} entries", edge.size()).into_bytes()).filter(|_| edge.size() > TreeSize(0));
    TreeChange { log, old_size, edge, full_tiles, checkpoint }
}
