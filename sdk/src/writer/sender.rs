//! The task that brings entries to the server, in their order, until it has them or has refused them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::error::{AppendError, Durable, Refusal, RefusedEvent};
use super::refused::RefusedFile;
use super::request::{self, Outcome};
use super::source::{Batch, BatchLimits, Item, Read, Source, blocking};
use super::spool::Position;
use super::status::{Counters, Trouble};
use crate::backoff::Backoff;
use crate::http::Remote;
use crate::ticket::Ticket;

/// What is called with each event that is refused for good.
pub(super) type OnRefused = Arc<dyn Fn(&RefusedEvent) + Send + Sync>;

pub(super) struct Sender {
    pub(super) remote: Remote,
    pub(super) source: Source,
    pub(super) limits: BatchLimits,
    pub(super) backoff: Backoff,
    /// Where refused events are kept; only with a spool.
    pub(super) refused: Option<Arc<Mutex<RefusedFile>>>,
    pub(super) on_refused: Option<OnRefused>,
    pub(super) counters: Arc<Counters>,
    /// Up to where everything is settled.
    pub(super) settled: watch::Sender<Position>,
}

impl Sender {
    /// Until everything is sent and there will be no more, or `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        // What is dropped in the middle is still in the spool, or its callers are told that the writer is gone.
        let _ = stop.run_until_cancelled(self.send_all()).await;
    }

    async fn send_all(&mut self) {
        loop {
            match self.source.next(self.limits).await {
                Ok(Read::Batch(batch)) => {
                    let end = batch.end;
                    self.deliver(batch).await;
                    self.settled.send_replace(end);
                }
                Ok(Read::Damaged) => self.counters.change(|status| status.damaged_segments += 1),
                Ok(Read::End) => return,
                Err(error) => self.pause(None, format!("the spool cannot be read: {error}")).await,
            }
        }
    }

    /// Settles every entry of the batch.
    async fn deliver(&mut self, batch: Batch) {
        let mut items = batch.items;
        // After a refusal fewer are sent at once, so that many bad events cost a request each and not a batch each.
        let mut width = items.len();
        while !items.is_empty() {
            width = width.clamp(1, items.len());
            let part = items.get(..width).unwrap_or_default();
            match request::send(&self.remote, part).await {
                Outcome::Acknowledged(tickets) => {
                    self.acknowledge(items.drain(..width), tickets);
                    width = width.saturating_mul(2);
                }
                Outcome::Refused(Some(place), refusal) => {
                    let item = items.remove(place);
                    self.refuse(item, refusal).await;
                    width /= 2;
                }
                Outcome::Refused(None, _) | Outcome::TooLarge(_) if width > 1 => width /= 2,
                Outcome::Refused(None, refusal) | Outcome::TooLarge(refusal) | Outcome::Denied(refusal) => {
                    self.deny(&mut items, width, refusal).await;
                }
                Outcome::Later(retry_after, error) => self.pause(retry_after, error).await,
            }
        }
    }

    fn acknowledge(&mut self, items: impl Iterator<Item = Item>, tickets: Vec<Ticket>) {
        self.backoff.reset();
        let count = tickets.len() as u64;
        self.counters.change(|status| {
            status.acknowledged += count;
            status.trouble = None;
        });
        for (item, ticket) in items.zip(tickets) {
            if let Some((caller, room)) = item.caller {
                drop(room);
                let ticket = Ticket::for_entry(ticket.id(), &item.entry);
                // One who is gone does not need to know.
                let _ = caller.send(Ok(Durable::Acknowledged { ticket }));
            }
        }
    }

    async fn refuse(&mut self, item: Item, refusal: Refusal) {
        let refused = RefusedEvent { entry: item.entry.to_vec(), refusal };
        if let Some(file) = &self.refused {
            let file = Arc::clone(file);
            loop {
                let (file, refused) = (Arc::clone(&file), refused.clone());
                let kept =
                    blocking(move || file.lock().unwrap_or_else(PoisonError::into_inner).add(&refused));
                match kept.await {
                    Ok(()) => break,
                    Err(error) => {
                        self.pause(None, format!("refused.ndjson cannot be written: {error}")).await
                    }
                }
            }
        }
        self.backoff.reset();
        self.counters.change(|status| status.refused += 1);
        if let Some(report) = &self.on_refused {
            report(&refused);
        }
        if let Some((caller, room)) = item.caller {
            drop(room);
            let _ = caller.send(Err(AppendError::Refused(refused.refusal)));
        }
    }

    /// What a spool holds waits until the server takes it; callers who wait are told.
    async fn deny(&mut self, items: &mut Vec<Item>, width: usize, refusal: Refusal) {
        if self.refused.is_some() {
            return self.pause(None, refusal.to_string()).await;
        }
        for item in items.drain(..width) {
            if let Some((caller, room)) = item.caller {
                drop(room);
                let _ = caller.send(Err(AppendError::Denied(refusal.clone())));
            }
        }
    }

    async fn pause(&mut self, retry_after: Option<Duration>, error: String) {
        let pause = self.backoff.pause(retry_after);
        let failures = self.backoff.failures();
        self.counters.change(|status| {
            status.retries += 1;
            status.trouble = Some(Trouble { error, failures, pause });
        });
        tokio::time::sleep(pause).await;
    }
}
