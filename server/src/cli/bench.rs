//! `attestlog bench`: makes load on a log, and prints what it takes in or gives out, and how fast.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use attestlog_server::bench::{BenchError, Plan, Through, run};
use attestlog_server::deployment::DEFAULT_LOG;
use attestlog_server::keyring::is_log_name;
use attestlog_server::progress::Progress;
use attestlog_server::secret::read_private;
use clap::{Args, ValueEnum};

use super::failure::Failure;
use super::serve::parse_time;
use super::{Verdict, output};

/// Measure what a log takes in or gives out: rates, and latencies to p99.9, from histograms
///
/// It writes real entries, or reads at random places; write to a log that is made for it, and to which nothing else
/// writes meanwhile. In a closed loop, each connection calls again when it was answered: the rate that can be had. In
/// an open loop (--rate), calls are due at that rate whether or not earlier ones were answered, and each is timed from
/// the moment it was due: the latency that users see, stalls included.
///
/// Writers through sql and entries pause while more than --backlog of their entries wait for a head, so that the rate
/// of leaves covered is one that can be kept up. The server has to run meanwhile. Name the store too (--database, or
/// --data of an embedded one) to see what is stored, and the server (--server) to see what it takes of the machine.
#[derive(Debug, Args)]
#[command(after_long_help = examples!(
    "attestlog bench load --through add --connections 512 --server http://127.0.0.1:8080",
    "attestlog bench load --through entries --rate 1000 --batch 1 --server http://127.0.0.1:8080",
    "attestlog bench load --through sql --baseline --database postgres://localhost/app",
    "attestlog bench load --through sql --batch 100 --connections 8 --database postgres://localhost/app",
    "attestlog bench load --through tiles --connections 64 --server http://127.0.0.1:8080 --json",
    "attestlog bench --through add --prefix http://localhost:2025/log     a log of another make",
))]
pub(crate) struct Bench {
    /// The log's name
    #[arg(default_value = DEFAULT_LOG, conflicts_with = "prefix")]
    log: String,
    /// The way in or out
    #[arg(long, value_enum)]
    through: Way,
    /// Connections, each with one call at a time [default: 32; with --rate through a server 256]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: Option<u32>,
    /// Calls a second, in an open loop
    #[arg(long, value_name = "N")]
    rate: Option<NonZeroU32>,
    /// Entries a call [default: 1 through sql, 256 through entries]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    batch: Option<u32>,
    /// How long is measured
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_time)]
    duration: Duration,
    /// How long calls are made before that
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_time)]
    warm_up: Duration,
    /// Bytes of an entry, which is an audit event
    #[arg(long, value_name = "BYTES", default_value_t = 300)]
    entry_size: usize,
    /// Of 100 entries, so many repeat an earlier one byte for byte
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=100))]
    duplicates: u8,
    /// Pause while so many entries wait for a head, through sql and entries
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    backlog: u64,
    /// Take turns with a plain INSERT into an audit table, in the schema attestlog_bench, which is made and removed
    #[arg(long)]
    baseline: bool,
    /// How often it is measured [default: 1; with --baseline 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// Print all of it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Where the log is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server and store")]
struct Place {
    /// The server, http://…
    #[arg(long, value_name = "URL", conflicts_with = "prefix")]
    server: Option<String>,
    /// In place of --server and LOG: what `add`, `checkpoint` and `tile` are below, of any log of tlog-tiles
    #[arg(long, value_name = "URL")]
    prefix: Option<String>,
    /// A file with the server's append token, mode 0600
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    /// The server's append token; others can see it in the list of processes, so prefer --token-file or the variable
    #[arg(long, value_name = "TOKEN", env = "ATTESTLOG_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The database, postgres://…
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    database: Option<String>,
    /// The server's directory: whose disk is timed, and whose embedded store is weighed
    #[arg(long, value_name = "DIR", env = "ATTESTLOG_DATA")]
    data: Option<PathBuf>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Way {
    /// attestlog.append, or append_all with --batch, one transaction a call
    Sql,
    /// POST add, an entry a call, answered once a head covers it
    Add,
    /// POST entries, NDJSON of --batch events a call
    Entries,
    /// GET of full tiles
    Tiles,
    /// GET of full entry bundles
    Bundles,
    /// GET of the checkpoint
    Checkpoint,
}

impl Bench {
    pub(crate) async fn run(self) -> Result<Verdict, Failure> {
        let json = self.json;
        let plan = self.plan()?;
        let progress = Progress::default();
        let watch = output::Watch::start_in_seconds(&progress, &format!("through {}", plan.through.name()));
        let report = run(plan, &progress).await;
        watch.end();
        let report = report.map_err(remedy)?;
        if json {
            let value = serde_json::to_value(&report).map_err(|error| Failure::new(error.to_string()))?;
            output::json(&value)?;
        } else {
            output::write(report.to_string())?;
        }
        Ok(Verdict::Holds)
    }

    fn plan(self) -> Result<Plan, Failure> {
        self.check()?;
        let through = self.through.into();
        let connections = if self.rate.is_some() && self.through != Way::Sql { 256 } else { 32 };
        let batch = if self.through == Way::Entries { 256 } else { 1 };
        let Place { server, prefix, token_file, token, database, data } = self.place;
        let token = match &token_file {
            Some(path) => Some(read_private(path)?.trim().to_owned()),
            None => token.filter(|token| !token.is_empty()),
        };
        let server = server.map(|server| server.trim_end_matches('/').to_owned());
        let log_prefix = server.as_ref().map(|server| format!("{server}/logs/{}", self.log));
        Ok(Plan {
            through,
            prefix: prefix.or(log_prefix),
            log: self.log,
            // One that another command is meant for is none of ours.
            database: database.filter(|url| is_postgres(url)),
            server,
            token,
            data,
            connections: self.connections.unwrap_or(connections),
            rate: self.rate,
            batch: usize::try_from(self.batch.unwrap_or(batch)).unwrap_or(usize::MAX),
            entry_size: self.entry_size,
            duplicates: self.duplicates,
            duration: self.duration,
            warm_up: self.warm_up,
            backlog: self.backlog,
            baseline: self.baseline,
            rounds: self.rounds.unwrap_or(if self.baseline { 3 } else { 1 }),
        })
    }

    /// What clap cannot check.
    fn check(&self) -> Result<(), Failure> {
        let Self { through, place, .. } = self;
        let fail = |message: &str| Err(Failure::new(message));
        if !is_log_name(&self.log) {
            return Err(Failure::new(format!("\"{}\" cannot be the name of a log", self.log)));
        }
        if self.duration.is_zero() {
            return fail("--duration: nothing can be measured in no time\nWrite 10s, say");
        }
        match through {
            Way::Sql if !place.database.as_deref().is_some_and(is_postgres) => {
                return fail(
                    "--through sql appends in transactions of PostgreSQL\nName its database with --database \
                     postgres://… or DATABASE_URL; the embedded store is measured --through entries or add",
                );
            }
            Way::Sql if place.prefix.is_some() => {
                return fail("--through sql: --prefix names a log to reach over HTTP");
            }
            Way::Sql => {}
            _ if place.server.is_none() && place.prefix.is_none() => {
                return fail(
                    "no server was named\nName one that runs with --server http://…, or a log with --prefix",
                );
            }
            _ if self.baseline => {
                return fail("--baseline compares with an INSERT\nUse it with --through sql");
            }
            Way::Entries | Way::Add | Way::Tiles | Way::Bundles | Way::Checkpoint => {}
        }
        if self.batch.is_some_and(|batch| batch > 1) && !matches!(through, Way::Sql | Way::Entries) {
            return fail("--batch: this way takes one at a time\nUse it with --through sql or entries");
        }
        Ok(())
    }
}

impl From<Way> for Through {
    fn from(way: Way) -> Self {
        match way {
            Way::Sql => Self::Sql,
            Way::Add => Self::Add,
            Way::Entries => Self::Entries,
            Way::Tiles => Self::Tiles,
            Way::Bundles => Self::Bundles,
            Way::Checkpoint => Self::Checkpoint,
        }
    }
}

fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

/// What to do about it.
fn remedy(error: BenchError) -> Failure {
    let said = error.to_string();
    match error {
        BenchError::Store(error) => error.into(),
        BenchError::EntrySize(_) => Failure::new(format!("--entry-size: {said}")),
        BenchError::Unreachable { .. } => Failure::new(format!(
            "{said}\nCheck that the server runs, and that --server or --prefix names it"
        )),
        BenchError::NoLog(name) => {
            Failure::new(format!("{said}\nMake it with: attestlog log create {name} --origin ORIGIN"))
        }
        BenchError::TooSmall(_) => Failure::new(format!(
            "{said}\nAppend some first: attestlog bench --through entries --duration 1s"
        )),
        BenchError::Answer { status: 401 | 403, .. } => Failure::new(format!(
            "{said}\nName the server's append token with --token-file or ATTESTLOG_TOKEN"
        )),
        BenchError::Answer { status: 404, .. } => Failure::new(format!("{said}\nCheck the log's name")),
        _ => Failure::new(said),
    }
}
