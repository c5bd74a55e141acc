//! `attestlog export`: writes entries into one file: with their proof for whoever checks them offline, or as rows for
//! other programs.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use attestlog_core::{Checkpoint, LeafIndex};
use attestlog_server::bundle::{self, Entries, ExportError, Selection};
use attestlog_server::export::{self, SelectError};
use attestlog_server::progress::Progress;
use attestlog_server::store::{Log, Store};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::Verdict;
use super::failure::Failure;
use super::filter::FilterOptions;
use super::head::Heads;
use super::options::{SecretOptions, StoreOptions, find_log};
use super::output::{self, Watch};

/// What stands for stdout.
const STDOUT: &str = "-";

/// Write entries of a log into one file: an archive that proves them, or rows for other programs
///
/// It reads the store, not a server. The default is a bundle for "attestlog verify --policy POLICY BUNDLE": a tar file of
/// the entries as NDJSON, a manifest, the checkpoint, and receipts. A whole log is proven by its signed head alone; a part
/// of it by a receipt an entry. What a filter has chosen is proven entry by entry; that nothing was left out is not.
///
/// The other formats prove nothing, and docs/export.md says field by field what goes where.
#[derive(Debug, Args)]
#[command(after_long_help = examples!(
    "attestlog export default --out log.tar.gz",
    "attestlog export default --out part.tar --from 1000 --to 2000     the entries 1000 to 1999",
    "attestlog export default --out ada.tar --actor usr_7 --since 30d",
    "attestlog export default --out log.csv --format csv --action 'invoice.*'",
    "attestlog export default --out - --format ocsf --since 24h        to stdout, for a SIEM",
))]
pub(crate) struct Export {
    /// The log's name
    log: String,
    /// The file; a bundle is compressed if its name ends in .gz or .tgz; for rows "-" is stdout
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What to write
    #[arg(long, value_enum, default_value = "bundle")]
    format: Format,
    /// The index of the first entry
    #[arg(long, value_name = "INDEX")]
    from: Option<u64>,
    /// The index after the last entry
    #[arg(long, value_name = "INDEX")]
    to: Option<u64>,
    /// Add a receipt for each entry, also to the bundle of a whole log
    #[arg(long)]
    receipts: bool,
    /// Give up waiting for a head after so many seconds without any progress
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    /// Print what was written as JSON: a bundle's manifest, or the count of rows
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filter: FilterOptions,
    #[command(flatten)]
    store: StoreOptions,
    #[command(flatten)]
    secret: SecretOptions,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// An archive that "attestlog verify" proves
    Bundle,
    /// A line of JSON an entry, with its index
    Ndjson,
    /// A table for spreadsheets, in which no cell is a formula
    Csv,
    /// CloudEvents 1.0, a line of JSON an entry
    #[value(name = "cloudevents")]
    CloudEvents,
    /// OCSF 1.6, a line of JSON an entry
    Ocsf,
}

impl Format {
    const fn rows(self) -> Option<export::Format> {
        match self {
            Self::Bundle => None,
            Self::Ndjson => Some(export::Format::Ndjson),
            Self::Csv => Some(export::Format::Csv),
            Self::CloudEvents => Some(export::Format::CloudEvents),
            Self::Ocsf => Some(export::Format::Ocsf),
        }
    }
}

impl Export {
    pub(crate) async fn run(self) -> Result<Verdict, Failure> {
        if self.receipts && self.format != Format::Bundle {
            return Err(Failure::new("--receipts is for bundles: rows have no place for them"));
        }
        if self.format == Format::Bundle && self.out == Path::new(STDOUT) {
            return Err(Failure::new(
                "a bundle needs a file: name one with --out, or ask for rows with --format",
            ));
        }
        let deployment = self.secret.deployment(&self.store)?;
        let store = deployment.open_store().await?;
        let log = find_log(&*store, &self.log).await?;
        let mut heads = Heads::open(&deployment, &store, Duration::from_secs(self.timeout)).await?;
        // Everything that was appended before this call: a head beyond it does not exist.
        let last = self.to.map_or(u64::MAX, |to| to.saturating_sub(1));
        let checkpoint = heads.covering_index(&log, LeafIndex(last)).await?;
        match self.format.rows() {
            None => self.write_bundle(&*store, &log, &checkpoint).await,
            Some(format) => self.write_rows(&*store, &log, &checkpoint, format).await,
        }
    }

    async fn write_bundle(
        &self,
        store: &dyn Store,
        log: &Log,
        checkpoint: &Checkpoint,
    ) -> Result<Verdict, Failure> {
        let entries = self.entries(store, log, checkpoint).await?;
        let selection = Selection { entries, receipts: self.receipts };
        let progress = Progress::default();
        let watch = Watch::start(&progress, &log.name);
        let written = bundle::export(store, log, checkpoint, selection, &self.out, &progress).await;
        watch.end();
        let manifest = written.map_err(|error| match error {
            ExportError::Store(error) => error.into(),
            error @ ExportError::NotProven { .. } => Failure::evidence(error.to_string()),
            error => Failure::new(error.to_string()),
        })?;
        if self.json {
            output::json(&json!(manifest))?;
        } else {
            let (count, first, size) = (manifest.count, manifest.first_index, manifest.tree_size);
            let out = self.out.display();
            output::line(&format!(
                "wrote {count} entries of \"{}\", from index {first}, to {out}; the signed head of size {size} proves them",
                self.log
            ))?;
        }
        Ok(Verdict::Holds)
    }

    async fn entries(
        &self,
        store: &dyn Store,
        log: &Log,
        checkpoint: &Checkpoint,
    ) -> Result<Entries, Failure> {
        let Some((text, filter)) = self.filter.parse()? else {
            return Ok(match (self.from, self.to) {
                (None, None) => Entries::All,
                _ => Entries::Range(self.range(checkpoint)?),
            });
        };
        let progress = Progress::default();
        let watch = Watch::start(&progress, "search");
        let found = export::find(store, log, self.range(checkpoint)?, &filter, &progress).await;
        watch.end();
        let filter = text.parameters().into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(Entries::Found { indexes: found?, filter: filter.collect() })
    }

    async fn write_rows(
        &self,
        store: &dyn Store,
        log: &Log,
        checkpoint: &Checkpoint,
        format: export::Format,
    ) -> Result<Verdict, Failure> {
        let (range, filter) = (self.range(checkpoint)?, self.filter.parse()?.map(|(_, filter)| filter));
        let progress = Progress::default();
        let watch = Watch::start(&progress, &log.name);
        let to_stdout = self.out == Path::new(STDOUT);
        let written = if to_stdout {
            let out = (Path::new("stdout"), io::stdout());
            export::write(store, log, range, filter.as_ref(), format, out, &progress).await
        } else {
            export::write_file(store, log, range, filter.as_ref(), format, &self.out, &progress).await
        };
        watch.end();
        let count = match written {
            // Whoever reads has enough.
            Err(SelectError::Io { source, .. })
                if to_stdout && source.kind() == io::ErrorKind::BrokenPipe =>
            {
                return Ok(Verdict::Holds);
            }
            written => written?,
        };
        let (out, size) = (self.out.display().to_string(), checkpoint.size());
        match (self.json, to_stdout) {
            (true, false) => output::json(&json!({"count": count, "out": out, "tree_size": size.0}))?,
            (false, false) => output::line(&format!("wrote {count} entries of \"{}\" to {out}", self.log))?,
            (_, true) => eprintln!("wrote {count} entries of \"{}\"", self.log),
        }
        Ok(Verdict::Holds)
    }

    /// The half-open range of indexes that is asked for.
    fn range(&self, checkpoint: &Checkpoint) -> Result<Range<u64>, Failure> {
        let size = checkpoint.size().0;
        let indexes = self.from.unwrap_or(0)..self.to.unwrap_or(size);
        if indexes.start <= indexes.end && indexes.end <= size {
            return Ok(indexes);
        }
        Err(Failure::new(ExportError::NoSuchEntries { indexes, size }.to_string()))
    }
}

impl From<SelectError> for Failure {
    fn from(error: SelectError) -> Self {
        match error {
            SelectError::Store(error) => error.into(),
            error @ SelectError::Missing(_) => Self::evidence(error.to_string()),
            error => Self::new(error.to_string()),
        }
    }
}
