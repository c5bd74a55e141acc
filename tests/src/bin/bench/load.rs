//! Load, closed and open, and what became of it.

use std::future::Future;
use std::time::{Duration, Instant};

/// What a number of calls took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    /// How long each call took.
    pub(crate) times: Vec<Duration>,
    /// How long all of it took.
    pub(crate) elapsed: Duration,
}

impl Measured {
    /// The calls in a second.
    pub(crate) fn rate(&self) -> f64 {
        count(self.times.len()) / self.elapsed.as_secs_f64()
    }

    /// The time that this share of the calls, in hundredths, did not exceed.
    pub(crate) fn percentile(&self, hundredths: usize) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        times
            .get((times.len() * hundredths / 100).min(times.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    }
}

/// The median.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// A count as a number to divide by.
pub(crate) fn count(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Whoever makes one call after the other.
pub(crate) trait Caller: Send + 'static {
    /// Makes a call, and returns when it is answered.
    fn call(&mut self) -> impl Future<Output = ()> + Send;
}

/// Closed loop: each caller calls again as soon as it was answered, until the time is over.
pub(crate) async fn closed_loop<C: Caller>(callers: &mut Vec<C>, time: Duration) -> Measured {
    let began = Instant::now();
    let call_until_over = |mut caller: C| {
        tokio::spawn(async move {
            let mut times = Vec::new();
            while began.elapsed() < time {
                let called = Instant::now();
                caller.call().await;
                times.push(called.elapsed());
            }
            (caller, times)
        })
    };
    let tasks: Vec<_> = callers.drain(..).map(call_until_over).collect();
    let mut measured = Measured::default();
    for task in tasks {
        let (caller, times) = task.await.expect("a caller ends well");
        callers.push(caller);
        measured.times.extend(times);
    }
    measured.elapsed = began.elapsed();
    measured
}

/// Open loop: a call every `1/rate` seconds whether or not earlier ones were answered; each is timed from the moment
/// when it was due.
pub(crate) async fn open_loop<F, Fut>(rate: u32, time: Duration, call: F) -> Measured
where
    F: Fn() -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let began = Instant::now();
    let mut tasks = Vec::new();
    for number in 0_u32.. {
        let due = Duration::from_secs(1) * number / rate;
        if due >= time {
            break;
        }
        let due = began + due;
        tokio::time::sleep_until(due.into()).await;
        let call = call();
        tasks.push(tokio::spawn(async move {
            call.await;
            due.elapsed()
        }));
    }
    let mut measured = Measured::default();
    for task in tasks {
        measured.times.push(task.await.expect("a call ends well"));
    }
    measured.elapsed = began.elapsed();
    measured
}

/// An audit event of 300 bytes that no other number has.
pub(crate) fn event(number: u64) -> Vec<u8> {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (number >> 7);
    let head = format!(
        "{{\"id\":\"{mixed:016x}-{number:010}\",\"action\":\"invoice.voided\",\
         \"occurred_at\":\"2026-11-22T08:00:00.123456Z\",\"actor\":{{\"type\":\"user\",\"id\":\"usr_{}\"}},\
         \"targets\":[{{\"type\":\"invoice\",\"id\":\"inv_{number}\"}}],\"outcome\":\"success\",\"note\":\"",
        number % 1000
    );
    let mut bytes = head.into_bytes();
    bytes.resize(298, b'x');
    bytes.extend(b"\"}");
    bytes
}
