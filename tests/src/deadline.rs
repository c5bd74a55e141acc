//! Waiting for a condition, but not without end.

use std::time::{Duration, Instant};

/// Longer than anything takes that is waited for, on a machine that does much else.
const DEADLINE: Duration = Duration::from_secs(90);

/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The end of somebody's patience.
#[derive(Debug)]
pub struct Deadline<'a> {
    what: &'a str,
    began: Instant,
}

impl<'a> Deadline<'a> {
    /// That of waiting for `what`.
    #[must_use]
    pub fn of(what: &'a str) -> Self {
        Self { what, began: Instant::now() }
    }

    /// Lets some time pass before the next look.
    ///
    /// # Panics
    /// If it is over.
    pub async fn pause(&self) {
        assert!(self.began.elapsed() < DEADLINE, "waited in vain until {}", self.what);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Looks until there is something, and returns it.
///
/// # Panics
/// If there is nothing at the deadline.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Deadline::of(what);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        deadline.pause().await;
    }
}
