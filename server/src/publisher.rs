//! Decides which head may be signed, and which may be shown: never one that contradicts a head already published.
//!
//! A head is published when it is recorded in the [`PublishedHeads`] file, which happens after the transaction that
//! made it has committed and before anyone is shown it. So a crash in between leaves a head that nobody has seen, and
//! the next reader or batch checks it against the recorded one, records it, and goes on.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use attestlog_core::{Checkpoint, RightEdge, SignedCheckpoint, TreeHead, TreeSize, VerifierKey};

use crate::prover;
use crate::published::{Advance, PublishedHeads};
use crate::store::{Log, LogId, Store, StoreError};

/// How long the newest checkpoint is shown again without asking the database for a newer one, which only another server
/// can have made. An answer may be kept for a second anyway; this is a part of it that nobody notices, and bounds what is
/// asked to 20 times a second and log, however many ask here.
pub const RECENT: Duration = Duration::from_millis(50);

/// A checkpoint that may be shown: verified, and recorded as published.
#[derive(Clone, Debug)]
pub struct PublishedCheckpoint {
    /// Opened with the log's key.
    pub checkpoint: Checkpoint,
    /// The signed note as it is stored.
    pub note: Vec<u8>,
}

/// Why a head is neither signed nor shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The log has no checkpoint.
    #[error("log \"{0}\" has no checkpoint")]
    NoCheckpoint(String),
    /// The database is older than what was published: a restored backup, or a replica that lagged.
    #[error(
        "REFUSED to sign or show a second history of log \"{log}\": a head of size {published} was published, and the \
         database has only {found} entries. It is older than the log: restore a newer copy"
    )]
    RolledBack {
        /// The log's name.
        log: String,
        /// The size that was published.
        published: u64,
        /// The size that the database has.
        found: u64,
    },
    /// The database has other entries than those that were published.
    #[error(
        "REFUSED to sign or show a second history of log \"{log}\": the first {published} entries in the database are \
         not those of the head that was published"
    )]
    Rewritten {
        /// The log's name.
        log: String,
        /// The size that was published.
        published: u64,
    },
    /// The stored checkpoint is not one that the log's key has signed.
    #[error("the newest checkpoint of log \"{log}\" in the database is not valid: {error}")]
    Invalid {
        /// The log's name.
        log: String,
        /// What is wrong.
        error: attestlog_core::Error,
    },
    /// The record of published heads cannot be written, so nothing is published.
    #[error("the record of published heads cannot be written, so nothing new is published: {0}")]
    Record(#[source] io::Error),
    /// The database could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PublishError {
    /// Whether this is evidence that the history was changed, which no retry mends.
    #[must_use]
    pub const fn is_conflict(&self) -> bool {
        matches!(self, Self::RolledBack { .. } | Self::Rewritten { .. } | Self::Invalid { .. })
    }
}

/// The newest checkpoint of a log, as far as is known here.
#[derive(Debug)]
struct Shown {
    newest: Arc<PublishedCheckpoint>,
    /// Before the database was asked, which had no newer one, or this process published it.
    as_of: Instant,
    /// Held while the database is asked on behalf of all who come meanwhile.
    asking: Arc<tokio::sync::Mutex<()>>,
}

impl Shown {
    fn new(newest: Arc<PublishedCheckpoint>, as_of: Instant) -> Self {
        Self { newest, as_of, asking: Arc::default() }
    }

    /// Takes a checkpoint in the place of this one unless it is smaller.
    fn advance(&mut self, newest: Arc<PublishedCheckpoint>, as_of: Instant) {
        if self.newest.checkpoint.size() <= newest.checkpoint.size() {
            (self.newest, self.as_of) = (newest, self.as_of.max(as_of));
        }
    }
}

/// Guards the published heads of all logs.
#[derive(Debug)]
pub struct Publisher {
    store: Arc<dyn Store>,
    heads: Arc<PublishedHeads>,
    shown: Mutex<HashMap<LogId, Shown>>,
    /// For each log a head that is known to extend the published one; saves checking again what this process signed.
    confirmed: Mutex<HashMap<LogId, TreeHead>>,
    /// When a head was last recorded here, or this was made.
    last_head: Mutex<Instant>,
}

impl Publisher {
    /// A publisher of what `store` holds, with the record in `heads`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, heads: PublishedHeads) -> Self {
        Self {
            store,
            heads: Arc::new(heads),
            shown: Mutex::default(),
            confirmed: Mutex::default(),
            last_head: Mutex::new(Instant::now()),
        }
    }

    /// The time since this process last published a head of any log, or since it was started.
    #[must_use]
    pub fn since_last_head(&self) -> Duration {
        lock(&self.last_head).elapsed()
    }

    /// A published checkpoint whose size `suffices`, without asking the database if one is at hand; otherwise the
    /// newest, whose size may not suffice.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn checkpoint_where(
        &self,
        log: &Log,
        suffices: impl Fn(TreeSize) -> bool + Send,
    ) -> Result<Arc<PublishedCheckpoint>, PublishError> {
        let shown = lock(&self.shown).get(&log.id).map(|shown| Arc::clone(&shown.newest));
        match shown.filter(|shown| suffices(shown.checkpoint.size())) {
            Some(shown) => Ok(shown),
            None => self.checkpoint(log).await,
        }
    }

    /// What was the newest checkpoint [`RECENT`]ly before `now`, if that is known without asking the database.
    #[must_use]
    pub fn recent_at_hand(&self, log: LogId, now: Instant) -> Option<Arc<PublishedCheckpoint>> {
        let shown = lock(&self.shown);
        let shown = shown.get(&log).filter(|shown| now.saturating_duration_since(shown.as_of) <= RECENT)?;
        Some(Arc::clone(&shown.newest))
    }

    /// What was the newest checkpoint [`RECENT`]ly before `now`. Once there is one, the database is asked once, however many
    /// ask at the same time, as long as it answers within that time.
    ///
    /// # Errors
    /// As [`checkpoint`](Self::checkpoint).
    pub async fn recent_checkpoint(
        &self,
        log: &Log,
        now: Instant,
    ) -> Result<Arc<PublishedCheckpoint>, PublishError> {
        let asking = lock(&self.shown).get(&log.id).map(|shown| Arc::clone(&shown.asking));
        let mut turn = None;
        if let Some(asking) = &asking {
            turn = asking.try_lock().ok();
            if turn.is_none() {
                // Nobody keeps this turn: where the database fails or is slow, those who waited ask beside each other.
                drop(asking.lock().await);
            }
        }
        if let Some(recent) = self.recent_at_hand(log.id, now) {
            return Ok(recent);
        }
        let newest = self.checkpoint(log).await;
        drop(turn);
        newest
    }

    /// The newest checkpoint, checked against the one published before and recorded.
    ///
    /// # Errors
    /// [`PublishError`]; after one, nothing was shown.
    pub async fn checkpoint(&self, log: &Log) -> Result<Arc<PublishedCheckpoint>, PublishError> {
        loop {
            // Before the database is asked: what is recorded from then on may be newer than its answer.
            let (as_of, old) = (Instant::now(), self.heads.head(&log.origin));
            let stored = self.store.checkpoint(log.id).await?;
            let stored = stored.ok_or_else(|| PublishError::NoCheckpoint(log.name.clone()))?;
            if let Some(shown) = lock(&self.shown).get_mut(&log.id)
                && shown.newest.note == stored.note
            {
                // Recorded before it was put there; a smaller one in the database now would be another note.
                shown.as_of = shown.as_of.max(as_of);
                return Ok(Arc::clone(&shown.newest));
            }
            let checkpoint = open(log, &stored.note)?;
            let advance = self.check(log, old, checkpoint.head()).await?;
            let shown = Arc::new(PublishedCheckpoint { checkpoint, note: stored.note });
            if self.record(vec![(log.id, advance, Arc::clone(&shown))], as_of).await?.is_empty() {
                return Ok(shown);
            }
        }
    }

    /// Confirms that the tree with this edge, as it is committed, extends what was published: then a head that
    /// extends it may be signed. Call it within the batch that read the edge: until it ends, there is no newer head.
    ///
    /// # Errors
    /// [`PublishError::RolledBack`], [`PublishError::Rewritten`]; [`PublishError::Store`].
    pub async fn confirm(&self, log: &Log, edge: &RightEdge) -> Result<(), PublishError> {
        let head = edge.head();
        if lock(&self.confirmed).get(&log.id) == Some(&head) {
            return Ok(());
        }
        self.check(log, self.heads.head(&log.origin), head).await?;
        lock(&self.confirmed).insert(log.id, head);
        Ok(())
    }

    /// Publishes checkpoints that this process signed on top of [confirmed](Self::confirm) trees, all with one sync. They
    /// were the newest as of an instant before the commit.
    ///
    /// # Errors
    /// [`PublishError::Record`]; the heads are then published by a later call of [`checkpoint`](Self::checkpoint).
    pub async fn publish(
        &self,
        signed: Vec<(LogId, Checkpoint)>,
        as_of: Instant,
    ) -> Result<(), PublishError> {
        let with_advance = |(id, checkpoint): (LogId, Checkpoint)| {
            let origin = checkpoint.origin().to_owned();
            let advance = Advance { old: self.heads.head(&origin), new: checkpoint.head(), origin };
            lock(&self.confirmed).insert(id, advance.new);
            let note = checkpoint.format().into_bytes();
            (id, advance, Arc::new(PublishedCheckpoint { checkpoint, note }))
        };
        // Those that another process has moved on are published by whoever asks for them next.
        self.record(signed.into_iter().map(with_advance).collect(), as_of).await.map(|_| ())
    }

    /// What has to be recorded to publish `new`, which is a committed head of this log, on top of `old`.
    async fn check(&self, log: &Log, old: Option<TreeHead>, new: TreeHead) -> Result<Advance, PublishError> {
        if let Some(old) = old {
            if new.size < old.size {
                let (published, found) = (old.size.0, new.size.0);
                return Err(PublishError::RolledBack { log: log.name.clone(), published, found });
            }
            // What the tree of the database says about the published size, and about its own.
            let proven = prover::root(&*self.store, log.id, old.size).await? == old.root
                && prover::root(&*self.store, log.id, new.size).await? == new.root;
            if !proven {
                return Err(PublishError::Rewritten { log: log.name.clone(), published: old.size.0 });
            }
        }
        Ok(Advance { origin: log.origin.clone(), old, new })
    }

    /// Records heads, the newest ones as of an instant, and shows them. Returns those that were not recorded: check them
    /// again.
    async fn record(
        &self,
        heads: Vec<(LogId, Advance, Arc<PublishedCheckpoint>)>,
        as_of: Instant,
    ) -> Result<Vec<Advance>, PublishError> {
        let advances: Vec<Advance> = heads.iter().map(|(_, advance, _)| advance.clone()).collect();
        let file = Arc::clone(&self.heads);
        let moved = tokio::task::spawn_blocking(move || file.record(advances)).await;
        let moved =
            moved.map_err(io::Error::other).and_then(|recorded| recorded).map_err(PublishError::Record)?;
        if moved.len() < heads.len() {
            *lock(&self.last_head) = Instant::now();
        }
        let mut shown = lock(&self.shown);
        for (id, advance, checkpoint) in heads {
            if moved.iter().any(|other| other.origin == advance.origin) {
                continue;
            }
            match shown.entry(id) {
                Entry::Vacant(place) => drop(place.insert(Shown::new(checkpoint, as_of))),
                Entry::Occupied(mut place) => place.get_mut().advance(checkpoint, as_of),
            }
        }
        Ok(moved)
    }
}

fn open(log: &Log, note: &[u8]) -> Result<Checkpoint, PublishError> {
    let key = VerifierKey::parse(&log.vkey).map_err(attestlog_core::Error::from);
    let signed = SignedCheckpoint::parse(note).map_err(attestlog_core::Error::from);
    let opened = key.and_then(|key| signed?.open(&key));
    opened.map_err(|error| PublishError::Invalid { log: log.name.clone(), error })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Each holder leaves the map whole, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
