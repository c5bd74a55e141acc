//! The full tiles and entry bundles that were asked for last, as they are served: what is full never changes.
//!
//! A bundle is kept compressed, too, once someone has asked for it so. What may be shown is decided by whoever asks the
//! store through it: once that was found in a published tree, it stays there.

use std::io::{self, Write};

use attestlog_core::{TILE_WIDTH, TilePath};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use crate::prover;
use crate::store::{LogId, Store, StoreError};

/// Each has its lock and its part of the bytes. What is larger than a part, as bundles of long entries may be, is not kept.
const SHARDS: usize = 4;

/// The bytes of a full tile: what most are.
const TILE_BYTES: usize = TILE_WIDTH * 32;

/// What an item takes beside its bytes, about.
const OVERHEAD: u64 = 128;

/// The content codings of RFC 9110 §8.4.1 that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// As it is.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TileError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The task that compresses has ended.
    #[error("compressing failed: {0}")]
    Compress(#[from] io::Error),
}

/// What is served of logs without asking the database again.
#[derive(Debug)]
pub struct TileCache(Cache<Key, Bytes, ByBytes>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    log: LogId,
    path: TilePath,
    coding: Coding,
}

#[derive(Clone, Debug)]
struct ByBytes;

impl Weighter<Key, Bytes> for ByBytes {
    fn weight(&self, _: &Key, bytes: &Bytes) -> u64 {
        bytes.len() as u64 + OVERHEAD
    }
}

impl TileCache {
    /// An empty cache of at most `bytes`.
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "it asks for two capacities, and both are set"
    )]
    pub fn new(bytes: usize) -> Self {
        let mut options = OptionsBuilder::new();
        options.shards(SHARDS).estimated_items_capacity(bytes / TILE_BYTES).weight_capacity(bytes as u64);
        let options = options.build().expect("both capacities are set");
        Self(Cache::with_options(
            options,
            ByBytes,
            DefaultHashBuilder::default(),
            DefaultLifecycle::default(),
        ))
    }

    /// What is in memory of what [`get`](Self::get) has returned.
    #[must_use]
    pub fn at_hand(&self, log: LogId, path: TilePath, coding: Coding) -> Option<Bytes> {
        self.0.get(&Key { log, path, coding })
    }

    /// What the path of a full tile or bundle names, in this coding, if a published tree holds it; `None` if the store has
    /// no such tile. The store is asked once, however many ask at the same time.
    ///
    /// # Errors
    /// [`TileError`].
    pub async fn get(
        &self,
        store: &dyn Store,
        log: LogId,
        path: TilePath,
        coding: Coding,
    ) -> Result<Option<Bytes>, TileError> {
        let key = Key { log, path, coding };
        let place = match self.0.get_value_or_guard_async(&key).await {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(place) => place,
        };
        let plain = match self.at_hand(log, path, Coding::Identity) {
            Some(plain) => plain,
            None => match read(store, log, path).await? {
                Some(read) => read.into(),
                None => return Ok(None),
            },
        };
        let bytes = match coding {
            Coding::Identity => plain,
            // 16 MB take longer than other requests should wait for.
            _ => tokio::task::spawn_blocking(move || compress(&plain, coding))
                .await
                .map_err(io::Error::other)??,
        };
        // Refused only where the cache was emptied meanwhile, which nobody does.
        let _ = place.insert(bytes.clone());
        Ok(Some(bytes))
    }

    /// The bytes that it holds.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.weight()
    }
}

/// What a path names, as the store has it.
///
/// # Errors
/// [`StoreError`].
pub async fn read(store: &dyn Store, log: LogId, path: TilePath) -> Result<Option<Vec<u8>>, StoreError> {
    match path {
        TilePath::Hashes { tile, width } => prover::tile(store, log, tile, width).await,
        TilePath::Entries { index, width } => prover::entry_bundle(store, log, index, width).await,
    }
}

fn compress(plain: &Bytes, coding: Coding) -> io::Result<Bytes> {
    match coding {
        Coding::Identity => Ok(plain.clone()),
        Coding::Gzip => {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
            gzip.write_all(plain)?;
            gzip.finish().map(Bytes::from)
        }
        Coding::Zstd => zstd::bulk::compress(plain, zstd::DEFAULT_COMPRESSION_LEVEL).map(Bytes::from),
    }
}
