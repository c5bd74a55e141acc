//! Appends for many requests at once: those that arrive while one transaction commits share the next.
//!
//! Nothing is acknowledged before its transaction is durable, and the queue is bounded: beyond the limits a request is
//! refused at once, to be sent again later.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{counter, gauge, histogram};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::store::{Appended, Backlog, NewEntry, Store, StoreError};

/// The requests that may wait for a transaction.
const QUEUE: usize = 4096;

/// The bytes that may wait, in entries; one request may go beyond it.
const QUEUE_BYTES: u64 = 32 * 1024 * 1024;

/// The entries that share a transaction; one request may go beyond it.
const SHARED_ENTRIES: usize = 4000;

/// The bytes that share a transaction.
const SHARED_BYTES: u64 = 2 * 1024 * 1024;

/// The transactions that run at the same time.
const WRITERS: usize = 2;

/// How long a transaction may take before the request is told that the database does not answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often the backlog is counted.
const COUNT_EVERY: Duration = Duration::from_millis(500);

/// Why a request's entries were not appended, or not surely.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Too much is waiting to be processed: nothing was stored, send it again later.
    #[error("{0} entries are waiting to be processed; nothing was stored")]
    Overloaded(u64),
    /// The database failed. After [`StoreError::Unavailable`] the entries may or may not be there.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// The database did not answer in time: the entries may or may not be there.
    #[error("the database did not answer within {} seconds", PATIENCE.as_secs())]
    NoAnswer,
    /// The server is shutting down: nothing was stored.
    #[error("the server is shutting down; nothing was stored")]
    ShuttingDown,
}

/// The way into the log for everything that arrives over HTTP.
#[derive(Debug)]
pub struct Appender {
    queue: mpsc::Sender<Request>,
    load: Arc<Load>,
    processed: watch::Receiver<u64>,
    max_backlog: u32,
}

#[derive(Debug)]
struct Request {
    entries: Vec<NewEntry>,
    bytes: u64,
    answer: oneshot::Sender<Result<Vec<Appended>, AppendError>>,
}

/// What is waiting, for a transaction or to be processed.
#[derive(Debug, Default)]
struct Load {
    queued_bytes: AtomicU64,
    /// All that was appended here.
    appended: AtomicU64,
    /// What the last count found, less all that had been appended here by then, and all processed here added; it wraps.
    others: AtomicU64,
    /// What the last count found, if it stopped there: more wait than it says.
    least: AtomicU64,
}

impl Load {
    /// Takes note of how many rows wait, of which at most `most` are counted.
    fn count(&self, rows: u64, most: u32, appended: u64, processed: u64) {
        self.others.store(rows.wrapping_sub(appended).wrapping_add(processed), Ordering::Relaxed);
        self.least.store(if rows < u64::from(most) { 0 } else { rows }, Ordering::Relaxed);
    }

    /// How many wait, as counted last, with what was appended and processed here since.
    fn unprocessed(&self, processed: u64) -> u64 {
        let (others, appended) = (self.others.load(Ordering::Relaxed), self.appended.load(Ordering::Relaxed));
        let rows = others.wrapping_add(appended).wrapping_sub(processed).cast_signed();
        // Where others appended what was processed here, it may be less than nothing.
        let rows = u64::try_from(rows).unwrap_or(0);
        rows.max(self.least.load(Ordering::Relaxed))
    }
}

impl Appender {
    /// Starts the writers, which end after `stop` when the queue is empty, and the counting of the backlog. `processed` is
    /// how many entries this process has processed since it began.
    #[must_use]
    pub fn start(
        store: &Arc<dyn Store>,
        max_backlog: u32,
        processed: watch::Receiver<u64>,
        stop: &CancellationToken,
    ) -> Self {
        let (queue, requests) = mpsc::channel(QUEUE);
        let (requests, load) = (Arc::new(Mutex::new(requests)), Arc::new(Load::default()));
        for _ in 0..WRITERS {
            let writer = Writer { store: Arc::clone(store), load: Arc::clone(&load) };
            tokio::spawn(writer.run(Arc::clone(&requests), stop.clone()));
        }
        let counting =
            count_backlog(Arc::clone(store), Arc::clone(&load), processed.clone(), max_backlog, stop.clone());
        tokio::spawn(counting);
        Self { queue, load, processed, max_backlog }
    }

    /// Appends the entries in one transaction, together with others'; returns one answer an entry once they are durable.
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn append(&self, entries: Vec<NewEntry>) -> Result<Vec<Appended>, AppendError> {
        let unprocessed = self.load.unprocessed(*self.processed.borrow());
        let queued = self.load.queued_bytes.load(Ordering::Relaxed);
        if unprocessed >= u64::from(self.max_backlog) || queued >= QUEUE_BYTES {
            counter!("attestlog_appends_refused_total").increment(1);
            return Err(AppendError::Overloaded(unprocessed));
        }
        let bytes = entries.iter().map(|entry| entry.data.len() as u64).sum();
        let (answer, answered) = oneshot::channel();
        self.load.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        let sent = self.queue.try_send(Request { entries, bytes, answer });
        if let Err(error) = sent {
            self.load.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(match error {
                mpsc::error::TrySendError::Full(_) => AppendError::Overloaded(unprocessed),
                mpsc::error::TrySendError::Closed(_) => AppendError::ShuttingDown,
            });
        }
        answered.await.unwrap_or(Err(AppendError::ShuttingDown))
    }
}

struct Writer {
    store: Arc<dyn Store>,
    load: Arc<Load>,
}

impl Writer {
    async fn run(self, requests: Arc<Mutex<mpsc::Receiver<Request>>>, stop: CancellationToken) {
        loop {
            let shared = {
                let mut requests = requests.lock().await;
                let first = tokio::select! {
                    biased;
                    first = requests.recv() => first,
                    () = stop.cancelled() => {
                        // What was accepted into the queue is still answered.
                        requests.close();
                        requests.recv().await
                    }
                };
                let Some(first) = first else { return };
                take_more(first, &mut requests)
            };
            self.load.queued_bytes.fetch_sub(bytes(&shared), Ordering::Relaxed);
            self.append(shared).await;
        }
    }

    /// Appends the requests' entries in one transaction. If that is held up by an idempotency key that an open
    /// transaction elsewhere has used, each request goes alone, so that it holds up nobody else.
    async fn append(&self, shared: Vec<Request>) {
        let mut entries = Vec::with_capacity(count(&shared));
        let mut callers = Vec::with_capacity(shared.len());
        for mut request in shared {
            callers.push((request.entries.len(), request.answer));
            entries.append(&mut request.entries);
        }
        match self.store_entries(&entries).await {
            Ok(appended) => {
                let mut appended = appended.into_iter();
                for (count, answer) in callers {
                    // Whoever has hung up does not hear of it.
                    let _ = answer.send(Ok(appended.by_ref().take(count).collect()));
                }
            }
            Err(AppendError::Store(error)) if callers.len() > 1 && matches!(*error, StoreError::Busy(_)) => {
                let mut rest = entries.as_slice();
                for (count, answer) in callers {
                    let (own, others) = rest.split_at_checked(count).unwrap_or((rest, &[]));
                    rest = others;
                    let _ = answer.send(self.store_entries(own).await);
                }
            }
            Err(error) => {
                tracing::error!("{} entries were not appended: {error}", entries.len());
                for (_, answer) in callers {
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    }

    async fn store_entries(&self, entries: &[NewEntry]) -> Result<Vec<Appended>, AppendError> {
        let began = std::time::Instant::now();
        let result = match tokio::time::timeout(PATIENCE, self.store.append(entries)).await {
            Ok(result) => result.map_err(|error| AppendError::Store(Arc::new(error))),
            Err(_) => Err(AppendError::NoAnswer),
        };
        histogram!("attestlog_append_transaction_seconds").record(began.elapsed().as_secs_f64());
        if result.is_ok() {
            self.load.appended.fetch_add(entries.len() as u64, Ordering::Relaxed);
            counter!("attestlog_entries_appended_total").increment(entries.len() as u64);
        } else {
            counter!("attestlog_append_failures_total").increment(1);
        }
        result
    }
}

fn bytes(requests: &[Request]) -> u64 {
    requests.iter().map(|request| request.bytes).sum()
}

fn count(requests: &[Request]) -> usize {
    requests.iter().map(|request| request.entries.len()).sum()
}

/// Adds the requests that are already waiting, up to the limits of one transaction.
fn take_more(first: Request, requests: &mut mpsc::Receiver<Request>) -> Vec<Request> {
    let mut shared = vec![first];
    let (mut entries, mut bytes) = (count(&shared), bytes(&shared));
    while entries < SHARED_ENTRIES && bytes < SHARED_BYTES {
        let Ok(next) = requests.try_recv() else { break };
        (entries, bytes) = (entries + next.entries.len(), bytes + next.bytes);
        shared.push(next);
    }
    shared
}

async fn count_backlog(
    store: Arc<dyn Store>,
    load: Arc<Load>,
    processed: watch::Receiver<u64>,
    most: u32,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(COUNT_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        // What is appended meanwhile counts twice. A batch that is committed and not yet announced is subtracted twice:
        // until the next count the number is too low by it.
        let appended = load.appended.load(Ordering::Relaxed);
        match store.backlog(most).await {
            Ok(Backlog { rows, oldest_seconds }) => {
                load.count(rows, most, appended, *processed.borrow());
                gauge!("attestlog_unprocessed_rows").set(f64::from(u32::try_from(rows).unwrap_or(u32::MAX)));
                gauge!("attestlog_oldest_unprocessed_seconds").set(oldest_seconds);
            }
            Err(error) => tracing::warn!("the backlog cannot be counted: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_processed_here_between_two_counts_no_longer_waits() {
        let load = Load::default();
        load.appended.fetch_add(1000, Ordering::Relaxed);
        assert_eq!((load.unprocessed(0), load.unprocessed(400)), (1000, 600));
        // Others have appended 50 that wait, too.
        load.count(650, 100_000, 1000, 400);
        assert_eq!(load.unprocessed(400), 650);
        load.appended.fetch_add(200, Ordering::Relaxed);
        assert_eq!((load.unprocessed(400), load.unprocessed(1200)), (850, 50));
        // Others have appended more since, and it was processed.
        assert_eq!(load.unprocessed(1500), 0);
    }

    #[test]
    fn what_a_count_did_not_reach_goes_on_waiting() {
        let load = Load::default();
        load.count(100, 100, 0, 0);
        assert_eq!((load.unprocessed(0), load.unprocessed(90)), (100, 100));
        load.appended.fetch_add(20, Ordering::Relaxed);
        assert_eq!((load.unprocessed(0), load.unprocessed(90)), (120, 100));
        load.count(30, 100, 20, 90);
        assert_eq!(load.unprocessed(100), 20);
    }
}
