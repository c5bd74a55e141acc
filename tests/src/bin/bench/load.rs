//! Entries of sample logs, and what a number of measurements come to.

use std::time::Duration;

/// What a number of calls took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    /// How long each call took.
    pub(crate) times: Vec<Duration>,
}

impl Measured {
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
