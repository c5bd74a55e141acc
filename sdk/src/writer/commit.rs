//! Group commit: one thread writes what many callers append, and one fsync makes all of it durable.
//!
//! A crash here leaves a torn tail, of which nobody was told that it is durable. After a failed write or fsync nothing
//! more goes into that segment: what the system did with those bytes is unknown.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::frame::{self, MAGIC};
use super::spool::{Position, Spool};

/// What the thread is asked for.
pub(super) enum Request {
    /// To make an entry durable.
    Append { entry: Vec<u8>, room: OwnedSemaphorePermit, done: oneshot::Sender<io::Result<()>> },
    /// To append nothing more to this segment, if it ends here; whether that is so.
    Retire { end: Position, done: oneshot::Sender<bool> },
    /// To end.
    Close,
}

/// What is known of each segment besides its bytes.
pub(super) type Sizes = Arc<Mutex<HashMap<u64, Size>>>;

/// The size of a segment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Size {
    /// How much it takes of the room that the spool has.
    pub(super) room: usize,
    /// Where it ends. A file that is shorter was cut by somebody.
    pub(super) end: u64,
}

/// The thread's state.
pub(super) struct Committer {
    pub(super) spool: Arc<Spool>,
    pub(super) sizes: Sizes,
    /// Above so many bytes a new segment is begun.
    pub(super) segment_bytes: u64,
    pub(super) requests: UnboundedReceiver<Request>,
    /// Where the durable entries end. Segments of lower numbers are not appended to.
    pub(super) end: watch::Sender<Position>,
    pub(super) file: Option<File>,
}

struct Waiting {
    frames: Vec<u8>,
    rooms: Vec<OwnedSemaphorePermit>,
    callers: Vec<oneshot::Sender<io::Result<()>>>,
}

impl Committer {
    /// Starts the thread, whose first segment has the number `next`.
    pub(super) fn start(
        spool: Arc<Spool>,
        sizes: Sizes,
        segment_bytes: u64,
        next: u64,
    ) -> io::Result<(UnboundedSender<Request>, watch::Receiver<Position>)> {
        let (sender, requests) = unbounded_channel();
        let (end, durable) = watch::channel(Position { segment: next, offset: 0 });
        let committer = Self { spool, sizes, segment_bytes, requests, end, file: None };
        std::thread::Builder::new().name("attestlog-spool".into()).spawn(|| committer.run())?;
        Ok((sender, durable))
    }

    /// Until it is asked to end, or nobody is left to ask.
    fn run(mut self) {
        while let Some(first) = self.requests.blocking_recv() {
            let mut waiting = Waiting { frames: Vec::new(), rooms: Vec::new(), callers: Vec::new() };
            let mut next = Some(first);
            while let Some(Request::Append { entry, room, done }) = next {
                frame::put(&mut waiting.frames, &entry);
                waiting.rooms.push(room);
                waiting.callers.push(done);
                let full =
                    u64::try_from(waiting.frames.len()).is_ok_and(|length| length >= self.segment_bytes);
                next = if full { None } else { self.requests.try_recv().ok() };
            }
            self.commit(waiting);
            match next {
                Some(Request::Retire { end, done }) => {
                    // Whoever asked may be gone.
                    let _ = done.send(self.retire(end));
                }
                Some(Request::Close) => return,
                Some(Request::Append { .. }) | None => {}
            }
        }
    }

    fn commit(&mut self, waiting: Waiting) {
        if waiting.callers.is_empty() {
            return;
        }
        let written = self.write(&waiting.frames);
        if written.is_ok() {
            let segment = self.end.borrow().segment;
            let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
            for room in waiting.rooms {
                sizes.entry(segment).or_default().room += room.num_permits();
                room.forget();
            }
        }
        for caller in waiting.callers {
            // One who is gone does not care; the entry is sent all the same.
            let _ = caller.send(match &written {
                Ok(()) => Ok(()),
                Err(error) => Err(copy(error)),
            });
        }
    }

    fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        let mut end = *self.end.borrow();
        if self.file.is_some() && end.offset >= self.segment_bytes {
            end = self.begin_next(end);
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None => {
                let file = self.spool.create(end.segment).inspect_err(|_| {
                    self.begin_next(end);
                })?;
                end.offset = MAGIC.len() as u64;
                file
            }
        };
        if let Err(error) = file.write_all(frames).and_then(|()| file.sync_data()) {
            // What cannot be cut off is sent later: its callers were told that nobody knows.
            let _ = file.set_len(end.offset);
            self.begin_next(end);
            return Err(error);
        }
        end.offset += frames.len() as u64;
        self.file = Some(file);
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner).entry(end.segment).or_default().end =
            end.offset;
        self.end.send_replace(end);
        Ok(())
    }

    /// Leaves the segment as it is; the next is made when there is something to put into it.
    fn begin_next(&mut self, end: Position) -> Position {
        self.file = None;
        let next = Position { segment: end.segment + 1, offset: 0 };
        self.end.send_replace(next);
        next
    }

    fn retire(&mut self, end: Position) -> bool {
        let ends_here = *self.end.borrow() == end;
        if ends_here {
            self.begin_next(end);
        }
        ends_here
    }
}

/// The same error for another caller.
fn copy(error: &io::Error) -> io::Error {
    error
        .raw_os_error()
        .map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error)
}
