//! fsck finds each kind of damage, at the right index, and nothing where there is none.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use attestlog_core::{Checkpoint, Hash, TreeHead, TreeSize};
use attestlog_server::fsck::{Finding, FsckError, Options, Report, What, check};
use attestlog_server::progress::Progress;
use attestlog_server::prover;
use attestlog_tests::sample_log::{SampleLog, entry, key};
use tokio::sync::OnceCell;

/// One full chunk of 65,536 entries, two full tiles, and 52 entries in the partial one.
const SIZE: u64 = 66_100;

static SAMPLE: OnceCell<SampleLog> = OnceCell::const_new();

/// A copy of a log with checkpoints of the sizes 0, 100, 1,000, 65,536, 65,700 and 66,100.
async fn sample() -> SampleLog {
    let sizes = [100, 1_000, 65_536, 65_700, SIZE];
    SAMPLE.get_or_init(|| SampleLog::with_checkpoints(&sizes)).await.copy().await
}

async fn report(sample: &SampleLog) -> Report {
    report_with(sample, None).await
}

async fn report_with(sample: &SampleLog, published: Option<TreeHead>) -> Report {
    let options = Options { workers: 2, findings: 100, published };
    check(sample.store.clone(), &sample.log, options, Progress::default()).await.unwrap()
}

async fn findings(sample: &SampleLog) -> Vec<Finding> {
    let report = report(sample).await;
    assert_eq!(report.findings_total, report.findings.len() as u64);
    assert_eq!(report.is_clean(), report.findings.is_empty());
    report.findings
}

fn at(index: u64, what: What) -> Finding {
    Finding { index: Some(index), what }
}

fn checkpoint(what: What) -> Finding {
    Finding { index: None, what }
}

async fn damaged(statement: &'static str, blobs: &[&[u8]]) -> Vec<Finding> {
    let sample = sample().await;
    sample.damage(statement, blobs).await;
    findings(&sample).await
}

/// `bytes` with hash `position` replaced.
fn with_hash(mut bytes: Vec<u8>, position: usize) -> Vec<u8> {
    bytes[position * 32..][..32].copy_from_slice(&[0xee; 32]);
    bytes
}

/// The signed note for this head, by the log's own key.
fn signed(size: u64, root: Hash) -> Vec<u8> {
    Checkpoint::sign(&key(), TreeSize(size), root).unwrap().format().into_bytes()
}

async fn head(sample: &SampleLog, size: u64) -> TreeHead {
    let root = prover::root(&*sample.store, sample.log.id, TreeSize(size)).await.unwrap();
    TreeHead { size: TreeSize(size), root }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_of_all_shapes_are_clean() {
    let mut sample = SampleLog::empty().await;
    let mut checkpoints = 1;
    for size in [0, 1, 2, 255, 256, 257, 511, 512, 1_000, 65_535, 65_536, 65_537, 65_792, 70_000, 131_072] {
        sample.grow_to(size).await;
        checkpoints += u64::from(size > 0);
        let progress = Progress::default();
        let options = Options { published: Some(head(&sample, size).await), ..Options::default() };
        let report = check(sample.store.clone(), &sample.log, options, progress.clone()).await.unwrap();
        assert_eq!(report.findings, [], "{size}");
        assert_eq!((report.size, report.signed_size, report.entries), (size, size, size));
        assert_eq!(report.bytes, (0..size).map(|index| entry(index).len() as u64).sum::<u64>());
        assert_eq!(report.tiles, size / 256 + size / 65_536, "{size}");
        assert_eq!((report.checkpoints, report.entries_beyond_tree), (checkpoints, 0));
        assert_eq!((progress.done(), progress.total()), (size, size));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_an_entry_of_which_one_byte_was_changed() {
    for (index, statement) in [
        (0, "update processed_log set data = ? where id = 0"),
        (300, "update processed_log set data = ? where id = 300"),
        (65_535, "update processed_log set data = ? where id = 65535"),
        (65_536, "update processed_log set data = ? where id = 65536"),
        (66_047, "update processed_log set data = ? where id = 66047"),
        (66_060, "update processed_log set data = ? where id = 66060"),
        (66_099, "update processed_log set data = ? where id = 66099"),
    ] {
        let mut data = entry(index);
        data[3] ^= 1;
        assert_eq!(damaged(statement, &[&data]).await, [at(index, What::EntryChanged)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_an_entry_that_was_changed_with_its_leaf_hash() {
    for (index, statement) in [
        (300, "update processed_log set data = ?, leaf_hash = ? where id = 300"),
        (66_060, "update processed_log set data = ?, leaf_hash = ? where id = 66060"),
    ] {
        let found = damaged(statement, &[b"x", &Hash::leaf(b"x").0]).await;
        assert_eq!(found, [at(index, What::EntryChanged)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_a_leaf_hash_that_is_not_its_entrys() {
    for (index, statement) in [
        (300, "update processed_log set leaf_hash = ? where id = 300"),
        (66_060, "update processed_log set leaf_hash = ? where id = 66060"),
    ] {
        assert_eq!(damaged(statement, &[&[7; 32]]).await, [at(index, What::LeafHashWrong)]);
        assert_eq!(damaged(statement, &[&[7; 31]]).await, [at(index, What::LeafHashWrong)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_entries_that_were_deleted() {
    for (statement, index, count) in [
        ("delete from processed_log where id = 0", 0, 1),
        ("delete from processed_log where id = 300", 300, 1),
        ("delete from processed_log where id between 200 and 1200", 200, 1_001),
        ("delete from processed_log where id = 66099", 66_099, 1),
    ] {
        assert_eq!(damaged(statement, &[]).await, [at(index, What::EntryMissing { count })]);
    }
    let both = damaged("delete from processed_log where id in (65535, 65536)", &[]).await;
    assert_eq!(both, [65_535, 65_536].map(|index| at(index, What::EntryMissing { count: 1 })));
    let report = {
        let sample = sample().await;
        sample.damage("delete from processed_log", &[]).await;
        report(&sample).await
    };
    assert_eq!(report.findings.first(), Some(&at(0, What::EntryMissing { count: 65_536 })));
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_both_of_two_entries_that_were_swapped() {
    let sample = sample().await;
    for statement in [
        "update processed_log set id = -1 where id = 300",
        "update processed_log set id = 300 where id = 66060",
        "update processed_log set id = 66060 where id = -1",
    ] {
        sample.damage(statement, &[]).await;
    }
    assert_eq!(findings(&sample).await, [300, 66_060].map(|index| at(index, What::EntryChanged)));
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_a_hash_of_a_tile_that_was_changed() {
    let original = sample().await;
    for (read, write, position, expected) in [
        (
            "select hashes from tile where level = 0 and \"index\" = 1",
            "update tile set hashes = ? where level = 0 and \"index\" = 1",
            44,
            at(300, What::TileWrong { level: 0, tile: 1, hash: 44 }),
        ),
        (
            "select hashes from tile where level = 0 and \"index\" = 257",
            "update tile set hashes = ? where level = 0 and \"index\" = 257",
            255,
            at(66_047, What::TileWrong { level: 0, tile: 257, hash: 255 }),
        ),
        (
            "select hashes from tile where level = 1 and \"index\" = 0",
            "update tile set hashes = ? where level = 1 and \"index\" = 0",
            3,
            at(768, What::TileWrong { level: 1, tile: 0, hash: 3 }),
        ),
    ] {
        let bytes = with_hash(original.blob(read).await, position);
        assert_eq!(damaged(write, &[&bytes]).await, [expected]);
        assert_eq!(damaged(write, &[&bytes[1..]]).await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_a_tile_that_is_missing() {
    for (statement, index, level, tile) in [
        ("delete from tile where level = 0 and \"index\" = 1", 256, 0, 1),
        ("delete from tile where level = 0 and \"index\" = 257", 65_792, 0, 257),
        ("delete from tile where level = 1 and \"index\" = 0", 0, 1, 0),
    ] {
        assert_eq!(damaged(statement, &[]).await, [at(index, What::TileMissing { level, tile })]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_a_hash_of_the_edge_that_was_changed() {
    let edge = sample().await.blob("select edge from tree").await;
    assert_eq!(edge.len(), 32 * (52 + 2 + 1));
    for (position, index, level, hash) in
        [(0, 66_048, 0, 0), (51, 66_099, 0, 51), (52, 65_536, 1, 0), (53, 65_792, 1, 1), (54, 0, 2, 0)]
    {
        let found = damaged("update tree set edge = ?", &[&with_hash(edge.clone(), position)]).await;
        assert_eq!(found, [at(index, What::EdgeWrong { level, hash })]);
    }
    let cut = damaged("update tree set edge = ?", &[&edge[32..]]).await;
    assert!(matches!(&cut[..], [Finding { index: None, what: What::TreeUnreadable { .. } }]), "{cut:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tells_an_entry_from_the_tiles_when_several_are_damaged() {
    let sample = sample().await;
    let tile = sample.blob("select hashes from tile where level = 0 and \"index\" = 5").await;
    let upper = sample.blob("select hashes from tile where level = 1 and \"index\" = 0").await;
    sample.damage("update processed_log set data = ? where id = 300", &[b"x"]).await;
    sample
        .damage("update tile set hashes = ? where level = 0 and \"index\" = 5", &[&with_hash(tile, 9)])
        .await;
    sample.damage("update tile set hashes = ? where level = 1", &[&with_hash(upper, 200)]).await;
    let expected = [
        at(300, What::EntryChanged),
        at(5 * 256 + 9, What::TileWrong { level: 0, tile: 5, hash: 9 }),
        at(200 * 256, What::TileWrong { level: 1, tile: 0, hash: 200 }),
    ];
    assert_eq!(findings(&sample).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_an_entry_whose_tile_was_changed_with_it() {
    let sample = sample().await;
    let mut tile = sample.blob("select hashes from tile where level = 0 and \"index\" = 1").await;
    let leaf = Hash::leaf(b"x");
    tile[44 * 32..][..32].copy_from_slice(&leaf.0);
    sample.damage("update processed_log set data = ? where id = 300", &[b"x"]).await;
    sample.damage("update tile set hashes = ? where level = 0 and \"index\" = 1", &[&tile]).await;
    let tile_wrong = at(300, What::TileWrong { level: 0, tile: 1, hash: 44 });
    assert_eq!(findings(&sample).await, [at(300, What::EntryChanged), tile_wrong]);
    // With the stored leaf hash gone too, nothing says which of the tile's entries it was. Its checkpoint does not either.
    sample.damage("update processed_log set leaf_hash = ? where id = 300", &[&leaf.0]).await;
    let found = findings(&sample).await;
    assert_eq!(found.first(), Some(&at(256, What::EntriesChanged { last: 511 })), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_a_history_that_was_rewritten_throughout() {
    let original = sample().await;
    let mut rewritten = SampleLog::empty().await;
    let changed = |index| if index == 300 { b"x".to_vec() } else { entry(index) };
    for sizes in [0..100, 100..1_000, 1_000..65_536, 65_536..65_700, 65_700..SIZE] {
        rewritten.append(sizes.map(changed)).await;
    }
    for (read, write) in [
        ("select note from checkpoint where size = 1000", "update checkpoint set note = ? where size = 1000"),
        (
            "select note from checkpoint where size = 66100",
            "update checkpoint set note = ? where size = 66100",
        ),
    ] {
        rewritten.damage(write, &[&original.blob(read).await]).await;
    }
    // Two heads that contradict each other, each with the log's signature: the larger ones alone would be clean.
    let found = findings(&rewritten).await;
    let expected = [
        checkpoint(What::CheckpointRootWrong { size: 1_000 }),
        at(65_700, What::CheckpointRootWrong { size: SIZE }),
    ];
    assert_eq!(found, expected);
    for (read, write) in [
        (
            "select note from checkpoint where size = 65536",
            "update checkpoint set note = ? where size = 65536",
        ),
        (
            "select note from checkpoint where size = 65700",
            "update checkpoint set note = ? where size = 65700",
        ),
    ] {
        rewritten.damage(write, &[&original.blob(read).await]).await;
    }
    let expected = [1_000, 65_536, 65_700, SIZE].map(|size| at(100, What::CheckpointRootWrong { size }));
    assert_eq!(findings(&rewritten).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_a_checkpoint_with_another_root() {
    let root = Hash([9; 32]);
    let small = damaged("update checkpoint set note = ? where size = 1000", &[&signed(1_000, root)]).await;
    assert_eq!(small, [checkpoint(What::CheckpointRootWrong { size: 1_000 })]);
    let newest = damaged("update checkpoint set note = ? where size = 66100", &[&signed(SIZE, root)]).await;
    assert_eq!(newest, [at(65_700, What::CheckpointRootWrong { size: SIZE })]);
    // An entry that was changed besides is still found, if not for certain which of the two it was.
    let sample = sample().await;
    sample.damage("update checkpoint set note = ? where size = 66100", &[&signed(SIZE, root)]).await;
    sample.damage("update processed_log set data = ? where id = 300", &[b"x"]).await;
    let expected = [at(300, What::EntryChanged), at(65_700, What::CheckpointRootWrong { size: SIZE })];
    assert_eq!(findings(&sample).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_checkpoint_may_have_any_size() {
    let sample = sample().await;
    for (size, statement) in [
        (777, "insert into checkpoint (log_id, size, note) values (1, 777, ?)"),
        (65_537, "insert into checkpoint (log_id, size, note) values (1, 65537, ?)"),
        (66_049, "insert into checkpoint (log_id, size, note) values (1, 66049, ?)"),
    ] {
        let note = signed(size, head(&sample, size).await.root);
        sample.damage(statement, &[&note]).await;
    }
    assert_eq!(findings(&sample).await, []);
    let wrong = signed(778, head(&sample, 777).await.root);
    sample.damage("insert into checkpoint (log_id, size, note) values (1, 778, ?)", &[&wrong]).await;
    assert_eq!(findings(&sample).await, [checkpoint(What::CheckpointRootWrong { size: 778 })]);
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_a_signature_that_the_logs_key_did_not_make() {
    let sample = sample().await;
    let note = sample.blob("select note from checkpoint where size = 1000").await;
    let text = String::from_utf8(note).unwrap();
    let root = text.lines().nth(2).unwrap();
    let other_root = text.replacen(root, &Hash([9; 32]).to_string(), 1);
    // A character in the middle of the signature's base64.
    let place = text.len() - 40;
    let flipped = if &text[place..=place] == "A" { "B" } else { "A" };
    let flipped = format!("{}{flipped}{}", &text[..place], &text[place + 1..]);
    let other = attestlog_tests::sample_log::secret().signing_key("example.com/other").unwrap();
    let other = Checkpoint::sign(&other, TreeSize(1_000), Hash([9; 32])).unwrap().format();
    for note in [other_root, flipped, other] {
        let found = damaged("update checkpoint set note = ? where size = 1000", &[note.as_bytes()]).await;
        assert!(
            matches!(
                &found[..],
                [Finding { index: None, what: What::CheckpointSignatureWrong { size: 1_000, .. } }]
            ),
            "{found:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_a_checkpoint_that_cannot_be_read_or_has_another_size() {
    let found = damaged("update checkpoint set note = ? where size = 1000", &[b"no note"]).await;
    assert!(
        matches!(&found[..], [Finding { index: None, what: What::CheckpointMalformed { size: 1_000, .. } }]),
        "{found:?}"
    );
    let moved = damaged("update checkpoint set size = 999 where size = 1000", &[]).await;
    assert_eq!(moved, [checkpoint(What::CheckpointSizeWrong { size: 999, signed: 1_000 })]);
    let empty = damaged("update checkpoint set note = ? where size = 0", &[b"no note"]).await;
    assert!(matches!(&empty[..], [Finding { what: What::CheckpointMalformed { size: 0, .. }, .. }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_checkpoint_is_the_one_that_the_tree_names() {
    let missing = damaged("delete from checkpoint where size = 66100", &[]).await;
    assert_eq!(missing, [checkpoint(What::CheckpointMissing { size: SIZE })]);
    let beyond = damaged("update tree set signed_size = 65700", &[]).await;
    assert_eq!(beyond, [checkpoint(What::CheckpointBeyondTree { size: SIZE, signed: 65_700 })]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tree_extends_what_was_published() {
    let sample = sample().await;
    for size in [0, 1, 777, 65_536, 65_537, SIZE] {
        let published = head(&sample, size).await;
        assert_eq!(report_with(&sample, Some(published)).await.findings, []);
    }
    let other = TreeHead { size: TreeSize(777), root: Hash([9; 32]) };
    let found = report_with(&sample, Some(other)).await.findings;
    assert_eq!(found, [checkpoint(What::PublishedRootWrong { size: 777 })]);
    let beyond = TreeHead { size: TreeSize(SIZE + 1), root: Hash([9; 32]) };
    let found = report_with(&sample, Some(beyond)).await.findings;
    assert_eq!(found, [at(SIZE, What::PublishedBeyondTree { size: SIZE + 1, found: SIZE })]);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_wait_for_the_tree_are_no_damage_but_a_gap_is() {
    let sample = sample().await;
    let insert = "insert into processed_log (log_id, id, source_id, appended_at, leaf_hash, data)
                  values (1, 66100, 999999, 0, ?, ?)";
    sample.damage(insert, &[&Hash::leaf(b"x").0, b"x"]).await;
    let report = report(&sample).await;
    assert_eq!((report.entries_beyond_tree, report.findings), (1, vec![]));
    sample.damage("update processed_log set id = 66103 where id = 66100", &[]).await;
    assert_eq!(findings(&sample).await, [at(SIZE, What::EntryMissing { count: 3 })]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_the_lowest_findings_and_counts_all() {
    let sample = sample().await;
    sample.damage("update processed_log set leaf_hash = ? where id >= 5000", &[&[7; 32]]).await;
    let options = Options { workers: 2, findings: 3, published: None };
    let report = check(sample.store.clone(), &sample.log, options, Progress::default()).await.unwrap();
    assert_eq!(report.findings_total, SIZE - 5_000);
    assert_eq!(report.findings, [5_000, 5_001, 5_002].map(|index| at(index, What::LeafHashWrong)));
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_early_when_asked_to() {
    let sample = sample().await;
    let progress = Progress::default();
    progress.stop.cancel();
    let ended = check(sample.store.clone(), &sample.log, Options::default(), progress).await;
    assert!(matches!(ended, Err(FsckError::Cancelled)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_grows_meanwhile_is_clean() {
    let mut sample = SampleLog::with_checkpoints(&[60_000]).await;
    let (store, log) = (sample.store.clone(), sample.log.clone());
    let growing = tokio::spawn(async move {
        for size in (60_500..=70_000).step_by(500) {
            sample.grow_to(size).await;
        }
        Arc::new(sample)
    });
    while !growing.is_finished() {
        let report = check(store.clone(), &log, Options::default(), Progress::default()).await.unwrap();
        assert_eq!(report.findings, [], "at {}", report.size);
    }
    growing.await.unwrap();
}
