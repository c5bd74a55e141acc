//! One connection's calls: what each way in or out sends, and what it takes for an answer.

use std::sync::Arc;

use attestlog_core::{TileId, TilePath};
use hyper::StatusCode;
use hyper::body::Bytes;
use serde::Deserialize;

use super::event::{Events, mix};
use super::http::{Answer, Endpoint, HttpConnection};
use super::{BenchError, Plan, Through};
use crate::store::postgres::bench::BenchConnection;
use crate::store::{StoreError, Ticket};

/// The entries of a full tile and of a full bundle.
const FULL: u64 = 256;

/// The bytes of a full tile.
const FULL_TILE: usize = 8192;

/// Makes one call after the other.
#[derive(Debug)]
pub(super) struct Caller {
    target: Target,
    events: Events,
    batch: usize,
    size: usize,
    /// The entries of a call, one behind the other.
    buffer: Vec<u8>,
}

#[derive(Debug)]
enum Target {
    Sql { connection: Database, log: String },
    Plain { connection: Database },
    Add(HttpConnection),
    Entries(HttpConnection),
    Read { connection: HttpConnection, kind: Read, places: u64, next: u64 },
}

#[derive(Clone, Copy, Debug)]
enum Read {
    Tile,
    Bundle,
    Checkpoint,
}

/// A connection that is made again after it broke.
#[derive(Debug)]
struct Database {
    url: String,
    open: Option<BenchConnection>,
}

#[derive(Deserialize)]
struct Tickets {
    tickets: Vec<String>,
}

impl Caller {
    /// The caller of this number; `plain` writes into the plain table, and `size` is that of the log's tree.
    pub(super) async fn new(
        plan: &Plan,
        endpoint: Option<&Arc<Endpoint>>,
        plain: bool,
        size: u64,
        seed: u64,
    ) -> Result<Self, BenchError> {
        let events = Events::new(mix(seed), plan.entry_size, plan.duplicates);
        let http = || endpoint.map(HttpConnection::new).ok_or(BenchError::NoAddress);
        let read = |kind| {
            let places = if matches!(kind, Read::Checkpoint) { 1 } else { size / FULL };
            if places == 0 {
                return Err(BenchError::TooSmall(size));
            }
            Ok(Target::Read { connection: http()?, kind, places, next: mix(seed) })
        };
        let target = match plan.through {
            Through::Sql => {
                let url = plan.database.clone().unwrap_or_default();
                let connection = Database { open: Some(BenchConnection::connect(&url).await?), url };
                if plain {
                    Target::Plain { connection }
                } else {
                    Target::Sql { connection, log: plan.log.clone() }
                }
            }
            Through::Add => Target::Add(http()?),
            Through::Entries => Target::Entries(http()?),
            Through::Tiles => read(Read::Tile)?,
            Through::Bundles => read(Read::Bundle)?,
            Through::Checkpoint => read(Read::Checkpoint)?,
        };
        let batch = plan.batch;
        let buffer = Vec::with_capacity(batch * (plan.entry_size + 1));
        Ok(Self { target, events, batch, size: plan.entry_size, buffer })
    }

    /// Makes a call. The ticket of its last entry, if that is wanted and there is one.
    pub(super) async fn call(&mut self, want_ticket: bool) -> Result<Option<Ticket>, BenchError> {
        if !matches!(self.target, Target::Read { .. }) {
            self.fill();
        }
        match &mut self.target {
            Target::Sql { connection, log } => {
                let entries: Vec<&[u8]> = self.buffer.chunks(self.size).collect();
                connection.call(async |open| open.append(log, &entries).await.map(Some)).await
            }
            Target::Plain { connection } => {
                let events: Vec<&str> = self
                    .buffer
                    .chunks(self.size)
                    .filter_map(|event| std::str::from_utf8(event).ok())
                    .collect();
                connection.call(async |open| open.insert_plain(&events).await.map(|()| None)).await
            }
            Target::Add(connection) => {
                let body = Bytes::copy_from_slice(&self.buffer);
                let answer = connection.post("/add", "application/octet-stream", body, true).await?;
                let answer = answer.expect("/add", StatusCode::OK)?;
                let index =
                    std::str::from_utf8(&answer.body).ok().and_then(|text| text.trim().parse::<u64>().ok());
                index.map(|_| None).ok_or_else(|| answer.unexpected("/add", "no index"))
            }
            Target::Entries(connection) => {
                let body = Bytes::copy_from_slice(&self.buffer);
                let answer = connection.post("/entries", "application/x-ndjson", body, want_ticket).await?;
                let answer = answer.expect("/entries", StatusCode::ACCEPTED)?;
                if want_ticket { last_ticket(&answer).map(Some) } else { Ok(None) }
            }
            Target::Read { connection, kind, places, next } => {
                *next = mix(*next);
                let path = kind.path(*next % *places);
                let answer = connection.get(&path, false).await?.expect(&path, StatusCode::OK)?;
                let whole = match kind {
                    Read::Tile => answer.length == FULL_TILE,
                    Read::Bundle | Read::Checkpoint => answer.length > 0,
                };
                if whole { Ok(None) } else { Err(answer.unexpected(&path, "not all of it")) }
            }
        }
    }

    /// Writes the next call's entries into the buffer.
    fn fill(&mut self) {
        self.buffer.clear();
        let lines = matches!(self.target, Target::Entries(_));
        for _ in 0..self.batch {
            self.buffer.extend_from_slice(self.events.next());
            if lines {
                self.buffer.push(b'\n');
            }
        }
    }
}

impl Database {
    async fn call<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut BenchConnection) -> Result<T, StoreError>,
    ) -> Result<T, BenchError> {
        // Taken out: whoever gives up in the middle of a call leaves no half answer for the next.
        let mut open = match self.open.take() {
            Some(open) => open,
            None => BenchConnection::connect(&self.url).await?,
        };
        let done = work(&mut open).await;
        if !matches!(done, Err(StoreError::Unavailable(_))) {
            self.open = Some(open);
        }
        Ok(done?)
    }
}

impl Read {
    fn path(self, index: u64) -> String {
        let width = 256;
        match self {
            Self::Tile => {
                let tile = TileId { level: 0, index };
                format!("/{}", TilePath::Hashes { tile, width }.format())
            }
            Self::Bundle => format!("/{}", TilePath::Entries { index, width }.format()),
            Self::Checkpoint => "/checkpoint".to_owned(),
        }
    }
}

impl Answer {
    /// Itself, if it has this status.
    pub(super) fn expect(self, path: &str, status: StatusCode) -> Result<Self, BenchError> {
        if self.status == status { Ok(self) } else { Err(self.unexpected(path, "")) }
    }

    pub(super) fn unexpected(&self, path: &str, what: &str) -> BenchError {
        let said = String::from_utf8_lossy(&self.body);
        let said: String = said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect();
        let said = [what, &said].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
        BenchError::Answer { path: path.to_owned(), status: self.status.as_u16(), said }
    }
}

fn last_ticket(answer: &Answer) -> Result<Ticket, BenchError> {
    let tickets: Option<Tickets> = serde_json::from_slice(&answer.body).ok();
    let last = tickets.and_then(|answer| answer.tickets.last()?.parse().ok());
    last.map(Ticket).ok_or_else(|| answer.unexpected("/entries", "no tickets"))
}
