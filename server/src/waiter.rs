//! Waits until a published checkpoint covers what was appended, for many requests with at most one query a batch.

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
    /// How many have come since the last batch began.
    came: AtomicUsize,
    enough: Notify,
}

#[derive(Debug)]
struct Waiting {
    log: Arc<Log>,
    answers: Vec<oneshot::Sender<Covered>>,
    /// Where the entry stands, if this process has put it there meanwhile.
    index: Option<LeafIndex>,
    /// The looks that found no index.
    looks: u32,
}

impl Waiter {
    /// Starts to answer, after each of the sequencer's steps and now and then, until `stop`.
    #[must_use]
    pub fn start(
        store: &Arc<dyn Store>,
        publisher: &Arc<Publisher>,
        steps: watch::Receiver<u64>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let waiter = Arc::new(Self::default());
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
            .or_insert_with(|| Waiting { log: Arc::clone(log), answers: Vec::new(), index: None, looks: 0 })
            .answers
            .push(answer);
        if self.came.fetch_add(1, Ordering::Relaxed) + 1 == ENOUGH {
            self.enough.notify_one();
        }
        answered.await.ok()
    }

    /// Whoever comes from now on waits for another batch than the one that begins.
    pub fn batch_begins(&self) {
        self.came.store(0, Ordering::Relaxed);
    }

    /// Returns when enough have come since the last batch began to be worth a batch before its time: a batch costs
    /// about the same for few and for many, and they do nothing until it is done.
    pub async fn enough(&self) {
        while self.came.load(Ordering::Relaxed) < ENOUGH {
            self.enough.notified().await;
        }
    }

    /// Takes note of where a committed batch has put entries, which saves asking the database. Call it before the step
    /// is announced.
    pub fn processed(&self, places: impl IntoIterator<Item = (Ticket, LeafIndex)>) {
        let mut waiting = self.lock();
        if waiting.is_empty() {
            return;
        }
        for (ticket, index) in places {
            if let Some(waiting) = waiting.get_mut(&ticket) {
                waiting.index = Some(index);
            }
        }
    }

    /// The tickets that someone still waits for: those whose index is known, with it, and those to ask for. A new one
    /// is asked for only where no index is known, as where another server processes: most are in the next batch.
    fn tickets(&self) -> (Vec<(Ticket, LeafIndex)>, Vec<Ticket>) {
        let mut waiting = self.lock();
        waiting.retain(|_, waiting| {
            waiting.answers.retain(|answer| !answer.is_closed());
            !waiting.answers.is_empty()
        });
        let known = waiting.iter().filter_map(|(ticket, waiting)| Some((*ticket, waiting.index?)));
        let known: Vec<_> = known.collect();
        let mut unknown = Vec::new();
        for (ticket, waiting) in waiting.iter_mut().filter(|(_, waiting)| waiting.index.is_none()) {
            if known.is_empty() || waiting.looks > 0 {
                unknown.push(*ticket);
            }
            waiting.looks += 1;
        }
        (known, unknown)
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
        let mut newest = HashMap::new();
        let (known, unknown) = self.waiter.tickets();
        for (ticket, index) in known {
            self.answer_if_covered(ticket, index, &mut newest).await;
        }
        for tickets in unknown.chunks(TICKETS_PER_QUERY) {
            for (ticket, (_, index)) in self.store.processed(tickets).await? {
                self.answer_if_covered(ticket, index, &mut newest).await;
            }
        }
        Ok(())
    }

    async fn answer_if_covered(
        &self,
        ticket: Ticket,
        index: LeafIndex,
        newest: &mut HashMap<LogId, Option<Arc<PublishedCheckpoint>>>,
    ) {
        let Some(log) = self.waiter.log(ticket) else { return };
        let checkpoint = match newest.get(&log.id) {
            Some(checkpoint) => checkpoint.clone(),
            None => newest.entry(log.id).or_insert(self.newest(&log).await).clone(),
        };
        if let Some(checkpoint) = checkpoint.filter(|newest| newest.checkpoint.size().0 > index.0) {
            self.waiter.answer(ticket, &Covered { index, checkpoint });
        }
    }

    /// A log that cannot be published keeps only its own callers waiting.
    async fn newest(&self, log: &Log) -> Option<Arc<PublishedCheckpoint>> {
        let newest = self.publisher.checkpoint(log).await;
        newest
            .inspect_err(|error| tracing::warn!("those who wait for log \"{}\" go on: {error}", log.name))
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::store::Events;

    fn log() -> Arc<Log> {
        let (name, origin, vkey) = ("a".to_owned(), "example.com/a".to_owned(), String::new());
        Arc::new(Log { id: LogId(1), name, origin, vkey, events: Events::Any })
    }

    #[test]
    fn enough_have_come_when_that_many_have_since_the_batch_began() {
        let (waiter, log) = (Waiter::default(), log());
        let come = |ticket| assert!(waiter.covered(&log, Ticket(ticket)).now_or_never().is_none());
        for _ in 0..3 {
            (1..256).for_each(come);
            assert_eq!(waiter.enough().now_or_never(), None);
            come(256);
            assert_eq!(waiter.enough().now_or_never(), Some(()));
            come(257);
            assert_eq!(waiter.enough().now_or_never(), Some(()));
            waiter.batch_begins();
            assert_eq!(waiter.enough().now_or_never(), None);
        }
    }

    #[test]
    fn asks_only_for_tickets_that_no_batch_of_this_process_has_placed() {
        let (waiter, log) = (Waiter::default(), log());
        let mut waiting: Vec<_> =
            (1..=3).map(|ticket| Box::pin(waiter.covered(&log, Ticket(ticket)))).collect();
        for waiting in &mut waiting {
            assert!(waiting.now_or_never().is_none());
        }
        waiter.processed([(Ticket(2), LeafIndex(7)), (Ticket(9), LeafIndex(8))]);
        let known = vec![(Ticket(2), LeafIndex(7))];
        assert_eq!(waiter.tickets(), (known.clone(), vec![]));
        let sorted = |(known, mut unknown): (_, Vec<Ticket>)| {
            unknown.sort_unstable();
            (known, unknown)
        };
        assert_eq!(sorted(waiter.tickets()), (known, vec![Ticket(1), Ticket(3)]));
        // Where another server processes, nothing is known, and all are asked for at once.
        drop(waiting);
        assert_eq!(waiter.tickets(), (vec![], vec![]));
        let mut waiting = Box::pin(waiter.covered(&log, Ticket(4)));
        assert!((&mut waiting).now_or_never().is_none());
        assert_eq!(waiter.tickets(), (vec![], vec![Ticket(4)]));
    }
}
