//! When a turn warms up, is measured, and is over.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::progress::Progress;

/// How long calls in flight are waited for in the end.
const LAST_CALLS: Duration = Duration::from_secs(10);

/// The times of one turn.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    pub(super) began: Instant,
    /// What began before is not measured.
    pub(super) from: Instant,
    /// Nothing begins from here on.
    pub(super) to: Instant,
    /// Whoever watches asks for the end.
    pub(super) stop: CancellationToken,
    /// Calls that are not answered yet are given up.
    pub(super) over: CancellationToken,
}

impl Clock {
    /// Starts it.
    pub(super) fn start(warm_up: Duration, duration: Duration, stop: &CancellationToken) -> Self {
        let began = Instant::now();
        let from = began + warm_up;
        let over = CancellationToken::new();
        Self { began, from, to: from + duration, stop: stop.clone(), over }
    }

    /// Whether a moment belongs to what is measured.
    pub(super) fn measures(&self, moment: Instant) -> bool {
        self.from <= moment && moment < self.to
    }

    /// Whether nothing may begin any more.
    pub(super) fn has_ended(&self, moment: Instant) -> bool {
        moment >= self.to || self.stop.is_cancelled()
    }

    /// Counts the seconds for who watches, and gives calls up that are not answered in the end.
    pub(super) async fn run(self, progress: Progress) {
        let mut next = self.began;
        while !self.has_ended(Instant::now()) {
            next = (next + Duration::from_secs(1)).min(self.to);
            if self.stop.run_until_cancelled(tokio::time::sleep_until(next.into())).await.is_some() {
                progress.add(1);
            }
        }
        let stopped = self.stop.is_cancelled();
        tokio::time::sleep(if stopped { LAST_CALLS / 10 } else { LAST_CALLS }).await;
        self.over.cancel();
    }
}
