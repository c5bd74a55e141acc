//! The Attestlog server as a library; `main.rs` is the one program `attestlog`.

pub mod store;
