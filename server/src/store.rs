//! What Attestlog asks of a database: one interface, and PostgreSQL and SQLite behind it.
//!
//! Only the two stores below it contain SQL. Only the sequencer calls [`Store::begin_batch`].

use std::collections::HashMap;
use std::ops::Range;

use async_trait::async_trait;
use attestlog_core::{FullTile, Hash, LeafIndex, RightEdge, TileId, TreeSize};
use bytes::Bytes;

mod entry_bundle;
pub mod postgres;
pub mod search;
pub mod sqlite;

pub use search::SearchStore;

/// The number of a log within its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId(pub i64);

/// What an append returns: it leads to the entry's index once the entry has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub i64);

/// What a log takes as an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Events {
    /// Any bytes.
    Any,
    /// JSON with the fields that an audit event must have.
    Strict,
}

/// A log as it was made; nothing of it ever changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Its number in this database.
    pub id: LogId,
    /// The last part of its address.
    pub name: String,
    /// Its identity for everyone who verifies it.
    pub origin: String,
    /// Its public key, as signed-note writes it.
    pub vkey: String,
    /// What it takes as an entry.
    pub events: Events,
}

/// A log to be made.
#[derive(Clone, Debug)]
pub struct NewLog {
    /// Lowercase letters, digits, `.`, `_` and `-`, at most 63; begins with a letter or a digit.
    pub name: String,
    /// 1 to 255 bytes.
    pub origin: String,
    /// The public key that belongs to the origin.
    pub vkey: String,
    /// What it takes as an entry.
    pub events: Events,
    /// The signed checkpoint of the empty tree.
    pub checkpoint: Vec<u8>,
}

/// An entry to be appended.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// To which log.
    pub log: LogId,
    /// 1 to 65,535 bytes: the leaf.
    pub data: Vec<u8>,
    /// 1 to 255 bytes, unique in its log: a second append with it is the first one again.
    pub idempotency_key: Option<String>,
}

/// What became of an entry that was to be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is durable. With an idempotency key this may be the ticket of an earlier append.
    Ticket(Ticket),
    /// Nothing was stored: the idempotency key belongs to another entry.
    KeyReused,
}

/// Where a ticket's entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketState {
    /// It is durable, and has no index yet.
    Accepted(LogId),
    /// It is an entry of the tree, though a checkpoint may not cover it yet.
    Processed(LogId, LeafIndex),
}

/// A row that a batch added to `processed_log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessedEntry {
    /// The log.
    pub log: LogId,
    /// The index that it was given.
    pub index: LeafIndex,
    /// What its append returned.
    pub ticket: Ticket,
    /// The entry.
    pub data: Bytes,
    /// The hash that the database computed and stored; `None` if it leaves that to the server.
    pub leaf_hash: Option<Hash>,
}

/// The tree of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// The log.
    pub log: LogId,
    /// The size, and the partial tiles.
    pub edge: RightEdge,
    /// The size of the newest checkpoint.
    pub signed_size: TreeSize,
}

/// What a batch changes in one tree.
#[derive(Clone, Debug)]
pub struct TreeChange {
    /// The log.
    pub log: LogId,
    /// The size that was read; if it has changed since, nothing is written.
    pub old_size: TreeSize,
    /// The edge after the batch.
    pub edge: RightEdge,
    /// The tiles that the batch filled.
    pub full_tiles: Vec<FullTile>,
    /// The signed checkpoint of the tree after the batch, if one is due.
    pub checkpoint: Option<Vec<u8>>,
}

/// A checkpoint as it is stored and served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// The size of its tree, for finding it; what counts is in the note.
    pub size: TreeSize,
    /// The signed note.
    pub note: Vec<u8>,
}

/// What is still to be processed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backlog {
    /// The number of rows, counted no further than was asked for.
    pub rows: u64,
    /// The seconds that the oldest of them has waited; 0 if there is none.
    pub oldest_seconds: f64,
}

/// What a caller does about a failure of the database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It cannot be reached, or broke the connection: try again later. What was asked may or may not have happened.
    #[error("the database is not available: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// It has no room left: nothing was stored.
    #[error("the database has no room left: {0}")]
    Full(#[source] sqlx::Error),
    /// Another transaction holds what this one needs, longer than it may wait: try again.
    #[error("the database is busy: {0}")]
    Busy(#[source] sqlx::Error),
    /// A log with this name or this origin exists.
    #[error("a log with the name \"{name}\" or the origin \"{origin}\" exists already")]
    LogExists {
        /// The name that was asked for.
        name: String,
        /// The origin that was asked for.
        origin: String,
    },
    /// Another server has extended a tree since it was read: read it again.
    #[error("another server has extended the tree of log {0:?} meanwhile")]
    TreeMoved(LogId),
    /// The database holds something that this program never writes.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// The statement was refused: missing rights, a schema of another version, a defect.
    #[error("the database refused: {0}")]
    Refused(#[source] sqlx::Error),
    /// The schema could not be brought to this program's version.
    #[error("the schema cannot be migrated: {0}")]
    Migration(#[source] sqlx::migrate::MigrateError),
}

/// The most bytes of entries that one call returns, beyond the first entry.
pub const MAX_READ_BYTES: usize = 16 * 1024 * 1024;

/// Receives entries in order: index, entry, and the leaf hash that is stored beside it.
pub type EntrySink<'a> = &'a mut (dyn FnMut(LeafIndex, &[u8], &[u8]) + Send);

/// A database that holds logs.
#[async_trait]
pub trait Store: std::fmt::Debug + Send + Sync + 'static {
    /// Brings the schema to this program's version; safe to call from many processes at once.
    async fn migrate(&self) -> Result<(), StoreError>;

    /// Whether the schema has this program's version; false for an empty database.
    async fn is_migrated(&self) -> Result<bool, StoreError>;

    /// Settings of the database under which acknowledged entries could be lost, each as a sentence for its operator.
    async fn durability_warnings(&self) -> Result<Vec<String>, StoreError>;

    /// Makes a log with an empty tree and its checkpoint, in one transaction.
    async fn create_log(&self, new: &NewLog) -> Result<Log, StoreError>;

    /// All logs in the order of their names, each with the size of its newest checkpoint.
    async fn logs(&self) -> Result<Vec<(Log, TreeSize)>, StoreError>;

    /// The log of this name.
    async fn log(&self, name: &str) -> Result<Option<Log>, StoreError>;

    /// Appends all entries in one transaction, and returns once they are durable: one answer an entry, in order.
    async fn append(&self, entries: &[NewEntry]) -> Result<Vec<Appended>, StoreError>;

    /// What is still to be processed, counted up to `most` rows.
    async fn backlog(&self, most: u32) -> Result<Backlog, StoreError>;

    /// Begins the transaction that processes a batch; `None` while another server is in one.
    async fn begin_batch(&self) -> Result<Option<Box<dyn Batch>>, StoreError>;

    /// Where the entries of these tickets are; a ticket that was never given, or rolled back, has no answer.
    async fn tickets(&self, tickets: &[Ticket]) -> Result<HashMap<Ticket, TicketState>, StoreError>;

    /// The log and the index of those of these tickets whose entries have been processed.
    async fn processed(&self, tickets: &[Ticket]) -> Result<HashMap<Ticket, (LogId, LeafIndex)>, StoreError>;

    /// The newest checkpoint.
    async fn checkpoint(&self, log: LogId) -> Result<Option<StoredCheckpoint>, StoreError>;

    /// Up to `limit` checkpoints of at least size `from`, the smallest first.
    async fn checkpoints(
        &self,
        log: LogId,
        from: TreeSize,
        limit: u32,
    ) -> Result<Vec<StoredCheckpoint>, StoreError>;

    /// The tree as it stands, which may be larger than the newest checkpoint's.
    async fn tree(&self, log: LogId) -> Result<Option<Tree>, StoreError>;

    /// Those of these full tiles that exist, each 8,192 bytes.
    async fn tiles(&self, log: LogId, tiles: &[TileId]) -> Result<HashMap<TileId, Vec<u8>>, StoreError>;

    /// The entries from `from` on: at most `limit`, and no more than the first beyond [`MAX_READ_BYTES`].
    async fn entries(&self, log: LogId, from: LeafIndex, limit: u32) -> Result<Vec<Vec<u8>>, StoreError>;

    /// The entries of a range of at most 256, as an entry bundle has them; `None` if the log ends before the range does.
    /// Fails with [`StoreError::Damaged`] if one is missing before a later one.
    async fn entry_bundle(&self, log: LogId, range: Range<u64>) -> Result<Option<Vec<u8>>, StoreError>;

    /// Reads the entries of a range, which may be large, in order and in bounded memory. Entries that are missing are
    /// skipped: the sink sees the gap in the indexes.
    async fn scan(&self, log: LogId, range: Range<u64>, sink: EntrySink<'_>) -> Result<(), StoreError>;

    /// The search index.
    fn search(&self) -> &dyn SearchStore;

    /// Closes all connections, after the statements in hand.
    async fn close(&self);
}

/// A transaction that processes a batch and holds the lock; dropped without a commit, it changes nothing.
#[async_trait]
pub trait Batch: Send {
    /// The first entries of each log that are in `processed_log` and not in its tree, at most `limit` in all, ordered
    /// by log and index: there are none unless someone else has called `process_next_batch`.
    async fn entries_beyond_trees(&mut self, limit: u32) -> Result<Vec<ProcessedEntry>, StoreError>;

    /// Moves the next rows to `processed_log`, at most `max_rows` of them and about 16 MB, and returns them, ordered by
    /// log and index. If `look_at_everything`, nothing is inferred from earlier calls about where new rows are.
    async fn process_next_batch(
        &mut self,
        max_rows: u32,
        look_at_everything: bool,
    ) -> Result<Vec<ProcessedEntry>, StoreError>;

    /// The trees of these logs.
    async fn trees(&mut self, logs: &[LogId]) -> Result<Vec<Tree>, StoreError>;

    /// The trees that have grown past their newest checkpoint, at most `limit`.
    async fn unsigned_trees(&mut self, limit: u32) -> Result<Vec<Tree>, StoreError>;

    /// Writes tiles, edges and checkpoints. Fails with [`StoreError::TreeMoved`], and is of no further use, unless
    /// every tree still has its old size.
    async fn write(&mut self, changes: &[TreeChange]) -> Result<(), StoreError>;

    /// Makes all of it durable and visible at once.
    async fn commit(self: Box<Self>) -> Result<(), StoreError>;
}
