//! Tails a log: every new head is checked against the last, every entry against the head, for as long as it runs.
//!
//! ```no_run
//! use attestlog::follow::{FollowState, News};
//! use attestlog::LogClient;
//!
//! # async fn example(log: LogClient) -> Result<(), Box<dyn std::error::Error>> {
//! let mut follow = log.follow(FollowState::load("acme.state")?)?;
//! while let Some(news) = follow.next().await {
//!     match news? {
//!         News::Entry(entry) => println!("{}: {} bytes", entry.index, entry.data.len()),
//!         News::Head(_) => follow.state().save("acme.state")?,
//!         News::Unavailable { error, pause } => eprintln!("{error}; again in {pause:?}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! It ends only with evidence of tampering, on the way or by the log: the last item is the [`Tampering`], with the signed
//! notes that there are. Whatever says nothing about the log, no network, an unreadable answer, a stale cache, is
//! reported and tried again for ever.
//!
//! # Restarts
//! [`Follow::state`] is what goes on where this one is. Saved after an entry was dealt with, it makes the next run begin
//! with the one after; an entry may come twice then, and none is left out. The state holds the last head, so that a
//! history that is rewritten between two runs is noticed: it belongs on a disk that is not the log's.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use attestlog_core::Checkpoint;
use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::backoff::{Backoff, instant_after};
use crate::log_client::{LogClient, LogEntry, Run};
use crate::private_file;
use crate::read_error::{ReadError, Tampering};

/// How long it takes, by default, until new entries are looked for again.
const INTERVAL: Duration = Duration::from_secs(1);

/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FollowState {
    /// The index of the next entry.
    pub next: u64,
    /// The newest checkpoint that was seen: a signed note.
    #[serde(default)]
    pub checkpoint: Option<String>,
}

/// What the log has that is new.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum News {
    /// The next entry, proven.
    Entry(LogEntry),
    /// A newer head; all entries that it covers have come.
    Head(Arc<Checkpoint>),
    /// It could not be read now, and is tried again after the pause.
    Unavailable {
        /// Why; never [`ReadError::Tampering`].
        error: ReadError,
        /// How long it waits.
        pause: Duration,
    },
}

/// A log that is being followed.
#[derive(Debug)]
pub struct Follow {
    client: LogClient,
    state: FollowState,
    interval: Duration,
    backoff: Backoff,
    /// The newest head that was accepted.
    head: Option<Arc<Checkpoint>>,
    /// What is read under it; `None` once its entries have all come.
    run: Option<Run>,
    ready: VecDeque<LogEntry>,
    wake: Option<Instant>,
    ended: bool,
}

impl FollowState {
    /// From this index on, whatever the log's history was until now.
    #[must_use]
    pub const fn from_index(next: u64) -> Self {
        Self { next, checkpoint: None }
    }

    /// The state in a file; that of the log's beginning if there is no file.
    ///
    /// # Errors
    /// If it cannot be read, or is none: where to go on is then for people to decide.
    pub fn load(file: impl AsRef<Path>) -> io::Result<Self> {
        private_file::read(file.as_ref())?
            .map_or_else(|| Ok(Self::default()), |bytes| Ok(serde_json::from_slice(&bytes)?))
    }

    /// Puts it into a file, in one step, durable when this returns; mode 0600.
    ///
    /// # Errors
    /// If that fails. What was there before is still there then.
    pub fn save(&self, file: impl AsRef<Path>) -> io::Result<()> {
        private_file::replace(file.as_ref(), &serde_json::to_vec(self)?, true)
    }
}

impl LogClient {
    /// Follows the log from this state on.
    ///
    /// # Errors
    /// [`ReadError`] with code `heads_unavailable` if the state's checkpoint is not of this log under this policy.
    pub fn follow(&self, state: FollowState) -> Result<Follow, ReadError> {
        let head = state.checkpoint.as_deref().map(|note| self.open_kept(note)).transpose()?;
        Ok(Follow {
            client: self.clone(),
            state,
            interval: INTERVAL,
            backoff: Backoff::new(INTERVAL, LONGEST_PAUSE),
            head: head.map(Arc::new),
            run: None,
            ready: VecDeque::new(),
            wake: None,
            ended: false,
        })
    }
}

impl Follow {
    /// How long to wait before the log is asked for a newer head, one second by default; after failures in a row the
    /// pauses grow from it to a minute.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        (self.interval, self.backoff) = (interval, Backoff::new(interval, LONGEST_PAUSE.max(interval)));
        self
    }

    /// Where another one would go on: after the last entry that [`next`](Self::next) has given.
    #[must_use]
    pub const fn state(&self) -> &FollowState {
        &self.state
    }

    /// What comes next; waits for it. Dropped before it is ready, it has given nothing and forgotten nothing. `None`
    /// after an error.
    ///
    /// # Errors
    /// [`Tampering`], once: what was served is proven false, on the way or by the log.
    pub async fn next(&mut self) -> Option<Result<News, Box<Tampering>>> {
        if self.ended {
            return None;
        }
        Some(loop {
            if let Some(entry) = self.ready.pop_front() {
                self.state.next = entry.index.saturating_add(1);
                break Ok(News::Entry(entry));
            }
            if let Some(wake) = self.wake {
                tokio::time::sleep_until(wake).await;
                self.wake = None;
            }
            match self.step().await {
                Ok(Some(news)) => break Ok(news),
                Ok(None) => {}
                Err(ReadError::Tampering(tampering)) => {
                    self.ended = true;
                    break Err(tampering);
                }
                Err(error) => {
                    let pause = self.backoff.pause(None);
                    self.wake = Some(instant_after(pause));
                    break Ok(News::Unavailable { error, pause });
                }
            }
        })
    }

    /// The same as a [`Stream`]. [`FollowState`] is then made from what comes: `next` is an entry's index and one, and
    /// `checkpoint` the note of the last [`News::Head`].
    pub fn into_stream(self) -> impl Stream<Item = Result<News, Box<Tampering>>> + Send {
        stream::unfold(self, async |mut follow| follow.next().await.map(|news| (news, follow)))
    }

    /// Reads some entries, or looks for a newer head.
    async fn step(&mut self) -> Result<Option<News>, ReadError> {
        if let Some(run) = &mut self.run {
            let entries = run.group(&self.client).await?;
            self.backoff.reset();
            if entries.is_empty() {
                self.run = None;
                return Ok(self.head.clone().map(News::Head));
            }
            self.ready = entries.into();
            return Ok(None);
        }
        let shown = self.client.checkpoint().await?;
        let newer = self.is_newer(&shown).await?;
        self.backoff.reset();
        if newer {
            let (end, head) = (shown.size().0, Arc::new(shown));
            // What was read under it is accepted: the next head has to extend this one.
            self.state.checkpoint = Some(head.format());
            self.head = Some(Arc::clone(&head));
            self.run = Some(Run { next: self.state.next, end, head, bundles: 1 });
        } else {
            self.wake = Some(instant_after(self.interval));
        }
        Ok(None)
    }

    /// Whether a head that the log shows has news; it is compared with the last one.
    async fn is_newer(&self, shown: &Checkpoint) -> Result<bool, ReadError> {
        let Some(head) = &self.head else { return Ok(true) };
        self.client.compare(head, shown).await?;
        if shown.size() < head.size() {
            let detail =
                format!("the log has shown {} entries before, and now {}", head.size(), shown.size());
            return Err(ReadError::unchecked("older_checkpoint", detail));
        }
        // After a restart the head that was seen may cover entries that have not come yet.
        Ok(shown.size() > head.size() || self.state.next < shown.size().0)
    }
}
