//! Waiting for a condition, but not without end.

use std::time::{Duration, Instant};

/// Longer than anything takes that is waited for, on a machine that does much else.
const DEADLINE: Duration = Duration::from_secs(90);

/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks until there is something, and returns it.
///
/// # Panics
/// If there is nothing at the deadline.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "waited in vain until {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
