//! The embedded store, on SQLite: one file, and no server but ours.
//!
//! The file is in WAL mode with `synchronous = full`: whoever reads never waits, one writes at a time, and a commit is
//! on the disk when it returns. Several processes may have it open, a command line beside a server, say. The SQL is in
//! the modules below: `append` and `batch` write, `read` and `scan` read.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use attestlog_core::{LeafIndex, TileId, TreeSize};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqlitePool};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;

use super::{
    Appended, Backlog, Batch, EntrySink, Log, LogId, NewEntry, NewLog, SearchStore, Store, StoreError,
    StoredCheckpoint, Ticket, TicketState, Tree,
};
use batch::SqliteBatch;
use connection::{WriteTransaction, column, failed, is_busy};

mod append;
mod batch;
mod connection;
mod read;
mod scan;
mod search;

/// The table of the migrations that were applied: an application that migrates the same file with sqlx keeps
/// `_sqlx_migrations` for itself.
const MIGRATION_TABLE: &str = "attestlog_migration";

static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrator = sqlx::migrate!("../migrations/sqlite");
    migrator.dangerous_set_table_name(MIGRATION_TABLE);
    migrator
});

/// How long a writer waits for its turn before it gives up.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// How long a batch waits before it leaves the turn to whoever has it. Longer than an append takes.
const BATCH_PATIENCE: Duration = Duration::from_millis(500);

/// How long to wait before asking again for the lock that another process holds.
const RETRY_INTERVAL: Duration = Duration::from_millis(5);

/// The file that an address names, `sqlite:PATH` or `sqlite://PATH`, where PATH may have `?mode=rw` or `?mode=rwc` after
/// it; `None` for any other address, one in memory among them.
#[must_use]
pub fn path_of_address(address: &str) -> Option<PathBuf> {
    let (path, parameters) = address.split_once('?').unwrap_or((address, "mode=rwc"));
    if !path.starts_with("sqlite:") || !matches!(parameters, "mode=rw" | "mode=rwc") {
        return None;
    }
    let options: SqliteConnectOptions = path.parse().ok()?;
    let file = options.get_filename();
    let in_memory = path.ends_with(":memory:") || file.as_os_str().is_empty();
    (!in_memory).then(|| file.to_owned())
}

/// A file that holds logs.
#[derive(Debug)]
pub struct SqliteStore {
    /// One connection: writers of this process queue here, in their order, and not at the file's lock.
    writer: SqlitePool,
    readers: SqlitePool,
    /// Held while a batch is open in this process.
    batch: Arc<Mutex<()>>,
    /// Held while a transaction of the indexer is.
    indexing: Arc<Mutex<()>>,
}

impl SqliteStore {
    /// Opens the file at `path`. If it does not exist it is made, empty and readable by its owner only, and so is the
    /// folder that it is in.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if it cannot be made or opened, [`StoreError::Damaged`] if it is no database.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        connection::make_file(path).map_err(|error| StoreError::Unavailable(error.into()))?;
        Self::open_existing(path).await
    }

    /// Opens the file at `path`, which must exist.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_existing(path: &Path) -> Result<Self, StoreError> {
        // Two processes that open a new file at once both turn it to WAL, and one of them is told to wait.
        let give_up = Instant::now() + WRITE_PATIENCE;
        let writer = loop {
            match connection::open_writer(path).await.map_err(failed) {
                Err(StoreError::Busy(_)) if Instant::now() < give_up => {
                    tokio::time::sleep(RETRY_INTERVAL).await
                }
                opened => break opened?,
            }
        };
        Ok(Self {
            writer,
            readers: connection::open_readers(path),
            batch: Arc::default(),
            indexing: Arc::default(),
        })
    }

    /// Begins a transaction that writes, alone of its kind in this process; `None` while another is open, here or in
    /// another process.
    async fn begin_alone(
        &self,
        kind: &Arc<Mutex<()>>,
    ) -> Result<Option<(WriteTransaction, OwnedMutexGuard<()>)>, StoreError> {
        let Ok(only) = Arc::clone(kind).try_lock_owned() else {
            return Ok(None);
        };
        match connection::begin(&self.writer, BATCH_PATIENCE).await {
            Ok(transaction) => Ok(Some((transaction, only))),
            Err(error) if is_busy(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn migrate_once(&self) -> Result<(), StoreError> {
        let mut connection = self.writer.acquire().await.map_err(failed)?;
        // One transaction for everything: whoever else migrates at this moment waits, and then finds it done.
        let migrated = async {
            let mut transaction = connection.begin_with("begin immediate").await?;
            // `run` asks for an Acquire, which no async function that must be Send can pass; it calls this.
            MIGRATIONS.run_direct(None, &mut *transaction, false).await?;
            transaction.commit().await.map_err(MigrateError::from)
        }
        .await;
        if migrated.is_err() {
            // The transaction may or may not be open still; a new connection has none.
            connection.close().await.map_err(failed)?;
        }
        migrated.map_err(|error| match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)
                if !is_refusal(&error) =>
            {
                failed(error)
            }
            error => StoreError::Migration(error),
        })
    }
}

fn is_refusal(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if connection::primary_code(error.as_ref()) == Some(1))
}

#[async_trait]
impl Store for SqliteStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        if self.is_migrated().await? {
            return Ok(());
        }
        let give_up = Instant::now() + WRITE_PATIENCE;
        loop {
            match self.migrate_once().await {
                Err(StoreError::Busy(_)) if Instant::now() < give_up => {
                    tokio::time::sleep(RETRY_INTERVAL).await
                }
                done => return done,
            }
        }
    }

    async fn is_migrated(&self) -> Result<bool, StoreError> {
        let table = sqlx::query("select 1 from sqlite_schema where type = 'table' and name = ?")
            .bind(MIGRATION_TABLE)
            .fetch_optional(&self.readers);
        if table.await.map_err(failed)?.is_none() {
            return Ok(false);
        }
        let applied =
            sqlx::query("select version, checksum from attestlog_migration where success order by version")
                .fetch_all(&self.readers);
        let applied = applied.await.map_err(failed)?;
        let mut versions = Vec::with_capacity(applied.len());
        for row in &applied {
            versions.push((column::<i64>(row, 0)?, column::<&[u8]>(row, 1)?));
        }
        Ok(versions
            .into_iter()
            .eq(MIGRATIONS.iter().map(|migration| (migration.version, &*migration.checksum))))
    }

    async fn durability_warnings(&self) -> Result<Vec<String>, StoreError> {
        let mut connection = self.writer.acquire().await.map_err(failed)?;
        let mut warnings = Vec::new();
        let mode: String =
            sqlx::query_scalar("pragma journal_mode").fetch_one(&mut *connection).await.map_err(failed)?;
        if mode != "wal" {
            warnings.push(format!(
                "the file's journal mode is \"{mode}\" and could not be set to \"wal\": is it on a network drive?"
            ));
        }
        let synchronous: i64 =
            sqlx::query_scalar("pragma synchronous").fetch_one(&mut *connection).await.map_err(failed)?;
        if synchronous < 2 {
            warnings.push(format!(
                "SQLite's \"synchronous\" is {synchronous}, below 2 (full): a power failure may undo acknowledged entries"
            ));
        }
        Ok(warnings)
    }

    async fn create_log(&self, new: &NewLog) -> Result<Log, StoreError> {
        append::create_log(&self.writer, new).await
    }

    async fn logs(&self) -> Result<Vec<(Log, TreeSize)>, StoreError> {
        read::logs(&self.readers).await
    }

    async fn log(&self, name: &str) -> Result<Option<Log>, StoreError> {
        read::log(&self.readers, name).await
    }

    async fn append(&self, entries: &[NewEntry]) -> Result<Vec<Appended>, StoreError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        append::append(&self.writer, entries).await
    }

    async fn backlog(&self, most: u32) -> Result<Backlog, StoreError> {
        read::backlog(&self.readers, most).await
    }

    async fn begin_batch(&self) -> Result<Option<Box<dyn Batch>>, StoreError> {
        let begun = self.begin_alone(&self.batch).await?;
        Ok(begun.map(|(transaction, only)| Box::new(SqliteBatch::new(transaction, only)) as Box<dyn Batch>))
    }

    async fn tickets(&self, tickets: &[Ticket]) -> Result<HashMap<Ticket, TicketState>, StoreError> {
        read::tickets(&self.readers, tickets).await
    }

    async fn processed(&self, tickets: &[Ticket]) -> Result<HashMap<Ticket, (LogId, LeafIndex)>, StoreError> {
        read::processed(&self.readers, tickets).await
    }

    async fn checkpoint(&self, log: LogId) -> Result<Option<StoredCheckpoint>, StoreError> {
        read::checkpoint(&self.readers, log).await
    }

    async fn checkpoints(
        &self,
        log: LogId,
        from: TreeSize,
        limit: u32,
    ) -> Result<Vec<StoredCheckpoint>, StoreError> {
        read::checkpoints(&self.readers, log, from, limit).await
    }

    async fn tree(&self, log: LogId) -> Result<Option<Tree>, StoreError> {
        read::tree(&self.readers, log).await
    }

    async fn tiles(&self, log: LogId, tiles: &[TileId]) -> Result<HashMap<TileId, Vec<u8>>, StoreError> {
        read::tiles(&self.readers, log, tiles).await
    }

    async fn entries(&self, log: LogId, from: LeafIndex, limit: u32) -> Result<Vec<Vec<u8>>, StoreError> {
        scan::entries(&self.readers, log, from, limit).await
    }

    async fn entry_bundle(&self, log: LogId, range: Range<u64>) -> Result<Option<Vec<u8>>, StoreError> {
        scan::entry_bundle(&self.readers, log, range).await
    }

    async fn scan(&self, log: LogId, range: Range<u64>, sink: EntrySink<'_>) -> Result<(), StoreError> {
        scan::scan(&self.readers, log, range, sink).await
    }

    fn search(&self) -> &dyn SearchStore {
        self
    }

    async fn close(&self) {
        self.readers.close().await;
        // So that the file alone holds everything. It is a courtesy: who opens the file next would do the same.
        if let Ok(mut connection) = self.writer.acquire().await
            && let Err(error) = sqlx::query("pragma wal_checkpoint(truncate)").execute(&mut *connection).await
        {
            tracing::warn!(%error, "the write-ahead log could not be emptied; it stays beside the file");
        }
        self.writer.close().await;
    }
}
