//! What the search index asks of a database: blocks of postings, how far they reach, and the entries behind them.
//!
//! The index is derived from `processed_log`. Only the indexer writes it, in transactions under a lock of their own.

use std::cmp::Ordering;

use async_trait::async_trait;
use attestlog_core::{LeafIndex, TreeSize};

use super::{LogId, StoreError};
use crate::search::{Block, Fields, Place, Term};

/// The entries that are read at once: at most 16 MB.
pub const EVENTS_AT_ONCE: usize = 250;

/// An entry, and when it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its index.
    pub index: LeafIndex,
    /// Microseconds since 1970.
    pub appended_at: i64,
    /// Its bytes.
    pub data: Vec<u8>,
}

impl StoredEvent {
    /// What is searched of it, and the time that it is found and ordered by, in microseconds since 1970: what it says,
    /// or else when it was appended.
    #[must_use]
    pub fn read(&self) -> (Fields, i64) {
        let fields = Fields::read(&self.data);
        let time = fields.occurred_at.unwrap_or(self.appended_at);
        (fields, time)
    }
}

/// A term, and from where on its postings are sought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seek {
    /// The term.
    pub term: Term,
    /// The place that they are before, or after.
    pub from: Place,
}

/// Which way postings are sought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From new to old.
    Older,
    /// From old to new.
    Newer,
}

impl Direction {
    /// The order of places in this direction: what comes first is less.
    #[must_use]
    pub fn order(self, a: Place, b: Place) -> Ordering {
        match self {
            Self::Older => b.cmp(&a),
            Self::Newer => a.cmp(&b),
        }
    }
}

/// How far the index of all logs is behind their trees.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SearchLag {
    /// The entries that are not in it.
    pub entries: u64,
    /// The seconds since the oldest of them was appended; 0 if there is none.
    pub seconds: f64,
}

/// A log with entries that the index does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unindexed {
    /// The log.
    pub log: LogId,
    /// The first of them.
    pub next: u64,
    /// The size of the tree.
    pub size: TreeSize,
}

/// What a block is in the index: whose, and the block.
pub type TermBlock = (Term, Block);

/// The search index of a database.
#[async_trait]
pub trait SearchStore: Send + Sync {
    /// The entries of a log with these indexes, in the order of the indexes; those that are missing are left out. Ask
    /// for at most [`EVENTS_AT_ONCE`].
    async fn events(&self, log: LogId, indexes: &[u64]) -> Result<Vec<StoredEvent>, StoreError>;

    /// The size of the part of a log that the index has.
    async fn indexed_size(&self, log: LogId) -> Result<TreeSize, StoreError>;

    /// How far the index is behind.
    async fn search_lag(&self) -> Result<SearchLag, StoreError>;

    /// For each term the blocks in which its postings beyond `from`, and not beyond `end`, can be: at most `most`, in
    /// the direction's order. If there are fewer, there are no more.
    async fn blocks(
        &self,
        log: LogId,
        seeks: &[Seek],
        direction: Direction,
        end: Place,
        most: u32,
    ) -> Result<Vec<Vec<Block>>, StoreError>;

    /// The blocks of a term that have these places, if the term has them, each block once, in no order.
    async fn blocks_at(&self, log: LogId, term: &Term, places: &[Place]) -> Result<Vec<Block>, StoreError>;

    /// The terms from `low` on and below `high`, in their order, at most `most`.
    async fn terms(&self, log: LogId, low: &Term, high: &Term, most: u32) -> Result<Vec<Term>, StoreError>;

    /// The entries that one transaction of the index should add: few where appends wait for it.
    fn entries_a_step(&self) -> u64;

    /// Begins a transaction that changes the index; `None` while another server is in one.
    async fn begin_indexing(&self) -> Result<Option<Box<dyn Indexing>>, StoreError>;
}

/// A transaction that changes the index and holds its lock; dropped without a commit, it changes nothing.
#[async_trait]
pub trait Indexing: Send {
    /// Logs with entries that the index does not have, at most `limit`.
    async fn unindexed(&mut self, limit: u32) -> Result<Vec<Unindexed>, StoreError>;

    /// The blocks that have these places, if their terms have them, each block once, in no order.
    async fn blocks_at(
        &mut self,
        log: LogId,
        places: &[(&Term, Place)],
    ) -> Result<Vec<TermBlock>, StoreError>;

    /// Adds blocks, and replaces those with the same term and first place as `changed`; the index has the entries below
    /// `next` then.
    async fn write(
        &mut self,
        log: LogId,
        new: &[TermBlock],
        changed: &[TermBlock],
        next: u64,
    ) -> Result<(), StoreError>;

    /// Forgets the index of a log.
    async fn clear(&mut self, log: LogId) -> Result<(), StoreError>;

    /// Makes all of it visible at once.
    async fn commit(self: Box<Self>) -> Result<(), StoreError>;
}
