//! A load generator: what a log takes in and gives out, measured from outside, beside what it is compared with.
//!
//! Closed loops (each connection calls again when it was answered) and open loops (calls are due at a rate, and timed
//! from that moment). It decides nothing about a log, and works on any that has `POST add` and C2SP tlog-tiles.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinError;

use crate::progress::Progress;
use crate::store::StoreError;
use crate::store::postgres::bench::BenchConnection;

mod caller;
mod clock;
mod event;
mod follow;
mod http;
mod load;
mod machine;
mod process;
mod report;
mod text;
mod turn;

pub use machine::{Conditions, Machine, ProcessorTime};
pub use process::{Usage, Usages};
pub use report::{Latency, Load, Report, Spread, Stored, Summary, TurnReport};
pub use text::{number, stolen};

use http::Endpoint;
use turn::Bench;

/// The way in or out that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Through {
    /// `attestlog.append` and `append_all` in transactions of PostgreSQL.
    Sql,
    /// `POST add`: one entry, answered once a published head covers it.
    Add,
    /// `POST entries`: NDJSON, answered once it is durable.
    Entries,
    /// Full tiles at random places.
    Tiles,
    /// Full entry bundles at random places.
    Bundles,
    /// The checkpoint.
    Checkpoint,
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which way.
    pub through: Through,
    /// The log's name.
    pub log: String,
    /// The database; needed for SQL, and for what is stored otherwise.
    pub database: Option<String>,
    /// The address of the log, `http://…`: what `checkpoint` and `add` are below.
    pub prefix: Option<String>,
    /// The address of the server, for its /metrics.
    pub server: Option<String>,
    /// The token of appends.
    pub token: Option<String>,
    /// The directory whose disk is timed; the embedded store in it is weighed.
    pub data: Option<PathBuf>,
    /// Connections, each with one call at a time.
    pub connections: u32,
    /// Calls a second in an open loop; a closed loop without.
    pub rate: Option<NonZeroU32>,
    /// Entries of a call.
    pub batch: usize,
    /// Bytes of an entry.
    pub entry_size: usize,
    /// Of 100 entries, so many repeat an earlier one.
    pub duplicates: u8,
    /// How long is measured.
    pub duration: Duration,
    /// How long calls are made before that.
    pub warm_up: Duration,
    /// Calls pause while so many entries wait for a head.
    pub backlog: u64,
    /// Take turns with a plain audit table.
    pub baseline: bool,
    /// How often it is measured.
    pub rounds: u32,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// This is no address to call.
    #[error("{url}: {reason}")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no address, and this way needs one.
    #[error("no server was named")]
    NoAddress,
    /// There is no answer.
    #[error("{url}: {reason}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// The answer is not the one that a log gives.
    #[error("{path} was answered {status}{}{said}", if said.is_empty() { "" } else { ": " })]
    Answer {
        /// The path below the log's prefix.
        path: String,
        /// The status.
        status: u16,
        /// The beginning of the answer.
        said: String,
    },
    /// There is no such log.
    #[error("the database has no log \"{0}\"")]
    NoLog(String),
    /// Events cannot be that short or long.
    #[error("an event has {least} to {most} bytes here, not {0}", least = event::MIN_SIZE, most = attestlog_core::MAX_ENTRY_SIZE)]
    EntrySize(usize),
    /// A full tile needs 256 entries.
    #[error("the log has {0} entries, and a full tile or bundle holds 256")]
    TooSmall(u64),
}

/// Measures; `progress` counts seconds, and its `stop` ends it with what was measured so far.
///
/// # Errors
/// [`BenchError`] if a call fails before any has succeeded: nothing can be measured then.
pub async fn run(plan: Plan, progress: &Progress) -> Result<Report, BenchError> {
    if !(event::MIN_SIZE..=attestlog_core::MAX_ENTRY_SIZE).contains(&plan.entry_size) {
        return Err(BenchError::EntrySize(plan.entry_size));
    }
    let turns = plan.rounds * if plan.baseline { 2 } else { 1 };
    let seconds = (plan.warm_up + plan.duration).as_millis().div_ceil(1000);
    progress.expect(u64::from(turns) * u64::try_from(seconds).unwrap_or(u64::MAX));
    let mut bench = Bench::open(plan, progress).await?;
    if bench.plan.baseline {
        bench.database()?.make_plain_table().await?;
    }
    let measured = rounds(&mut bench).await;
    if bench.plan.baseline {
        bench.database()?.drop_plain_table().await?;
    }
    Ok(bench.report(measured?))
}

/// The turns of all rounds; the order within a round alternates.
async fn rounds(bench: &mut Bench) -> Result<Vec<TurnReport>, BenchError> {
    let mut turns = Vec::new();
    for round in 1..=bench.plan.rounds {
        let ways: &[bool] = match (bench.plan.baseline, round % 2) {
            (false, _) => &[false],
            (true, 1) => &[false, true],
            (true, _) => &[true, false],
        };
        for &plain in ways {
            if bench.progress.stop.is_cancelled() {
                return Ok(turns);
            }
            turns.push(bench.turn(round, plain).await?);
        }
    }
    Ok(turns)
}

/// A count, to divide it.
#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^53")]
fn float(number: u64) -> f64 {
    number as f64
}

/// A second connection to a server, or none.
fn endpoint(url: Option<&str>, token: Option<&str>) -> Result<Option<Arc<Endpoint>>, BenchError> {
    url.map(|url| Endpoint::new(url, token).map(Arc::new)).transpose()
}

/// A connection to the database, if there is one.
async fn connect(url: Option<&str>) -> Result<Option<BenchConnection>, BenchError> {
    match url {
        Some(url) => Ok(Some(BenchConnection::connect(url).await?)),
        None => Ok(None),
    }
}

/// What a task returned; a panic goes on.
fn joined<T>(result: Result<T, JoinError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => unreachable!("the task was not aborted: {error}"),
    }
}
