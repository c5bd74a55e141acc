//! A log with its sequencer in a temporary directory, and a check of the whole log from what the store holds.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use attestlog_core::{LeafIndex, SignedCheckpoint, TILE_WIDTH, TileId, TreeSize, VerifierKey};
use attestlog_server::deployment::{DEFAULT_LOG, Deployment, SecretSource, Signing};
use attestlog_server::keyring::{Keyring, create_log};
use attestlog_server::publisher::Publisher;
use attestlog_server::secret::Secret;
use attestlog_server::sequencer::{Pace, Sequencer, Step};
use attestlog_server::store::{Appended, Events, Log, LogId, NewEntry, Store, Ticket};
use tempfile::TempDir;

use crate::reference;

/// The log `default` of a deployment of its own.
#[derive(Debug)]
pub struct TestLog {
    /// The embedded store, or another.
    pub store: Arc<dyn Store>,
    /// What may be shown.
    pub publisher: Arc<Publisher>,
    /// The log.
    pub log: Log,
    secret: Arc<Secret>,
    deployment: Deployment,
    directory: TempDir,
}

impl TestLog {
    /// A new log on the embedded store.
    ///
    /// # Panics
    /// If it cannot be made.
    pub async fn embedded() -> Self {
        Self::on(None).await
    }

    /// A new log on the database with this address, or on the embedded store.
    ///
    /// # Panics
    /// If it cannot be made.
    pub async fn on(database: Option<String>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().to_owned();
        let deployment = Deployment { data, database, secret: SecretSource::DataDirectory };
        Self::open(deployment, directory).await
    }

    async fn open(deployment: Deployment, directory: TempDir) -> Self {
        let store = deployment.create_store().await.unwrap();
        let Signing { secret, publisher, .. } = deployment.signing(Arc::clone(&store)).await.unwrap();
        let log = store.log(DEFAULT_LOG).await.unwrap().unwrap();
        Self { store, publisher, log, secret, deployment, directory }
    }

    /// The same log opened again, as after a restart.
    pub async fn reopen(self) -> Self {
        self.store.close().await;
        Self::open(self.deployment, self.directory).await
    }

    /// The places.
    #[must_use]
    pub fn deployment(&self) -> Deployment {
        self.deployment.clone()
    }

    /// The embedded store's file.
    #[must_use]
    pub fn database_path(&self) -> PathBuf {
        self.directory.path().join("attestlog.db")
    }

    /// The record of published heads.
    #[must_use]
    pub fn heads_path(&self) -> PathBuf {
        self.directory.path().join("published-heads")
    }

    /// The secret's file.
    #[must_use]
    pub fn secret_path(&self) -> PathBuf {
        self.directory.path().join("secret")
    }

    /// Another log in the same store.
    ///
    /// # Panics
    /// If it cannot be made.
    pub async fn create(&self, name: &str, origin: &str) -> Log {
        create_log(&*self.store, &self.secret, name, origin, Events::Any).await.unwrap()
    }

    /// A sequencer without a past.
    #[must_use]
    pub fn sequencer(&self) -> Sequencer {
        self.sequencer_on(Arc::clone(&self.store))
    }

    /// A sequencer without a past, with another pace.
    #[must_use]
    pub fn sequencer_at(&self, pace: Pace) -> Sequencer {
        let keyring = Keyring::new(Arc::clone(&self.secret));
        Sequencer::new(Arc::clone(&self.store), Arc::clone(&self.publisher), keyring, pace)
    }

    /// A sequencer without a past, on another store.
    #[must_use]
    pub fn sequencer_on(&self, store: Arc<dyn Store>) -> Sequencer {
        let keyring = Keyring::new(Arc::clone(&self.secret));
        Sequencer::new(store, Arc::clone(&self.publisher), keyring, Pace::default())
    }

    /// Processes all that is waiting.
    ///
    /// # Panics
    /// If a step fails.
    pub async fn sequence(&self) {
        let mut sequencer = self.sequencer();
        while sequencer.step(Instant::now()).await.unwrap() != Step::Idle {}
    }

    /// Appends [`entry`] for each number of the range, in one transaction.
    pub async fn append_range(&self, range: Range<u64>) -> Vec<Ticket> {
        let entries: Vec<Vec<u8>> = range.map(entry).collect();
        append(&*self.store, self.log.id, &entries).await
    }

    /// Checks that the log has the entries `entry(0..size)`, and everything else that follows from them.
    ///
    /// # Panics
    /// If it has not.
    pub async fn verify(&self, size: u64) {
        let expected: Vec<Vec<u8>> = (0..size).map(entry).collect();
        verify_log(&*self.store, &self.log, &expected).await;
    }
}

/// The entry of this number.
#[must_use]
pub fn entry(number: u64) -> Vec<u8> {
    format!("entry {number}").into_bytes()
}

/// Appends entries in one transaction.
///
/// # Panics
/// If that fails.
pub async fn append(store: &dyn Store, log: LogId, entries: &[Vec<u8>]) -> Vec<Ticket> {
    let new = |data: &Vec<u8>| NewEntry { log, data: data.clone(), idempotency_key: None };
    let entries: Vec<NewEntry> = entries.iter().map(new).collect();
    let ticket = |appended| match appended {
        Appended::Ticket(ticket) => ticket,
        Appended::KeyReused => panic!("an append without a key has reused one"),
    };
    store.append(&entries).await.unwrap().into_iter().map(ticket).collect()
}

/// Checks entries, tree, tiles and all checkpoints of a log against the reference tree, from what the store holds.
///
/// # Panics
/// If anything differs.
pub async fn verify_log(store: &dyn Store, log: &Log, expected: &[Vec<u8>]) {
    let size = expected.len() as u64;
    let mut stored = Vec::new();
    store
        .scan(log.id, 0..u64::MAX, &mut |index, data, leaf_hash| {
            assert_eq!(index.0, stored.len() as u64, "a gap");
            assert_eq!(leaf_hash, attestlog_core::Hash::leaf(data).as_ref());
            stored.push(data.to_vec());
        })
        .await
        .unwrap();
    assert_eq!(stored.len() as u64, size);
    assert_eq!(stored, expected);

    let tree = store.tree(log.id).await.unwrap().unwrap();
    assert_eq!(tree.edge.size(), TreeSize(size));
    assert_eq!(tree.edge.head().root.0, reference::root(expected));

    let key = VerifierKey::parse(&log.vkey).unwrap();
    let checkpoints = store.checkpoints(log.id, TreeSize(0), u32::MAX).await.unwrap();
    for checkpoint in &checkpoints {
        let opened = SignedCheckpoint::parse(&checkpoint.note).unwrap().open(&key).unwrap();
        let covered = usize::try_from(opened.size().0).unwrap();
        assert_eq!(opened.size(), checkpoint.size);
        assert_eq!(opened.root().0, reference::root(&expected[..covered]), "the head of size {covered}");
    }
    assert_eq!(checkpoints.last().map(|newest| newest.size), Some(TreeSize(size)));

    let tiles: Vec<TileId> = (0..size / TILE_WIDTH as u64).map(|index| TileId { level: 0, index }).collect();
    let full = store.tiles(log.id, &tiles).await.unwrap();
    for tile in tiles {
        let first = usize::try_from(tile.index).unwrap() * TILE_WIDTH;
        let hashes: Vec<u8> = expected[first..first + TILE_WIDTH]
            .iter()
            .flat_map(|entry| attestlog_core::Hash::leaf(entry).0)
            .collect();
        assert_eq!(full.get(&tile), Some(&hashes));
    }
    let read = store.entries(log.id, LeafIndex(0), u32::MAX).await.unwrap();
    assert_eq!(read, expected);
}
