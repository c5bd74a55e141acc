//! What `fsck` finds: each thing that is wrong, where, and the report over all of them.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use attestlog_core::{TILE_WIDTH, TileId};
use serde::Serialize;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The first entry that is wrong, or that what is wrong stands for; `None` if no entry is in doubt.
    pub index: Option<u64>,
    /// What is wrong there.
    #[serde(flatten)]
    pub what: What,
}

/// What can be wrong. A checkpoint is named by the size under which it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum What {
    /// The entry is not the one that was logged.
    EntryChanged,
    /// Some entries from the index on are not those that were logged, and neither are the hashes over them: which of
    /// them cannot be told.
    EntriesChanged {
        /// The last entry that may be wrong.
        last: u64,
    },
    /// The entry is the one that was logged, and the leaf hash that is stored beside it is not its own.
    LeafHashWrong,
    /// There are no entries where the tree has some.
    EntryMissing {
        /// The number of them in a row, from the index on.
        count: u64,
    },
    /// A hash of a full tile is not that of what it stands for.
    TileWrong {
        /// The level of the tile.
        level: u8,
        /// Its position in the level.
        tile: u64,
        /// The position of the hash in the tile.
        hash: u64,
    },
    /// There is no tile where the tree has a full one, or its bytes are not 256 hashes.
    TileMissing {
        /// The level of the tile.
        level: u8,
        /// Its position in the level.
        tile: u64,
    },
    /// A hash of a partial tile, which the tree's row has, is not that of what it stands for.
    EdgeWrong {
        /// The level of the tile.
        level: u8,
        /// The position of the hash in the tile.
        hash: u64,
    },
    /// The tree's row cannot be read.
    TreeUnreadable {
        /// Why.
        reason: String,
    },
    /// The checkpoint has another root than the entries. The index is the first one that no right checkpoint covers;
    /// there is none if a larger checkpoint is right.
    CheckpointRootWrong {
        /// The size of the checkpoint.
        size: u64,
    },
    /// The log's key has not signed the checkpoint.
    CheckpointSignatureWrong {
        /// The size of the checkpoint.
        size: u64,
        /// What is wrong with the signature.
        reason: String,
    },
    /// The checkpoint cannot be read.
    CheckpointMalformed {
        /// The size of the checkpoint.
        size: u64,
        /// What is wrong with the text.
        reason: String,
    },
    /// The signed note is that of another size.
    CheckpointSizeWrong {
        /// The size of the checkpoint.
        size: u64,
        /// The size in the note.
        signed: u64,
    },
    /// The tree's row speaks of a newest checkpoint that is not there.
    CheckpointMissing {
        /// The size of the checkpoint.
        size: u64,
    },
    /// There is a newer checkpoint than the tree's row says.
    CheckpointBeyondTree {
        /// The size of the checkpoint.
        size: u64,
        /// The size of the newest one by the tree's row.
        signed: u64,
    },
    /// A head was published that the entries do not lead to.
    PublishedRootWrong {
        /// The size that was published.
        size: u64,
    },
    /// A head was published that is larger than the tree: the database is older than the log.
    PublishedBeyondTree {
        /// The size that was published.
        size: u64,
        /// The size of the tree.
        found: u64,
    },
}

impl Finding {
    pub(super) const fn entry(index: u64, what: What) -> Self {
        Self { index: Some(index), what }
    }

    /// Hash `hash` of a tile, which is a partial one in a tree of `size` or a full one.
    pub(super) fn hash(id: TileId, hash: usize, size: u64) -> Self {
        let (level, hash) = (id.level, hash as u64);
        let node = id.index.saturating_mul(TILE_WIDTH as u64).saturating_add(hash);
        let index = node.checked_shl(8 * u32::from(level)).unwrap_or(u64::MAX);
        let full = id.width(attestlog_core::TreeSize(size)) == TILE_WIDTH;
        let what = if full {
            What::TileWrong { level, tile: id.index, hash }
        } else {
            What::EdgeWrong { level, hash }
        };
        Self::entry(index, what)
    }

    pub(super) fn missing_tile(id: TileId) -> Self {
        let index = id.index.checked_shl(8 * (u32::from(id.level) + 1)).unwrap_or(u64::MAX);
        Self::entry(index, What::TileMissing { level: id.level, tile: id.index })
    }

    pub(super) const fn checkpoint(what: What) -> Self {
        Self { index: None, what }
    }

    /// Where it belongs among the others: by entry; a checkpoint comes after the entries that it covers.
    fn position(&self) -> (u64, Option<u64>) {
        let size = self.what.size();
        (self.index.or(size).unwrap_or(0), size)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(index) = self.index else { return self.what.fmt(f) };
        match &self.what {
            What::EntryChanged => write!(f, "entry {index} is not the one that was logged"),
            What::EntriesChanged { last } => write!(
                f,
                "of the entries {index} to {last} some are not those that were logged, and the hashes over them were \
                 changed as well"
            ),
            What::LeafHashWrong => {
                write!(f, "the leaf hash of entry {index} is not that of its bytes, which are unchanged")
            }
            What::EntryMissing { count: 1 } => write!(f, "entry {index} is missing"),
            What::EntryMissing { count } => {
                write!(f, "entries {index} to {} are missing", index.saturating_add(count - 1))
            }
            What::CheckpointRootWrong { size } => write!(
                f,
                "the checkpoint of size {size} has another root than the entries: from entry {index} on no checkpoint \
                 proves them"
            ),
            what => write!(f, "{what}, from entry {index} on"),
        }
    }
}

impl What {
    /// The size of the checkpoint or head that it is about.
    const fn size(&self) -> Option<u64> {
        match self {
            Self::CheckpointRootWrong { size }
            | Self::CheckpointSignatureWrong { size, .. }
            | Self::CheckpointMalformed { size, .. }
            | Self::CheckpointSizeWrong { size, .. }
            | Self::CheckpointMissing { size }
            | Self::CheckpointBeyondTree { size, .. }
            | Self::PublishedRootWrong { size }
            | Self::PublishedBeyondTree { size, .. } => Some(*size),
            _ => None,
        }
    }
}

/// What is wrong, without the index.
impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EntryChanged | Self::EntriesChanged { .. } => f.write_str("entries were changed"),
            Self::LeafHashWrong => f.write_str("a stored leaf hash is wrong"),
            Self::EntryMissing { count } => write!(f, "{count} entries are missing"),
            Self::TileWrong { level, tile, hash } => write!(f, "hash {hash} of tile {level}/{tile} is wrong"),
            Self::TileMissing { level, tile } => write!(f, "tile {level}/{tile} is missing"),
            Self::EdgeWrong { level, hash } => {
                write!(f, "hash {hash} of the tree's edge at level {level} is wrong")
            }
            Self::TreeUnreadable { reason } => write!(f, "the tree's row cannot be read: {reason}"),
            Self::CheckpointRootWrong { size } => write!(
                f,
                "the checkpoint of size {size} has another root than the entries, which a larger checkpoint proves"
            ),
            Self::CheckpointSignatureWrong { size, reason } => {
                write!(f, "the signature of the checkpoint of size {size} is wrong: {reason}")
            }
            Self::CheckpointMalformed { size, reason } => {
                write!(f, "the checkpoint of size {size} is malformed: {reason}")
            }
            Self::CheckpointSizeWrong { size, signed } => {
                write!(f, "the checkpoint that is stored for size {size} is signed for size {signed}")
            }
            Self::CheckpointMissing { size } => write!(f, "the checkpoint of size {size} is missing"),
            Self::CheckpointBeyondTree { size, signed } => write!(
                f,
                "there is a checkpoint of size {size}, and by the tree's row the newest is that of size {signed}"
            ),
            Self::PublishedRootWrong { size } => {
                write!(f, "the head of size {size} that was published has another root than the entries")
            }
            Self::PublishedBeyondTree { size, found } => write!(
                f,
                "a head of size {size} was published, and the tree has {found} entries: the database is older than \
                 the log"
            ),
        }
    }
}

/// What was checked, and what is wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The log's name.
    pub log: String,
    /// The log's origin.
    pub origin: String,
    /// The size of the tree that was checked.
    pub size: u64,
    /// The size of its newest checkpoint.
    pub signed_size: u64,
    /// The entries that were read.
    pub entries: u64,
    /// The bytes of those entries.
    pub bytes: u64,
    /// The full tiles that were compared.
    pub tiles: u64,
    /// The checkpoints that were compared.
    pub checkpoints: u64,
    /// The entries that are not in the tree yet, counted up to 256. That is not wrong: the next batch adds them.
    pub entries_beyond_tree: u64,
    /// The time it took.
    pub seconds: f64,
    /// All that is wrong, also what is not listed.
    pub findings_total: u64,
    /// What is wrong, the lowest index first; no more than was asked for.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.findings_total == 0
    }
}

/// Collects findings of many workers, and keeps the lowest.
#[derive(Debug)]
pub(super) struct Findings {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    total: u64,
    lowest: Vec<Finding>,
    /// The size of the largest checkpoint that is right.
    proven: u64,
}

impl Findings {
    pub(super) fn up_to(limit: usize) -> Self {
        Self { limit, state: Mutex::default() }
    }

    pub(super) fn add(&self, finding: Finding) {
        let mut state = self.lock();
        state.total += 1;
        state.lowest.push(finding);
        // Sorted rarely, however many there are.
        if state.lowest.len() >= 2 * self.limit + 1024 {
            state.keep_lowest(self.limit);
        }
    }

    /// A checkpoint of this size is right in every respect.
    pub(super) fn proven(&self, size: u64) {
        let mut state = self.lock();
        state.proven = state.proven.max(size);
    }

    /// How many there are, and the lowest.
    pub(super) fn finish(&self) -> (u64, Vec<Finding>) {
        let mut state = std::mem::take(&mut *self.lock());
        let proven = state.proven;
        for finding in &mut state.lowest {
            let (What::CheckpointRootWrong { size } | What::PublishedRootWrong { size }) = finding.what
            else {
                continue;
            };
            finding.index = Some(proven).filter(|&proven| proven < size);
        }
        state.keep_lowest(self.limit);
        (state.total, state.lowest)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Each holder leaves the list whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn keep_lowest(&mut self, limit: usize) {
        self.lowest.sort_by_key(Finding::position);
        self.lowest.truncate(limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_lowest_of_many() {
        let findings = Findings::up_to(3);
        for index in (0..10_000).rev() {
            findings.add(Finding::entry(index, What::EntryChanged));
        }
        let (total, lowest) = findings.finish();
        let lowest: Vec<_> = lowest.into_iter().filter_map(|finding| finding.index).collect();
        assert_eq!((total, lowest), (10_000, vec![0, 1, 2]));
    }

    #[test]
    fn a_wrong_root_puts_entries_in_doubt_only_if_no_larger_checkpoint_is_right() {
        let findings = Findings::up_to(9);
        for size in [5, 9] {
            findings.add(Finding::checkpoint(What::CheckpointRootWrong { size }));
        }
        findings.proven(7);
        let (_, lowest) = findings.finish();
        let indexes: Vec<_> = lowest.into_iter().map(|finding| finding.index).collect();
        assert_eq!(indexes, [None, Some(7)]);
    }

    #[test]
    fn a_finding_is_json_with_its_kind_and_index() {
        let finding = Finding::hash(TileId { level: 1, index: 2 }, 3, 1 << 20);
        assert_eq!(
            serde_json::to_string(&finding).unwrap(),
            r#"{"index":131840,"kind":"tile_wrong","level":1,"tile":2,"hash":3}"#
        );
        assert_eq!(finding.to_string(), "hash 3 of tile 1/2 is wrong, from entry 131840 on");
    }
}
