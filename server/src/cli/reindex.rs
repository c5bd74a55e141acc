//! `attestlog reindex`: makes the search index again, from the entries.

use std::sync::Arc;

use attestlog_server::progress::Progress;
use attestlog_server::search::Indexer;
use attestlog_server::store::Log;
use clap::Args;
use serde_json::json;

use super::failure::Failure;
use super::options::{StoreOptions, find_log};
use super::output::{self, Watch};
use super::{Verdict, search};

/// Make the search index again, from the entries; safe while servers run
///
/// The index is derived from the entries and proves nothing, so nothing is lost with it. Until a log's index is made
/// again, searches in that log find only what it has already; they say how far that is. Servers help to make it.
#[derive(Debug, Args)]
#[command(after_long_help = examples!(
    "attestlog reindex                                      of all logs",
    "attestlog reindex default --json",
    "attestlog reindex --missing                            only adds what the index does not have",
    "attestlog reindex --database postgres://localhost/app",
))]
pub(crate) struct Reindex {
    /// The logs; all of them if none is named
    logs: Vec<String>,
    /// Keep what the index has, and add what it does not have
    #[arg(long)]
    missing: bool,
    /// Print an array of one result a log
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreOptions,
}

impl Reindex {
    pub(crate) async fn run(self) -> Result<Verdict, Failure> {
        let store = self.store.open().await?;
        let mut logs: Vec<Log> = Vec::new();
        for name in &self.logs {
            logs.push(find_log(&*store, name).await?);
        }
        if self.logs.is_empty() {
            logs = store.logs().await?.into_iter().map(|(log, _)| log).collect();
        }
        let indexer = Indexer::new(Arc::clone(&store));
        let mut results = Vec::new();
        for log in logs {
            if !self.missing {
                indexer.forget(log.id).await?;
            }
            let progress = Progress::default();
            let watch = Watch::start(&progress, &log.name);
            let done = search::catch_up(&indexer, &log, &progress).await;
            watch.end();
            done?;
            let entries = store.search().indexed_size(log.id).await?.0;
            if !self.json {
                output::line(&format!("{}: {entries} entries can be searched", log.name))?;
            }
            results.push(json!({ "log": log.name, "entries": entries, "added": progress.done() }));
        }
        if self.json {
            output::json(&json!(results))?;
        }
        Ok(Verdict::Holds)
    }
}
