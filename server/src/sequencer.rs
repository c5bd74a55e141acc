//! Puts what was appended into one order, and signs the tree over it: the only writer of tree state.
//!
//! One transaction a batch: the advisory lock, `process_next_batch`, leaf hashes, right edges, full tiles, checkpoints,
//! commit; then the heads are recorded as published. A crash leaves the state before or after:
//!
//! 1. before the commit: nothing has happened, and the rows are still in `append_only_log`;
//! 2. the commit succeeded and was reported as failed: the next batch reads the tree from the database again;
//! 3. after the commit, before the heads are recorded: nobody was shown them; whoever reads next records them.
//!
//! So there is no recovery apart from the next batch. The lock only saves work: what makes two servers safe is that
//! a tree is replaced only where it has the size that was read, and the primary keys.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use attestlog_core::{Checkpoint, Hash, LeafIndex};
use metrics::{counter, gauge, histogram};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::keyring::{Keyring, KeyringError, SigningLog};
use crate::publisher::{PublishError, Publisher};
use crate::store::{Batch, LogId, ProcessedEntry, Store, StoreError, Ticket, Tree, TreeChange};
use crate::waiter::Waiter;

/// How often the sequencer infers nothing from earlier batches and looks at all rows.
const LOOK_AT_EVERYTHING_EVERY: Duration = Duration::from_secs(60);

/// The most trees that are signed in one batch without having new entries.
const MAX_UNSIGNED: u32 = 10_000;

/// The entries of one batch that someone else moved to `processed_log`.
const CATCH_UP: u32 = 256;

/// A log that was refused is checked, and reported, no more often.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// The longest pause after failures in a row.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// When the sequencer works, and how much at a time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From the beginning of a batch that left nothing behind to that of the next.
    pub interval: Duration,
    /// The most entries in a batch; about 16 MB is the other limit.
    pub batch_size: u32,
    /// The least time between two checkpoints of a log; zero signs with every batch.
    pub head_interval: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { interval: Duration::from_millis(100), batch_size: 10_000, head_interval: Duration::ZERO }
    }
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Another server is in a batch.
    Standby,
    /// There was nothing to do.
    Idle,
    /// A batch was committed.
    Batch {
        /// The entries that it added to trees.
        entries: usize,
        /// The checkpoints that it signed.
        heads: usize,
        /// Whether it reached a limit, so that more may be waiting.
        full: bool,
    },
}

impl Step {
    /// The entries that it added to trees.
    const fn entries(self) -> u64 {
        match self {
            Self::Batch { entries, .. } => entries as u64,
            Self::Standby | Self::Idle => 0,
        }
    }
}

/// Why a step changed nothing, or published nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SequenceError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The record of published heads.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The signature that was made does not verify.
    #[error("log \"{log}\" cannot be signed: {error}")]
    Sign {
        /// The log's name.
        log: String,
        /// What is wrong.
        error: attestlog_core::Error,
    },
    /// The task that hashes has ended.
    #[error("hashing was interrupted: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// The state between batches, all of which can be lost.
#[derive(Debug)]
pub struct Sequencer {
    store: Arc<dyn Store>,
    publisher: Arc<Publisher>,
    keyring: Keyring,
    pace: Pace,
    next_full_look: Option<Instant>,
    last_heads: Option<Instant>,
    /// The logs whose tree contradicts what was published, and when that was last seen.
    refused: HashMap<LogId, Instant>,
    /// Where the last batch has put its entries.
    places: Vec<(Ticket, LeafIndex)>,
}

impl Sequencer {
    /// A sequencer that has done nothing yet.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, publisher: Arc<Publisher>, keyring: Keyring, pace: Pace) -> Self {
        Self {
            store,
            publisher,
            keyring,
            pace,
            next_full_look: None,
            last_heads: None,
            refused: HashMap::new(),
            places: Vec::new(),
        }
    }

    /// Processes a batch, if there is one and no other server is in one. `now` only spaces checkpoints and full looks.
    ///
    /// # Errors
    /// [`SequenceError`]. Nothing is lost: call it again, with this or another sequencer.
    pub async fn step(&mut self, now: Instant) -> Result<Step, SequenceError> {
        let Some(mut batch) = self.store.begin_batch().await? else {
            return Ok(Step::Standby);
        };
        let look_at_everything = self.next_full_look.is_none_or(|due| due <= now);
        let mut entries = Vec::new();
        if look_at_everything {
            entries = batch.entries_beyond_trees(CATCH_UP).await?;
        }
        let catching_up = !entries.is_empty();
        if !catching_up {
            entries = batch.process_next_batch(self.pace.batch_size, look_at_everything).await?;
        }
        let full = catching_up || is_full(&entries, self.pace.batch_size);
        let sign = self.last_heads.is_none_or(|last| now.duration_since(last) >= self.pace.head_interval);
        let work = self.gather(&mut *batch, entries, sign, now).await?;
        if work.is_empty() {
            // The moved mark, if it moved, is worth keeping.
            batch.commit().await?;
            self.note_look(look_at_everything, now);
            return Ok(Step::Idle);
        }
        if work.iter().any(Work::begins_beyond_its_tree) {
            // Someone else has called process_next_batch: find what it moved and did not add to the tree.
            self.next_full_look = None;
            return Ok(Step::Batch { entries: 0, heads: 0, full: true });
        }
        let done: Vec<Done> = tokio::task::spawn_blocking(move || {
            work.into_iter().map(Work::integrate).collect::<Result<_, _>>()
        })
        .await??;
        let changes: Vec<TreeChange> = done.iter().map(|done| done.change.clone()).collect();
        batch.write(&changes).await?;
        let as_of = Instant::now();
        batch.commit().await?;
        self.note_look(look_at_everything && !catching_up, now);
        self.places = done.iter().flat_map(|done| done.places.iter().copied()).collect();
        let entries = self.places.len();
        let heads: Vec<_> = done.into_iter().filter_map(|done| Some((done.change.log, done.head?))).collect();
        if sign {
            self.last_heads = Some(now);
        }
        let step = Step::Batch { entries, heads: heads.len(), full };
        self.publisher.publish(heads, as_of).await?;
        Ok(step)
    }

    /// The trees of the batch, each with its new entries and whether it may be signed.
    async fn gather(
        &mut self,
        batch: &mut dyn Batch,
        entries: Vec<ProcessedEntry>,
        sign: bool,
        now: Instant,
    ) -> Result<Vec<Work>, SequenceError> {
        let mut by_log: BTreeMap<LogId, Vec<ProcessedEntry>> = BTreeMap::new();
        for entry in entries {
            by_log.entry(entry.log).or_default().push(entry);
        }
        let logs: Vec<LogId> = by_log.keys().copied().collect();
        let mut trees = if logs.is_empty() { Vec::new() } else { batch.trees(&logs).await? };
        if trees.len() != logs.len() {
            return Err(StoreError::Damaged("a log has entries and no tree".into()).into());
        }
        if sign {
            let unsigned = batch.unsigned_trees(MAX_UNSIGNED).await?;
            trees.extend(unsigned.into_iter().filter(|tree| !by_log.contains_key(&tree.log)));
        }
        let mut work = Vec::with_capacity(trees.len());
        for tree in trees {
            let log = self.keyring.log(&*self.store, tree.log).await?;
            let may_sign = sign && self.may_sign(&log, &tree, now).await?;
            let entries = by_log.remove(&tree.log).unwrap_or_default();
            if may_sign || !entries.is_empty() {
                work.push(Work { log, tree, entries, sign: may_sign });
            }
        }
        Ok(work)
    }

    /// Whether the tree extends what was published. One log's damage does not stop the others: its entries are kept,
    /// and its head is not signed.
    async fn may_sign(&mut self, log: &SigningLog, tree: &Tree, now: Instant) -> Result<bool, SequenceError> {
        if self.refused.get(&tree.log).is_some_and(|refused| now.duration_since(*refused) < ASK_AGAIN_AFTER) {
            return Ok(false);
        }
        match self.publisher.confirm(&log.log, &tree.edge).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_conflict() => {
                self.refused.insert(tree.log, now);
                tracing::error!(log = log.log.name, "{error}");
                counter!("attestlog_refused_heads_total").increment(1);
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn note_look(&mut self, looked_at_everything: bool, now: Instant) {
        if looked_at_everything {
            self.next_full_look = Some(now + LOOK_AT_EVERYTHING_EVERY);
        }
    }

    /// Processes batches until `stop`, and finishes the one in hand. Every completed step is announced on `processed`, with
    /// the number of entries so far. The next batch begins early if enough wait for it.
    pub async fn run(mut self, stop: CancellationToken, waiter: Arc<Waiter>, processed: watch::Sender<u64>) {
        let mut failures = 0_u32;
        while !stop.is_cancelled() {
            let began = Instant::now();
            waiter.batch_begins();
            let mut may_begin_early = false;
            let pause = match self.step(began).await {
                Ok(step) => {
                    failures = 0;
                    may_begin_early = true;
                    waiter.processed(std::mem::take(&mut self.places));
                    record(step, began.elapsed());
                    processed.send_modify(|entries| *entries += step.entries());
                    match step {
                        Step::Batch { full: true, .. } => Duration::ZERO,
                        _ => self.pace.interval.saturating_sub(began.elapsed()),
                    }
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    counter!("attestlog_batch_failures_total").increment(1);
                    tracing::error!(failures, "no batch was processed: {error}");
                    MAX_PAUSE.min(self.pace.interval.saturating_mul(2_u32.saturating_pow(failures.min(16))))
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
                () = waiter.enough(), if may_begin_early => {}
            }
        }
    }
}

/// A tree and what is to be done to it.
struct Work {
    log: Arc<SigningLog>,
    tree: Tree,
    entries: Vec<ProcessedEntry>,
    sign: bool,
}

/// A tree to which it was done.
struct Done {
    change: TreeChange,
    head: Option<Checkpoint>,
    places: Vec<(Ticket, LeafIndex)>,
}

impl Work {
    fn begins_beyond_its_tree(&self) -> bool {
        self.entries.first().is_some_and(|first| first.index.0 > self.tree.edge.size().0)
    }

    /// Adds the entries to the tree, each hashed from its bytes, and signs the head if that is due.
    fn integrate(self) -> Result<Done, SequenceError> {
        let Tree { log, mut edge, .. } = self.tree;
        let old_size = edge.size();
        let leaves = Hash::leaves(self.entries.iter().map(|entry| &*entry.data));
        for ((entry, leaf), expected) in self.entries.iter().zip(&leaves).zip(old_size.0..) {
            let name = &self.log.log.name;
            if entry.index != LeafIndex(expected) {
                return Err(damaged(format!(
                    "entry {} of log \"{name}\" stands where {expected} belongs",
                    entry.index
                )));
            }
            if entry.leaf_hash.is_some_and(|stored| stored != *leaf) {
                return Err(damaged(format!(
                    "the leaf hash of entry {} of log \"{name}\" is not its own",
                    entry.index
                )));
            }
        }
        let mut full_tiles = Vec::new();
        edge.extend(&leaves, &mut full_tiles);
        let head = if self.sign { Some(self.log.sign(&edge)?) } else { None };
        let checkpoint = head.as_ref().map(|head| head.format().into_bytes());
        let change = TreeChange { log, old_size, edge, full_tiles, checkpoint };
        let places = self.entries.iter().map(|entry| (entry.ticket, entry.index)).collect();
        Ok(Done { change, head, places })
    }
}

impl SigningLog {
    fn sign(&self, edge: &attestlog_core::RightEdge) -> Result<Checkpoint, SequenceError> {
        let head = edge.head();
        let signed = crate::keyring::sign(&self.key, head.size, head.root);
        signed.map_err(|error| SequenceError::Sign { log: self.log.name.clone(), error })
    }
}

fn damaged(reason: String) -> SequenceError {
    StoreError::Damaged(reason).into()
}

/// Whether a batch reached one of its limits: then more may be waiting.
fn is_full(entries: &[ProcessedEntry], batch_size: u32) -> bool {
    let bytes: usize = entries.iter().map(|entry| entry.data.len()).sum();
    let room = crate::store::MAX_READ_BYTES - attestlog_core::MAX_ENTRY_SIZE;
    entries.len() >= usize::try_from(batch_size).unwrap_or(usize::MAX) || bytes > room
}

fn record(step: Step, took: Duration) {
    gauge!("attestlog_sequencer_active").set(if step == Step::Standby { 0.0 } else { 1.0 });
    if let Step::Batch { entries, heads, .. } = step {
        counter!("attestlog_entries_processed_total").increment(entries as u64);
        counter!("attestlog_heads_signed_total").increment(heads as u64);
        histogram!("attestlog_batch_seconds").record(took.as_secs_f64());
    }
}
