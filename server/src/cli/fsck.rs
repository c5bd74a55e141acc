//! `attestlog fsck`: recomputes whole logs from the stored entries, and names the first index that is wrong.

use std::sync::Arc;
use std::time::Duration;

use attestlog_core::TreeHead;
use attestlog_server::fsck::{self, FsckError, Options, Report};
use attestlog_server::progress::Progress;
use attestlog_server::published::PublishedHeads;
use attestlog_server::store::{Log, Store};
use clap::Args;
use serde_json::json;

use super::Verdict;
use super::failure::Failure;
use super::options::{StoreOptions, find_log};
use super::output::{self, Watch};

/// Check whole logs as they are stored: every entry, leaf hash, tile, checkpoint and signature
///
/// It reads the store and changes nothing, needs no secret, and may run beside a server. If the record of published
/// heads is in the data directory, the store must also lead to the last head that was published.
#[derive(Debug, Args)]
#[command(after_long_help = examples!(
    "attestlog fsck",
    "attestlog fsck default --workers 8",
    "attestlog fsck --database postgres://localhost/app --json",
))]
pub(crate) struct Fsck {
    /// The logs; all of them if none is named
    logs: Vec<String>,
    /// How many parts of a log are checked at once; the number of processors if it is not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
    /// Print an array of one report a log
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreOptions,
}

impl Fsck {
    pub(crate) async fn run(self) -> Result<Verdict, Failure> {
        let heads = self.published_heads()?;
        let store = self.store.open().await?;
        let mut reports = Vec::new();
        for log in self.find_logs(&*store).await? {
            let published = heads.as_ref().and_then(|heads| heads.head(&log.origin));
            let report = self.check(&store, &log, published).await?;
            if !self.json {
                print(&report)?;
            }
            reports.push(report);
        }
        let clean = reports.iter().all(Report::is_clean);
        if self.json {
            output::json(&json!(reports))?;
        } else if reports.is_empty() {
            output::line("the store has no logs")?;
        }
        Ok(if clean { Verdict::Holds } else { Verdict::DoesNotHold })
    }

    /// The record of published heads, read before the store so that the store is the newer of the two.
    fn published_heads(&self) -> Result<Option<PublishedHeads>, Failure> {
        let path = self.store.data.join("published-heads");
        if !path.exists() {
            return Ok(None);
        }
        PublishedHeads::open(&path).map(Some).map_err(|error| Failure::io(&path, &error))
    }

    async fn find_logs(&self, store: &dyn Store) -> Result<Vec<Log>, Failure> {
        if self.logs.is_empty() {
            return Ok(store.logs().await?.into_iter().map(|(log, _)| log).collect());
        }
        let mut logs = Vec::with_capacity(self.logs.len());
        for name in &self.logs {
            logs.push(find_log(store, name).await?);
        }
        Ok(logs)
    }

    async fn check(
        &self,
        store: &Arc<dyn Store>,
        log: &Log,
        published: Option<TreeHead>,
    ) -> Result<Report, Failure> {
        let mut options = Options { published, ..Options::default() };
        options.workers = self.workers.map_or(options.workers, usize::from);
        let progress = Progress::default();
        let watch = Watch::start(&progress, &log.name);
        let report = fsck::check(Arc::clone(store), log, options, progress).await;
        watch.end();
        report.map_err(|error| match error {
            FsckError::Store(error) => error.into(),
            error => Failure::new(error.to_string()),
        })
    }
}

fn print(report: &Report) -> Result<(), Failure> {
    let Report { log, size, tiles, checkpoints, findings, findings_total, .. } = report;
    let took = Duration::from_secs_f64(report.seconds.max(0.0));
    let checked = format!("{size} entries, {tiles} full tiles, {checkpoints} checkpoints in {took:.1?}");
    if report.is_clean() {
        return output::line(&format!("{log}: holds ({checked})"));
    }
    let findings_word = if *findings_total == 1 { "finding" } else { "findings" };
    output::line(&format!("{log}: DAMAGED, {findings_total} {findings_word} ({checked})"))?;
    for finding in findings {
        output::line(&match finding.index {
            Some(index) => format!("  index {index}: {finding}"),
            None => format!("  {}", finding.what),
        })?;
    }
    let more = findings_total.saturating_sub(findings.len() as u64);
    if more > 0 { output::line(&format!("  and {more} more")) } else { Ok(()) }
}
