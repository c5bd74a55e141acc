//! Events in the caller's transaction, on both databases, through to receipts from a real server.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "what cannot be done fails the test")]

mod append_all;
mod application;
mod application_file;
mod concurrency;
mod postgres;
mod proxy;
mod receipts;
mod sqlite;
mod testing;
