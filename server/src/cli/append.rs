//! `attestlog append`: puts the entries of a file into a log, and waits for the head that covers them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use attestlog_server::deployment::DEFAULT_LOG;
use attestlog_server::event::validate_event;
use attestlog_server::store::{Appended, Events, Log, NewEntry, Store, StoreError, Ticket};
use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;

use super::entries::{Check, Count, EntryBatch, Format, Source};
use super::failure::Failure;
use super::head::Heads;
use super::options::{SecretOptions, ServerOptions, StoreOptions, find_log};
use super::remote::Remote;
use super::{Verdict, output};

/// How long to try again while another process has the store.
const BUSY_PATIENCE: Duration = Duration::from_secs(30);

/// Append the entries of a file to a log, and wait for the signed head that covers them
///
/// A regular file is checked to its end before anything is stored: a bad line is named, and nothing of the file is in
/// the log. Entries are stored in order, some 1,000 in one transaction. If it ends midway, it says how many are stored
/// and with which --from-line to go on; with --idempotency-prefix the same call can simply be made again.
///
/// It works beside a running server and without one: then it signs the head itself. The first append to "default" makes
/// the embedded store, as a first server would. Through a server (--server), NDJSON
/// goes in requests of some 1,000 lines; everything else, and NDJSON with an --idempotency-prefix, takes a request an
/// entry.
#[derive(Debug, Args)]
#[command(after_long_help = examples!(
    "attestlog append default /var/log/dpkg.log                 each line is an entry",
    "attestlog append default events.ndjson --format ndjson     each line must be JSON",
    "attestlog append default contract.pdf --format raw         the file is one entry",
    "journalctl -o json | attestlog append default - --format ndjson",
    "attestlog append default events.ndjson --format ndjson --idempotency-prefix import-7",
    "attestlog append default x.log --server http://127.0.0.1:8080 --token-file token",
))]
pub(crate) struct Append {
    /// The log's name
    log: String,
    /// The file; "-" is stdin
    file: PathBuf,
    /// How the file is divided into entries
    #[arg(long, value_enum, default_value = "lines")]
    format: Format,
    /// Begin with this line, counted from 1
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    from_line: u64,
    /// Give the entry of line N the idempotency key PREFIX:N, so that appending the same file again adds nothing
    #[arg(long, value_name = "PREFIX", value_parser = parse_prefix)]
    idempotency_prefix: Option<String>,
    /// Return once the entries are durable, before a signed head covers them
    #[arg(long)]
    no_wait: bool,
    /// Give up waiting for a head after so many seconds without any progress
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreOptions,
    #[command(flatten)]
    secret: SecretOptions,
    #[command(flatten)]
    server: ServerOptions,
}

/// Where entries go.
enum Target {
    Store { store: Arc<dyn Store>, log: Log, heads: Option<Box<Heads>> },
    Server { remote: Remote, log: String },
}

/// What has been stored so far.
#[derive(Debug, Default)]
struct Stored {
    entries: u64,
    empty_lines: u64,
    first: Option<Ticket>,
    last: Option<Ticket>,
    /// The last line that is stored.
    line: Option<u64>,
}

/// Where the first and the last entry are, and the size of a tree whose signed head covers them.
#[derive(Clone, Copy, Debug)]
struct Covered {
    first: u64,
    last: u64,
    size: u64,
}

impl Append {
    pub(crate) async fn run(self) -> Result<Verdict, Failure> {
        let mut target = self.target().await?;
        let source = self.source(&target);
        let checked = {
            let source = source.clone();
            let checked = tokio::task::spawn_blocking(move || source.check_all()).await;
            checked.map_err(|error| Failure::new(error.to_string()))?
        };
        let count = checked.map_err(|failure| failure.and("Nothing was stored."))?;
        let began = Instant::now();
        let stored = self.store_all(&target, source, count).await?;
        let seconds = began.elapsed().as_secs_f64();
        let covered = match (stored.first, stored.last) {
            (Some(first), Some(last)) if !self.no_wait => {
                let patience = Duration::from_secs(self.timeout);
                Some(target.covering(first, last, patience).await.map_err(|failure| {
                    failure
                        .and(&format!("All {} entries are stored: do not append them again.", stored.entries))
                })?)
            }
            _ => None,
        };
        target.close().await;
        self.report(&stored, covered, seconds)
    }

    async fn target(&self) -> Result<Target, Failure> {
        if let Some(remote) = self.server.remote()? {
            remote.log(&self.log).await?;
            return Ok(Target::Server { remote, log: self.log.clone() });
        }
        let deployment = self.secret.deployment(&self.store)?;
        let store = if self.log == DEFAULT_LOG && deployment.database.is_none() {
            // As a first server would: a new embedded store has this log.
            let store = deployment.create_store().await?;
            if store.logs().await?.is_empty() {
                deployment.signing(Arc::clone(&store)).await?;
            }
            store
        } else {
            deployment.open_store().await?
        };
        let log = find_log(&*store, &self.log).await?;
        let heads = if self.no_wait {
            None
        } else {
            // Now, so that a wrong secret is known before anything is stored.
            let patience = Duration::from_secs(self.timeout);
            Some(Box::new(Heads::open(&deployment, &store, patience).await?))
        };
        Ok(Target::Store { store, log, heads })
    }

    fn source(&self, target: &Target) -> Source {
        let check: Check = match target {
            Target::Store { log, .. } if log.events == Events::Strict => {
                |entry| validate_event(entry).map_err(|error| error.to_string())
            }
            // A server checks by itself.
            _ => |_| Ok(()),
        };
        Source { path: self.file.clone(), format: self.format, from_line: self.from_line, check }
    }

    async fn store_all(
        &self,
        target: &Target,
        source: Source,
        count: Option<Count>,
    ) -> Result<Stored, Failure> {
        let bar = output::progress(count.map(|count| count.entries), "entries");
        let mut batches = source.batches();
        let mut stored = Stored::default();
        let result = loop {
            let batch = tokio::select! {
                batch = batches.recv() => batch,
                _ = tokio::signal::ctrl_c() => Some(Err(Failure::new("interrupted"))),
            };
            let batch = match batch {
                None => break Ok(()),
                Some(Err(failure)) => break Err(failure),
                Some(Ok(batch)) => batch,
            };
            if let Err(failure) = self.store_batch(target, batch, &mut stored, &bar).await {
                break Err(failure);
            }
        };
        bar.finish_and_clear();
        result.map_err(|failure| failure.and(&self.how_to_resume(&stored)))?;
        Ok(stored)
    }

    async fn store_batch(
        &self,
        target: &Target,
        batch: EntryBatch,
        stored: &mut Stored,
        bar: &ProgressBar,
    ) -> Result<(), Failure> {
        stored.empty_lines += batch.empty_lines;
        let (Some(first), Some(last)) = (batch.entries.first(), batch.entries.last()) else {
            return Ok(());
        };
        let (lines, count) = ((first.line, last.line), batch.entries.len() as u64);
        let tickets = target.append(self, batch).await.map_err(|failure| match &self.idempotency_prefix {
            // Those that were stored are found again by their keys.
            Some(_) => failure,
            None => failure.and(&format!("It concerns lines {} to {}.", lines.0, lines.1)),
        })?;
        stored.first = stored.first.or(tickets.first().copied());
        stored.last = tickets.last().copied().or(stored.last);
        stored.line = Some(lines.1);
        stored.entries += count;
        bar.inc(count);
        Ok(())
    }

    fn how_to_resume(&self, stored: &Stored) -> String {
        match (stored.line, &self.idempotency_prefix) {
            (None, _) => "No entry before that was stored by this call.".to_owned(),
            (Some(line), Some(prefix)) => format!(
                "{} entries, to line {line}, are stored. Make the same call again (--idempotency-prefix {prefix}), or \
                 go on with --from-line {}.",
                stored.entries,
                line + 1
            ),
            (Some(line), None) => format!(
                "{} entries, to line {line}, are stored. Go on with --from-line {}.",
                stored.entries,
                line + 1
            ),
        }
    }

    fn key(&self, line: u64) -> Option<String> {
        self.idempotency_prefix.as_ref().map(|prefix| format!("{prefix}:{line}"))
    }

    fn report(&self, stored: &Stored, covered: Option<Covered>, seconds: f64) -> Result<Verdict, Failure> {
        let Stored { entries, empty_lines, first, last, .. } = stored;
        let count = f64::from(u32::try_from(*entries).unwrap_or(u32::MAX));
        let rate = if seconds > 0.0 { (count / seconds).round() } else { count };
        if self.json {
            output::json(&json!({
                "log": self.log,
                "entries": entries,
                "empty_lines": empty_lines,
                "first_ticket": first.map(|ticket| ticket.0),
                "last_ticket": last.map(|ticket| ticket.0),
                "first_index": covered.map(|covered| covered.first),
                "last_index": covered.map(|covered| covered.last),
                "size": covered.map(|covered| covered.size),
                "seconds": seconds,
                "entries_per_second": rate,
            }))?;
            return Ok(Verdict::Holds);
        }
        let mut text = format!("appended {entries} entries to \"{}\"", self.log);
        if let Some(Covered { first, last, size }) = covered {
            text += &format!(", index {first} to {last}; the signed head of size {size} covers them");
        } else if let (Some(first), Some(last)) = (first, last) {
            text += &format!(", tickets {} to {}; no signed head was awaited", first.0, last.0);
        }
        text += &format!(" ({rate} entries/s)");
        if *empty_lines > 0 {
            text += &format!("\n{empty_lines} empty lines were skipped");
        }
        output::line(&text)?;
        Ok(Verdict::Holds)
    }
}

impl Target {
    /// Stores a batch, durable when this returns; its tickets, in order.
    async fn append(&self, options: &Append, batch: EntryBatch) -> Result<Vec<Ticket>, Failure> {
        match self {
            Self::Store { store, log, .. } => {
                let lines: Vec<u64> = batch.entries.iter().map(|entry| entry.line).collect();
                let new = batch.entries.into_iter().map(|entry| NewEntry {
                    log: log.id,
                    idempotency_key: options.key(entry.line),
                    data: entry.data,
                });
                let answers = append_patiently(&**store, &new.collect::<Vec<_>>()).await?;
                let ticket = |(answer, line): (Appended, u64)| match answer {
                    Appended::Ticket(ticket) => Ok(ticket),
                    Appended::KeyReused => Err(Failure::new(format!(
                        "line {line}: its idempotency key belongs to another entry of this log\nUse another \
                         --idempotency-prefix; the other lines of this batch are stored"
                    ))),
                };
                answers.into_iter().zip(lines).map(ticket).collect()
            }
            Self::Server { remote, log } => {
                remote.append(log, batch.entries, options.format, |line| options.key(line)).await
            }
        }
    }

    /// Lets the embedded store put everything into its one file.
    async fn close(&self) {
        if let Self::Store { store, .. } = self {
            store.close().await;
        }
    }

    async fn covering(
        &mut self,
        first: Ticket,
        last: Ticket,
        patience: Duration,
    ) -> Result<Covered, Failure> {
        match self {
            Self::Store { log, heads, .. } => {
                let Some(heads) = heads else { return Err(Failure::new("no head was asked for")) };
                let (last, checkpoint) = heads.covering_ticket(log, last).await?;
                let (first, _) = heads.covering_ticket(log, first).await?;
                Ok(Covered { first: first.0, last: last.0, size: checkpoint.size().0 })
            }
            Self::Server { remote, log } => {
                let last = remote.covered(log, last, patience).await?;
                let first = remote.covered(log, first, patience).await?;
                let size = remote.checkpoint_size(log).await?;
                Ok(Covered { first, last, size })
            }
        }
    }
}

/// Appends, and waits its turn while others write.
async fn append_patiently(store: &dyn Store, entries: &[NewEntry]) -> Result<Vec<Appended>, Failure> {
    let give_up = Instant::now() + BUSY_PATIENCE;
    loop {
        match store.append(entries).await {
            Err(StoreError::Busy(_)) if Instant::now() < give_up => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error @ StoreError::Unavailable(_)) => {
                return Err(Failure::from(error).and("This batch may or may not have been stored."));
            }
            answers => return Ok(answers?),
        }
    }
}

fn parse_prefix(text: &str) -> Result<String, String> {
    // A server takes keys of 240 characters of ASCII; a line number has at most 20 digits.
    if (1..=219).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("a prefix has 1 to 219 characters of ASCII, and no blanks".to_owned())
    }
}
