//! What the end-to-end, fault and vector tests share.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "the code of tests fails by panicking")]

pub mod chance;
pub mod cutting_proxy;
pub mod databases;
pub mod deadline;
pub mod embedded;
pub mod faulty;
pub mod heads;
pub mod history;
pub mod http_writer;
pub mod log;
pub mod program;
pub mod raw_server;
pub mod reference;
pub mod sample_log;
pub mod sequencing;
pub mod server;
pub mod small_disk;
pub mod static_log;
