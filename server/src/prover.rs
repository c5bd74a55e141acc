//! Makes proofs, receipts, tiles and entry bundles from what a store holds.
//!
//! All of it is for a tree whose size the caller has from a published checkpoint, and reads only what is committed.

use std::collections::{BTreeSet, HashMap};

use attestlog_core::{
    ConsistencyProof, Hash, InclusionProof, LeafIndex, NodeId, TILE_WIDTH, TileId, TreeSize, VerifyError,
    format_tile, node_hash, parse_tile, peaks, root_of_peaks,
};

use crate::store::{LogId, Store, StoreError};

/// Why a proof could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// There is no such proof: the index lies outside the tree, or the sizes are in the wrong order.
    #[error(transparent)]
    NoSuchProof(#[from] VerifyError),
    /// The database could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The proof of `index` in the tree of `size`.
///
/// # Errors
/// [`ProveError::NoSuchProof`] unless `index < size`; [`ProveError::Store`].
pub async fn inclusion(
    store: &dyn Store,
    log: LogId,
    index: LeafIndex,
    size: TreeSize,
) -> Result<InclusionProof, ProveError> {
    let mut proofs = inclusions(store, log, &[index], size).await?;
    // One index, one proof; a tree without it has been refused.
    proofs.pop().ok_or_else(|| VerifyError::IndexBeyondTree.into())
}

/// The proofs of many indexes in the tree of `size`, in the same order. Reads each tile and computes each node once.
///
/// # Errors
/// As [`inclusion`], for the first index that has no proof.
pub async fn inclusions(
    store: &dyn Store,
    log: LogId,
    indexes: &[LeafIndex],
    size: TreeSize,
) -> Result<Vec<InclusionProof>, ProveError> {
    let wanted = indexes.iter().map(|&index| InclusionProof::nodes(index, size));
    let wanted: Vec<Vec<NodeId>> = wanted.collect::<Result<_, _>>()?;
    let nodes: BTreeSet<(u8, u64)> = wanted.iter().flatten().map(|node| (node.level, node.index)).collect();
    let nodes: Vec<NodeId> = nodes.into_iter().map(|(level, index)| NodeId { level, index }).collect();
    let hashes = node_hashes(store, log, &nodes).await?;
    let hashes: HashMap<NodeId, Hash> = nodes.into_iter().zip(hashes).collect();
    let assemble = |(&index, nodes): (&LeafIndex, &Vec<NodeId>)| {
        let hashes: Vec<Hash> = nodes.iter().filter_map(|node| hashes.get(node).copied()).collect();
        Ok(InclusionProof::assemble(index, size, &hashes)?)
    };
    indexes.iter().zip(&wanted).map(assemble).collect()
}

/// The proof that the tree of `new` extends the tree of `old`.
///
/// # Errors
/// [`ProveError::NoSuchProof`] unless `old <= new`; [`ProveError::Store`].
pub async fn consistency(
    store: &dyn Store,
    log: LogId,
    old: TreeSize,
    new: TreeSize,
) -> Result<ConsistencyProof, ProveError> {
    let hashes = node_hashes(store, log, &ConsistencyProof::nodes(old, new)?).await?;
    Ok(ConsistencyProof::assemble(old, new, &hashes)?)
}

/// The root of the first `size` entries.
///
/// # Errors
/// [`StoreError::Damaged`] if the tree has fewer.
pub async fn root(store: &dyn Store, log: LogId, size: TreeSize) -> Result<Hash, StoreError> {
    Ok(root_of_peaks(&node_hashes(store, log, &peaks(size)).await?))
}

/// The bytes of the first `width` hashes of a tile; `None` if the tree has not that many there.
///
/// # Errors
/// [`StoreError`].
pub async fn tile(
    store: &dyn Store,
    log: LogId,
    id: TileId,
    width: usize,
) -> Result<Option<Vec<u8>>, StoreError> {
    let mut tiles = Tiles::read(store, log, [id].into()).await?;
    let hashes = tiles.0.remove(&id).filter(|hashes| hashes.len() >= width);
    Ok(hashes.and_then(|hashes| hashes.get(..width).map(format_tile)))
}

/// The bundle of the first `width` entries from `256 * index` on; `None` if the log has not that many there.
///
/// # Errors
/// [`StoreError`].
pub async fn entry_bundle(
    store: &dyn Store,
    log: LogId,
    index: u64,
    width: usize,
) -> Result<Option<Vec<u8>>, StoreError> {
    let from = index.checked_mul(TILE_WIDTH as u64);
    let range = from.and_then(|from| Some(from..from.checked_add(width as u64)?));
    match range {
        Some(range) => store.entry_bundle(log, range).await,
        None => Ok(None),
    }
}

pub(crate) async fn node_hashes(
    store: &dyn Store,
    log: LogId,
    nodes: &[NodeId],
) -> Result<Vec<Hash>, StoreError> {
    let tiles = Tiles::read(store, log, nodes.iter().map(|&node| TileId::holding(node)).collect()).await?;
    let hash = |&node: &NodeId| {
        let tile = tiles.0.get(&TileId::holding(node)).map_or(&[][..], Vec::as_slice);
        node_hash(node, tile).map_err(|_| {
            StoreError::Damaged(format!("the tree has no node at level {}, index {}", node.level, node.index))
        })
    };
    nodes.iter().map(hash).collect()
}

/// The hashes of some tiles as far as there are any: full ones, and partial ones from the tree's right edge.
struct Tiles(HashMap<TileId, Vec<Hash>>);

impl Tiles {
    async fn read(store: &dyn Store, log: LogId, ids: BTreeSet<TileId>) -> Result<Self, StoreError> {
        let mut tiles = Self(HashMap::new());
        let missing = tiles.add_full(store, log, &ids.into_iter().collect::<Vec<_>>()).await?;
        if missing.is_empty() {
            return Ok(tiles);
        }
        let edge = store.tree(log).await?.map(|tree| tree.edge);
        let mut filled = Vec::new();
        for id in missing {
            match edge.as_ref().map(|edge| (id.width(edge.size()), edge.partial_tile(id.level))) {
                // The tile became full between the two reads.
                Some((TILE_WIDTH, _)) => filled.push(id),
                Some((width, partial)) if width > 0 && width == partial.len() => {
                    tiles.0.insert(id, partial.to_vec());
                }
                _ => {}
            }
        }
        if !filled.is_empty() {
            tiles.add_full(store, log, &filled).await?;
        }
        Ok(tiles)
    }

    /// Reads those of `ids` that are full; returns the others.
    async fn add_full(
        &mut self,
        store: &dyn Store,
        log: LogId,
        ids: &[TileId],
    ) -> Result<Vec<TileId>, StoreError> {
        for (id, bytes) in store.tiles(log, ids).await? {
            let hashes = parse_tile(&bytes, TILE_WIDTH).map_err(|_| {
                StoreError::Damaged(format!("tile {}/{} is not 8,192 bytes", id.level, id.index))
            })?;
            self.0.insert(id, hashes);
        }
        Ok(ids.iter().filter(|id| !self.0.contains_key(id)).copied().collect())
    }
}
