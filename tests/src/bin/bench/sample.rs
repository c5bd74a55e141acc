//! Large logs that are made once and read by several sections.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use attestlog_server::deployment::{DEFAULT_LOG, Deployment, SecretSource};
use attestlog_server::sequencer::{Pace, Sequencer, Step};
use attestlog_server::store::{Log, NewEntry, Store};
use attestlog_tests::databases::{PostgresGuard, connection, empty_postgres};
use sqlx::Executor;
use tempfile::TempDir;

use super::load::event;

/// The logs that exist already.
#[derive(Debug, Default)]
pub(crate) struct SampleLogs {
    /// One on PostgreSQL.
    pub(crate) postgres: Option<SampleLog>,
    /// One on the embedded store.
    pub(crate) embedded: Option<SampleLog>,
}

/// The log `default` of a deployment of its own.
#[derive(Debug)]
pub(crate) struct SampleLog {
    /// Its store.
    pub(crate) store: Arc<dyn Store>,
    /// The log.
    pub(crate) log: Log,
    /// Its entries so far.
    pub(crate) size: u64,
    deployment: Deployment,
    _directory: TempDir,
    _guard: Option<PostgresGuard>,
}

impl SampleLogs {
    /// Takes the log on PostgreSQL, with `size` entries or more; it is made unless there is one.
    pub(crate) async fn take_postgres(&mut self, size: u64) -> SampleLog {
        let mut log = match self.postgres.take() {
            Some(log) => log,
            None => SampleLog::on_postgres().await,
        };
        log.fill(size).await;
        log
    }

    /// The same for the log on the embedded store.
    pub(crate) async fn take_embedded(&mut self, size: u64) -> SampleLog {
        let mut log = match self.embedded.take() {
            Some(log) => log,
            None => SampleLog::on_the_embedded_store().await,
        };
        log.fill(size).await;
        log
    }
}

impl SampleLog {
    /// An empty log in a PostgreSQL database of its own.
    pub(crate) async fn on_postgres() -> Self {
        let (url, guard) = empty_postgres().await;
        Self::make(Some(url), Some(guard)).await
    }

    /// An empty log in a directory of its own.
    pub(crate) async fn on_the_embedded_store() -> Self {
        Self::make(None, None).await
    }

    async fn make(database: Option<String>, guard: Option<PostgresGuard>) -> Self {
        let directory = TempDir::with_prefix("attestlog-bench-").expect("a directory");
        let data = directory.path().join("data");
        let deployment = Deployment { data, database, secret: SecretSource::DataDirectory };
        let store = deployment.create_store().await.expect("a store");
        // Makes the secret and the log.
        drop(deployment.signing(Arc::clone(&store)).await.expect("a deployment"));
        let log = store.log(DEFAULT_LOG).await.expect("an answer").expect("the log default");
        Self { store, log, size: 0, deployment, _directory: directory, _guard: guard }
    }

    /// The same log after its store was closed.
    pub(crate) async fn reopened(self) -> Self {
        let store = self.deployment.open_store().await.expect("the store opens");
        Self { store, ..self }
    }

    /// The database's URL, if it is on PostgreSQL.
    pub(crate) fn database(&self) -> Option<&str> {
        self.deployment.database.as_deref()
    }

    /// Where the secret is, and the embedded store.
    pub(crate) fn data(&self) -> &Path {
        &self.deployment.data
    }

    /// Appends and processes entries until there are `size`, as they come in life: never many of them waiting.
    pub(crate) async fn fill(&mut self, size: u64) {
        // Others may have appended.
        self.sequence().await;
        self.size = self.signed().await;
        while self.size < size {
            self.append((size - self.size).min(100_000)).await;
            self.sequence().await;
        }
    }

    /// Has PostgreSQL do now what a fill leaves for later: vacuum, and a checkpoint.
    pub(crate) async fn settle(&self) {
        let Some(url) = self.database() else { return };
        let mut connection = connection(url).await;
        for sql in ["vacuum", "checkpoint"] {
            connection.execute(sql).await.expect("a superuser may");
        }
    }

    /// Appends the next entries, 1,000 in a transaction; how long that took.
    pub(crate) async fn append(&mut self, count: u64) -> Duration {
        let began = Instant::now();
        let (mut next, end) = (self.size, self.size + count);
        while next < end {
            let last = end.min(next + 1000);
            let new = |number| NewEntry { log: self.log.id, data: event(number), idempotency_key: None };
            let entries: Vec<NewEntry> = (next..last).map(new).collect();
            self.store.append(&entries).await.expect("the entries are appended");
            next = last;
        }
        self.size = end;
        began.elapsed()
    }

    /// Processes all that is waiting, in this process, with the server's default batch size; each batch's entries and
    /// time.
    pub(crate) async fn sequence(&self) -> Vec<(usize, Duration)> {
        let signing = self.deployment.signing(Arc::clone(&self.store)).await.expect("a deployment");
        let mut sequencer =
            Sequencer::new(Arc::clone(&self.store), signing.publisher, signing.keyring, Pace::default());
        let mut batches = Vec::new();
        loop {
            let began = Instant::now();
            match sequencer.step(began).await.expect("a batch") {
                Step::Batch { entries, .. } => batches.push((entries, began.elapsed())),
                Step::Idle => return batches,
                Step::Standby => {}
            }
        }
    }

    /// The entries that signed heads cover.
    pub(crate) async fn signed(&self) -> u64 {
        let tree = self.store.tree(self.log.id).await.expect("an answer");
        tree.expect("a tree").signed_size.0
    }
}
