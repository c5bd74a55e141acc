//! The Attestlog server as a library; `main.rs` is the one program `attestlog`.

pub mod appender;
pub mod bench;
pub mod bundle;
pub mod deployment;
pub mod event;
pub mod export;
pub mod fsck;
pub mod http;
mod json;
pub mod keyring;
pub mod measurements;
mod partial_file;
pub mod progress;
pub mod prover;
pub mod published;
pub mod publisher;
pub mod search;
pub mod secret;
pub mod sequencer;
pub mod serve;
pub mod service;
pub mod store;
pub mod tile_cache;
pub mod waiter;
