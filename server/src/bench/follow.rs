//! Follows the published head: how fast it grows, and when it covers a sample of the entries.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use hyper::StatusCode;
use serde::Deserialize;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::BenchError;
use super::http::HttpConnection;
use super::load::{Load, histogram, record};
use crate::store::postgres::bench::BenchConnection;
use crate::store::{LogId, Ticket};

/// How often the head is looked at; "covered" is late by up to so much.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How often the share of calls that are followed is chosen again.
const CHOOSE_EVERY: Duration = Duration::from_millis(250);

/// In the end, how long a head may take to grow while entries wait for it.
const DRAIN: Duration = Duration::from_secs(10);

/// Where the newest head is read.
#[derive(Debug)]
pub(super) enum HeadSource {
    /// In `attestlog.checkpoint`.
    Database(BenchConnection, LogId),
    /// At `checkpoint`, as everyone reads it.
    Http(HttpConnection),
}

/// Where a ticket's index is looked up.
#[derive(Debug)]
pub(super) enum TicketSource {
    Database(BenchConnection),
    /// A request a ticket.
    Http(HttpConnection),
    /// There are no tickets.
    None,
}

/// Looks at the head of one log.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) head: HeadSource,
    pub(super) tickets: TicketSource,
}

/// What was seen.
#[derive(Debug)]
pub(super) struct Followed {
    /// Each head that was seen, and when.
    pub(super) heads: Vec<(Instant, u64)>,
    /// Microseconds from when a call was due until a head covered its last entry.
    pub(super) covered: Histogram<u64>,
    /// Followed calls whose last entry no head has covered in the end.
    pub(super) uncovered: usize,
    /// The entries that waited for a head when the measured time began, and when it ended.
    pub(super) waiting: [u64; 2],
}

struct Pending {
    due: Instant,
    ticket: Ticket,
    index: Option<u64>,
}

impl HeadSource {
    /// The size of the newest head.
    pub(super) async fn size(&mut self) -> Result<u64, BenchError> {
        match self {
            Self::Database(connection, log) => Ok(connection.head(*log).await?),
            Self::Http(connection) => {
                let answer =
                    connection.get("/checkpoint", true).await?.expect("/checkpoint", StatusCode::OK)?;
                let size =
                    std::str::from_utf8(&answer.body).ok().and_then(|note| note.lines().nth(1)?.parse().ok());
                size.ok_or_else(|| answer.unexpected("/checkpoint", "no checkpoint"))
            }
        }
    }
}

impl TicketSource {
    /// The calls a second that can be followed without being a load themselves.
    fn bearable(&self) -> u64 {
        match self {
            Self::Database(_) => 400,
            Self::Http(_) => 50,
            Self::None => 0,
        }
    }

    async fn find(&mut self, pending: &mut [Pending]) -> Result<(), BenchError> {
        match self {
            Self::Database(connection) => {
                let unknown = pending.iter().filter(|pending| pending.index.is_none());
                let tickets: Vec<Ticket> = unknown.map(|pending| pending.ticket).collect();
                let indexes = connection.indexes(&tickets).await?;
                for pending in pending {
                    pending.index = pending.index.or_else(|| indexes.get(&pending.ticket).copied());
                }
            }
            Self::Http(connection) => {
                #[derive(Deserialize)]
                struct Place {
                    index: Option<u64>,
                }
                for pending in pending.iter_mut().filter(|pending| pending.index.is_none()) {
                    let path = format!("/tickets/{}", pending.ticket.0);
                    let answer = connection.get(&path, true).await?.expect(&path, StatusCode::OK)?;
                    pending.index =
                        serde_json::from_slice::<Place>(&answer.body).ok().and_then(|place| place.index);
                }
            }
            Self::None => {}
        }
        Ok(())
    }
}

impl Follower {
    /// Looks until `calls_ended`, and then until all that was appended is covered.
    pub(super) async fn follow(
        mut self,
        load: Arc<Load>,
        head: watch::Sender<u64>,
        mut sampled: mpsc::UnboundedReceiver<(Instant, Ticket)>,
        calls_ended: CancellationToken,
    ) -> Result<Followed, BenchError> {
        let mut seen = Followed { heads: Vec::new(), covered: histogram(), uncovered: 0, waiting: [0; 2] };
        let (mut pending, mut size) = (Vec::new(), load.base);
        let (mut grew, mut read) = (Instant::now(), Instant::now());
        let mut share = Share::new(&load, self.tickets.bearable());
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            share.choose(&load);
            let newest = match self.head.size().await {
                Ok(newest) => newest,
                // A server that is started again is waited for.
                Err(_) if read.elapsed() < DRAIN && !load.clock.stop.is_cancelled() => continue,
                Err(error) => return Err(error),
            };
            let now = Instant::now();
            read = now;
            if now < load.clock.from {
                seen.waiting = [load.waiting(newest); 2];
            } else if now < load.clock.to {
                seen.waiting[1] = load.waiting(newest);
            }
            let over = calls_ended.is_cancelled();
            if newest > size {
                (size, grew) = (newest, now);
                seen.heads.push((now, newest));
                // Nobody waits for it any more in the end.
                head.send_replace(newest);
            } else if !over {
                continue;
            }
            while let Ok((due, ticket)) = sampled.try_recv() {
                pending.push(Pending { due, ticket, index: None });
            }
            self.tickets.find(&mut pending).await?;
            pending.retain(|pending| !seen.cover(pending));
            let done = load.waiting(size) == 0 && pending.is_empty();
            if over && (done || load.clock.stop.is_cancelled() || grew.elapsed() > DRAIN) {
                seen.uncovered = pending.len();
                return Ok(seen);
            }
        }
    }
}

impl Followed {
    /// Whether a head covers it; then its time is recorded.
    fn cover(&mut self, pending: &Pending) -> bool {
        let Some(index) = pending.index else { return false };
        let at = self.heads.partition_point(|(_, size)| *size <= index);
        let Some((when, _)) = self.heads.get(at) else { return false };
        record(&mut self.covered, when.saturating_duration_since(pending.due));
        true
    }

    /// The leaves covered a second, between the first and the last head that was seen in the measured time.
    pub(super) fn rate(&self, load: &Load) -> Option<f64> {
        let mut measured = self.heads.iter().filter(|(when, _)| load.clock.measures(*when));
        let ((first, from), (last, to)) = (measured.next()?, measured.next_back()?);
        Some(super::float(to - from) / (*last - *first).as_secs_f64())
    }
}

/// Chooses which share of the calls is followed, from how many there are.
struct Share {
    bearable: u64,
    chosen: Instant,
    calls: u64,
}

impl Share {
    fn new(load: &Load, bearable: u64) -> Self {
        load.stride.store(bearable.min(1), Ordering::Relaxed);
        Self { bearable, chosen: Instant::now(), calls: 0 }
    }

    fn choose(&mut self, load: &Load) {
        let elapsed = self.chosen.elapsed();
        if elapsed < CHOOSE_EVERY || self.bearable == 0 {
            return;
        }
        let calls = load.calls.load(Ordering::Relaxed);
        let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let rate = (calls - self.calls) * 1000 / milliseconds;
        load.stride.store((rate / self.bearable).max(1), Ordering::Relaxed);
        (self.chosen, self.calls) = (Instant::now(), calls);
    }
}
