//! A log on the embedded store, of any size, with checkpoints where a test wants them, and a way to damage it.
#![expect(clippy::expect_used, clippy::missing_panics_doc, reason = "a test that cannot begin has failed")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use attestlog_core::SigningKey;
use attestlog_server::keyring::{Keyring, create_log};
use attestlog_server::published::PublishedHeads;
use attestlog_server::publisher::Publisher;
use attestlog_server::secret::Secret;
use attestlog_server::sequencer::{Pace, Sequencer, Step};
use attestlog_server::store::sqlite::SqliteStore;
use attestlog_server::store::{Events, Log, NewEntry, Store};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tempfile::TempDir;

const SECRET: &str = "attestlog-secret-v1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The origin of every sample log: they have the same key.
pub const ORIGIN: &str = "example.com/sample";

/// A log, its store, and what extends it.
#[derive(Debug)]
pub struct SampleLog {
    folder: TempDir,
    /// The store.
    pub store: Arc<SqliteStore>,
    /// The log.
    pub log: Log,
    sequencer: Sequencer,
    size: u64,
}

/// The entry at `index` of every sample log.
#[must_use]
pub fn entry(index: u64) -> Vec<u8> {
    format!("{{\"action\":\"sample.written\",\"number\":{index}}}").into_bytes()
}

/// The secret of every sample log.
#[must_use]
pub fn secret() -> Secret {
    Secret::parse(SECRET, "the sample secret").expect("a secret")
}

/// The key that signs for every sample log.
#[must_use]
pub fn key() -> SigningKey {
    secret().signing_key(ORIGIN).expect("a key")
}

/// What extends sample logs; each batch takes all entries that 16 MB can hold. The published heads go to `folder`.
#[must_use]
pub fn sequencer(store: Arc<dyn Store>, folder: &Path) -> Sequencer {
    let heads = PublishedHeads::open(&folder.join("published-heads")).expect("a record of heads");
    let publisher = Arc::new(Publisher::new(store.clone(), heads));
    let pace = Pace { batch_size: 100_000, ..Pace::default() };
    Sequencer::new(store, publisher, Keyring::new(Arc::new(secret())), pace)
}

impl SampleLog {
    /// A log without entries.
    pub async fn empty() -> Self {
        let folder = TempDir::with_prefix("attestlog-").expect("a temporary folder");
        let store = SqliteStore::open(&file(folder.path())).await.expect("the store opens");
        store.migrate().await.expect("the schema is made");
        create_log(&store, &secret(), "sample", ORIGIN, Events::Any).await.expect("a log");
        Self::over(folder, store).await
    }

    /// A log of which the first entries are [`entry`], with a checkpoint at each of these sizes.
    pub async fn with_checkpoints(sizes: &[u64]) -> Self {
        let mut sample = Self::empty().await;
        for &size in sizes {
            sample.grow_to(size).await;
        }
        sample
    }

    /// A copy of its own, to be damaged. Nothing may be writing to this one.
    pub async fn copy(&self) -> Self {
        self.execute("pragma wal_checkpoint(truncate)", &[]).await;
        let folder = TempDir::with_prefix("attestlog-").expect("a temporary folder");
        std::fs::copy(file(self.folder.path()), file(folder.path())).expect("a copy");
        let store = SqliteStore::open(&file(folder.path())).await.expect("the store opens");
        Self { size: self.size, ..Self::over(folder, store).await }
    }

    async fn over(folder: TempDir, store: SqliteStore) -> Self {
        let store = Arc::new(store);
        let log = store.log("sample").await.expect("the log is read").expect("there is a log");
        let sequencer = sequencer(store.clone(), folder.path());
        Self { folder, store, log, sequencer, size: 0 }
    }

    /// Appends until the log has this size, with one checkpoint at the end if the entries fit into one batch.
    pub async fn grow_to(&mut self, size: u64) {
        self.append((self.size..size).map(entry)).await;
    }

    /// Appends these entries, and waits until they are in the tree.
    pub async fn append(&mut self, entries: impl IntoIterator<Item = Vec<u8>>) {
        let log = self.log.id;
        let new = |data| NewEntry { log, data, idempotency_key: None };
        let new: Vec<_> = entries.into_iter().map(new).collect();
        for part in new.chunks(20_000) {
            self.store.append(part).await.expect("the entries are appended");
        }
        self.size += new.len() as u64;
        while self.sequencer.step(Instant::now()).await.expect("a batch") != Step::Idle {}
    }

    /// Runs a statement that the triggers and constraints would refuse.
    pub async fn damage(&self, statement: &'static str, blobs: &[&[u8]]) {
        assert!(self.execute(statement, blobs).await > 0, "{statement} changed nothing");
    }

    async fn execute(&self, statement: &'static str, blobs: &[&[u8]]) -> u64 {
        let mut connection = self.connect().await;
        let triggers: Vec<String> =
            sqlx::query_scalar("select 'drop trigger ' || name from sqlite_schema where type = 'trigger'")
                .fetch_all(&mut connection)
                .await
                .expect("the triggers are listed");
        if !blobs.is_empty() || !statement.starts_with("pragma") {
            for drop in triggers {
                sqlx::query(sqlx::AssertSqlSafe(drop)).execute(&mut connection).await.expect("it is dropped");
            }
        }
        let query = blobs.iter().fold(sqlx::query(statement), |query, blob| query.bind(blob.to_vec()));
        let done = query.execute(&mut connection).await.expect("the statement runs");
        connection.close().await.expect("the connection closes");
        done.rows_affected()
    }

    /// The blob that a query finds.
    pub async fn blob(&self, query: &'static str) -> Vec<u8> {
        sqlx::query_scalar(query).fetch_one(&mut self.connect().await).await.expect("there is one")
    }

    async fn connect(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(file(self.folder.path()));
        options.pragma("ignore_check_constraints", "on").connect().await.expect("a connection")
    }

    /// A place for more files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("log.db")
}
