//! How long to wait before the next try: exponentially longer with each failure, with chance, and as long as asked.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

/// The longest wait that a server may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// What is as good as for ever.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// The pauses of one row of failures.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// How often it has failed in a row.
    pub(crate) const fn failures(&self) -> u32 {
        self.failures
    }

    /// It has worked: the next failure is the first again.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// The pause after one more failure; at least what the server has asked for.
    pub(crate) fn pause(&mut self, retry_after: Option<Duration>) -> Duration {
        let pause = self.pause_for(random());
        pause.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER))
    }

    /// Between half and all of the pause that doubles each time: many writers that failed at once come back one by one.
    fn pause_for(&mut self, random: u32) -> Duration {
        let doubled = self.first.saturating_mul(1 << self.failures.min(30)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        let more = (doubled / 2).mul_f64(f64::from(random) / f64::from(u32::MAX));
        (doubled / 2).saturating_add(more)
    }
}

/// The time after a pause, or in 30 years if no clock reaches so far.
pub(crate) fn instant_after(pause: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(pause).unwrap_or_else(|| now + FAR)
}

/// A number that is another in each process and each time. Nothing secret depends on it.
fn random() -> u32 {
    let [a, b, c, d, ..] = RandomState::new().build_hasher().finish().to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The seconds of a `Retry-After`; a date says nothing that a clock could be trusted with.
pub(crate) fn retry_after(headers: &reqwest::header::HeaderMap) -> Option<Duration> {
    let value = headers.get(reqwest::header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(10);

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        let most: Vec<_> = (0..9).map(|_| backoff.pause_for(u32::MAX).as_millis()).collect();
        assert_eq!(most, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(backoff.failures(), 9);
        backoff.reset();
        let least: Vec<_> = (0..4).map(|_| backoff.pause_for(0).as_millis()).collect();
        assert_eq!(least, [50, 100, 200, 400]);
        for _ in 0..100 {
            backoff.pause_for(7);
        }
        assert!(backoff.pause(None) <= LONGEST);
    }

    #[test]
    fn the_longest_pause_that_there_is_ends_nothing_but_waiting() {
        for first in [Duration::ZERO, Duration::MAX / 2, Duration::MAX] {
            let mut backoff = Backoff::new(first, Duration::MAX);
            for random in [0, 1, u32::MAX - 1, u32::MAX].into_iter().cycle().take(70) {
                assert!(backoff.pause_for(random) >= first / 2);
            }
            assert!(instant_after(backoff.pause(None)) <= instant_after(Duration::MAX));
        }
        assert!(instant_after(Duration::MAX) > Instant::now() + FAR / 2);
    }

    #[test]
    fn a_server_may_ask_for_more_patience_but_not_for_less_nor_for_days() {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        assert_eq!(backoff.pause(Some(Duration::from_secs(60))), Duration::from_secs(60));
        assert!(backoff.pause(Some(Duration::ZERO)) >= FIRST);
        assert_eq!(backoff.pause(Some(Duration::from_secs(1 << 40))), MAX_RETRY_AFTER);
    }

    #[test]
    fn retry_after_is_read_in_seconds_only() {
        let read = |text: &'static str| {
            let value = reqwest::header::HeaderValue::from_static(text);
            retry_after(&[(reqwest::header::RETRY_AFTER, value)].into_iter().collect())
        };
        assert_eq!(read("3"), Some(Duration::from_secs(3)));
        for other in ["", "-1", "Wed, 21 Oct 2026 07:28:00 GMT", "1.5", "99999999999999999999"] {
            assert_eq!(read(other), None);
        }
    }
}
