//! A writer over HTTP that gives up on nothing: it sends each batch again, with the same key, until it is acknowledged.

use reqwest::{Client, Response};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::chance::Chance;
use crate::deadline::Deadline;
use crate::history::{Transaction, Writer};
use crate::program::client;

/// The longest batch.
const MAX_ENTRIES: u64 = 40;

/// The longest pause between two requests, in milliseconds.
const PAUSE: u64 = 40;

/// Words of a database or a driver that no answer may pass on.
const INTERNAL: [&str; 8] =
    ["sqlx", "sqlite", "postgres", "fatal", "terminating", "connection", "os error", "io error"];

/// What became of one request.
#[derive(Debug)]
pub enum Sent {
    /// The tickets.
    Acknowledged(Vec<String>),
    /// The code of the problem that it was answered with; it may be stored or not.
    Problem(String),
    /// There was no answer; it may be stored or not.
    NoAnswer,
}

/// A server's log to write to.
#[derive(Clone, Debug)]
pub struct HttpWriter {
    client: Client,
    server: String,
    name: String,
    padding: usize,
}

impl HttpWriter {
    /// A writer of this name, whose entries are so much longer than needed.
    #[must_use]
    pub fn new(server: &str, name: &str, padding: usize) -> Self {
        Self { client: client(), server: server.to_owned(), name: name.to_owned(), padding }
    }

    /// The batch of this number.
    #[must_use]
    pub fn batch(&self, number: u64, length: u64) -> Transaction {
        let (name, padding) = (&self.name, "x".repeat(self.padding));
        let entry = |entry| {
            format!("{{\"writer\":\"{name}\",\"batch\":{number},\"entry\":{entry},\"_\":\"{padding}\"}}")
        };
        (0..length).map(entry).collect()
    }

    /// Sends a batch once, under its number's key.
    ///
    /// # Panics
    /// If the answer is neither 202 nor a 503 that is a problem document and says nothing of the database's.
    pub async fn send(&self, number: u64, batch: &Transaction) -> Sent {
        let request = self.client.post(format!("{}/logs/default/entries", self.server));
        let request = request.header("idempotency-key", format!("{}-{number}", self.name));
        let request = request.header("content-type", "application/x-ndjson").body(batch.join("\n"));
        match request.send().await {
            Ok(answer) => read(answer, batch.len()).await,
            Err(_) => Sent::NoAnswer,
        }
    }

    /// Sends a batch until it is acknowledged; its tickets, and how often it was sent in vain.
    pub async fn deliver(&self, number: u64, batch: &Transaction, chance: &mut Chance) -> (Vec<String>, u64) {
        let (mut vain, deadline) = (0, Deadline::of("a batch is acknowledged"));
        loop {
            if let Sent::Acknowledged(tickets) = self.send(number, batch).await {
                return (tickets, vain);
            }
            vain += 1;
            deadline.pause().await;
            tokio::time::sleep(chance.time(PAUSE)).await;
        }
    }

    /// Delivers batches of random length until `stop`; all of them, and how many requests were in vain.
    ///
    /// # Panics
    /// If a batch that is sent again after it was acknowledged has other tickets.
    pub async fn write(self, mut chance: Chance, stop: CancellationToken) -> (Writer, u64) {
        let (mut written, mut vain) = (Writer::new(), 0);
        while !stop.is_cancelled() {
            let number = written.len() as u64;
            let batch = self.batch(number, 1 + chance.below(MAX_ENTRIES));
            let (tickets, more) = self.deliver(number, &batch, &mut chance).await;
            vain += more;
            if chance.percent(20) {
                let (again, more) = self.deliver(number, &batch, &mut chance).await;
                assert_eq!(again, tickets, "a retry is the same append");
                vain += more;
            }
            written.push(batch);
            tokio::time::sleep(chance.time(PAUSE)).await;
        }
        (written, vain)
    }
}

async fn read(answer: Response, entries: usize) -> Sent {
    let status = answer.status().as_u16();
    let kind = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    let Ok(body) = answer.text().await else { return Sent::NoAnswer };
    let json: Value = serde_json::from_str(&body).unwrap_or_default();
    if status == 202 {
        let tickets = json["tickets"].as_array().unwrap();
        assert_eq!(tickets.len(), entries);
        return Sent::Acknowledged(
            tickets.iter().map(|ticket| ticket.as_str().unwrap().to_owned()).collect(),
        );
    }
    assert_eq!((status, kind.as_deref()), (503, Some("application/problem+json")), "{body}");
    let text = body.to_lowercase();
    for word in INTERNAL {
        assert!(!text.contains(word), "the answer passes on \"{word}\": {body}");
    }
    Sent::Problem(json["code"].as_str().unwrap().to_owned())
}
