//! Reads a log over HTTP and verifies what it returns: under a policy, and against the last head that was seen.
//!
//! ```no_run
//! use attestlog::LogClient;
//! use futures_util::TryStreamExt;
//!
//! # async fn example(policy: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let log = LogClient::builder("https://audit.example.com/logs/acme", policy)
//!     .heads("/var/lib/audit/acme.head")
//!     .cache("/var/cache/audit", 1 << 30)
//!     .build()?;
//! println!("{} entries", log.checkpoint().await?.size());
//! let mut entries = log.entries(100..200);
//! while let Some(entry) = entries.try_next().await? {
//!     println!("{}: {}", entry.index, entry.event()?.action);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is proven
//! A checkpoint is signed as the policy asks, and its tree contains the tree of the last one that this client kept: in
//! memory, or in a [file](LogClientBuilder::heads), which makes rewriting visible over restarts and should not be lost.
//! An entry is at its index in the tree of the checkpoint that comes with it. The policy must not come from the log's
//! own server.
//!
//! # What it does when that fails
//! It returns one of three kinds of [`ReadError`], and nothing unproven. Tiles and bundles are asked for once more, past
//! the caches on the way, before a failure is believed. Where the log has signed two histories, the error has both
//! signed notes, and [`evidence`](LogClient::evidence) keeps them.

mod answers;
mod builder;
mod disk_cache;
mod entries;
mod heads;
mod kept_head;
mod memory_cache;
mod trust;

use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, PoisonError};

use attestlog_core::Checkpoint;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::event::{Event, EventError};
use crate::http::most;
use crate::read_error::ReadError;
use crate::receipt::Receipt;
use answers::Answers;
use kept_head::{Age, KeptHead};
use trust::Trust;

pub use builder::{BuildError, LogClientBuilder};
pub(crate) use entries::Run;

/// Reads one log; its clones share caches and the head that is kept.
#[derive(Clone, Debug)]
pub struct LogClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    trust: Trust,
    answers: Answers,
    kept: KeptHead,
    newest: Mutex<Option<Arc<Checkpoint>>>,
}

/// An entry at its index, proven by the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogEntry {
    /// Where it is in the log, from 0 on.
    pub index: u64,
    /// Its bytes, which are what is proven: 1 to 65,535.
    pub data: Vec<u8>,
    /// A checkpoint whose tree has it there.
    pub checkpoint: Arc<Checkpoint>,
}

impl LogEntry {
    /// The entry as an audit event.
    ///
    /// # Errors
    /// [`EventError::Json`] if it is none: a log may hold other entries.
    pub fn event(&self) -> Result<Event, EventError> {
        Event::parse(&self.data)
    }
}

/// Two signed notes of one log, neither of which can come from a tree that grew into the other's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evidence {
    /// The checkpoint that had been seen before.
    pub kept: String,
    /// The one that contradicts it.
    pub shown: String,
}

impl LogClient {
    /// A client of the log below `url`, such as `https://audit.example.com/logs/acme`, that trusts whom `policy` names:
    /// the text of a tlog-policy, or one vkey.
    pub fn builder(url: impl Into<String>, policy: impl Into<String>) -> LogClientBuilder {
        LogClientBuilder::new(url.into(), policy.into())
    }

    /// The log's newest checkpoint: signed as the policy asks, and no contradiction to the last one that was kept. It is
    /// kept in its place.
    ///
    /// # Errors
    /// [`ReadError`]; [`Tampering`](crate::Tampering) with code `history_rewritten` and both signed notes where the log has two histories,
    /// and `older_checkpoint` where it shows an older head of the same one.
    pub async fn checkpoint(&self) -> Result<Checkpoint, ReadError> {
        let Inner { trust, answers, kept, newest } = &*self.0;
        let before = kept.get().await?;
        let note = answers.remote().get("checkpoint", most::NOTE, true).await?;
        let shown = trust.open(&note).map_err(|error| {
            let error = ReadError::of(error, "checkpoint", None);
            with_note(error, &note)
        })?;
        if kept.accept(answers, trust, &shown, before).await? == Age::Older {
            let detail = format!("the log has shown more than {} entries before", shown.size());
            return Err(ReadError::unchecked("older_checkpoint", detail));
        }
        let mut newest = newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.as_ref().is_none_or(|newest| newest.size() < shown.size()) {
            *newest = Some(Arc::new(shown.clone()));
        }
        Ok(shown)
    }

    /// The entry at an index, proven against the newest checkpoint that this client has, or a new one.
    ///
    /// # Errors
    /// [`ReadError`]; `not_covered_yet` for an index beyond the log's newest checkpoint.
    pub async fn entry(&self, index: u64) -> Result<LogEntry, ReadError> {
        let Some(end) = index.checked_add(1) else {
            return Err(ReadError::unchecked("not_covered_yet", "no log has so many entries"));
        };
        let head = self.covering(end).await?;
        let entry = self.read(&head, index, end).await?.pop();
        entry.ok_or_else(|| not_covered(end, &head))
    }

    /// The entries of a range in their order, up to the log's newest where it has no end. They are proven in groups of
    /// up to 2,048. After an error nothing more comes.
    ///
    /// # Errors
    /// The stream's: as [`entry`](Self::entry); `not_covered_yet` comes before any entry.
    pub fn entries(&self, range: impl RangeBounds<u64>) -> BoxStream<'static, Result<LogEntry, ReadError>> {
        entries::stream(self.clone(), &range)
    }

    /// The receipt of an entry, verified with it, and its checkpoint compared with the last one that was kept.
    ///
    /// # Errors
    /// [`ReadError`]; `unreachable` with the status 404 where the log has no such entry yet; `index_mismatch` for another
    /// entry's receipt.
    pub async fn receipt(&self, index: u64) -> Result<Receipt, ReadError> {
        let Inner { trust, answers, kept, .. } = &*self.0;
        let before = kept.get().await?;
        let (entry, receipt) = (format!("entries/{index}"), format!("entries/{index}/receipt"));
        let (data, text) = tokio::try_join!(
            answers.remote().get(&entry, most::ENTRY, false),
            answers.remote().get(&receipt, most::RECEIPT, true),
        )?;
        let failed = |error| ReadError::of(error, &receipt, None);
        let receipt = attestlog_core::Receipt::parse(&text).map_err(|error| failed(error.into()))?;
        if receipt.index().0 != index {
            let detail = format!("the receipt is of entry {}, not of {index}", receipt.index());
            return Err(ReadError::tampering("index_mismatch", detail, None));
        }
        let checkpoint = receipt.verify(&data, trust.policy()).map_err(failed)?;
        let checkpoint = trust.own(checkpoint).map_err(failed)?;
        // An older checkpoint proves the entry as well as a newer one; what matters is that they are of one history.
        kept.accept(answers, trust, &checkpoint, before).await?;
        let entry = LogEntry { index, data, checkpoint: Arc::new(checkpoint) };
        Ok(Receipt::new(entry, receipt.format()))
    }

    /// What the server says of a ticket: JSON, which proves nothing.
    pub(crate) async fn ticket(&self, ticket: i64) -> Result<Vec<u8>, ReadError> {
        self.0.answers.remote().get(&format!("tickets/{ticket}"), most::TICKET, true).await
    }

    /// The last segment of an address `…/logs/NAME`.
    pub(crate) fn log_name(&self) -> Option<&str> {
        self.0.answers.remote().log_name()
    }

    /// What is kept of this log's contradictions.
    ///
    /// # Errors
    /// [`ReadError`] with code `heads_unavailable`.
    pub async fn evidence(&self) -> Result<Vec<Evidence>, ReadError> {
        self.0.kept.evidence().await
    }

    /// The name of the log, which all its checkpoints have.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.0.trust.origin()
    }

    /// A verified checkpoint of at least this size.
    async fn covering(&self, size: u64) -> Result<Arc<Checkpoint>, ReadError> {
        let newest = self.0.newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(newest) = newest
            && size <= newest.size().0
        {
            return Ok(newest);
        }
        let head = Arc::new(self.checkpoint().await?);
        if size <= head.size().0 { Ok(head) } else { Err(not_covered(size, &head)) }
    }

    /// Compares two heads of the log; evidence against it is kept.
    pub(crate) async fn compare(&self, kept: &Checkpoint, shown: &Checkpoint) -> Result<(), ReadError> {
        self.0.kept.compare(&self.0.answers, kept, shown).await
    }

    /// Opens a head that was opened before it was kept.
    pub(crate) fn open_kept(&self, note: &str) -> Result<Checkpoint, ReadError> {
        let opened = self.0.trust.open_kept(note.as_bytes());
        opened.map_err(|error| ReadError::unchecked("heads_unavailable", format!("the kept head: {error}")))
    }

    fn answers(&self) -> &Answers {
        &self.0.answers
    }
}

/// Whatever was signed wrongly belongs to the report.
fn with_note(mut error: ReadError, note: &[u8]) -> ReadError {
    if let ReadError::Tampering(tampering) = &mut error {
        tampering.shown = Some(String::from_utf8_lossy(note).into_owned());
    }
    error
}

fn not_covered(size: u64, head: &Checkpoint) -> ReadError {
    let detail = format!("the newest checkpoint covers {} entries, not {size}", head.size());
    ReadError::unchecked("not_covered_yet", detail)
}
