//! Events for processes that do not have the database: sent to a log's server, exactly once, whatever breaks.
//!
//! ```no_run
//! use std::time::Duration;
//! use attestlog::{Event, Writer, user};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let writer = Writer::builder("https://audit.example.com/logs/acme")
//!     .token("the append token")
//!     .spool("/var/lib/shop/audit-spool")
//!     .on_refused(|refused| eprintln!("not logged: {}", refused.refusal))
//!     .start()
//!     .await?;
//! writer.append(&Event::new("invoice.voided").actor(user("usr_7")).target("invoice", "inv_9")).await?;
//! writer.shutdown(Duration::from_secs(10)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # When an event is durable
//! [`Writer::append`] returns `Ok` only then: **with a spool** once the event is on this machine's disk, fsynced, be the
//! server there or not; **without one** once the server has acknowledged it, with the [`Ticket`](crate::Ticket) that leads to
//! its receipt. Many callers share an fsync, or a request.
//!
//! # Exactly once
//! An event's `id` is its idempotency key (`POST entries?key=id`): however often it is sent, in whatever batches, before
//! and after a crash, it is one entry. Two events with equal ids are one; a second with other content is refused
//! (`key_reused`). So an append that failed may be made again with the same [`Event`], and must not with a new one.
//!
//! # What the log refuses
//! An event that a log made with `--events strict` does not take, say, or one whose id is another's. It does not hold
//! up its neighbours. Without a spool its caller gets [`AppendError::Refused`]; with one, it is moved to
//! `refused.ndjson` beside the segments, with the reason. [`on_refused`](WriterBuilder::on_refused) is called and
//! [`Status::refused`] counts either way. Everything else is tried again: exponentially longer pauses with chance in
//! them, at least what `Retry-After` says. Without a spool a server that takes nothing from this writer at all, for a
//! wrong token say, ends the append with [`AppendError::Denied`].
//!
//! # What a spool survives
//! Being killed, and a machine that loses power. A torn end is what nobody was told is durable, and is not sent. Bytes
//! that were changed on the disk are found by their checksum and never sent; the entries around them are, and the
//! segment is kept as `NUMBER.damaged` and counted in [`Status::damaged_segments`]. One writer at a time: the directory
//! is locked.

mod builder;
mod commit;
mod error;
mod frame;
mod refused;
mod request;
mod sender;
mod source;
mod spool;
mod status;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::event::{Event, is_key};
use commit::Request;
use source::Item;
use spool::Position;
use status::Counters;

pub use builder::WriterBuilder;
pub use error::{AppendError, Durable, Refusal, RefusedEvent, StartError, Unsent};
pub use status::{Status, Trouble};

/// Sends events to a log; its clones are the same writer. The last one dropped ends it at once: see
/// [`shutdown`](Self::shutdown).
#[derive(Clone, Debug)]
pub struct Writer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    way_in: WayIn,
    /// Bytes that may wait.
    room: Arc<Semaphore>,
    room_bytes: usize,
    counters: Arc<Counters>,
    settled: watch::Receiver<Position>,
    /// No more is taken in.
    closing: CancellationToken,
    /// No more is sent.
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
    _stop_when_dropped: DropGuard,
}

/// Where appended entries go.
#[derive(Debug)]
enum WayIn {
    Memory { queue: UnboundedSender<Item>, count: AtomicU64 },
    Spool { requests: UnboundedSender<Request>, end: watch::Receiver<Position> },
}

impl Writer {
    /// A writer for the log below this address, such as `https://audit.example.com/logs/acme`.
    pub fn builder(log: impl Into<String>) -> WriterBuilder {
        WriterBuilder::new(log.into())
    }

    /// Appends an event, and returns once it is durable. Waits while the queue or the spool is full, and without a
    /// spool for as long as the server does not answer: put your own deadline around it, if you have one. An event whose
    /// append was given up may be logged nevertheless.
    ///
    /// # Errors
    /// [`AppendError`], but [`Full`](AppendError::Full).
    pub async fn append(&self, event: &Event) -> Result<Durable, AppendError> {
        let entry = to_entry(event)?;
        let room = Arc::clone(&self.0.room).acquire_many_owned(self.0.size(&entry)).await;
        self.put(entry, room.map_err(|_| AppendError::Closed)?).await
    }

    /// As [`append`](Self::append), but does not wait for room.
    ///
    /// # Errors
    /// [`AppendError`]; [`Full`](AppendError::Full) if the queue or the spool is full.
    pub async fn try_append(&self, event: &Event) -> Result<Durable, AppendError> {
        let entry = to_entry(event)?;
        let room = Arc::clone(&self.0.room).try_acquire_many_owned(self.0.size(&entry));
        let room = room.map_err(|error| match error {
            TryAcquireError::NoPermits => AppendError::Full,
            TryAcquireError::Closed => AppendError::Closed,
        })?;
        self.put(entry, room).await
    }

    async fn put(&self, entry: Vec<u8>, room: OwnedSemaphorePermit) -> Result<Durable, AppendError> {
        match &self.0.way_in {
            WayIn::Memory { queue, count } => {
                let (caller, answer) = oneshot::channel();
                let item = Item { entry: entry.into(), caller: Some((caller, room)) };
                queue.send(item).map_err(|_| AppendError::Closed)?;
                count.fetch_add(1, Ordering::SeqCst);
                answer.await.unwrap_or(Err(AppendError::Closed))
            }
            WayIn::Spool { requests, .. } => {
                let (done, durable) = oneshot::channel();
                requests.send(Request::Append { entry, room, done }).map_err(|_| AppendError::Closed)?;
                durable.await.map_err(|_| AppendError::Closed)?.map_err(AppendError::Spool)?;
                Ok(Durable::Spooled)
            }
        }
    }

    /// Waits until the server has, or has refused, everything that was appended before this call. For as long as that
    /// takes: put your own deadline around it.
    ///
    /// # Errors
    /// [`Unsent`] if the writer is shut down meanwhile and something is left.
    pub async fn flush(&self) -> Result<(), Unsent> {
        let end = match &self.0.way_in {
            WayIn::Memory { count, .. } => Position { segment: 0, offset: count.load(Ordering::SeqCst) },
            WayIn::Spool { end, .. } => *end.borrow(),
        };
        let mut settled = self.0.settled.clone();
        match settled.wait_for(|settled| *settled >= end).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Unsent),
        }
    }

    /// Takes no more events, sends everything that was appended, and ends the writer: at the latest after `deadline`,
    /// with what is on its way cut off. The spool is free for another writer when this returns.
    ///
    /// # Errors
    /// [`Unsent`] if something is left: in the spool, or, without one, with callers who get
    /// [`AppendError::Closed`]. A second call gives the same as the first if that has ended.
    pub async fn shutdown(&self, deadline: Duration) -> Result<(), Unsent> {
        let Inner { way_in, closing, stop, task, .. } = &*self.0;
        closing.cancel();
        self.0.room.close();
        if let WayIn::Spool { requests, .. } = way_in {
            // It may have ended by itself.
            let _ = requests.send(Request::Close);
        }
        let mut task = task.lock().await;
        if let Some(running) = &mut *task {
            if tokio::time::timeout(deadline, &mut *running).await.is_err() {
                stop.cancel();
                // It ends with the request that is on its way.
                let _ = running.await;
            }
            *task = None;
        }
        let sent = match way_in {
            WayIn::Memory { count, .. } => self.0.settled.borrow().offset >= count.load(Ordering::SeqCst),
            WayIn::Spool { end, .. } => {
                // The thread gives its lock back as its last act.
                let mut end = end.clone();
                while end.changed().await.is_ok() {}
                *self.0.settled.borrow() >= *end.borrow()
            }
        };
        if sent { Ok(()) } else { Err(Unsent) }
    }

    /// What the writer has done, and what holds it up.
    #[must_use]
    pub fn status(&self) -> Status {
        let waiting_bytes = self.0.room_bytes.saturating_sub(self.0.room.available_permits());
        Status { waiting_bytes, ..self.0.counters.get() }
    }
}

impl Inner {
    /// What an entry takes of the room: its bytes and what stands around them.
    fn size(&self, entry: &[u8]) -> u32 {
        u32::try_from((entry.len() + frame::HEAD).min(self.room_bytes)).unwrap_or(u32::MAX)
    }
}

fn to_entry(event: &Event) -> Result<Vec<u8>, AppendError> {
    if !is_key(&event.id) {
        return Err(AppendError::Id(event.id.clone()));
    }
    Ok(event.to_entry()?)
}
