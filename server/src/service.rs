//! What a running server has at hand to answer a request; `http` turns requests into calls on it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::appender::Appender;
use crate::deployment::Signing;
use crate::publisher::Publisher;
use crate::search::Indexer;
use crate::secret::{Secret, SecretError};
use crate::sequencer::{Pace, Sequencer};
use crate::store::{Log, Store, StoreError};
use crate::tile_cache::TileCache;
use crate::waiter::Waiter;

/// How a server works; `docs/operations.md` explains each.
#[derive(Clone, Debug)]
pub struct Settings {
    /// When batches are processed, and how large they are.
    pub pace: Pace,
    /// Beyond so many unprocessed entries, appends are refused.
    pub max_backlog: u32,
    /// What an append over HTTP must bring; `None` takes appends from anyone who can connect.
    pub append_token: Option<AppendToken>,
    /// How long an append may wait for the checkpoint that covers it.
    pub wait: Duration,
    /// Whether events can be searched, which needs an index.
    pub search: bool,
    /// The most bytes of full tiles and entry bundles that are kept in memory.
    pub tile_cache: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pace: Pace::default(),
            max_backlog: 100_000,
            append_token: None,
            wait: Duration::from_secs(60),
            search: true,
            tile_cache: 32 * 1024 * 1024,
        }
    }
}

/// The bearer token of appends, kept as its hash.
#[derive(Clone)]
pub struct AppendToken([u8; 32]);

impl AppendToken {
    /// Reads the token from a file that only its owner may read: one line.
    ///
    /// # Errors
    /// [`SecretError`], also for an empty file.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let text = crate::secret::read_private(path)?;
        let token = text.trim();
        if token.is_empty() {
            return Err(SecretError::Malformed(format!("{} is empty and", path.display())));
        }
        Ok(Self::new(token))
    }

    /// The token `token`.
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Whether `presented` is this token. Comparing hashes tells nothing about the token by the time that it takes.
    #[must_use]
    pub fn is(&self, presented: &str) -> bool {
        Sha256::digest(presented.as_bytes())[..] == self.0
    }
}

/// Never shows the token.
impl std::fmt::Debug for AppendToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AppendToken(…)")
    }
}

/// A running server without its listener.
#[derive(Debug)]
pub struct Service {
    /// The database.
    pub store: Arc<dyn Store>,
    /// The checkpoints that may be shown.
    pub publisher: Arc<Publisher>,
    /// The full tiles and bundles at hand.
    pub tiles: TileCache,
    /// The way in for entries.
    pub appender: Appender,
    /// The way to wait for their checkpoint.
    pub waiter: Arc<Waiter>,
    /// What the keys of new logs are derived from.
    pub secret: Arc<Secret>,
    /// What an append must bring.
    pub append_token: Option<AppendToken>,
    /// How long an append may wait for the checkpoint that covers it.
    pub wait: Duration,
    /// Whether events can be searched.
    pub search: bool,
    logs: RwLock<HashMap<String, Arc<Log>>>,
}

impl Service {
    /// Starts the sequencer, the indexer and the tasks that serve appends; they end after `stop`. The handle is of those
    /// who write by themselves: they finish what they have in hand, and need the store until then.
    #[must_use]
    pub fn start(
        signing: Signing,
        settings: Settings,
        stop: &CancellationToken,
    ) -> (Arc<Self>, JoinHandle<Result<(), JoinError>>) {
        let Signing { store, secret, keyring, publisher, .. } = signing;
        let (processed, steps) = watch::channel(0);
        let sequencer = Sequencer::new(Arc::clone(&store), Arc::clone(&publisher), keyring, settings.pace);
        let waiter = Waiter::start(&store, &publisher, steps.clone(), stop.clone());
        let sequencing = tokio::spawn(sequencer.run(stop.clone(), Arc::clone(&waiter), processed));
        let indexing =
            settings.search.then(|| tokio::spawn(Indexer::new(Arc::clone(&store)).run(stop.clone())));
        let writers = tokio::spawn(async move {
            let sequenced = sequencing.await;
            if let Some(indexing) = indexing {
                indexing.await?;
            }
            sequenced
        });
        let service = Arc::new(Self {
            tiles: TileCache::new(settings.tile_cache),
            appender: Appender::start(&store, settings.max_backlog, steps, stop),
            waiter,
            append_token: settings.append_token,
            wait: settings.wait,
            search: settings.search,
            logs: RwLock::default(),
            secret,
            publisher,
            store,
        });
        (service, writers)
    }

    /// The log of this name. Logs never change, so each is read once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn log(&self, name: &str) -> Result<Option<Arc<Log>>, StoreError> {
        if let Some(log) = self.known_log(name) {
            return Ok(Some(log));
        }
        let Some(log) = self.store.log(name).await?.map(Arc::new) else {
            return Ok(None);
        };
        self.logs.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), Arc::clone(&log));
        Ok(Some(log))
    }

    /// The log of this name, if it has been asked for before.
    #[must_use]
    pub fn known_log(&self, name: &str) -> Option<Arc<Log>> {
        self.logs.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}
