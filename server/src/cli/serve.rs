//! `attestlog serve`: runs a server until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use attestlog_server::deployment::{Deployment, Signing};
use attestlog_server::sequencer::Pace;
use attestlog_server::serve::{open_while_listening, serve};
use attestlog_server::service::{AppendToken, Settings};
use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::options::{SecretOptions, StoreOptions};
use super::{LogFormat, Verdict, output};

/// The exit code of a server that is told twice to stop: 128 and the number of SIGINT.
const STOPPED_AT_ONCE: i32 = 130;

/// Run a server: it takes entries over HTTP, puts them in order, and signs the heads
///
/// Without --database everything is in ./attestlog-data. At the first start it makes a secret (mode 0600) and the log
/// "default", and prints the log's public key and address. Any number of servers may run on one database: one signs,
/// all serve. SIGINT and SIGTERM let it finish what it has begun; a second one ends it at once, and loses nothing that
/// was acknowledged.
#[derive(Debug, Args)]
#[command(after_long_help = examples!(
    "attestlog serve",
    "attestlog serve --listen 127.0.0.1:9000 --interval 20ms",
    "attestlog serve --database postgres://attestlog@localhost/app --secret-file /etc/attestlog/secret",
    "attestlog serve --listen 0.0.0.0:8080 --append-token-file /etc/attestlog/token",
))]
pub(crate) struct Serve {
    /// The address to listen on; other than a loopback address needs --append-token-file
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The pause between two batches; none follows a full one
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = parse_time)]
    interval: Duration,
    /// The least time between two signed heads of a log; 0ms signs with every batch
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = parse_time)]
    head_interval: Duration,
    /// The most entries in a batch
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batch_size: u32,
    /// Refuse appends while so many entries wait for their batch
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    max_backlog: u32,
    /// The most memory for full tiles and entry bundles, in MiB, which are then served without asking the database
    #[arg(long, value_name = "MIB", default_value_t = 32, value_parser = clap::value_parser!(u16))]
    tile_cache: u16,
    /// A file with the token that an append must bring, one line, mode 0600
    #[arg(long, value_name = "FILE")]
    append_token_file: Option<PathBuf>,
    /// Make no search index, and answer no search
    #[arg(long)]
    no_search: bool,
    /// How to write what the server logs to stderr
    #[arg(long, value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,
    #[command(flatten)]
    store: StoreOptions,
    #[command(flatten)]
    secret: SecretOptions,
}

impl Serve {
    pub(crate) async fn run(self) -> Result<Verdict, Failure> {
        let settings = self.settings()?;
        // Before the store is made: a call that cannot succeed leaves nothing behind.
        if settings.append_token.is_none() && !self.listen.ip().is_loopback() {
            return Err(Failure::new(format!(
                "--listen {}: other machines can reach it, and there is no append token\nName a file with one \
                 (--append-token-file), or listen on 127.0.0.1",
                self.listen
            )));
        }
        let deployment = self.secret.deployment(&self.store)?;
        let listener = TcpListener::bind(self.listen).await.map_err(|error| {
            Failure::new(format!("--listen {}: {error}\nChoose another address or port", self.listen))
        })?;
        let stop = CancellationToken::new();
        stop_at_signals(stop.clone())?;
        let Some(signing) = open_while_listening(&listener, &deployment, &stop).await? else {
            return Ok(Verdict::Holds);
        };
        let address = listener.local_addr().map_err(|error| Failure::new(error.to_string()))?;
        self.greet(&signing, &deployment, address).await?;
        serve(listener, signing, settings, stop).await.map_err(|error| Failure::new(error.to_string()))?;
        tracing::info!("stopped");
        Ok(Verdict::Holds)
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let token = self.append_token_file.as_deref().map(AppendToken::read).transpose()?;
        let (interval, head_interval, batch_size) = (self.interval, self.head_interval, self.batch_size);
        Ok(Settings {
            pace: Pace { interval, batch_size, head_interval },
            max_backlog: self.max_backlog,
            append_token: token,
            search: !self.no_search,
            tile_cache: usize::from(self.tile_cache) * 1024 * 1024,
            ..Settings::default()
        })
    }

    /// Says where everything is. The secret is named, and never shown.
    async fn greet(
        &self,
        signing: &Signing,
        deployment: &Deployment,
        address: SocketAddr,
    ) -> Result<(), Failure> {
        /// More logs than this are left to `attestlog log list`.
        const SHOWN: usize = 20;
        if let Some(path) = deployment.secret_path().filter(|_| signing.new_secret) {
            output::line(&format!("made a secret: {} (keep a copy in a safe place)", path.display()))?;
        }
        let logs = signing.store.logs().await?;
        for (log, size) in logs.iter().take(SHOWN) {
            output::line(&format!("log {}: http://{address}/logs/{} ({size} entries)", log.name, log.name))?;
            output::line(&format!("  vkey {}", log.vkey))?;
        }
        if logs.len() > SHOWN {
            output::line(&format!("and {} more logs", logs.len() - SHOWN))?;
        }
        output::line(&format!("attestlog is ready on http://{address} (store: {})", self.store.name()))
    }
}

/// Cancels `stop` at the first SIGINT or SIGTERM, and ends the process at the second.
fn stop_at_signals(stop: CancellationToken) -> Result<(), Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::new(format!("signals: {error}")));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if first {
                tracing::info!("stopping; once more ends it at once");
                stop.cancel();
            }
        }
        // Whatever was acknowledged is durable, and an open transaction is rolled back.
        std::process::exit(STOPPED_AT_ONCE);
    });
    Ok(())
}

/// A time such as `100ms`, `2s` or `1m`.
pub(super) fn parse_time(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let wrong = || format!("\"{text}\" is not a time: write 100ms, 2s or 1m");
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        _ => None,
    };
    let time = milliseconds.map(Duration::from_millis).ok_or_else(wrong)?;
    if time > Duration::from_secs(86_400) {
        Err(format!("\"{text}\" is longer than a day"))
    } else {
        Ok(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_number_and_a_unit() {
        assert_eq!(parse_time("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(parse_time("0ms"), Ok(Duration::ZERO));
        assert_eq!(parse_time("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(parse_time("1m"), Ok(Duration::from_secs(60)));
        for wrong in
            ["", "100", "ms", "-1s", "1.5s", "2h", "18446744073709551615m", "18446744073709551616ms", "2d"]
        {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }
}
