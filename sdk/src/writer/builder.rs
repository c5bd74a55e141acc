//! What a writer is made with.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::commit::{Committer, Size, Sizes};
use super::error::{RefusedEvent, StartError};
use super::refused::RefusedFile;
use super::sender::{OnRefused, Sender};
use super::source::{BatchLimits, MemoryQueue, Source, SpoolReader};
use super::spool::{OpenError, Position, Spool};
use super::status::Counters;
use super::{Inner, WayIn, Writer};
use crate::backoff::Backoff;
use crate::http::Remote;

/// The least that a spool may hold: four of the smallest segments, each as large as the largest entry.
const MIN_SPOOL: usize = 256 << 10;

/// 512 MiB, or on 32 bits what a semaphore can count to: one byte less.
const MAX_ROOM: usize = if Semaphore::MAX_PERMITS < (512 << 20) { Semaphore::MAX_PERMITS } else { 512 << 20 };

/// The bytes of a request's body, above which it is sent; the server takes 16 MiB.
const BATCH_BYTES: usize = 1 << 20;

/// The settings of a [`Writer`].
pub struct WriterBuilder {
    log: String,
    token: Option<String>,
    client: Option<reqwest::Client>,
    timeout: Duration,
    spool: Option<PathBuf>,
    spool_bytes: usize,
    queue_bytes: usize,
    batch_entries: usize,
    backoff: Backoff,
    on_refused: Option<OnRefused>,
}

impl WriterBuilder {
    pub(super) fn new(log: String) -> Self {
        Self {
            log,
            token: None,
            client: None,
            timeout: Duration::from_secs(30),
            spool: None,
            spool_bytes: 256 << 20,
            queue_bytes: 16 << 20,
            batch_entries: 1000,
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(30)),
            on_refused: None,
        }
    }

    /// The server's append token.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Keeps events in this directory until the server has them; it is made, mode 0700, unless it is there. It belongs
    /// to one writer of one log, and should be on a disk that survives a restart.
    #[must_use]
    pub fn spool(mut self, directory: impl Into<PathBuf>) -> Self {
        self.spool = Some(directory.into());
        self
    }

    /// The most bytes of events that the spool holds, 256 KiB to 512 MiB; by default 256 MiB. Beyond, appends wait. What
    /// is refused or damaged is kept beside it, and not counted.
    #[must_use]
    pub fn spool_bytes(mut self, bytes: usize) -> Self {
        self.spool_bytes = bytes;
        self
    }

    /// The most bytes of events that wait in memory, where there is no spool, up to 512 MiB; by default 16 MiB. Beyond,
    /// appends wait.
    #[must_use]
    pub fn queue_bytes(mut self, bytes: usize) -> Self {
        self.queue_bytes = bytes;
        self
    }

    /// The most events in a request, 1 to 20,000; by default 1,000.
    #[must_use]
    pub fn batch_entries(mut self, entries: usize) -> Self {
        self.batch_entries = entries;
        self
    }

    /// How long a request may take, its whole answer included; by default 30 seconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The pause after the first failure, by default 100 milliseconds, and the longest, by default 30 seconds. It
    /// doubles with each failure in a row, and a random part of up to half is taken off.
    #[must_use]
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.backoff = Backoff::new(first, longest);
        self
    }

    /// The HTTP client to use, with certificates or a proxy of your own, say.
    #[must_use]
    pub fn client(mut self, client: reqwest::Client) -> Self {
        self.client = Some(client);
        self
    }

    /// Called with each event that the log refuses for good, once it is kept in `refused.ndjson` where there is a spool.
    /// It must not block.
    #[must_use]
    pub fn on_refused(mut self, report: impl Fn(&RefusedEvent) + Send + Sync + 'static) -> Self {
        self.on_refused = Some(Arc::new(report));
        self
    }

    /// Starts the writer. What a spool holds from an earlier one is sent first.
    ///
    /// # Errors
    /// [`StartError`].
    ///
    /// # Panics
    /// Outside a Tokio runtime with time and IO.
    pub async fn start(self) -> Result<Writer, StartError> {
        let remote = Remote::new(&self.log, self.client.clone(), self.token.clone(), self.timeout);
        let remote = remote.map_err(StartError::Settings)?;
        self.check()?;
        let (counters, closing, stop) =
            (Arc::<Counters>::default(), CancellationToken::new(), CancellationToken::new());
        let (settled, settled_now) = watch::channel(Position::default());
        let room_bytes = if self.spool.is_some() { self.spool_bytes } else { self.queue_bytes };
        let room = Arc::new(Semaphore::new(room_bytes));
        let (way_in, source, refused) = match &self.spool {
            Some(path) => {
                let log = remote.log_name().unwrap_or(&self.log).to_owned();
                let opened = self.open_spool(path.clone(), log, Arc::clone(&room), settled.clone()).await;
                opened.map_err(|error| match error {
                    OpenError::InUse => StartError::SpoolInUse(path.clone()),
                    OpenError::OtherLog(log) => StartError::SpoolOfOtherLog { path: path.clone(), log },
                    OpenError::Io(error) => StartError::Spool { path: path.clone(), error },
                })?
            }
            None => {
                let (queue, entries) = unbounded_channel();
                let source = MemoryQueue { queue: entries, closing: closing.clone(), taken: 0 };
                (WayIn::Memory { queue, count: AtomicU64::new(0) }, Source::Memory(source), None)
            }
        };
        let sender = Sender {
            remote,
            source,
            limits: BatchLimits { entries: self.batch_entries, bytes: BATCH_BYTES },
            backoff: self.backoff,
            refused,
            on_refused: self.on_refused,
            counters: Arc::clone(&counters),
            settled,
        };
        let task = tokio::spawn(sender.run(stop.clone()));
        Ok(Writer(Arc::new(Inner {
            way_in,
            room,
            room_bytes,
            counters,
            settled: settled_now,
            closing,
            _stop_when_dropped: stop.clone().drop_guard(),
            stop,
            task: Some(task).into(),
        })))
    }

    fn check(&self) -> Result<(), StartError> {
        let wrong = |what: &str| Err(StartError::Settings(what.to_owned()));
        if !(MIN_SPOOL..=MAX_ROOM).contains(&self.spool_bytes) {
            return wrong("a spool holds 256 KiB to 512 MiB");
        }
        if !(1..=MAX_ROOM).contains(&self.queue_bytes) {
            return wrong("a queue holds 1 byte to 512 MiB");
        }
        if !(1..=20_000).contains(&self.batch_entries) {
            return wrong("a request has 1 to 20000 events");
        }
        Ok(())
    }

    async fn open_spool(
        &self,
        path: PathBuf,
        log: String,
        room: Arc<Semaphore>,
        settled: watch::Sender<Position>,
    ) -> Result<(WayIn, Source, Option<Arc<Mutex<RefusedFile>>>), OpenError> {
        let segment_bytes = (self.spool_bytes / 8).clamp(MIN_SPOOL / 4, 1 << 20) as u64;
        let open = move || {
            let spool = Arc::new(Spool::open(&path, &log)?);
            let sizes = Sizes::default();
            for (number, length) in spool.segments()? {
                // A spool that holds more than it may now is sent all the same.
                let room = room.forget_permits(usize::try_from(length).unwrap_or(usize::MAX));
                let size = Size { room, end: length };
                sizes.lock().unwrap_or_else(PoisonError::into_inner).insert(number, size);
            }
            let refused = RefusedFile::open(spool.refused())?;
            let own = spool.next_number()?;
            let (requests, end) =
                Committer::start(Arc::clone(&spool), Arc::clone(&sizes), segment_bytes, own)?;
            let reader = SpoolReader {
                spool,
                sizes,
                room,
                committer: requests.clone(),
                end: end.clone(),
                settled,
                own,
                next: None,
                damaged: false,
                retire_bytes: segment_bytes / 2,
            };
            let way_in = WayIn::Spool { requests, end };
            Ok((way_in, Source::Spool(reader), Some(Arc::new(Mutex::new(refused)))))
        };
        match tokio::task::spawn_blocking(open).await {
            Ok(opened) => opened,
            Err(error) => Err(std::io::Error::other(error).into()),
        }
    }
}

/// Does not show the token.
impl fmt::Debug for WriterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { log, spool, .. } = self;
        f.debug_struct("WriterBuilder").field("log", log).field("spool", spool).finish_non_exhaustive()
    }
}
