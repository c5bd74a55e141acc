//! Where the sender takes entries from: a queue in memory, whose callers wait, or the segments of a spool.

use std::io;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::commit::{Request, Size, Sizes};
use super::error::{AppendError, Durable};
use super::frame::{self, MAGIC, Next};
use super::spool::{Position, Spool};

/// An entry that is to be sent.
pub(super) struct Item {
    pub(super) entry: Bytes,
    /// Who waits for it, and its part of the room; not where it is durable in a spool.
    pub(super) caller: Option<(oneshot::Sender<Result<Durable, AppendError>>, OwnedSemaphorePermit)>,
}

/// Entries that go into one request, if they can.
pub(super) struct Batch {
    pub(super) items: Vec<Item>,
    /// Up to where everything is settled once these are.
    pub(super) end: Position,
}

/// How large batches are.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchLimits {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

/// One of the two.
pub(super) enum Source {
    Memory(MemoryQueue),
    Spool(SpoolReader),
}

/// Entries whose callers wait until the log has them.
pub(super) struct MemoryQueue {
    pub(super) queue: UnboundedReceiver<Item>,
    pub(super) closing: CancellationToken,
    /// How many have been taken out; the end of a batch is counted so.
    pub(super) taken: u64,
}

/// Reads a spool from its first segment on.
pub(super) struct SpoolReader {
    pub(super) spool: Arc<Spool>,
    pub(super) sizes: Sizes,
    pub(super) room: Arc<Semaphore>,
    pub(super) committer: UnboundedSender<Request>,
    /// Where the durable entries end; closed when there will be no more.
    pub(super) end: watch::Receiver<Position>,
    /// Up to where everything is settled.
    pub(super) settled: watch::Sender<Position>,
    /// The first segment of this process: what is torn in one from here on was changed by somebody.
    pub(super) own: u64,
    /// Where to read on.
    pub(super) next: Option<Position>,
    /// Whether bytes of the segment that is being read were changed.
    pub(super) damaged: bool,
    /// An active segment that is settled and has so many bytes is left.
    pub(super) retire_bytes: u64,
}

/// What reading from a spool gave.
pub(super) enum Read {
    Batch(Batch),
    /// A segment has changed bytes; its other entries are sent, and then it is set aside.
    Damaged,
    /// There is nothing more, and will not be.
    End,
}

impl Source {
    /// The next entries. The ones before are settled when this is called. Only a spool's reading can fail, and it may
    /// be tried again.
    pub(super) async fn next(&mut self, limits: BatchLimits) -> io::Result<Read> {
        match self {
            Self::Memory(queue) => Ok(queue.next(limits).await.map_or(Read::End, Read::Batch)),
            Self::Spool(reader) => reader.next(limits).await,
        }
    }
}

impl MemoryQueue {
    async fn next(&mut self, limits: BatchLimits) -> Option<Batch> {
        let first = tokio::select! {
            first = self.queue.recv() => first,
            () = self.closing.cancelled() => {
                self.queue.close();
                self.queue.recv().await
            }
        };
        let (mut items, mut bytes) = (Vec::new(), 0);
        let mut next = first;
        while let Some(item) = next {
            bytes += item.entry.len();
            items.push(item);
            let full = items.len() >= limits.entries || bytes >= limits.bytes;
            next = if full { None } else { self.queue.try_recv().ok() };
        }
        self.taken += items.len() as u64;
        (!items.is_empty()).then_some(Batch { items, end: Position { segment: 0, offset: self.taken } })
    }
}

impl SpoolReader {
    async fn next(&mut self, limits: BatchLimits) -> io::Result<Read> {
        loop {
            // Before the place is read: what is appended from here on wakes this up below.
            let closed = self.end.has_changed().is_err();
            let end = *self.end.borrow_and_update();
            let Some(next) = self.first_from(end).await? else {
                self.settled.send_replace(end);
                if closed {
                    return Ok(Read::End);
                }
                self.wait().await;
                continue;
            };
            let sealed = closed || next.segment < end.segment;
            // Beyond it, there is what a failed write has left.
            let durable = self.size(next.segment).end;
            let bytes = self.read(next, durable).await?;
            match self.batch(next, &bytes, durable, limits) {
                Some(read) => return Ok(read),
                None if sealed => self.finish(next.segment).await?,
                None if next.offset >= self.retire_bytes && self.retire(next).await => {
                    self.finish(next.segment).await?;
                }
                None => self.wait().await,
            }
        }
    }

    /// Where to read: where the last batch ended, or at the beginning of the first segment.
    async fn first_from(&mut self, end: Position) -> io::Result<Option<Position>> {
        if self.next.is_none() {
            let spool = Arc::clone(&self.spool);
            let segments = blocking(move || spool.segments()).await?;
            // A segment that is just being made is not durable, and has nothing to read.
            let first = segments.into_iter().map(|(number, _)| number).next();
            let first = first.filter(|&first| first < end.segment || first == end.segment && end.offset > 0);
            self.next = first.map(|segment| Position { segment, offset: 0 });
        }
        Ok(self.next)
    }

    fn size(&self, segment: u64) -> Size {
        let sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        sizes.get(&segment).copied().unwrap_or_default()
    }

    async fn read(&self, from: Position, to: u64) -> io::Result<Bytes> {
        let spool = Arc::clone(&self.spool);
        blocking(move || spool.read(from, to)).await.map(Bytes::from)
    }

    /// The entries at the beginning of these bytes, which should reach as far as `durable`; `None` if there are none.
    fn batch(&mut self, from: Position, bytes: &Bytes, durable: u64, limits: BatchLimits) -> Option<Read> {
        let (mut at, mut items, mut length) = (0, Vec::new(), 0);
        let all = usize::try_from(durable.saturating_sub(from.offset)).unwrap_or(usize::MAX);
        // The tail of a process that has ended may be torn. What this process made durable, and what was there when it
        // began, is.
        let may_be_torn = from.segment < self.own && bytes.len() >= all;
        if from.offset == 0 {
            // Changed, it is a gap like any other.
            at = if bytes.starts_with(MAGIC) { MAGIC.len() } else { 0 };
        }
        let mut damaged = false;
        while items.len() < limits.entries && length < limits.bytes {
            let rest = bytes.get(at..).unwrap_or_default();
            match frame::next(rest) {
                Next::Torn if may_be_torn => break,
                Next::End if at >= all => break,
                Next::Entry(entry) => {
                    at += frame::HEAD;
                    items.push(Item { entry: bytes.slice(at..at + entry.len()), caller: None });
                    at += entry.len();
                    length += entry.len();
                }
                // Reported once a segment, and before what follows is sent.
                Next::Damaged(_) | Next::Torn | Next::End if !self.damaged && !items.is_empty() => break,
                gap => {
                    at = if let Next::Damaged(gap) = gap { at + gap } else { all };
                    damaged = true;
                    if !self.damaged {
                        break;
                    }
                }
            }
        }
        let end = Position { segment: from.segment, offset: from.offset + at as u64 };
        self.next = Some(end);
        if damaged && !self.damaged {
            self.damaged = true;
            return Some(Read::Damaged);
        }
        (!items.is_empty()).then_some(Read::Batch(Batch { items, end }))
    }

    /// Leaves a segment of which everything is settled.
    async fn finish(&mut self, segment: u64) -> io::Result<()> {
        let (spool, damaged) = (Arc::clone(&self.spool), self.damaged);
        blocking(move || if damaged { spool.set_aside(segment) } else { spool.remove(segment) }).await?;
        let size = self.sizes.lock().unwrap_or_else(PoisonError::into_inner).remove(&segment);
        self.room.add_permits(size.unwrap_or_default().room);
        (self.next, self.damaged) = (None, false);
        Ok(())
    }

    /// Whether nothing more goes into the segment, which ends here.
    async fn retire(&self, end: Position) -> bool {
        let (done, retired) = oneshot::channel();
        self.committer.send(Request::Retire { end, done }).is_ok() && retired.await.unwrap_or(false)
    }

    /// Until there is more, or there will be no more.
    async fn wait(&mut self) {
        // That it is closed is seen by whoever looks next.
        let _ = self.end.changed().await;
    }
}

/// Does what may wait for a disk where waiting harms nobody.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
