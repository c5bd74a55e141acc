//! Waits until a published checkpoint covers what was appended, for many requests with one query a batch.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use attestlog_core::LeafIndex;
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::publisher::{PublishedCheckpoint, Publisher};
use crate::store::{Log, LogId, Store, StoreError, Ticket};

/// The tickets that one query asks for.
const TICKETS_PER_QUERY: usize = 5000;

/// How often to look for what another server has processed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// So many who wait are worth a batch of their own.
const ENOUGH: usize = 256;

/// Where an entry stands, and a checkpoint that covers it.
#[derive(Clone, Debug)]
pub struct Covered {
    /// The entry's index.
    pub index: LeafIndex,
    /// Published, and larger than the index.
    pub checkpoint: Arc<PublishedCheckpoint>,
}

/// Those who wait.
#[derive(Debug, Default)]
pub struct Waiter {
    waiting: Mutex<HashMap<Ticket, Waiting>>,
    demand: Arc<Demand>,
}

#[derive(Debug)]
struct Waiting {
    log: Arc<Log>,
    answers: Vec<oneshot::Sender<Covered>>,
}

/// How many have come to wait since the last batch began. Enough of them are worth a batch before its time: a batch
/// costs about the same for few and for many, and they do nothing until it is done.
#[derive(Debug, Default)]
pub struct Demand {
    came: AtomicUsize,
    enough: Notify,
}

impl Demand {
    /// Whoever comes from now on waits for another batch than the one that begins.
    pub fn begin_batch(&self) {
        self.came.store(0, Ordering::Relaxed);
    }

    /// Returns when enough have come since the last batch began.
    pub async fn enough(&self) {
        loop {
            let more = self.enough.notified();
            if self.came.load(Ordering::Relaxed) >= ENOUGH {
                return;
            }
            more.await;
        }
    }

    fn come(&self) {
        if self.came.fetch_add(1, Ordering::Relaxed) + 1 == ENOUGH {
            self.enough.notify_one();
        }
    }
}

impl Waiter {
    /// Starts to answer, after each of the sequencer's steps and now and then, until `stop`.
    #[must_use]
    pub fn start(
        store: &Arc<dyn Store>,
        publisher: &Arc<Publisher>,
        demand: Arc<Demand>,
        steps: watch::Receiver<u64>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let waiter = Arc::new(Self { waiting: Mutex::default(), demand });
        let look =
            Look { waiter: Arc::clone(&waiter), store: Arc::clone(store), publisher: Arc::clone(publisher) };
        tokio::spawn(look.run(steps, stop));
        waiter
    }

    /// Waits until a published checkpoint covers the entry of this ticket, which the log has given; `None` if the
    /// server shuts down before. Drop it to stop waiting.
    pub async fn covered(&self, log: &Arc<Log>, ticket: Ticket) -> Option<Covered> {
        let (answer, answered) = oneshot::channel();
        self.lock()
            .entry(ticket)
            .or_insert_with(|| Waiting { log: Arc::clone(log), answers: Vec::new() })
            .answers
            .push(answer);
        self.demand.come();
        answered.await.ok()
    }

    /// The tickets that someone still waits for.
    fn tickets(&self) -> Vec<Ticket> {
        let mut waiting = self.lock();
        waiting.retain(|_, waiting| {
            waiting.answers.retain(|answer| !answer.is_closed());
            !waiting.answers.is_empty()
        });
        waiting.keys().copied().collect()
    }

    fn log(&self, ticket: Ticket) -> Option<Arc<Log>> {
        self.lock().get(&ticket).map(|waiting| Arc::clone(&waiting.log))
    }

    fn answer(&self, ticket: Ticket, covered: &Covered) {
        let waiting = self.lock().remove(&ticket);
        for answer in waiting.into_iter().flat_map(|waiting| waiting.answers) {
            // Whoever has hung up does not hear of it.
            let _ = answer.send(covered.clone());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Ticket, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Look {
    waiter: Arc<Waiter>,
    store: Arc<dyn Store>,
    publisher: Arc<Publisher>,
}

impl Look {
    async fn run(self, mut steps: watch::Receiver<u64>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                changed = steps.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if let Err(error) = self.answer_covered().await {
                tracing::warn!("nobody who waits could be answered: {error}");
            }
        }
        // Those who still wait are told that nobody will answer.
        self.waiter.lock().clear();
    }

    async fn answer_covered(&self) -> Result<(), StoreError> {
        let mut newest: HashMap<LogId, Option<Arc<PublishedCheckpoint>>> = HashMap::new();
        for tickets in self.waiter.tickets().chunks(TICKETS_PER_QUERY) {
            for (ticket, (id, index)) in self.store.processed(tickets).await? {
                let Some(log) = self.waiter.log(ticket) else { continue };
                let checkpoint = match newest.get(&id) {
                    Some(checkpoint) => checkpoint.clone(),
                    None => newest.entry(id).or_insert(self.newest(&log).await).clone(),
                };
                if let Some(checkpoint) = checkpoint.filter(|newest| newest.checkpoint.size().0 > index.0) {
                    self.waiter.answer(ticket, &Covered { index, checkpoint });
                }
            }
        }
        Ok(())
    }

    /// A log that cannot be published keeps only its own callers waiting.
    async fn newest(&self, log: &Log) -> Option<Arc<PublishedCheckpoint>> {
        let newest = self.publisher.checkpoint(log).await;
        newest
            .inspect_err(|error| tracing::warn!("those who wait for log \"{}\" go on: {error}", log.name))
            .ok()
    }
}
