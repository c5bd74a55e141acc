//! What a writer has done, and what holds it up.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Counters since the writer began, and its trouble now.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Status {
    /// Events that the server has acknowledged. One that a spool's last writer had sent already is counted again.
    pub acknowledged: u64,
    /// Events that the log refused for good.
    pub refused: u64,
    /// Requests that had to be made again.
    pub retries: u64,
    /// Segments of the spool in which bytes were changed. Each is kept beside the spool's others as `NUMBER.damaged`
    /// once its other entries are sent.
    pub damaged_segments: u64,
    /// The bytes of events that wait to be sent, with some overhead.
    pub waiting_bytes: usize,
    /// Why nothing is sent at the moment.
    pub trouble: Option<Trouble>,
}

/// A failure that is being retried.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Trouble {
    /// What failed, for people.
    pub error: String,
    /// How often in a row.
    pub failures: u32,
    /// How long the writer waits before it tries again.
    pub pause: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Counters(Mutex<Status>);

impl Counters {
    pub(super) fn get(&self) -> Status {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
