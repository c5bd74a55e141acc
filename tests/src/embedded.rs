//! A fresh embedded store for a test.

use std::path::PathBuf;

use attestlog_server::store::Store;
use attestlog_server::store::sqlite::SqliteStore;
use tempfile::TempDir;

/// A folder with a store's file in it; both go when this goes.
#[derive(Debug)]
pub struct Embedded {
    folder: TempDir,
}

impl Embedded {
    /// A folder without a file.
    ///
    /// # Panics
    /// If there is no room for temporary files.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test that cannot begin has failed")]
    pub fn new() -> Self {
        Self { folder: TempDir::with_prefix("attestlog-").expect("a temporary folder") }
    }

    /// Where the file is, or will be.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("attestlog-data").join("log.db")
    }

    /// Opens the store, again if it was open before, and makes its schema unless it has one.
    ///
    /// # Panics
    /// If it cannot be opened.
    #[expect(clippy::expect_used, reason = "a test that cannot begin has failed")]
    pub async fn open(&self) -> SqliteStore {
        let store = SqliteStore::open(&self.path()).await.expect("the store opens");
        store.migrate().await.expect("the schema is made");
        store
    }
}

impl Default for Embedded {
    fn default() -> Self {
        Self::new()
    }
}
