//! Batches: one at a time, in order, all or nothing.

use std::sync::Arc;

use attestlog_core::{FullTile, Hash, LeafIndex, RightEdge, TileId, TreeSize};
use attestlog_server::store::{MAX_READ_BYTES, Store, StoreError, TreeChange};

use super::{
    Database, all_entries, append, begin_batch, create, entry, grow, keyed, logs_of, note, process,
    process_all, texts,
};

pub(super) async fn a_second_batch_waits_for_the_first(database: &dyn Database) {
    let store = database.open().await;
    let first = begin_batch(&*store).await;
    assert!(store.begin_batch().await.unwrap().is_none());
    drop(first);
    let second = begin_batch(&*store).await;
    assert!(store.begin_batch().await.unwrap().is_none());
    second.commit().await.unwrap();
    assert!(store.begin_batch().await.unwrap().is_some());
}

pub(super) async fn a_second_server_has_no_batch_while_the_first_is_in_one(database: &dyn Database) {
    let (one, other) = (database.open().await, database.open().await);
    let log = create(&*one, "a").await;
    append(&*one, &[entry(&log, "1")]).await;
    let mut batch = one.begin_batch().await.unwrap().unwrap();
    assert_eq!(batch.process_next_batch(10, false).await.unwrap().len(), 1);
    assert!(other.begin_batch().await.unwrap().is_none());
    batch.commit().await.unwrap();
    let mut batch = other.begin_batch().await.unwrap().unwrap();
    assert_eq!(batch.process_next_batch(10, false).await.unwrap(), []);
}

pub(super) async fn a_dropped_batch_changes_nothing(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    let tickets = append(&*store, &[entry(&log, "1"), entry(&log, "2")]).await;
    let before = store.tickets(&tickets).await.unwrap();
    for _ in 0..3 {
        let mut batch = begin_batch(&*store).await;
        let entries = batch.process_next_batch(10, false).await.unwrap();
        assert_eq!(entries.len(), 2);
        let trees = batch.trees(&[log.id]).await.unwrap();
        batch.write(&grow(trees, &entries)).await.unwrap();
        drop(batch);
        assert_eq!(store.tree(log.id).await.unwrap().unwrap().edge, RightEdge::EMPTY);
        assert_eq!(store.tickets(&tickets).await.unwrap(), before);
        assert_eq!(store.checkpoint(log.id).await.unwrap().unwrap().size, TreeSize(0));
    }
    assert_eq!(process(&*store, 10).await.len(), 2);
}

pub(super) async fn nobody_sees_a_batch_before_its_commit(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    append(&*store, &[entry(&log, "1")]).await;
    let mut batch = begin_batch(&*store).await;
    let entries = batch.process_next_batch(10, false).await.unwrap();
    let trees = batch.trees(&[log.id]).await.unwrap();
    batch.write(&grow(trees, &entries)).await.unwrap();
    assert_eq!(store.entries(log.id, LeafIndex(0), 10).await.unwrap().len(), 0);
    assert_eq!(store.backlog(10).await.unwrap().rows, 1);
    batch.commit().await.unwrap();
    assert_eq!(store.entries(log.id, LeafIndex(0), 10).await.unwrap(), [b"1"]);
    assert_eq!(store.backlog(10).await.unwrap().rows, 0);
    assert_eq!(store.tree(log.id).await.unwrap().unwrap().signed_size, TreeSize(1));
}

pub(super) async fn entries_are_processed_in_the_order_of_their_append(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    let mut expected = Vec::new();
    for call in 0..30 {
        let entries: Vec<_> =
            (0..call * 7 % 40).map(|number| entry(&log, format!("{call} {number}"))).collect();
        expected.extend(entries.iter().map(|entry| entry.data.clone()));
        append(&*store, &entries).await;
        if call % 4 == 0 {
            process(&*store, 50).await;
        }
    }
    process_all(&*store).await;
    assert_eq!(all_entries(&*store, log.id).await, expected);
}

pub(super) async fn a_batch_takes_at_most_so_many_rows(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    append(&*store, &(0..10).map(|byte| entry(&log, vec![byte])).collect::<Vec<_>>()).await;
    let mut taken = Vec::new();
    for max_rows in [1, 3, 4, 100, 100] {
        taken.push(process(&*store, max_rows).await.len());
    }
    assert_eq!(taken, [1, 3, 4, 2, 0]);
}

pub(super) async fn a_batch_takes_about_16_megabytes(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    for _ in 0..2 {
        append(&*store, &vec![entry(&log, vec![0; 65_535]); 150]).await;
    }
    let mut taken = 0;
    while taken < 300 {
        let entries = process(&*store, u32::MAX).await;
        let bytes: usize = entries.iter().map(|entry| entry.data.len()).sum();
        taken += entries.len();
        assert!(bytes <= MAX_READ_BYTES + 65_535, "{bytes} bytes at once");
        assert!(bytes + 65_535 >= MAX_READ_BYTES || taken == 300, "{bytes} bytes, and more were waiting");
    }
    assert_eq!(store.backlog(10).await.unwrap().rows, 0);
}

pub(super) async fn a_batch_returns_its_rows_by_log_and_index(database: &dyn Database) {
    let store = database.open().await;
    let (a, b) = (create(&*store, "a").await, create(&*store, "b").await);
    append(&*store, &[entry(&b, "b0"), entry(&a, "a0")]).await;
    process_all(&*store).await;
    append(&*store, &[entry(&b, "b1"), entry(&a, "a1"), entry(&b, "b2"), entry(&a, vec![0, 255, 0])]).await;
    let entries = process(&*store, 10).await;
    let expected = [
        (a.id, 1, b"a1".to_vec()),
        (a.id, 2, vec![0, 255, 0]),
        (b.id, 1, b"b1".to_vec()),
        (b.id, 2, b"b2".to_vec()),
    ];
    for (entry, (log, index, data)) in entries.iter().zip(&expected) {
        assert_eq!((entry.log, entry.index, &*entry.data), (*log, LeafIndex(*index), data.as_slice()));
        assert!(entry.leaf_hash.is_none_or(|leaf_hash| leaf_hash == Hash::leaf(data)));
    }
    assert_eq!(entries.len(), expected.len());
}

pub(super) async fn an_append_waits_for_an_open_batch(database: &dyn Database) {
    let (one, other) = (database.open().await, database.open().await);
    let log = create(&*one, "a").await;
    append(&*one, &[entry(&log, "0")]).await;
    let mut batch = one.begin_batch().await.unwrap().unwrap();
    let entries = batch.process_next_batch(10, false).await.unwrap();
    let spawn = |store: &Arc<dyn Store>, data: &'static str| {
        let (store, log) = (Arc::clone(store), log.clone());
        tokio::spawn(async move { append(&*store, &[keyed(&log, data, data)]).await })
    };
    let appends = [spawn(&one, "1"), spawn(&other, "2"), spawn(&other, "3")];
    let trees = batch.trees(&[log.id]).await.unwrap();
    batch.write(&grow(trees, &entries)).await.unwrap();
    batch.commit().await.unwrap();
    for append in appends {
        assert_eq!(append.await.unwrap().len(), 1);
    }
    process_all(&*one).await;
    assert_eq!(all_entries(&*one, log.id).await.len(), 4);
}

pub(super) async fn concurrent_appends_are_each_processed_once(database: &dyn Database) {
    let stores = [database.open().await, database.open().await];
    let log = create(&*stores[0], "a").await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8_usize {
        let (store, log) = (Arc::clone(&stores[writer % 2]), log.clone());
        writers.spawn(async move {
            for call in 0..10 {
                let entries: Vec<_> =
                    (0..=call % 3).map(|number| entry(&log, format!("{writer} {call} {number}"))).collect();
                append(&*store, &entries).await;
            }
        });
    }
    let mut processed = 0;
    while processed < 8 * 19 {
        for store in &stores {
            // The other store's writers may have the turn.
            let Some(mut batch) = store.begin_batch().await.unwrap() else { continue };
            let entries = batch.process_next_batch(13, false).await.unwrap();
            let trees = batch.trees(&logs_of(&entries)).await.unwrap();
            batch.write(&grow(trees, &entries)).await.unwrap();
            batch.commit().await.unwrap();
            processed += entries.len();
        }
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    let all = all_entries(&*stores[0], log.id).await;
    let all = texts(&all);
    for writer in 0..8 {
        let own: Vec<_> =
            all.iter().filter(|text| text.starts_with(&format!("{writer} "))).copied().collect();
        let expected: Vec<String> = (0..10)
            .flat_map(|call| (0..=call % 3).map(move |number| format!("{writer} {call} {number}")))
            .collect();
        assert_eq!(own, expected);
    }
}

pub(super) async fn entries_that_someone_else_moved_are_found_beyond_the_trees(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    append(&*store, &[entry(&log, "0"), entry(&log, "1"), entry(&log, "2")]).await;
    process(&*store, 1).await;
    // Moved, and added to no tree: no server does that, a hand in the database may.
    let mut batch = begin_batch(&*store).await;
    assert_eq!(batch.process_next_batch(1, false).await.unwrap().len(), 1);
    batch.commit().await.unwrap();

    let mut batch = begin_batch(&*store).await;
    let found = batch.entries_beyond_trees(10).await.unwrap();
    assert_eq!(found.iter().map(|entry| (entry.index.0, &*entry.data)).collect::<Vec<_>>(), [(1, &b"1"[..])]);
    let trees = batch.trees(&[log.id]).await.unwrap();
    batch.write(&grow(trees, &found)).await.unwrap();
    assert_eq!(batch.entries_beyond_trees(10).await.unwrap(), []);
    batch.commit().await.unwrap();
    process(&*store, 10).await;
    assert_eq!(store.tree(log.id).await.unwrap().unwrap().edge.size(), TreeSize(3));
}

pub(super) async fn a_tree_grows_only_from_the_size_that_was_read(database: &dyn Database) {
    let store = database.open().await;
    let (a, b) = (create(&*store, "a").await, create(&*store, "b").await);
    append(&*store, &[entry(&a, "1"), entry(&b, "2")]).await;
    let mut batch = begin_batch(&*store).await;
    let entries = batch.process_next_batch(10, false).await.unwrap();
    let trees = batch.trees(&[a.id, b.id]).await.unwrap();
    let mut changes = grow(trees, &entries);
    changes[1].old_size = TreeSize(1);
    let moved = batch.write(&changes).await;
    assert!(matches!(moved, Err(StoreError::TreeMoved(log)) if log == b.id), "{moved:?}");
    drop(batch);
    assert_eq!(store.tree(a.id).await.unwrap().unwrap().edge, RightEdge::EMPTY);
    process_all(&*store).await;
    assert_eq!(store.tree(b.id).await.unwrap().unwrap().edge.size(), TreeSize(1));
}

pub(super) async fn a_tree_can_grow_without_a_checkpoint_and_get_it_later(database: &dyn Database) {
    let store = database.open().await;
    let logs = [create(&*store, "a").await, create(&*store, "b").await, create(&*store, "c").await];
    append(&*store, &[entry(&logs[0], "1"), entry(&logs[1], "2")]).await;
    let mut batch = begin_batch(&*store).await;
    assert_eq!(batch.unsigned_trees(10).await.unwrap(), []);
    let entries = batch.process_next_batch(10, false).await.unwrap();
    let trees = batch.trees(&[logs[0].id, logs[1].id]).await.unwrap();
    let mut changes = grow(trees, &entries);
    changes.iter_mut().for_each(|change| change.checkpoint = None);
    batch.write(&changes).await.unwrap();
    batch.commit().await.unwrap();
    assert_eq!(store.checkpoint(logs[0].id).await.unwrap().unwrap().size, TreeSize(0));
    assert_eq!(store.tree(logs[0].id).await.unwrap().unwrap().edge.size(), TreeSize(1));

    let mut batch = begin_batch(&*store).await;
    assert_eq!(batch.unsigned_trees(1).await.unwrap().len(), 1);
    let unsigned = batch.unsigned_trees(10).await.unwrap();
    assert_eq!(unsigned.len(), 2);
    assert!(unsigned.iter().all(|tree| tree.signed_size == TreeSize(0) && tree.edge.size() == TreeSize(1)));
    batch.write(&grow(unsigned, &[])).await.unwrap();
    assert_eq!(batch.unsigned_trees(10).await.unwrap(), []);
    batch.commit().await.unwrap();
    let checkpoint = store.checkpoint(logs[1].id).await.unwrap().unwrap();
    assert_eq!((checkpoint.size, checkpoint.note), (TreeSize(1), note(TreeSize(1))));
}

pub(super) async fn a_checkpoint_is_never_replaced(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    let before = store.checkpoint(log.id).await.unwrap();
    let mut batch = begin_batch(&*store).await;
    let trees = batch.trees(&[log.id]).await.unwrap();
    let refused = batch.write(&grow(trees, &[])).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    drop(batch);
    assert_eq!(store.checkpoint(log.id).await.unwrap(), before);
}

pub(super) async fn a_tile_is_never_replaced(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    let write = async |byte: u8| {
        let mut batch = begin_batch(&*store).await;
        let hashes = vec![Hash([byte; 32]); 256];
        let change = TreeChange {
            log: log.id,
            old_size: TreeSize(0),
            edge: RightEdge::EMPTY,
            full_tiles: vec![FullTile { id: TileId { level: 0, index: 0 }, hashes }],
            checkpoint: None,
        };
        batch.write(&[change]).await?;
        batch.commit().await
    };
    write(1).await.unwrap();
    assert!(matches!(write(2).await, Err(StoreError::Refused(_))));
    let id = TileId { level: 0, index: 0 };
    assert_eq!(store.tiles(log.id, &[id]).await.unwrap()[&id], [1; 8192]);
}

pub(super) async fn a_thousand_logs_are_served_by_one_batch(database: &dyn Database) {
    let store = database.open().await;
    let mut logs = Vec::new();
    for number in 0..1000 {
        logs.push(create(&*store, &format!("log-{number}")).await);
    }
    for round in 0..2 {
        let entries: Vec<_> =
            logs.iter().rev().map(|log| entry(log, format!("{} {round}", log.name))).collect();
        append(&*store, &entries).await;
        assert_eq!(process(&*store, 10_000).await.len(), 1000);
    }
    for log in logs.iter().step_by(111) {
        let expected = [format!("{} 0", log.name), format!("{} 1", log.name)];
        assert_eq!(texts(&all_entries(&*store, log.id).await), expected);
    }
    assert!(store.logs().await.unwrap().iter().all(|(_, size)| *size == TreeSize(2)));
}
