//! The command line: one command a file, and what they share.
//!
//! A command returns [`Verdict`] or [`Failure`]; `main.rs` turns either into an exit code. Results go to stdout, as
//! text or with `--json` as JSON; everything else goes to stderr.

use std::io::IsTerminal;

use clap::{Parser, Subcommand, ValueEnum};

use failure::Failure;

/// What `--help` says in the end about exit codes, after a command's examples.
macro_rules! examples {
    ($($line:literal),+ $(,)?) => {
        concat!(
            "Examples:\n", $("  ", $line, "\n",)+
            "\nExit codes:\n",
            "  0  it holds, or it is done\n",
            "  1  it is proven not to hold: something was changed\n",
            "  2  it could not be checked or done, or the call was wrong",
        )
    };
}

mod append;
mod bench;
mod entries;
mod export;
pub(crate) mod failure;
mod filter;
mod fsck;
mod head;
mod key;
mod log;
mod migrate;
mod options;
mod output;
mod receipt;
mod reindex;
mod remote;
mod search;
mod serve;
mod verify;

/// A verifiable audit log: append events, get receipts, and let anyone check them offline.
#[derive(Debug, Parser)]
#[command(
    name = "attestlog",
    version,
    arg_required_else_help = true,
    after_long_help = examples!(
        "attestlog serve                                        a log in ./attestlog-data",
        "attestlog append default /var/log/dpkg.log",
        "attestlog receipt default 4711 -o x.tlog-proof",
        "attestlog log policy default > log.policy",
        "attestlog verify --policy log.policy --entry line.txt x.tlog-proof",
        "attestlog fsck",
    )
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    #[command(subcommand)]
    Log(log::LogCommand),
    Append(append::Append),
    Receipt(receipt::Receipt),
    Verify(verify::Verify),
    Fsck(fsck::Fsck),
    Export(export::Export),
    Search(search::SearchCommand),
    Reindex(reindex::Reindex),
    #[command(subcommand)]
    Key(key::KeyCommand),
    Migrate(migrate::Migrate),
    Bench(bench::Bench),
}

/// What a command found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It holds, or it is done.
    Holds,
    /// It is proven not to hold, and the command has said what.
    DoesNotHold,
}

/// How the program writes what it logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

impl Cli {
    /// Writes what the program logs to stderr: all that a server says, of other commands only warnings.
    pub(crate) fn start_tracing(&self) {
        let (format, level) = match &self.command {
            Command::Serve(serve) => (serve.log_format, "info,sqlx=warn"),
            _ => (LogFormat::Text, "warn,sqlx=error"),
        };
        let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| level.into());
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        let lines = lines.with_ansi(std::io::stderr().is_terminal());
        match format {
            LogFormat::Text => lines.with_target(false).init(),
            LogFormat::Json => lines.json().init(),
        }
    }

    /// Runs the command.
    pub(crate) async fn run(self) -> Result<Verdict, Failure> {
        match self.command {
            Command::Serve(serve) => serve.run().await,
            Command::Log(log) => log.run().await,
            Command::Append(append) => append.run().await,
            Command::Receipt(receipt) => receipt.run().await,
            Command::Verify(verify) => verify.run(),
            Command::Fsck(fsck) => fsck.run().await,
            Command::Export(export) => export.run().await,
            Command::Search(search) => search.run().await,
            Command::Reindex(reindex) => reindex.run().await,
            Command::Key(key) => key.run().await,
            Command::Migrate(migrate) => migrate.run().await,
            Command::Bench(bench) => bench.run().await,
        }
    }
}
