//! The Attestlog server as a library; `main.rs` is the one program `attestlog`.

pub mod appender;
pub mod deployment;
pub mod event;
pub mod keyring;
pub mod prover;
pub mod published;
pub mod publisher;
pub mod secret;
pub mod sequencer;
pub mod service;
pub mod store;
pub mod waiter;
