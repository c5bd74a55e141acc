//! The roots of all chunks of 65,536 entries: level 2 of the tiles, and what it is folded into.
//!
//! This is all that `fsck` keeps of a whole log: 32 bytes a chunk, and as much again for the nodes above. Where level 2
//! and the tiles below it contradict each other, the newest checkpoint decides which is right, so that every chunk can
//! then be checked by itself, in any order.

use attestlog_core::{
    Hash, NodeId, TILE_WIDTH, TileId, TreeHead, parse_tile, peaks, perfect_root, root_of_peaks,
};

use super::Context;
use super::finding::Finding;
use crate::prover;
use crate::store::StoreError;

/// The level of the tree at which a node covers a chunk.
pub(super) const CHUNK_LEVEL: u8 = 16;

/// The entries of a chunk: a full tile of level 1 stands over them.
pub(super) const CHUNK: u64 = 1 << CHUNK_LEVEL;

/// The tiles that are read at once.
const TILES_AT_ONCE: usize = 64;

/// The nodes of a tree from [`CHUNK_LEVEL`] up.
#[derive(Debug)]
pub(super) struct ChunkRoots {
    /// The lowest row has the chunks' roots; each row above, the nodes over pairs of the one below.
    rows: Vec<Vec<Hash>>,
    /// Whether a signature stands behind them, or nothing contradicts them.
    pub(super) settled: bool,
}

impl ChunkRoots {
    fn over(chunks: Vec<Hash>) -> Self {
        let mut rows = vec![chunks];
        while let Some(above) = rows.last().filter(|row| row.len() > 1).map(|row| {
            row.as_chunks::<2>().0.iter().map(|[left, right]| Hash::node(left, right)).collect::<Vec<_>>()
        }) {
            rows.push(above);
        }
        Self { rows, settled: true }
    }

    /// The root of a full chunk.
    pub(super) fn chunk(&self, number: u64) -> Option<Hash> {
        self.node(NodeId { level: CHUNK_LEVEL, index: number })
    }

    /// The hash of a node that covers full chunks only.
    pub(super) fn node(&self, node: NodeId) -> Option<Hash> {
        let row = self.rows.get(usize::from(node.level.checked_sub(CHUNK_LEVEL)?))?;
        row.get(usize::try_from(node.index).ok()?).copied()
    }

    /// Reads them, and compares all tiles from level 2 up.
    pub(super) async fn read(context: &Context, newest: Option<TreeHead>) -> Result<Self, StoreError> {
        let (level_2, level_1) = (stored(context).await?, from_level_1(context).await?);
        let differ = |number: &usize| {
            level_1
                .get(*number)
                .copied()
                .flatten()
                .is_some_and(|root| level_2.get(*number) != Some(&Some(root)))
        };
        let known = |first: &[Option<Hash>], second: &[Option<Hash>]| {
            // A chunk of which neither is there has no tiles at all: findings say so, and any hash will do.
            let either = |(first, second): (&Option<Hash>, &Option<Hash>)| first.or(*second);
            let roots = first.iter().zip(second).map(either);
            Self::over(roots.map(|root| root.unwrap_or(Hash::EMPTY_ROOT)).collect())
        };
        let differing: Vec<usize> = (0..level_1.len()).filter(differ).collect();
        let mut roots = known(&level_2, &level_1);
        if differing.iter().any(|&number| level_2.get(number).is_some_and(Option::is_some)) {
            let below = known(&level_1, &level_2);
            if !roots.lead_to(context, newest).await? {
                roots.settled = false;
                if below.lead_to(context, newest).await? {
                    roots = below;
                }
            }
        }
        roots.compare_level_2(context, &level_2);
        roots.compare_above(context).await?;
        Ok(roots)
    }

    /// Whether the newest checkpoint's root follows from these.
    async fn lead_to(&self, context: &Context, newest: Option<TreeHead>) -> Result<bool, StoreError> {
        let Some(newest) = newest else { return Ok(false) };
        let (high, low): (Vec<_>, Vec<_>) =
            peaks(newest.size).into_iter().partition(|node| node.level >= CHUNK_LEVEL);
        let low = match prover::node_hashes(&*context.store, context.log.id, &low).await {
            Err(StoreError::Damaged(_)) => return Ok(false),
            hashes => hashes?,
        };
        let high: Option<Vec<Hash>> = high.into_iter().map(|node| self.node(node)).collect();
        Ok(high.is_some_and(|high| root_of_peaks(&[high, low].concat()) == newest.root))
    }

    fn compare_level_2(&self, context: &Context, stored: &[Option<Hash>]) {
        for (number, stored) in (0_u64..).zip(stored) {
            if stored.is_some_and(|stored| self.chunk(number) != Some(stored)) {
                let (id, hash) = place(2, number);
                context.findings.add(Finding::hash(id, hash, context.size()));
            }
        }
    }

    async fn compare_above(&self, context: &Context) -> Result<(), StoreError> {
        for (level, row) in (3_u8..).zip(self.rows.iter().skip(8).step_by(8)) {
            let stored = read_row(context, level, row.len() as u64).await?;
            for (number, (stored, hash)) in (0_u64..).zip(stored.iter().zip(row)) {
                if stored.is_some_and(|stored| stored != *hash) {
                    let (id, hash) = place(level, number);
                    context.findings.add(Finding::hash(id, hash, context.size()));
                }
            }
        }
        Ok(())
    }
}

/// The tile with hash `number` of a level, and the position in it.
fn place(level: u8, number: u64) -> (TileId, usize) {
    let hash = usize::try_from(number % TILE_WIDTH as u64).unwrap_or(0);
    (TileId { level, index: number / TILE_WIDTH as u64 }, hash)
}

/// The roots of the full chunks as level 2 has them.
async fn stored(context: &Context) -> Result<Vec<Option<Hash>>, StoreError> {
    read_row(context, 2, context.size() >> CHUNK_LEVEL).await
}

/// The roots of the full chunks as the tiles of level 1 have them.
async fn from_level_1(context: &Context) -> Result<Vec<Option<Hash>>, StoreError> {
    let mut roots = Vec::new();
    let chunks = context.size() >> CHUNK_LEVEL;
    for first in (0..chunks).step_by(TILES_AT_ONCE) {
        let ids: Vec<TileId> = tile_ids(1, first..chunks.min(first + TILES_AT_ONCE as u64)).collect();
        let read = context.store.tiles(context.log.id, &ids).await?;
        // What is missing here is found again when its chunk is checked.
        let root = |id| Some(perfect_root(&parse_tile(read.get(id)?, TILE_WIDTH).ok()?));
        roots.extend(ids.iter().map(root));
    }
    Ok(roots)
}

/// The first `width` hashes of a level, from its full tiles and the tree's edge. Notes the tiles that are missing.
async fn read_row(context: &Context, level: u8, width: u64) -> Result<Vec<Option<Hash>>, StoreError> {
    let mut row = Vec::new();
    let full = width / TILE_WIDTH as u64;
    for first in (0..full).step_by(TILES_AT_ONCE) {
        let ids: Vec<TileId> = tile_ids(level, first..full.min(first + TILES_AT_ONCE as u64)).collect();
        let read = context.store.tiles(context.log.id, &ids).await?;
        for id in ids {
            let tile = context.parse_tile(id, read.get(&id).map(Vec::as_slice));
            match tile {
                Some(hashes) => row.extend(hashes.into_iter().map(Some)),
                None => row.extend([None; TILE_WIDTH]),
            }
        }
    }
    row.extend(context.edge.partial_tile(level).iter().copied().map(Some));
    Ok(row)
}

pub(super) fn tile_ids(level: u8, indexes: std::ops::Range<u64>) -> impl Iterator<Item = TileId> {
    indexes.map(move |index| TileId { level, index })
}
