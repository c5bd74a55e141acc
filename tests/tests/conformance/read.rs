//! What is served: trees, tiles, checkpoints, entries.

use std::ops::Range;
use std::sync::Arc;

use attestlog_core::{
    Hash, LeafIndex, RightEdge, TileId, TreeSize, format_bundle, format_tile, parse_bundle,
};
use attestlog_server::store::{Log, LogId, MAX_READ_BYTES, NewEntry, Store, StoreError};

use super::{Database, all_entries, append, begin_batch, create, entry, note, process, process_all};

/// The bytes of an entry of these tests: all values of a byte, NUL and what is no UTF-8 among them.
fn data(index: u64) -> Vec<u8> {
    let length = usize::try_from(index * index % 700 + 1).unwrap();
    index.to_le_bytes().into_iter().chain(0..=255).cycle().take(length).collect()
}

async fn fill(store: &dyn Store, log: &Log, count: u64) {
    let entries: Vec<NewEntry> = (0..count).map(|index| entry(log, data(index))).collect();
    append(store, &entries).await;
    process_all(store).await;
}

async fn indexes(store: &dyn Store, log: LogId, range: Range<u64>) -> Vec<u64> {
    let mut indexes = Vec::new();
    store
        .scan(log, range, &mut |index, entry, leaf_hash| {
            assert_eq!(entry, data(index.0));
            assert_eq!(leaf_hash, Hash::leaf(entry).0);
            indexes.push(index.0);
        })
        .await
        .unwrap();
    indexes
}

pub(super) async fn a_tree_is_read_as_it_was_written(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    let (mut edge, mut full) = (RightEdge::EMPTY, Vec::new());
    append(&*store, &(0..600).map(|index| entry(&log, data(index))).collect::<Vec<_>>()).await;
    for index in 0..600 {
        edge.append(Hash::leaf(&data(index)), &mut full);
        if [1, 2, 255, 256, 257, 511, 512, 600].contains(&(index + 1)) {
            process(&*store, u32::try_from(index + 1 - store_size(&*store, &log).await).unwrap()).await;
            let tree = store.tree(log.id).await.unwrap().unwrap();
            assert_eq!((tree.edge, tree.signed_size), (edge.clone(), edge.size()));
        }
    }
}

async fn store_size(store: &dyn Store, log: &Log) -> u64 {
    store.tree(log.id).await.unwrap().unwrap().edge.size().0
}

pub(super) async fn full_tiles_are_found_and_others_are_not(database: &dyn Database) {
    let store = database.open().await;
    let (log, other) = (create(&*store, "a").await, create(&*store, "b").await);
    fill(&*store, &log, 600).await;
    let id = |level, index| TileId { level, index };
    let asked = [id(0, 1), id(0, 0), id(0, 2), id(1, 0), id(0, u64::MAX), id(255, 0), id(0, 0)];
    let tiles = store.tiles(log.id, &asked).await.unwrap();
    assert_eq!(tiles.len(), 2);
    for index in 0..2 {
        let leaves: Vec<Hash> =
            (index * 256..index * 256 + 256).map(|index| Hash::leaf(&data(index))).collect();
        assert_eq!(tiles[&id(0, index)], format_tile(&leaves));
    }
    // One by one, too.
    for tile in asked {
        let found = store.tiles(log.id, &[tile]).await.unwrap();
        assert_eq!(found.get(&tile), tiles.get(&tile), "{tile:?}");
        assert!(store.tiles(other.id, &[tile]).await.unwrap().is_empty());
    }
    assert!(store.tiles(other.id, &asked).await.unwrap().is_empty());
    assert!(store.tiles(log.id, &[]).await.unwrap().is_empty());
}

pub(super) async fn checkpoints_are_listed_from_a_size_on(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    append(&*store, &(0..9).map(|byte| entry(&log, vec![byte])).collect::<Vec<_>>()).await;
    for max_rows in [2, 3, 4] {
        process(&*store, max_rows).await;
    }
    let sizes = async |from, limit| -> Vec<u64> {
        let found = store.checkpoints(log.id, TreeSize(from), limit).await.unwrap();
        assert!(found.iter().all(|found| found.size.0 == 0 || found.note == note(found.size)));
        found.iter().map(|found| found.size.0).collect()
    };
    assert_eq!(sizes(0, 100).await, [0, 2, 5, 9]);
    assert_eq!(sizes(0, 2).await, [0, 2]);
    assert_eq!(sizes(2, 2).await, [2, 5]);
    assert_eq!(sizes(3, 1).await, [5]);
    assert_eq!(sizes(0, 0).await, [0_u64; 0]);
    assert_eq!(sizes(10, 9).await, [0_u64; 0]);
    assert_eq!(sizes(u64::MAX, u32::MAX).await, [0_u64; 0]);
    assert_eq!(store.checkpoint(log.id).await.unwrap().unwrap().size, TreeSize(9));
}

pub(super) async fn entries_are_read_up_to_a_limit(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    fill(&*store, &log, 600).await;
    for (from, limit, read) in [
        (0, 0, 0..0),
        (0, 1, 0..1),
        (0, 256, 0..256),
        (7, 300, 7..307),
        (599, 5, 599..600),
        (600, 5, 0..0),
        (0, u32::MAX, 0..600),
        (u64::MAX, u32::MAX, 0..0),
    ] {
        let entries = store.entries(log.id, LeafIndex(from), limit).await.unwrap();
        assert!(entries.into_iter().eq(read.map(data)), "{limit} from {from}");
    }
}

pub(super) async fn entries_are_read_up_to_16_megabytes(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    for _ in 0..2 {
        append(&*store, &vec![entry(&log, vec![7; 65_535]); 150]).await;
    }
    process_all(&*store).await;
    let bytes = 65_535 * store.entries(log.id, LeafIndex(3), 290).await.unwrap().len();
    assert!((MAX_READ_BYTES - 65_535..=MAX_READ_BYTES + 65_535).contains(&bytes), "{bytes}");
}

pub(super) async fn an_entry_bundle_has_exactly_its_entries(database: &dyn Database) {
    let store = database.open().await;
    let (log, other) = (create(&*store, "a").await, create(&*store, "b").await);
    fill(&*store, &other, 300).await;
    fill(&*store, &log, 600).await;
    for range in [0..1, 0..255, 0..256, 7..263, 256..512, 512..600, 599..600] {
        let entries: Vec<Vec<u8>> = range.clone().map(data).collect();
        let expected = format_bundle(entries.iter().map(Vec::as_slice)).unwrap();
        assert_eq!(store.entry_bundle(log.id, range.clone()).await.unwrap(), Some(expected), "{range:?}");
    }
    let beyond = 1_u64 << 63;
    for range in [512..768, 599..601, 600..601, 768..1024, beyond..beyond + 256, u64::MAX - 256..u64::MAX] {
        assert_eq!(store.entry_bundle(log.id, range.clone()).await.unwrap(), None, "{range:?}");
    }
    assert_eq!(store.entry_bundle(LogId(987_654_321), 0..256).await.unwrap(), None);
}

pub(super) async fn an_entry_bundle_holds_the_largest_entries(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    for _ in 0..2 {
        append(&*store, &vec![entry(&log, vec![7; 65_535]); 128]).await;
    }
    process_all(&*store).await;
    let bundle = store.entry_bundle(log.id, 0..256).await.unwrap().unwrap();
    assert_eq!(bundle.len(), 256 * 65_537);
    let entries = parse_bundle(&bundle, 256).unwrap();
    assert!(entries.into_iter().all(|entry| entry == [7; 65_535]));
}

pub(super) async fn an_entry_bundle_without_one_of_its_entries_is_damaged(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    fill(&*store, &log, 600).await;
    for gone in [0, 300, 511, 599] {
        database.delete_entry(log.id, gone).await;
    }
    for (range, missing) in [(0..1, 0), (0..256, 0), (256..512, 300), (301..512, 511), (299..301, 300)] {
        let answer = store.entry_bundle(log.id, range.clone()).await;
        let Err(StoreError::Damaged(text)) = answer else { panic!("{range:?}: {answer:?}") };
        assert!(text.contains(&format!("entry {missing} ")), "{range:?}: {text}");
    }
    for range in [1..256, 256..300, 512..599] {
        let entries: Vec<Vec<u8>> = range.clone().map(data).collect();
        let expected = format_bundle(entries.iter().map(Vec::as_slice)).unwrap();
        assert_eq!(store.entry_bundle(log.id, range.clone()).await.unwrap(), Some(expected), "{range:?}");
    }
    // The log ends there, as far as it is known.
    assert_eq!(store.entry_bundle(log.id, 512..600).await.unwrap(), None);
}

pub(super) async fn a_scan_reads_exactly_its_range(database: &dyn Database) {
    let store = database.open().await;
    let (log, other) = (create(&*store, "a").await, create(&*store, "b").await);
    fill(&*store, &other, 3).await;
    fill(&*store, &log, 1100).await;
    for range in [0..0, 0..1, 5..5, 0..256, 255..257, 1..1099, 0..1100, 1099..1100] {
        let expected: Vec<u64> = range.clone().collect();
        assert_eq!(indexes(&*store, log.id, range).await, expected);
    }
    for range in [1000..u64::MAX, 1000..5000] {
        assert!(indexes(&*store, log.id, range).await.into_iter().eq(1000..1100));
    }
    #[expect(clippy::reversed_empty_ranges, reason = "an empty range is no error")]
    for range in [1100..1200, u64::MAX - 1..u64::MAX, 7..3] {
        assert_eq!(indexes(&*store, log.id, range).await, [0_u64; 0]);
    }
}

pub(super) async fn a_scan_keeps_every_byte(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    let mut entries: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
    entries.extend((0..=255).map(|byte| vec![0, byte, 0]));
    // Cut and overlong UTF-8, byte order marks, UTF-16, commas.
    for odd in
        [&b"\xc3"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xff\xfe\0a", b",,", b"\0", b"\0\0"]
    {
        entries.push(odd.to_vec());
    }
    append(&*store, &entries.iter().map(|data| entry(&log, data.clone())).collect::<Vec<_>>()).await;
    process_all(&*store).await;
    assert_eq!(all_entries(&*store, log.id).await, entries);
    assert_eq!(store.entries(log.id, LeafIndex(0), 1000).await.unwrap(), entries);
}

pub(super) async fn a_scan_keeps_the_largest_entries(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    let large = |byte: u8| -> Vec<u8> { (0..=byte).cycle().take(65_535).collect() };
    let entries: Vec<_> = (0..=255).chain(0..10).map(|byte| entry(&log, large(byte))).collect();
    for entries in entries.chunks(100) {
        append(&*store, entries).await;
    }
    process_all(&*store).await;
    let mut expected = entries.iter();
    store
        .scan(log.id, 0..1000, &mut |_, data, _| {
            assert_eq!(Some(data), expected.next().map(|entry| &*entry.data))
        })
        .await
        .unwrap();
    assert_eq!(expected.next().map(|entry| entry.data.len()), None);
}

pub(super) async fn a_scan_shows_gaps(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    fill(&*store, &log, 600).await;
    let gone = [0, 5, 6, 255, 256, 511, 599];
    for index in gone {
        database.delete_entry(log.id, index).await;
    }
    let expected: Vec<u64> = (0..600).filter(|index| !gone.contains(index)).collect();
    assert_eq!(indexes(&*store, log.id, 0..600).await, expected);
    assert_eq!(indexes(&*store, log.id, 4..8).await, [4, 7]);
    assert_eq!(indexes(&*store, log.id, 5..7).await, [0_u64; 0]);
}

pub(super) async fn two_scans_run_beside_a_batch(database: &dyn Database) {
    let store = database.open().await;
    let log = create(&*store, "a").await;
    fill(&*store, &log, 2000).await;
    append(&*store, &[entry(&log, "new")]).await;
    let mut batch = begin_batch(&*store).await;
    batch.process_next_batch(10, false).await.unwrap();
    let scan = |range: Range<u64>| {
        let (store, log) = (Arc::clone(&store), log.id);
        tokio::spawn(async move { indexes(&*store, log, range).await.len() })
    };
    let (left, right) = (scan(0..1000), scan(1000..3000));
    assert_eq!((left.await.unwrap(), right.await.unwrap()), (1000, 1000));
    batch.commit().await.unwrap();
}

pub(super) async fn what_does_not_exist_is_not_found(database: &dyn Database) {
    let store = database.open().await;
    create(&*store, "a").await;
    let nobody = LogId(987_654_321);
    for name in ["b", "", "A", "a\0", "'; drop table log"] {
        assert!(!matches!(store.log(name).await, Ok(Some(_))), "{name:?}");
    }
    assert_eq!(store.tree(nobody).await.unwrap(), None);
    assert_eq!(store.checkpoint(nobody).await.unwrap(), None);
    assert_eq!(store.checkpoints(nobody, TreeSize(0), 10).await.unwrap(), []);
    assert_eq!(store.entries(nobody, LeafIndex(0), 10).await.unwrap(), [[0_u8; 0]; 0]);
    assert_eq!(indexes(&*store, nobody, 0..u64::MAX).await, [0_u64; 0]);
    let mut batch = begin_batch(&*store).await;
    assert_eq!(batch.trees(&[nobody]).await.unwrap(), []);
    assert_eq!(batch.trees(&[]).await.unwrap(), []);
}
