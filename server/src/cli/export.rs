//! `attestlog export`: writes entries and their proof into one file for someone who checks them offline.

use std::path::PathBuf;
use std::time::Duration;

use attestlog_core::{Checkpoint, LeafIndex};
use attestlog_server::bundle::{self, Entries, ExportError, Selection};
use attestlog_server::progress::Progress;
use attestlog_server::store::{Log, Store};
use clap::Args;
use serde_json::json;

use super::Verdict;
use super::failure::Failure;
use super::head::Heads;
use super::options::{SecretOptions, StoreOptions, find_log};
use super::output::{self, Watch};

/// Write entries of a log, and what proves them, into one archive for "attestlog verify --policy POLICY BUNDLE"
///
/// It reads the store, not a server. A whole log is proven by its signed head alone; a part of it by a receipt an
/// entry. The archive is a tar file: entries as NDJSON, a manifest, the checkpoint, the receipts.
#[derive(Debug, Args)]
#[command(after_long_help = examples!(
    "attestlog export default --out log.tar.gz",
    "attestlog export default --out part.tar --from 1000 --to 2000     the entries 1000 to 1999",
    "attestlog export default --out log.tar --receipts",
))]
pub(crate) struct Export {
    /// The log's name
    log: String,
    /// The archive; compressed if its name ends in .gz or .tgz
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The index of the first entry
    #[arg(long, value_name = "INDEX")]
    from: Option<u64>,
    /// The index after the last entry
    #[arg(long, value_name = "INDEX")]
    to: Option<u64>,
    /// Add a receipt for each entry, also to a whole log
    #[arg(long)]
    receipts: bool,
    /// Give up waiting for a head after so many seconds without any progress
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    /// Print the archive's manifest as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreOptions,
    #[command(flatten)]
    secret: SecretOptions,
}

impl Export {
    pub(crate) async fn run(self) -> Result<Verdict, Failure> {
        let deployment = self.secret.deployment(&self.store)?;
        let store = deployment.open_store().await?;
        let log = find_log(&*store, &self.log).await?;
        let mut heads = Heads::open(&deployment, &store, Duration::from_secs(self.timeout)).await?;
        // Everything that was appended before this call: a head beyond it does not exist.
        let last = self.to.map_or(u64::MAX, |to| to.saturating_sub(1));
        let checkpoint = heads.covering_index(&log, LeafIndex(last)).await?;
        let manifest = self.write(&*store, &log, &checkpoint).await?;
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

    async fn write(
        &self,
        store: &dyn Store,
        log: &Log,
        checkpoint: &Checkpoint,
    ) -> Result<bundle::Manifest, Failure> {
        let entries = match (self.from, self.to) {
            (None, None) => Entries::All,
            (from, to) => Entries::Range(from.unwrap_or(0)..to.unwrap_or(checkpoint.size().0)),
        };
        let selection = Selection { entries, receipts: self.receipts };
        let progress = Progress::default();
        let watch = Watch::start(&progress, &log.name);
        let written = bundle::export(store, log, checkpoint, selection, &self.out, &progress).await;
        watch.end();
        written.map_err(|error| match error {
            ExportError::Store(error) => error.into(),
            error @ ExportError::NotProven { .. } => Failure::evidence(error.to_string()),
            error => Failure::new(error.to_string()),
        })
    }
}
