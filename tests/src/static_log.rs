//! A log in memory that is signed by a key of the test's: any size, any history, every file of tlog-tiles.

use attestlog_core::{
    Checkpoint, Hash, InclusionProof, KeyType, LeafIndex, Receipt, SigningKey, TILE_WIDTH, TilePath,
    TreeSize, format_bundle, format_tile,
};

use crate::raw_server::Reply;
use crate::reference;

/// The origin of every static log: they have the same key.
pub const ORIGIN: &str = "example.com/static";

/// The key.
///
/// # Panics
/// Never.
#[must_use]
pub fn key() -> SigningKey {
    SigningKey::new(ORIGIN, KeyType::Log, &[7; 32]).unwrap()
}

/// What trusts it: its vkey.
#[must_use]
pub fn vkey() -> String {
    key().verifier_key().to_string()
}

/// Entries in their order.
#[derive(Clone, Debug)]
pub struct StaticLog(pub Vec<Vec<u8>>);

impl StaticLog {
    /// One of so many entries; another `history` has other entries.
    #[must_use]
    pub fn of(size: usize, history: &str) -> Self {
        Self((0..size).map(|index| format!("{{\"{history}\":{index}}}").into_bytes()).collect())
    }

    /// The same up to `size`, and what `other` has from there on.
    #[must_use]
    pub fn forked_at(&self, size: usize, other: &Self) -> Self {
        Self([&self.0[..size], &other.0[size..]].concat())
    }

    /// The signed head of the first `size` entries.
    ///
    /// # Panics
    /// If there are fewer.
    #[must_use]
    pub fn note(&self, size: usize) -> String {
        let root = Hash(reference::root(&self.0[..size]));
        Checkpoint::sign(&key(), TreeSize(size as u64), root).unwrap().format()
    }

    /// What an honest log that shows its first `size` entries answers to a path below its prefix. It has the tiles of
    /// all.
    ///
    /// # Panics
    /// If it has fewer.
    #[must_use]
    pub fn answer(&self, path: &str, size: usize) -> Reply {
        if path == "checkpoint" {
            return Reply::ok(self.note(size));
        }
        if let Some(path) = path.strip_prefix("entries/") {
            let (index, receipt) = path.split_once('/').map_or((path, false), |(index, _)| (index, true));
            let index: usize = index.parse().unwrap();
            return match (index < size, receipt) {
                (false, _) => Reply::status(404),
                (true, false) => Reply::ok(self.0[index].clone()),
                (true, true) => Reply::ok(self.receipt(index, size)),
            };
        }
        TilePath::parse(path).ok().and_then(|path| self.tile(path)).map_or(Reply::status(404), Reply::ok)
    }

    /// The receipt of an entry in the tree of this size.
    ///
    /// # Panics
    /// If it has fewer.
    #[must_use]
    pub fn receipt(&self, index: usize, size: usize) -> String {
        let proof = reference::inclusion(index, &self.0[..size]).into_iter().map(Hash).collect();
        let root = Hash(reference::root(&self.0[..size]));
        let checkpoint = Checkpoint::sign(&key(), TreeSize(size as u64), root).unwrap();
        let receipt =
            Receipt::new(LeafIndex(index as u64), InclusionProof::new(proof), checkpoint.into(), None);
        receipt.unwrap().format()
    }

    fn tile(&self, path: TilePath) -> Option<Vec<u8>> {
        let all = &self.0;
        match path {
            TilePath::Entries { index, width } => {
                let first = usize::try_from(index).ok()? * TILE_WIDTH;
                let entries = all.get(first..first + width)?;
                Some(format_bundle(entries.iter().map(Vec::as_slice)).unwrap())
            }
            TilePath::Hashes { tile, width } => {
                let leaves = TILE_WIDTH.checked_pow(tile.level.into())?;
                let first = usize::try_from(tile.index).ok()? * TILE_WIDTH;
                let hash =
                    |node: usize| all.get(node * leaves..(node + 1) * leaves).map(reference::root).map(Hash);
                let hashes: Option<Vec<Hash>> = (first..first + width).map(hash).collect();
                Some(format_tile(&hashes?))
            }
        }
    }
}
