//! Reads of whole logs of many sizes from their tiles: what is proven, and every way to spoil an answer.

#![expect(clippy::unwrap_used, reason = "what a test makes is right, or the test fails")]

use std::collections::BTreeSet;
use std::ops::Range;

use attestlog_core::{
    Error, Hash, LeafIndex, LogRead, NodeId, ParseError, TileId, TilePath, TreeHead, TreeSize, VerifyError,
    format_bundle, format_tile, peaks, root_of_peaks,
};
use proptest::prelude::*;

/// A log as it is served: its entries and the rows of its tree.
struct Log {
    entries: Vec<Vec<u8>>,
    rows: Vec<Vec<Hash>>,
}

impl Log {
    fn of(size: u64) -> Self {
        Self::with(size, |index| format!("entry {index}").into_bytes())
    }

    fn with(size: u64, entry: impl Fn(u64) -> Vec<u8>) -> Self {
        let entries: Vec<Vec<u8>> = (0..size).map(entry).collect();
        let mut rows = vec![Hash::leaves(entries.iter().map(Vec::as_slice))];
        while let Some(below) = rows.last().filter(|below| below.len() > 1) {
            rows.push(below.as_chunks().0.iter().map(|[left, right]| Hash::node(left, right)).collect());
        }
        Self { entries, rows }
    }

    fn hash(&self, node: NodeId) -> Hash {
        self.rows[usize::from(node.level)][usize::try_from(node.index).unwrap()]
    }

    /// The head of the first `size` entries.
    fn head(&self, size: u64) -> TreeHead {
        let hashes: Vec<Hash> = peaks(TreeSize(size)).into_iter().map(|peak| self.hash(peak)).collect();
        TreeHead { size: TreeSize(size), root: root_of_peaks(&hashes) }
    }

    /// The body under a path; all that the log has is there, no more.
    fn answer(&self, path: TilePath) -> Vec<u8> {
        match path {
            TilePath::Entries { index, width } => {
                let run = run_of(index, width);
                format_bundle(self.entries[run].iter().map(Vec::as_slice)).unwrap()
            }
            TilePath::Hashes { tile, width } => {
                format_tile(&self.rows[8 * usize::from(tile.level)][run_of(tile.index, width)])
            }
        }
    }

    fn answers(&self, paths: &[TilePath]) -> Vec<Vec<u8>> {
        paths.iter().map(|path| self.answer(TilePath::parse(&path.to_string()).unwrap())).collect()
    }
}

fn run_of(index: u64, width: usize) -> Range<usize> {
    let first = usize::try_from(index).unwrap() * 256;
    first..first + width
}

fn plan(range: &Range<u64>, size: u64) -> LogRead {
    LogRead::entries(LeafIndex(range.start)..LeafIndex(range.end), TreeSize(size)).unwrap()
}

fn texts(paths: &[TilePath]) -> Vec<String> {
    paths.iter().map(TilePath::format).collect()
}

/// Every list of answers that differs from `answers` in one bit of one of them, one byte or one hash less or more of
/// one of them, one of them less, or one more.
fn spoiled(answers: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    for at in 0..answers.len() {
        let mut change = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut changed = answers.to_vec();
            change(&mut changed[at]);
            all.push(changed);
        };
        change(&|answer| answer.truncate(answer.len() - 1));
        change(&|answer| answer.truncate(answer.len().saturating_sub(32)));
        change(&|answer| answer.push(0));
        change(&|answer| answer.extend([0; 32]));
        change(&Vec::clear);
        let mut fewer = answers.to_vec();
        fewer.remove(at);
        all.push(fewer);
    }
    all.push([answers, &[vec![]]].concat());
    all
}

/// Asks for `range` and checks what comes of right answers and of wrong ones.
fn check_read(log: &Log, size: u64, range: &Range<u64>) {
    let (read, head) = (plan(range, size), log.head(size));
    let paths = read.paths();
    let answers = log.answers(read.paths());
    let unique: BTreeSet<String> = texts(read.paths()).into_iter().collect();
    assert_eq!(unique.len(), paths.len(), "{range:?} of {size}: a path comes twice");

    let entries = read.open_entries(&answers, &head).unwrap();
    let first = usize::try_from(range.start / 256 * 256).unwrap();
    assert_eq!(read.first(), LeafIndex(first as u64));
    let past = usize::try_from((range.end.div_ceil(256) * 256).min(size)).unwrap();
    assert_eq!(entries, log.entries[first..past], "{range:?} of {size}");

    for spoiled in spoiled(&answers) {
        assert!(matches!(read.open_entries(&spoiled, &head), Err(Error::Parse(_))), "{range:?} of {size}");
    }
    let forged = TreeHead { root: Hash::leaf(b"another"), ..head };
    assert_eq!(read.open_entries(&answers, &forged), Err(VerifyError::RootMismatch.into()));
    let other = TreeHead { size: TreeSize(size + 1), ..head };
    assert_eq!(read.open_entries(&answers, &other), Err(VerifyError::RootMismatch.into()));
}

#[test]
fn every_bundle_of_a_log_is_read_and_proven() {
    let log = Log::of(66_900);
    for size in
        [1, 2, 5, 255, 256, 257, 511, 512, 513, 773, 1024, 1300, 65_535, 65_536, 65_537, 66_309, 66_900]
    {
        let last: u64 = (size - 1) / 256;
        let bundles: BTreeSet<u64> = [0, 1, 2, 3, last / 2, 255, 256, last.saturating_sub(1), last].into();
        for bundle in bundles.into_iter().filter(|&bundle| bundle <= last) {
            let start = bundle * 256;
            for end in [start + 1, start + 256, start + 257, start + 1000].map(|end| end.min(size)) {
                check_read(&log, size, &(start..end));
                check_read(&log, size, &(end - 1..end));
            }
        }
    }
}

#[test]
fn no_changed_bit_of_an_entry_is_given_away() {
    let log = Log::of(600);
    let (read, head) = (plan(&(300..301), 600), log.head(600));
    let answers = log.answers(read.paths());
    for bit in 0..answers[0].len() * 8 {
        let mut changed = answers.clone();
        changed[0][bit / 8] ^= 1 << (bit % 8);
        assert!(read.open_entries(&changed, &head).is_err(), "bit {bit}");
    }
}

#[test]
fn a_read_asks_for_few_tiles() {
    assert_eq!(texts(plan(&(0..5), 5).paths()), ["tile/entries/000.p/5"]);
    assert_eq!(texts(plan(&(0..256), 256).paths()), ["tile/entries/000"]);
    assert_eq!(texts(plan(&(255..257), 512).paths()), ["tile/entries/000", "tile/entries/001"]);
    assert_eq!(texts(plan(&(7..8), 512).paths()), ["tile/entries/000", "tile/1/000.p/2"]);
    // The tail of five entries is beside the path, so its hashes are needed; the bundle's own are not.
    assert_eq!(texts(plan(&(7..8), 773).paths()), ["tile/entries/000", "tile/1/000.p/3", "tile/0/003.p/5"]);
    assert_eq!(texts(plan(&(772..773), 773).paths()), ["tile/entries/003.p/5", "tile/1/000.p/3"]);
    assert_eq!(
        texts(plan(&(70_000..70_001), 16_777_216).paths()),
        ["tile/entries/273", "tile/2/000", "tile/1/001"]
    );
}

#[test]
fn entries_of_no_bytes_and_of_the_most_are_read() {
    let log = Log::with(3, |index| vec![b'x'; [0, 65_535, 1][usize::try_from(index).unwrap()]]);
    check_read(&log, 3, &(0..3));
}

#[test]
fn ranges_beyond_the_tree_and_empty_ones_are_refused() {
    for (start, end, size) in [(0, 0, 0), (0, 1, 0), (0, 0, 5), (3, 2, 5), (0, 6, 5), (5, 6, 5), (5, 5, 5)] {
        let refused = LogRead::entries(LeafIndex(start)..LeafIndex(end), TreeSize(size));
        assert_eq!(refused.err(), Some(VerifyError::IndexBeyondTree), "[{start}, {end}) of {size}");
    }
}

#[test]
fn a_read_of_the_largest_tree_never_panics() {
    let none: [&[u8]; 0] = [];
    let numbers =
        [0, 1, 255, 256, 257, u64::MAX / 2, u64::MAX / 2 + 1, u64::MAX - 255, u64::MAX - 1, u64::MAX];
    let head = |size| TreeHead { size: TreeSize(size), root: Hash::EMPTY_ROOT };
    for a in numbers {
        for b in numbers {
            for size in numbers {
                if let Ok(read) = LogRead::entries(LeafIndex(a)..LeafIndex(b), TreeSize(size)) {
                    assert!((1..=65_536 + 32).contains(&read.paths().len()));
                    assert_eq!(read.open_entries(&none, &head(size)), Err(ParseError::Tile.into()));
                }
            }
            if let Ok(read) = LogRead::consistency(TreeSize(a), TreeSize(b)) {
                assert!(read.paths().len() <= 16);
                let _ = read.verify_consistency(&none, &head(a), &head(b));
            }
        }
    }
}

#[test]
fn every_older_tree_is_proven_from_tiles() {
    let log = Log::of(1300);
    for new in [1, 2, 3, 4, 5, 8, 255, 256, 257, 511, 512, 513, 1024, 1300] {
        for old in (0..=new)
            .filter(|old: &u64| new < 10 || old.is_multiple_of(29) || old.is_power_of_two() || new - old < 3)
        {
            let read = LogRead::consistency(TreeSize(old), TreeSize(new)).unwrap();
            let answers = log.answers(read.paths());
            let (old_head, new_head) = (log.head(old), log.head(new));
            assert_eq!(read.verify_consistency(&answers, &old_head, &new_head), Ok(()), "{old} to {new}");
            for spoiled in spoiled(&answers) {
                let refused = read.verify_consistency(&spoiled, &old_head, &new_head);
                assert_eq!(refused, Err(ParseError::Tile.into()), "{old} to {new}");
            }
        }
    }
}

#[test]
fn every_tile_is_proven_as_far_as_it_is_asked_for() {
    let log = Log::of(66_900);
    for size in [1, 2, 255, 256, 257, 600, 65_535, 65_536, 65_537, 66_900] {
        for (level, index) in [(0, 0), (0, 1), (0, 2), (0, 255), (0, 256), (0, 261), (1, 0), (1, 1), (2, 0)] {
            let tile = TileId { level, index };
            let most = tile.width(TreeSize(size));
            assert!(LogRead::tile(tile, most + 1, TreeSize(size)).is_err(), "{tile:?} of {size}");
            assert!(LogRead::tile(tile, 0, TreeSize(size)).is_err());
            for width in [1, 2, most / 2, most - most.min(1), most]
                .into_iter()
                .filter(|width| (1..=most).contains(width))
            {
                let read = LogRead::tile(tile, width, TreeSize(size)).unwrap();
                let (answers, head) = (log.answers(read.paths()), log.head(size));
                let hashes = read.open_tile(&answers, &head).unwrap();
                assert_eq!(format_tile(&hashes), answers[0], "{tile:?} of {size}");
                let mut changed = answers.clone();
                changed[0][32 * (width - 1)] ^= 1;
                assert_eq!(read.open_tile(&changed, &head), Err(VerifyError::RootMismatch.into()));
                for spoiled in spoiled(&answers) {
                    assert_eq!(read.open_tile(&spoiled, &head), Err(ParseError::Tile.into()));
                }
            }
        }
    }
    let beyond = TileId { level: 63, index: u64::MAX };
    assert!(LogRead::tile(beyond, 1, TreeSize(u64::MAX)).is_err());
}

#[test]
fn another_history_of_any_size_is_told_from_broken_tiles() {
    let log = Log::of(300);
    let forged = Hash::leaf(b"another");
    for (old, new) in [(1, 2), (1, 300), (2, 3), (3, 4), (128, 300), (256, 257), (256, 300), (299, 300)] {
        let read = LogRead::consistency(TreeSize(old), TreeSize(new)).unwrap();
        let answers = log.answers(read.paths());
        let (old_head, new_head) = (log.head(old), log.head(new));
        let rewritten = read.verify_consistency(&answers, &TreeHead { root: forged, ..old_head }, &new_head);
        assert_eq!(rewritten, Err(VerifyError::HistoryRewritten.into()), "{old} to {new}");
        let unproven = read.verify_consistency(&answers, &old_head, &TreeHead { root: forged, ..new_head });
        assert_eq!(unproven, Err(VerifyError::RootMismatch.into()), "{old} to {new}");
        let longer = TreeHead { size: TreeSize(old + 1), ..old_head };
        assert_eq!(
            read.verify_consistency(&answers, &longer, &new_head),
            Err(VerifyError::RootMismatch.into())
        );
    }
    let (read, head) = (LogRead::consistency(TreeSize(300), TreeSize(300)).unwrap(), log.head(300));
    assert_eq!(read.paths().len(), 0);
    let same_size = read.verify_consistency(&[[0; 0]; 0], &TreeHead { root: forged, ..head }, &head);
    assert_eq!(same_size, Err(VerifyError::HistoryRewritten.into()));
    assert_eq!(LogRead::consistency(TreeSize(2), TreeSize(1)).err(), Some(VerifyError::TreeShrank));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_range_of_any_log_is_read(size in 1_u64..3000, from in any::<prop::sample::Index>(), count in 1_u64..700) {
        let start = from.index(usize::try_from(size).unwrap()) as u64;
        check_read(&Log::of(size), size, &(start..(start + count).min(size)));
    }

    #[test]
    fn answers_in_another_order_prove_nothing(size in 300_u64..3000, a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>()) {
        let log = Log::of(size);
        let read = plan(&(0..size), size);
        let mut answers = log.answers(read.paths());
        let (a, b) = (a.index(answers.len()), b.index(answers.len()));
        answers.swap(a, b);
        prop_assert_eq!(read.open_entries(&answers, &log.head(size)).is_ok(), a == b);
    }
}
