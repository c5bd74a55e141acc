//! The SDK away from the database: the writer, the log client and `follow`, against real and against lying servers.

#![expect(clippy::unwrap_used, reason = "what cannot be unwrapped fails the test")]

mod cache;
mod crashes;
mod follow;
mod reading;
mod spool;
mod writer;

use std::collections::HashMap;
use std::time::Duration;

use attestlog::writer::WriterBuilder;
use attestlog::{Event, LogClient, Writer, user};
use attestlog_core::LeafIndex;
use attestlog_tests::server::TestServer;
use attestlog_tests::static_log::vkey;

/// The patience with an answer that is never given. Answers that are given may take as long as they do.
const SHORT: Duration = Duration::from_millis(500);

/// An HTTP client that asks the test's servers and no proxy.
fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

/// A writer for the log `default` of a server, which does not wait long before it tries again.
fn writer(server: &str) -> WriterBuilder {
    let writer = Writer::builder(format!("{server}/logs/default")).client(http());
    writer.backoff(Duration::from_millis(1), Duration::from_millis(20))
}

/// A client of the static log that somebody serves.
fn log_client(server: &str) -> attestlog::log_client::LogClientBuilder {
    LogClient::builder(format!("{server}/logs/static"), vkey()).client(http())
}

/// The event of this number.
fn event(number: usize) -> Event {
    Event::new("test.ran").actor(user("tester")).metadata("number", number)
}

/// How often the server's log `default` has each event, by its id, once all that is durable is processed.
async fn logged(server: &TestServer) -> HashMap<String, usize> {
    let last = server.add("the last").await;
    let log = server.store.log("default").await.unwrap().unwrap();
    let mut count = HashMap::new();
    let mut next = 0;
    while next < last {
        let entries = server.store.entries(log.id, LeafIndex(next), 1000).await.unwrap();
        next += entries.len() as u64;
        for entry in entries {
            if let Ok(event) = Event::parse(&entry) {
                *count.entry(event.id).or_default() += 1;
            }
        }
    }
    count
}

/// Checks that the log has each of these once, and nothing twice.
fn assert_once(logged: &HashMap<String, usize>, ids: &[String]) {
    let lost: Vec<_> = ids.iter().filter(|id| !logged.contains_key(*id)).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), ids.len());
    let twice: Vec<_> = logged.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "twice: {twice:?}");
}
