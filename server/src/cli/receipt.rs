//! `attestlog receipt`: the proof that an entry is in the log, for someone who checks it offline.

use std::path::PathBuf;
use std::time::Duration;

use attestlog_core::LeafIndex;
use attestlog_server::store::Ticket;
use clap::Args;

use super::failure::Failure;
use super::head::{self, Heads};
use super::options::{SecretOptions, ServerOptions, StoreOptions, find_log};
use super::{Verdict, output};

/// Print the receipt of an entry: a tlog-proof that "attestlog verify" checks offline
///
/// If no signed head covers the entry yet, one is made, or awaited from a running server.
#[derive(Debug, Args)]
#[command(after_long_help = examples!(
    "attestlog receipt default 4711 > x.tlog-proof",
    "attestlog receipt default 4711 -o x.tlog-proof",
    "attestlog receipt default --ticket 17 -o x.tlog-proof",
    "attestlog receipt default 4711 --server https://log.example.com -o x.tlog-proof",
))]
pub(crate) struct Receipt {
    /// The log's name
    log: String,
    /// The entry's index, counted from 0
    #[arg(required_unless_present = "ticket")]
    index: Option<u64>,
    /// The ticket that an append returned, instead of the index
    #[arg(long, conflicts_with = "index")]
    ticket: Option<i64>,
    /// Write it to this file instead of stdout
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Give up waiting for a head after so many seconds without any progress
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    #[command(flatten)]
    store: StoreOptions,
    #[command(flatten)]
    secret: SecretOptions,
    #[command(flatten)]
    server: ServerOptions,
}

impl Receipt {
    pub(crate) async fn run(self) -> Result<Verdict, Failure> {
        let receipt = self.receipt().await?;
        match &self.out {
            Some(path) => std::fs::write(path, receipt).map_err(|error| Failure::io(path, &error))?,
            None => output::write(receipt)?,
        }
        Ok(Verdict::Holds)
    }

    async fn receipt(&self) -> Result<String, Failure> {
        let patience = Duration::from_secs(self.timeout);
        let ticket = self.ticket.map(Ticket);
        if let Some(remote) = self.server.remote()? {
            let index = match ticket {
                Some(ticket) => remote.covered(&self.log, ticket, patience).await?,
                None => self.index.unwrap_or_default(),
            };
            return remote.receipt(&self.log, index).await;
        }
        let deployment = self.secret.deployment(&self.store)?;
        let store = deployment.open_store().await?;
        let log = find_log(&*store, &self.log).await?;
        let mut heads = Heads::open(&deployment, &store, patience).await?;
        let (index, checkpoint) = match ticket {
            Some(ticket) => heads.covering_ticket(&log, ticket).await?,
            None => {
                let index = LeafIndex(self.index.unwrap_or_default());
                (index, heads.covering_index(&log, index).await?)
            }
        };
        let size = checkpoint.size().0;
        if index.0 >= size {
            let have = match size {
                0 => "it has no entries".to_owned(),
                size => format!("its {size} entries have the indexes 0 to {}", size - 1),
            };
            return Err(Failure::new(format!(
                "log \"{}\" has no entry {index}: {have} (index_beyond_tree)",
                self.log
            )));
        }
        Ok(head::receipt(&*store, &log, index, checkpoint).await?.format())
    }
}
