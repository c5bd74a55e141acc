//! What the end-to-end, fault and vector tests share.
#![expect(clippy::unwrap_used, reason = "the code of tests fails by panicking")]

pub mod databases;
pub mod embedded;
pub mod faulty;
pub mod log;
pub mod reference;
pub mod sample_log;
pub mod sequencing;
pub mod server;
