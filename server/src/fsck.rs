//! Checks a whole log as it is stored: every entry, leaf hash, tile and checkpoint, in parallel and in bounded memory.
//!
//! A chunk is the 65,536 entries below one tile of level 1. First the roots of all chunks are read and settled against
//! the newest checkpoint (`roots`); then workers take one chunk after the other, read it (`chunk`), find who is
//! wrong where entries and tiles disagree (`blame`), and check the checkpoints whose size lies in it
//! (`checkpoints`). It reads the tree once and checks up to its size, so a server may be running. It repairs nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use attestlog_core::{
    Hash, LeafIndex, ParseError, RightEdge, SignedCheckpoint, TILE_WIDTH, TileId, TreeHead, TreeSize,
    VerifierKey, parse_tile,
};
use tokio::task::{JoinError, JoinSet};

use crate::progress::Progress;
use crate::store::{Log, Store, StoreError, StoredCheckpoint, Tree};
use finding::Findings;
use roots::{CHUNK, ChunkRoots};

mod blame;
mod checkpoints;
mod chunk;
mod finding;
mod roots;

pub use finding::{Finding, Report, What};

/// The entries beyond the tree that are counted.
const MOST_BEYOND_TREE: u64 = 256;

/// What to check, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The chunks that are checked at once; each takes about 8 MB.
    pub workers: usize,
    /// The most findings that are listed; all are counted.
    pub findings: usize,
    /// The last head that was published, if there is a record of it. Read it before the check begins.
    pub published: Option<TreeHead>,
}

impl Default for Options {
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self { workers, findings: 100, published: None }
    }
}

/// Why a log could not be checked; what is wrong with the log itself is a [`Finding`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FsckError {
    /// The database could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log's public key cannot be read, so no signature can be checked.
    #[error("the vkey of log \"{log}\" cannot be used: {error}")]
    Key {
        /// The log's name.
        log: String,
        /// What is wrong with it.
        error: ParseError,
    },
    /// The log has no tree.
    #[error("log \"{0}\" has no tree in this database")]
    NoTree(String),
    /// The caller asked to stop.
    #[error("the check was ended before it was complete")]
    Cancelled,
    /// A worker has ended.
    #[error("the check was interrupted: {0}")]
    Interrupted(#[from] JoinError),
}

/// What all workers share.
#[derive(Debug)]
struct Context {
    store: Arc<dyn Store>,
    log: Log,
    key: VerifierKey,
    edge: RightEdge,
    published: Option<TreeHead>,
    findings: Findings,
    progress: Progress,
    next_chunk: AtomicU64,
    bytes: AtomicU64,
    tiles: AtomicU64,
    checkpoints: AtomicU64,
}

/// Checks a log up to the size that its tree has now, and ends within the time of a chunk when `progress` is stopped.
/// `progress` must be new: the report counts by it. Needs a runtime with several threads to use several cores.
///
/// # Errors
/// [`FsckError`], if it could not be checked to the end.
pub async fn check(
    store: Arc<dyn Store>,
    log: &Log,
    options: Options,
    progress: Progress,
) -> Result<Report, FsckError> {
    let began = Instant::now();
    let key =
        VerifierKey::parse(&log.vkey).map_err(|error| FsckError::Key { log: log.name.clone(), error })?;
    let findings = Findings::up_to(options.findings);
    // Before the tree, so that a checkpoint beyond the tree is not one that was signed meanwhile.
    let newest = store.checkpoint(log.id).await?;
    let tree = match store.tree(log.id).await {
        Err(StoreError::Damaged(reason)) => {
            findings.add(Finding::checkpoint(What::TreeUnreadable { reason }));
            return Ok(unread_report(log, &findings, began));
        }
        tree => tree?.ok_or_else(|| FsckError::NoTree(log.name.clone()))?,
    };
    let Tree { edge, signed_size, .. } = tree;
    progress.expect(edge.size().0);
    let context = Context {
        store,
        log: log.clone(),
        key,
        edge,
        published: options.published,
        findings,
        progress,
        next_chunk: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        tiles: AtomicU64::new(0),
        checkpoints: AtomicU64::new(0),
    };
    let anchor = context.compare_newest(newest, signed_size).await?;
    let roots = Arc::new(ChunkRoots::read(&context, anchor).await?);
    let context = Arc::new(context);
    context.check_published_size();
    checkpoints::check_empty_tree(&context).await?;
    check_chunks(&context, &roots, anchor, options.workers.max(1)).await?;
    let entries_beyond_tree = context.beyond_tree().await?;
    Ok(context.report(signed_size, entries_beyond_tree, began))
}

async fn check_chunks(
    context: &Arc<Context>,
    roots: &Arc<ChunkRoots>,
    anchor: Option<TreeHead>,
    workers: usize,
) -> Result<(), FsckError> {
    let mut tasks = JoinSet::new();
    for _ in 0..workers {
        let (context, roots) = (Arc::clone(context), Arc::clone(roots));
        tasks.spawn(async move { work(&context, &roots, anchor).await });
    }
    // The first error ends the others, when the set is dropped.
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// Checks chunks until none is left.
async fn work(context: &Context, roots: &ChunkRoots, anchor: Option<TreeHead>) -> Result<(), FsckError> {
    let chunks = context.size().div_ceil(CHUNK);
    loop {
        let number = context.next_chunk.fetch_add(1, Ordering::Relaxed);
        if number >= chunks {
            return Ok(());
        }
        if context.progress.stop.is_cancelled() {
            return Err(FsckError::Cancelled);
        }
        let read = chunk::read(context, number).await?;
        let settled = blame::settle(context, roots, read, anchor);
        checkpoints::check(context, roots, &settled).await?;
    }
}

impl Context {
    const fn size(&self) -> u64 {
        self.edge.size().0
    }

    /// The hashes of a full tile; a finding if it is not there.
    fn parse_tile(&self, id: TileId, bytes: Option<&[u8]>) -> Option<Vec<Hash>> {
        self.tiles.fetch_add(1, Ordering::Relaxed);
        let hashes = bytes.and_then(|bytes| parse_tile(bytes, TILE_WIDTH).ok());
        if hashes.is_none() {
            self.findings.add(Finding::missing_tile(id));
        }
        hashes
    }

    /// Compares the newest checkpoint, as it was before the tree was read, with the tree's row. The head to settle
    /// contradictions by, if the log's key has signed it.
    async fn compare_newest(
        &self,
        newest: Option<StoredCheckpoint>,
        signed: TreeSize,
    ) -> Result<Option<TreeHead>, StoreError> {
        if let Some(newest) = newest.filter(|newest| newest.size > signed) {
            let what = What::CheckpointBeyondTree { size: newest.size.0, signed: signed.0 };
            self.findings.add(Finding::checkpoint(what));
        }
        let stored = self.store.checkpoints(self.log.id, signed, 1).await?;
        let Some(stored) = stored.into_iter().find(|stored| stored.size == signed) else {
            self.findings.add(Finding::checkpoint(What::CheckpointMissing { size: signed.0 }));
            return Ok(None);
        };
        let opened = SignedCheckpoint::parse(&stored.note).ok().and_then(|note| note.open(&self.key).ok());
        // What is wrong with it is found with all the others.
        Ok(opened.map(|checkpoint| checkpoint.head()).filter(|head| head.size == signed))
    }

    fn check_published_size(&self) {
        if let Some(published) = self.published.filter(|published| published.size > self.edge.size()) {
            let what = What::PublishedBeyondTree { size: published.size.0, found: self.size() };
            self.findings.add(Finding::entry(self.size(), what));
        }
    }

    /// Counts the entries that no tree has. There are some only if someone else has called `process_next_batch`.
    async fn beyond_tree(&self) -> Result<u64, StoreError> {
        let mut indexes = Vec::new();
        let range = self.size()..self.size().saturating_add(MOST_BEYOND_TREE);
        let mut sink = |index: LeafIndex, _: &[u8], _: &[u8]| indexes.push(index.0);
        self.store.scan(self.log.id, range, &mut sink).await?;
        if indexes.is_empty() {
            return Ok(0);
        }
        // A server may have added them to the tree since this check began.
        let now = self.store.tree(self.log.id).await?.map_or(0, |tree| tree.edge.size().0);
        indexes.retain(|&index| index >= now);
        if let Some(count) = indexes.first().and_then(|first| first.checked_sub(now)).filter(|&gap| gap > 0) {
            self.findings.add(Finding::entry(now, What::EntryMissing { count }));
        }
        Ok(indexes.len() as u64)
    }

    fn report(&self, signed: TreeSize, beyond: u64, began: Instant) -> Report {
        let (findings_total, findings) = self.findings.finish();
        Report {
            log: self.log.name.clone(),
            origin: self.log.origin.clone(),
            size: self.size(),
            signed_size: signed.0,
            entries: self.progress.done(),
            bytes: self.bytes.load(Ordering::Relaxed),
            tiles: self.tiles.load(Ordering::Relaxed),
            checkpoints: self.checkpoints.load(Ordering::Relaxed),
            entries_beyond_tree: beyond,
            seconds: began.elapsed().as_secs_f64(),
            findings_total,
            findings,
        }
    }
}

/// The report on a log of which nothing could be read.
fn unread_report(log: &Log, findings: &Findings, began: Instant) -> Report {
    let (findings_total, findings) = findings.finish();
    Report {
        log: log.name.clone(),
        origin: log.origin.clone(),
        size: 0,
        signed_size: 0,
        entries: 0,
        bytes: 0,
        tiles: 0,
        checkpoints: 0,
        entries_beyond_tree: 0,
        seconds: began.elapsed().as_secs_f64(),
        findings_total,
        findings,
    }
}
