//! Closed and open loops: when the next call is due, and what became of each.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::{mpsc, watch};

use super::caller::Caller;
use super::clock::Clock;
use super::event::mix;
use super::{BenchError, Plan};
use crate::store::Ticket;

/// The pause after a call failed.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest time that is told from a longer one, in microseconds: an hour.
const LONGEST: u64 = 3_600_000_000;

/// The kinds of failures that are told apart.
const KINDS: usize = 20;

/// What all connections of a turn share.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) clock: Clock,
    /// Calls a second, if they come whether or not earlier ones were answered.
    rate: Option<NonZeroU32>,
    /// The entries of a call.
    batch: u64,
    /// With so many entries waiting for their head, no call begins.
    most_waiting: Option<u64>,
    /// The size of the tree before.
    pub(super) base: u64,
    /// The next call of the schedule.
    next: AtomicU64,
    /// The calls begun.
    pub(super) calls: AtomicU64,
    /// The entries acknowledged.
    pub(super) appended: AtomicU64,
    /// Of so many calls, one is followed to its head; 0 follows none.
    pub(super) stride: AtomicU64,
    recorded: Mutex<Recorded>,
    followed: mpsc::UnboundedSender<(Instant, Ticket)>,
}

/// What became of the calls.
#[derive(Debug)]
pub(super) struct Recorded {
    /// Microseconds from when a call was due to its answer, of those that were due while it was measured.
    pub(super) acknowledged: Histogram<u64>,
    /// Calls that were answered while it was measured.
    pub(super) answered: u64,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    /// The failures by what they say.
    pub(super) failures: BTreeMap<String, u64>,
    /// Calls that were due and not answered at the end; the time they have waited counts.
    pub(super) unfinished: u64,
}

/// A histogram of microseconds.
pub(super) fn histogram() -> Histogram<u64> {
    // A thousandth of the value is told apart; these bounds are valid.
    Histogram::new_with_bounds(1, LONGEST, 3).unwrap_or_else(|_| unreachable!("1 is below {LONGEST}"))
}

/// Adds a time to a histogram.
pub(super) fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_micros()).unwrap_or(LONGEST).max(1));
}

impl Load {
    pub(super) fn new(
        plan: &Plan,
        clock: Clock,
        base: u64,
        gated: bool,
        followed: mpsc::UnboundedSender<(Instant, Ticket)>,
    ) -> Self {
        let recorded = Recorded {
            acknowledged: histogram(),
            answered: 0,
            succeeded: 0,
            failed: 0,
            failures: BTreeMap::new(),
            unfinished: 0,
        };
        Self {
            clock,
            rate: plan.rate,
            batch: plan.batch as u64,
            most_waiting: gated.then_some(plan.backlog),
            base,
            next: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            appended: AtomicU64::new(0),
            stride: AtomicU64::new(0),
            recorded: Mutex::new(recorded),
            followed,
        }
    }

    /// Makes calls over one connection until the time is over. A call that fails before any has succeeded is an error.
    pub(super) async fn drive(
        self: Arc<Self>,
        mut caller: Caller,
        mut head: watch::Receiver<u64>,
    ) -> Result<(), BenchError> {
        while let Some(due) = self.next_call(&mut head).await {
            let number = self.calls.fetch_add(1, Ordering::Relaxed);
            let follow = mix(number).checked_rem(self.stride.load(Ordering::Relaxed)) == Some(0);
            match self.clock.over.run_until_cancelled(caller.call(follow)).await {
                None => {
                    self.unfinished(due);
                    break;
                }
                Some(Ok(ticket)) => {
                    self.succeeded(due);
                    if let Some(ticket) = ticket.filter(|_| follow && self.clock.measures(due)) {
                        // Nobody follows any more after the end.
                        let _ = self.followed.send((due, ticket));
                    }
                }
                Some(Err(error)) => {
                    self.failed(error)?;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        Ok(())
    }

    /// Waits until a call may begin; the moment when it was due.
    async fn next_call(&self, head: &mut watch::Receiver<u64>) -> Option<Instant> {
        let due = match self.due(|| self.next.fetch_add(1, Ordering::Relaxed)) {
            Some(due) if due >= self.clock.to => return None,
            Some(due) => {
                self.clock.stop.run_until_cancelled(tokio::time::sleep_until(due.into())).await?;
                Some(due)
            }
            None => None,
        };
        if let Some(most) = self.most_waiting {
            let few = |head: &u64| self.waiting(*head) < most;
            let room = self.clock.over.run_until_cancelled(head.wait_for(few)).await;
            if room.is_none() {
                if let Some(due) = due {
                    self.unfinished(due);
                }
                return None;
            }
        }
        let now = Instant::now();
        match due {
            Some(due) => (!self.clock.stop.is_cancelled()).then_some(due),
            None => (!self.clock.has_ended(now)).then_some(now),
        }
    }

    /// When the call of a number is due in an open loop; counted from the beginning, so that nothing drifts.
    fn due(&self, number: impl FnOnce() -> u64) -> Option<Instant> {
        let rate = self.rate?;
        let nanoseconds = u128::from(number()) * 1_000_000_000 / u128::from(rate.get());
        Some(self.clock.began + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)))
    }

    /// The entries of this turn that a head of this size does not cover.
    pub(super) fn waiting(&self, head: u64) -> u64 {
        self.appended.load(Ordering::Relaxed).saturating_sub(head.saturating_sub(self.base))
    }

    fn succeeded(&self, due: Instant) {
        let now = Instant::now();
        self.appended.fetch_add(self.batch, Ordering::Relaxed);
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.succeeded += 1;
        if self.clock.measures(due) {
            record(&mut recorded.acknowledged, now - due);
        }
        if self.clock.measures(now) {
            recorded.answered += 1;
        }
    }

    fn failed(&self, error: BenchError) -> Result<(), BenchError> {
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        if recorded.succeeded == 0 {
            return Err(error);
        }
        recorded.failed += 1;
        let said = error.to_string();
        if recorded.failures.len() < KINDS || recorded.failures.contains_key(&said) {
            *recorded.failures.entry(said).or_default() += 1;
        }
        Ok(())
    }

    fn unfinished(&self, due: Instant) {
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        if self.clock.measures(due) {
            record(&mut recorded.acknowledged, due.elapsed());
            recorded.unfinished += 1;
        }
    }

    /// What was recorded, once all connections have ended. What was due until `end` and never sent counts as unfinished.
    pub(super) fn finish(&self, end: Instant) -> Recorded {
        while let Some(due) = self.due(|| self.next.fetch_add(1, Ordering::Relaxed)) {
            if due >= end {
                break;
            }
            self.unfinished(due);
        }
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        let acknowledged = std::mem::replace(&mut recorded.acknowledged, histogram());
        let failures = std::mem::take(&mut recorded.failures);
        Recorded { acknowledged, failures, ..*recorded }
    }
}
