//! `attestlog log`: makes logs, lists them, and writes the policy that trusts one.

use attestlog_core::{Policy, VerifierKey};
use attestlog_server::keyring;
use attestlog_server::store::{Events, Log};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::failure::Failure;
use super::options::{SecretOptions, ServerOptions, StoreOptions, find_log};
use super::{Verdict, output};

/// Make logs, list them, and write the policy that trusts one
#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    Create(Create),
    List(List),
    Policy(PrintPolicy),
}

/// Make a log with a key of its own
#[derive(Debug, Args)]
#[command(after_long_help = examples!(
    "attestlog log create billing --origin log.example.com/billing",
    "attestlog log create audit --origin log.example.com/audit --events strict",
    "attestlog log create billing --origin log.example.com/billing --server http://127.0.0.1:8080",
))]
pub(crate) struct Create {
    /// Its name, the last part of its address: 1 to 63 of a-z, 0-9, ".", "_" and "-"
    name: String,
    /// Its identity for everyone who verifies it, for ever: a name under a domain of yours, without "https://"
    #[arg(long)]
    origin: String,
    /// What it takes as an entry
    #[arg(long, value_enum, default_value_t)]
    events: EventsOption,
    /// Print the log as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreOptions,
    #[command(flatten)]
    secret: SecretOptions,
    #[command(flatten)]
    server: ServerOptions,
}

/// List the logs: name, size, origin and vkey
#[derive(Debug, Args)]
#[command(after_long_help = examples!("attestlog log list", "attestlog log list --json"))]
pub(crate) struct List {
    /// Print an array of name, origin, vkey and size
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreOptions,
    #[command(flatten)]
    server: ServerOptions,
}

/// Print the policy that trusts a log and asks for no witness, for "attestlog verify" and every tlog-policy reader
///
/// Whoever verifies should get it from you, once, and not from the server that they check.
#[derive(Debug, Args)]
#[command(after_long_help = examples!("attestlog log policy default > log.policy"))]
pub(crate) struct PrintPolicy {
    /// The log's name
    log: String,
    #[command(flatten)]
    store: StoreOptions,
    #[command(flatten)]
    server: ServerOptions,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum EventsOption {
    /// Any bytes
    #[default]
    Any,
    /// JSON with the fields of an audit event
    Strict,
}

impl LogCommand {
    pub(crate) async fn run(self) -> Result<Verdict, Failure> {
        match self {
            Self::Create(create) => create.run().await,
            Self::List(list) => list.run().await,
            Self::Policy(policy) => policy.run().await,
        }
    }
}

impl Create {
    async fn run(self) -> Result<Verdict, Failure> {
        let log = match self.server.remote()? {
            Some(remote) => {
                let events = self.events.to_possible_value();
                let events = events.as_ref().map_or("any", |value| value.get_name());
                remote.create_log(&self.name, &self.origin, events).await?
            }
            None => {
                let deployment = self.secret.deployment(&self.store)?;
                let signing = deployment.signing(deployment.create_store().await?).await?;
                let events = match self.events {
                    EventsOption::Any => Events::Any,
                    EventsOption::Strict => Events::Strict,
                };
                let (store, secret) = (&*signing.store, &signing.secret);
                let log = keyring::create_log(store, secret, &self.name, &self.origin, events).await?;
                to_json(&log, 0)
            }
        };
        if self.json {
            output::json(&log)?
        } else {
            output::line(text(&log, "vkey"))?
        }
        Ok(Verdict::Holds)
    }
}

impl List {
    async fn run(self) -> Result<Verdict, Failure> {
        let logs = match self.server.remote()? {
            Some(remote) => remote.logs().await?,
            None => {
                let logs = self.store.open().await?.logs().await?;
                logs.iter().map(|(log, size)| to_json(log, size.0)).collect()
            }
        };
        if self.json {
            output::json(&Value::Array(logs))?;
        } else {
            for log in &logs {
                let size = log.get("size").and_then(Value::as_u64).unwrap_or_default();
                output::line(&format!(
                    "{}\t{size}\t{}\t{}",
                    text(log, "name"),
                    text(log, "origin"),
                    text(log, "vkey")
                ))?;
            }
        }
        Ok(Verdict::Holds)
    }
}

impl PrintPolicy {
    async fn run(self) -> Result<Verdict, Failure> {
        let vkey = match self.server.remote()? {
            Some(remote) => text(&remote.log(&self.log).await?, "vkey").to_owned(),
            None => find_log(&*self.store.open().await?, &self.log).await?.vkey,
        };
        let key = VerifierKey::parse(&vkey);
        let policy = key.and_then(Policy::for_log);
        let policy = policy.map_err(|error| Failure::new(format!("the vkey {vkey}: {error}")))?;
        output::write(policy.format())?;
        Ok(Verdict::Holds)
    }
}

fn to_json(log: &Log, size: u64) -> Value {
    json!({ "name": log.name, "origin": log.origin, "vkey": log.vkey, "size": size })
}

fn text<'a>(log: &'a Value, field: &str) -> &'a str {
    log.get(field).and_then(Value::as_str).unwrap_or_default()
}
