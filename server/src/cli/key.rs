//! `attestlog key`: makes the secret of a deployment, and shows public keys. The secret itself is never printed.

use std::path::PathBuf;

use attestlog_server::secret::Secret;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::failure::Failure;
use super::options::{SecretOptions, StoreOptions, find_log};
use super::{Verdict, output};

/// Make the secret of a deployment, and show the public keys of its logs
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    Generate(Generate),
    Show(Show),
}

/// Write a new secret to a file that only its owner may read
///
/// All logs' keys are derived from it: keep a copy in a safe place. A file that exists is never overwritten.
#[derive(Debug, Args)]
#[command(after_long_help = examples!("attestlog key generate --out /etc/attestlog/secret"))]
pub(crate) struct Generate {
    /// The file; DATA/secret if it is not given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    store: StoreOptions,
}

/// Print the public keys (vkeys) of the logs, or the one that an origin would have
///
/// If the secret is here, it is also checked that it is the one of all logs.
#[derive(Debug, Args)]
#[command(after_long_help = examples!(
    "attestlog key show",
    "attestlog key show default",
    "attestlog key show --origin log.example.com/billing --secret-file /etc/attestlog/secret",
))]
pub(crate) struct Show {
    /// Only this log's
    log: Option<String>,
    /// Derive the vkey of this origin from the secret; needs no store
    #[arg(long, conflicts_with = "log")]
    origin: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreOptions,
    #[command(flatten)]
    secret: SecretOptions,
}

impl KeyCommand {
    pub(crate) async fn run(self) -> Result<Verdict, Failure> {
        match self {
            Self::Generate(generate) => generate.run(),
            Self::Show(show) => show.run().await,
        }
    }
}

impl Generate {
    fn run(self) -> Result<Verdict, Failure> {
        let path = match self.out {
            Some(path) => path,
            None => {
                let data = self.store.data;
                attestlog_server::deployment::make_private_directory(&data)
                    .map_err(|error| Failure::io(&data, &error))?;
                data.join("secret")
            }
        };
        Secret::generate()?.write_new(&path)?;
        output::line(&format!("wrote {} (mode 0600): keep a copy in a safe place", path.display()))?;
        Ok(Verdict::Holds)
    }
}

impl Show {
    async fn run(self) -> Result<Verdict, Failure> {
        let keys = match &self.origin {
            Some(origin) => vec![self.derived(origin)?],
            None => self.of_logs().await?,
        };
        if self.json {
            output::json(&Value::Array(keys))?;
        } else {
            for key in &keys {
                output::line(key.get("vkey").and_then(Value::as_str).unwrap_or_default())?;
            }
        }
        Ok(Verdict::Holds)
    }

    fn derived(&self, origin: &str) -> Result<Value, Failure> {
        let deployment = self.secret.deployment(&self.store)?;
        let secret = deployment.read_secret()?;
        let key = secret.signing_key(origin).map_err(|_| {
            Failure::new(format!(
                "\"{origin}\" cannot be an origin: use 1 to 255 bytes without blanks and \"+\""
            ))
        })?;
        Ok(json!({ "origin": origin, "vkey": key.verifier_key().to_string() }))
    }

    async fn of_logs(&self) -> Result<Vec<Value>, Failure> {
        let deployment = self.secret.deployment(&self.store)?;
        let store = deployment.open_store().await?;
        if deployment.secret_path().is_none_or(|path| path.exists()) {
            let mut keyring = attestlog_server::keyring::Keyring::new(deployment.read_secret()?.into());
            keyring.load(&*store).await?;
        }
        let logs = match &self.log {
            Some(name) => vec![find_log(&*store, name).await?],
            None => store.logs().await?.into_iter().map(|(log, _)| log).collect(),
        };
        let key = |log: &attestlog_server::store::Log| json!({ "name": log.name, "origin": log.origin, "vkey": log.vkey });
        Ok(logs.iter().map(key).collect())
    }
}
