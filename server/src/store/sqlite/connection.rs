//! How the file is opened, what a failure of SQLite means, and the transaction that writes.

use std::io;
use std::path::Path;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Decode, Row, Sqlite, SqlitePool, Type};
use tokio::time::Instant;

use super::super::StoreError;
use super::RETRY_INTERVAL;

/// How long SQLite itself waits for a lock, blocking the connection's thread; a writer asks again after it.
const WRITER_BUSY_TIMEOUT: Duration = Duration::from_millis(100);

/// A reader waits only for the recovery after a crash.
const READER_BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The connections that read: two for `fsck`, the others for the server's requests. Each is a thread.
const READERS: u32 = 6;

/// Makes an empty file that only its owner may read, and its folder, unless they exist. SQLite gives the files that it
/// puts beside it the same mode.
pub(super) fn make_file(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let mut folder = std::fs::DirBuilder::new();
    let mut file = std::fs::OpenOptions::new();
    folder.recursive(true);
    file.write(true).create(true);
    #[cfg(unix)]
    {
        std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
        std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        folder.create(parent)?;
    }
    file.open(path)?.sync_all()
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .foreign_keys(true)
        .page_size(8192)
        .synchronous(SqliteSynchronous::Full)
        // INSERT OR REPLACE asks the triggers that refuse a DELETE.
        .pragma("recursive_triggers", "on")
        .pragma("trusted_schema", "off")
        // The rows that a query's thread is ahead of whoever reads them: each wait for the other is a switch of threads.
        .row_buffer_size(1024)
        .disable_statement_logging()
}

pub(super) async fn open_writer(path: &Path) -> Result<SqlitePool, sqlx::Error> {
    let options = options(path)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(WRITER_BUSY_TIMEOUT)
        // 64 MB of the pages that a batch changes.
        .pragma("cache_size", "-65536")
        .pragma("journal_size_limit", "67108864");
    pool(1).connect_with(options).await
}

pub(super) fn open_readers(path: &Path) -> SqlitePool {
    let options = options(path).busy_timeout(READER_BUSY_TIMEOUT).pragma("query_only", "on");
    pool(READERS).connect_lazy_with(options)
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(super::WRITE_PATIENCE)
        // A file does not hang up.
        .test_before_acquire(false)
        .max_lifetime(None)
        .idle_timeout(None)
}

/// What a caller can do about this failure.
pub(super) fn failed(error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::Database(refused) => match primary_code(refused.as_ref()) {
            // SQLITE_BUSY, SQLITE_LOCKED.
            Some(5 | 6) => StoreError::Busy(error),
            Some(FULL) => StoreError::Full(error),
            // SQLITE_IOERR, SQLITE_CANTOPEN, SQLITE_NOLFS, SQLITE_PROTOCOL.
            Some(10 | 14 | 15 | 22) => StoreError::Unavailable(error),
            // SQLITE_CORRUPT, SQLITE_NOTADB.
            Some(11 | 26) => StoreError::Damaged(refused.to_string()),
            _ => StoreError::Refused(error),
        },
        sqlx::Error::PoolTimedOut => StoreError::Busy(error),
        sqlx::Error::PoolClosed | sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => {
            StoreError::Unavailable(error)
        }
        sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => StoreError::Damaged(error.to_string()),
        _ => StoreError::Refused(error),
    }
}

pub(super) const fn is_busy(error: &StoreError) -> bool {
    matches!(error, StoreError::Busy(_))
}

const FULL: i32 = 13;

/// SQLite's result code without what extends it; a disk that is full while the shared memory grows counts as full.
pub(super) fn primary_code(error: &dyn DatabaseError) -> Option<i32> {
    /// SQLITE_IOERR_SHMSIZE.
    const NO_ROOM_FOR_SHARED_MEMORY: i32 = 4874;
    match error.code()?.parse().ok()? {
        NO_ROOM_FOR_SHARED_MEMORY => Some(FULL),
        code => Some(code & 0xff),
    }
}

/// A number as SQLite stores it; nothing that it stores is beyond its largest.
pub(super) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number that SQLite stored and that is never negative.
pub(super) fn number(stored: i64) -> Result<u64, StoreError> {
    u64::try_from(stored)
        .map_err(|_| StoreError::Damaged(format!("{stored} is stored as a size or an index")))
}

/// A column of a row. SQLite's types are checked as the row is read: a damaged file may hold any.
pub(super) fn column<'r, T>(row: &'r SqliteRow, index: usize) -> Result<T, StoreError>
where
    T: Decode<'r, Sqlite> + Type<Sqlite>,
{
    row.try_get(index).map_err(failed)
}

/// The transaction that writes. Dropped without a commit, at whatever point, it is rolled back before the connection
/// serves anyone else.
#[derive(Debug)]
pub(super) struct WriteTransaction {
    connection: Option<PoolConnection<Sqlite>>,
}

/// Waits for the turn to write, at most for `patience`; then it fails as [`StoreError::Busy`].
pub(super) async fn begin(writer: &SqlitePool, patience: Duration) -> Result<WriteTransaction, StoreError> {
    let give_up = Instant::now() + patience;
    let connection = tokio::time::timeout(patience, writer.acquire()).await;
    let connection = connection.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(failed)?;
    // From here on a caller who goes away leaves a rollback behind.
    let mut transaction = WriteTransaction { connection: Some(connection) };
    loop {
        // Not sqlx's own transaction: it keeps count of what is open, and is wrong for good once SQLite has rolled back
        // by itself, as it does on a full disk.
        match sqlx::query("begin immediate").execute(transaction.connection()?).await.map_err(failed) {
            Ok(_) => return Ok(transaction),
            Err(error) if is_busy(&error) && Instant::now() < give_up => {
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            Err(error) => {
                transaction.connection = None;
                return Err(error);
            }
        }
    }
}

impl WriteTransaction {
    pub(super) fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        // None only after the commit, which consumes it.
        self.connection.as_deref_mut().ok_or(StoreError::Unavailable(sqlx::Error::PoolClosed))
    }

    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        sqlx::query("commit").execute(self.connection()?).await.map_err(failed)?;
        self.connection = None;
        Ok(())
    }
}

impl Drop for WriteTransaction {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            // A connection that is closed has rolled back.
            drop(connection.detach());
            return;
        };
        runtime.spawn(async move {
            if sqlx::query("rollback").execute(&mut *connection).await.is_err() {
                // SQLite has rolled back by itself, or there is worse: a new connection is in no doubt.
                connection.close().await.ok();
            }
        });
    }
}

/// Splits rows into few lengths, so that few statements need be prepared.
pub(super) fn portions<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let length = [256, 32, 4, 1].into_iter().find(|&length| length <= rows.len())?;
        let (portion, rest) = rows.split_at_checked(length)?;
        rows = rest;
        Some(portion)
    })
}

/// `head`, then `(?, ?), (?, ?)…` for `rows` rows of `columns`, then `tail`.
pub(super) fn with_rows(head: &str, columns: usize, rows: usize, tail: &str) -> sqlx::AssertSqlSafe<String> {
    let row = format!("({})", vec!["?"; columns].join(","));
    sqlx::AssertSqlSafe(format!("{head} values {} {tail}", vec![row.as_str(); rows].join(",")))
}
