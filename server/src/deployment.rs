//! Where a deployment keeps its things: the store, the secret and the record of published heads.
//!
//! Without a database everything is in one directory. With one of an application, on PostgreSQL or in a file of SQLite,
//! the directory still has the secret (unless that comes from elsewhere) and the record of published heads, which must
//! not be in the database.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::keyring::{Keyring, KeyringError, create_log};
use crate::published::PublishedHeads;
use crate::publisher::Publisher;
use crate::secret::{Secret, SecretError};
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::{self, SqliteStore};
use crate::store::{Events, Store, StoreError};

/// The connections to a PostgreSQL database that one process opens at most.
const MAX_CONNECTIONS: u32 = 16;

/// The log that a new store has.
pub const DEFAULT_LOG: &str = "default";

/// Where the secret comes from.
#[derive(Clone, Debug, Default)]
pub enum SecretSource {
    /// `DATA/secret`.
    #[default]
    DataDirectory,
    /// Another file.
    File(PathBuf),
    /// An open file descriptor.
    Descriptor(u32),
    /// A value of the environment, already read; the name is for errors.
    Environment(String),
}

/// The places.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// The directory.
    pub data: PathBuf,
    /// The address of a database, `postgres://…` or `sqlite:PATH`; none for a file of our own in the directory.
    pub database: Option<String>,
    /// Where the secret comes from.
    pub secret: SecretSource,
}

/// Why a deployment cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeploymentError {
    /// The directory cannot be made or read.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The store has logs, and there is no secret to sign for them.
    #[error(
        "the store has logs, and their secret is missing: {0} does not exist. Copy it there, or name it with \
         --secret-file, ATTESTLOG_SECRET or --secret-fd"
    )]
    NoSecret(PathBuf),
    /// The address is not that of a database.
    #[error(
        "\"{0}\" is not the address of a database: it begins with postgres://, or it is sqlite: and the path of a file"
    )]
    NotADatabase(String),
    /// There is no store yet, and this command does not make one.
    #[error(
        "there is no store in {0}: start one with \"attestlog serve\", or name it with --data or --database"
    )]
    NoStore(PathBuf),
    /// The secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The keys.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where the store is.
enum Place<'a> {
    Postgres(&'a str),
    Sqlite(PathBuf),
}

/// A store with what is needed to sign for its logs.
#[derive(Debug)]
pub struct Signing {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The secret.
    pub secret: Arc<Secret>,
    /// Its keys, checked against all logs.
    pub keyring: Keyring,
    /// Guards the published heads.
    pub publisher: Arc<Publisher>,
    /// Whether the secret was made just now.
    pub new_secret: bool,
}

impl Deployment {
    /// Opens the store and brings its schema to this version, makes it if there is none.
    ///
    /// # Errors
    /// [`DeploymentError`].
    pub async fn create_store(&self) -> Result<Arc<dyn Store>, DeploymentError> {
        self.make_directory()?;
        let store = self.connect().await?;
        // A processor without the rights of the owner can still run on a schema that is there.
        if !store.is_migrated().await? {
            store.migrate().await?;
        }
        Ok(store)
    }

    /// Brings the schema to this version, and makes a store that is not there; whether anything was to be done.
    ///
    /// # Errors
    /// [`DeploymentError`].
    pub async fn migrate(&self) -> Result<bool, DeploymentError> {
        if self.database.is_none() {
            self.make_directory()?;
        }
        let store = self.connect().await?;
        let needed = !store.is_migrated().await?;
        if needed {
            store.migrate().await?;
        }
        Ok(needed)
    }

    /// Opens a store that exists.
    ///
    /// # Errors
    /// [`DeploymentError::NoStore`]; otherwise as [`create_store`](Self::create_store).
    pub async fn open_store(&self) -> Result<Arc<dyn Store>, DeploymentError> {
        if let Place::Sqlite(path) = self.place()?
            && !path.exists()
        {
            let named = if self.database.is_some() { path } else { self.data.clone() };
            return Err(DeploymentError::NoStore(named));
        }
        let store = self.connect().await?;
        if !store.is_migrated().await? {
            if self.database.is_some() {
                return Err(DeploymentError::NoStore(PathBuf::from("this database")));
            }
            store.migrate().await?;
        }
        Ok(store)
    }

    /// Opens the secret and the record of published heads for a store. A store without logs gets a new secret, if there
    /// is none, and a first log.
    ///
    /// # Errors
    /// [`DeploymentError`], among them that the secret is not the one that the logs were made with.
    pub async fn signing(&self, store: Arc<dyn Store>) -> Result<Signing, DeploymentError> {
        self.make_directory()?;
        let has_logs = !store.logs().await?.is_empty();
        let (secret, new_secret) = self.secret(has_logs)?;
        let secret = Arc::new(secret);
        let mut keyring = Keyring::new(Arc::clone(&secret));
        keyring.load(&*store).await?;
        let path = self.data.join("published-heads");
        let heads = PublishedHeads::open(&path).map_err(|source| DeploymentError::Io { path, source })?;
        let publisher = Arc::new(Publisher::new(Arc::clone(&store), heads));
        if !has_logs {
            create_first_log(&*store, &secret).await?;
        }
        Ok(Signing { store, secret, keyring, publisher, new_secret })
    }

    /// Reads the secret, which must exist.
    ///
    /// # Errors
    /// [`DeploymentError::NoSecret`]; [`DeploymentError::Secret`].
    pub fn read_secret(&self) -> Result<Secret, DeploymentError> {
        // As if there were logs: then none is made.
        self.secret(true).map(|(secret, _)| secret)
    }

    /// The file of the secret, if it comes from a file.
    #[must_use]
    pub fn secret_path(&self) -> Option<PathBuf> {
        match &self.secret {
            SecretSource::DataDirectory => Some(self.data.join("secret")),
            SecretSource::File(path) => Some(path.clone()),
            SecretSource::Descriptor(_) | SecretSource::Environment(_) => None,
        }
    }

    async fn connect(&self) -> Result<Arc<dyn Store>, DeploymentError> {
        match self.place()? {
            Place::Sqlite(path) => Ok(Arc::new(SqliteStore::open(&path).await?)),
            Place::Postgres(url) => {
                let store = PostgresStore::connect(url, MAX_CONNECTIONS)?;
                store.reach().await?;
                Ok(Arc::new(store))
            }
        }
    }

    /// Whether the database is a server of its own, which may be away for a while.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        matches!(self.place(), Ok(Place::Postgres(_)))
    }

    fn place(&self) -> Result<Place<'_>, DeploymentError> {
        let Some(url) = &self.database else { return Ok(Place::Sqlite(self.data.join("attestlog.db"))) };
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Place::Postgres(url));
        }
        // Without the password that may be in it.
        let named = || url.split('@').next_back().unwrap_or_default().to_owned();
        let path = sqlite::path_of_address(url).ok_or_else(|| DeploymentError::NotADatabase(named()))?;
        Ok(Place::Sqlite(path))
    }

    /// Reads the secret; makes one in its file if there is neither a secret nor a log that needs it.
    fn secret(&self, has_logs: bool) -> Result<(Secret, bool), DeploymentError> {
        let path = match &self.secret {
            SecretSource::Environment(text) => {
                return Ok((Secret::parse(text, "the environment's secret")?, false));
            }
            SecretSource::Descriptor(descriptor) => {
                return Ok((Secret::read_descriptor(*descriptor)?, false));
            }
            SecretSource::DataDirectory | SecretSource::File(_) => self.secret_path().unwrap_or_default(),
        };
        if path.exists() {
            return Ok((Secret::read(&path)?, false));
        }
        if has_logs {
            return Err(DeploymentError::NoSecret(path));
        }
        let secret = Secret::generate()?;
        match secret.write_new(&path) {
            Ok(()) => Ok((secret, true)),
            // Another process has made it at this moment.
            Err(SecretError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                Ok((Secret::read(&path)?, false))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn make_directory(&self) -> Result<(), DeploymentError> {
        make_private_directory(&self.data)
            .map_err(|source| DeploymentError::Io { path: self.data.clone(), source })
    }
}

/// Makes the directory, readable by its owner only, unless it is there.
///
/// # Errors
/// What the operating system says.
pub fn make_private_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() { Ok(()) } else { DirBuilder::new().recursive(true).mode(0o700).create(path) }
}

/// Makes the log `default`, under an origin that no other deployment has.
async fn create_first_log(store: &dyn Store, secret: &Secret) -> Result<(), DeploymentError> {
    let mut unique = [0; 4];
    getrandom::fill(&mut unique).map_err(SecretError::Randomness)?;
    let origin = format!("attestlog.local/{:08x}/{DEFAULT_LOG}", u32::from_be_bytes(unique));
    match create_log(store, secret, DEFAULT_LOG, &origin, Events::Any).await {
        // Another server has started at this moment.
        Ok(_) | Err(KeyringError::Store(StoreError::LogExists { .. })) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
