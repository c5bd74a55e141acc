//! The options that commands share: where the store is, where the secret comes from, and which server to go through.

use std::path::PathBuf;
use std::sync::Arc;

use attestlog_server::deployment::{Deployment, SecretSource};
use attestlog_server::secret::read_private;
use attestlog_server::store::{Log, Store};
use clap::Args;
use zeroize::Zeroizing;

use super::failure::Failure;
use super::remote::Remote;

/// The environment variable that may hold the secret. Not an option of clap, which would show its value.
const SECRET_VARIABLE: &str = "ATTESTLOG_SECRET";

/// Which store.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Store")]
pub(crate) struct StoreOptions {
    /// The directory of the secret, the record of published heads and, without --database, the store
    #[arg(long, value_name = "DIR", env = "ATTESTLOG_DATA", default_value = "attestlog-data")]
    pub(crate) data: PathBuf,
    /// The application's database, postgres://… or sqlite:PATH, instead of a file of its own in DIR
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub(crate) database: Option<String>,
}

/// Which secret.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Secret (DATA/secret unless one of these or ATTESTLOG_SECRET is given)")]
pub(crate) struct SecretOptions {
    /// A file with the secret, mode 0600
    #[arg(long, value_name = "FILE", conflicts_with = "secret_fd")]
    pub(crate) secret_file: Option<PathBuf>,
    /// An open file descriptor to read the secret from
    #[arg(long, value_name = "NUMBER")]
    pub(crate) secret_fd: Option<u32>,
}

/// Through which server.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerOptions {
    /// Go through the server at this address, http://…, instead of the store; --data and --database are not used then
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// A file with the server's append token, mode 0600
    #[arg(long, value_name = "FILE", requires = "server", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    /// The server's append token; others can see it in the list of processes, so prefer --token-file or the variable
    #[arg(long, value_name = "TOKEN", env = "ATTESTLOG_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl StoreOptions {
    /// Opens a store that exists.
    pub(crate) async fn open(&self) -> Result<Arc<dyn Store>, Failure> {
        Ok(self.deployment(SecretSource::DataDirectory).open_store().await?)
    }

    /// What to call the store: never with the password that may be in a database's address.
    pub(crate) fn name(&self) -> String {
        match &self.database {
            Some(url) if url.starts_with("sqlite:") => url.clone(),
            Some(url) => {
                let address = url.rsplit('@').next().unwrap_or_default();
                address.split('?').next().unwrap_or_default().to_owned()
            }
            None => self.data.display().to_string(),
        }
    }

    /// The store's place with a secret's.
    pub(crate) fn deployment(&self, secret: SecretSource) -> Deployment {
        let database = self.database.clone().filter(|url| !url.is_empty());
        Deployment { data: self.data.clone(), database, secret }
    }
}

impl SecretOptions {
    /// The store's place with that of its secret.
    pub(crate) fn deployment(&self, store: &StoreOptions) -> Result<Deployment, Failure> {
        Ok(store.deployment(self.source()?))
    }

    fn source(&self) -> Result<SecretSource, Failure> {
        if let Some(path) = &self.secret_file {
            return Ok(SecretSource::File(path.clone()));
        }
        if let Some(descriptor) = self.secret_fd {
            return Ok(SecretSource::Descriptor(descriptor));
        }
        match std::env::var(SECRET_VARIABLE) {
            Ok(text) => Ok(SecretSource::Environment(text)),
            Err(std::env::VarError::NotPresent) => Ok(SecretSource::DataDirectory),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(Failure::new(format!("{SECRET_VARIABLE} is not text: it holds what a secret file holds")))
            }
        }
    }
}

impl ServerOptions {
    /// The server to go through, if one was named.
    pub(crate) fn remote(&self) -> Result<Option<Remote>, Failure> {
        let Some(url) = &self.server else { return Ok(None) };
        let token = match &self.token_file {
            Some(path) => Some(Zeroizing::new(read_private(path)?.trim().to_owned())),
            None => self.token.clone().filter(|token| !token.is_empty()).map(Zeroizing::new),
        };
        Remote::new(url, token).map(Some)
    }
}

/// The log of this name.
pub(crate) async fn find_log(store: &dyn Store, name: &str) -> Result<Log, Failure> {
    if let Some(log) = store.log(name).await? {
        return Ok(log);
    }
    let names: Vec<String> = store.logs().await?.into_iter().take(10).map(|(log, _)| log.name).collect();
    let there = if names.is_empty() { "it has none yet".to_owned() } else { names.join(", ") };
    Err(Failure::new(format!(
        "the store has no log \"{name}\" (its logs: {there})\nMake it with: attestlog log create {name} --origin ORIGIN"
    )))
}
