//! The Attestlog server as a library; `main.rs` is the one program `attestlog`.

pub mod bundle;
pub mod fsck;
pub mod keyring;
pub mod progress;
pub mod prover;
pub mod published;
pub mod publisher;
pub mod secret;
pub mod sequencer;
pub mod store;
