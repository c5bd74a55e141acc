//! Checks every stored checkpoint, and the published head, against the entries.

use std::sync::atomic::Ordering;

use attestlog_core::{
    Error, Hash, NodeId, SignedCheckpoint, TreeSize, UncheckedError, peaks, perfect_root, root_of_peaks,
};

use super::Context;
use super::finding::{Finding, What};
use super::roots::{CHUNK_LEVEL, ChunkRoots};
use crate::store::{StoreError, StoredCheckpoint};

/// The checkpoints that are read at once.
const PAGE: u32 = 1024;

/// A chunk after it is known which hashes are right.
#[derive(Debug)]
pub(super) struct SettledChunk {
    /// The index of its first entry.
    pub(super) start: u64,
    /// The right leaf hashes.
    pub(super) leaves: Vec<Hash>,
    /// The right roots of its full tiles.
    pub(super) uppers: Vec<Hash>,
}

impl SettledChunk {
    /// The index after the last entry.
    pub(super) fn end(&self) -> u64 {
        self.start + self.leaves.len() as u64
    }

    /// The root of the tree of `size`, which ends in this chunk.
    pub(super) fn root(&self, roots: &ChunkRoots, size: u64) -> Option<Hash> {
        let hashes = peaks(TreeSize(size)).into_iter().map(|node| self.node(roots, node));
        Some(root_of_peaks(&hashes.collect::<Option<Vec<_>>>()?))
    }

    fn node(&self, roots: &ChunkRoots, node: NodeId) -> Option<Hash> {
        const TILE_LEVEL: u8 = 8;
        if node.level >= CHUNK_LEVEL {
            return roots.node(node);
        }
        let (row, level) = if node.level < TILE_LEVEL {
            (&self.leaves, node.level)
        } else {
            (&self.uppers, node.level - TILE_LEVEL)
        };
        // The index of the node's first leaf, within this chunk and in hashes of the row.
        let first = (node.index << node.level).checked_sub(self.start)? >> (node.level - level);
        let first = usize::try_from(first).ok()?;
        row.get(first..)?.get(..1 << level).map(perfect_root)
    }
}

/// Checks those of a size from after the chunk's first entry to its end.
pub(super) async fn check(
    context: &Context,
    roots: &ChunkRoots,
    chunk: &SettledChunk,
) -> Result<(), StoreError> {
    if let Some(published) = context.published
        && (chunk.start + 1..=chunk.end()).contains(&published.size.0)
        && chunk.root(roots, published.size.0) != Some(published.root)
    {
        let size = published.size.0;
        context.findings.add(Finding::checkpoint(What::PublishedRootWrong { size }));
    }
    let mut from = chunk.start + 1;
    loop {
        let page = context.store.checkpoints(context.log.id, TreeSize(from), PAGE).await?;
        let Some(last) = page.last().map(|last| last.size.0) else { return Ok(()) };
        for stored in page.iter().take_while(|stored| stored.size.0 <= chunk.end()) {
            check_one(context, stored, || chunk.root(roots, stored.size.0));
        }
        if last >= chunk.end() {
            return Ok(());
        }
        from = last + 1;
    }
}

/// Checks the checkpoint of the tree without entries, which no chunk has.
pub(super) async fn check_empty_tree(context: &Context) -> Result<(), StoreError> {
    let first = context.store.checkpoints(context.log.id, TreeSize(0), 1).await?;
    for stored in first.iter().filter(|stored| stored.size == TreeSize(0)) {
        check_one(context, stored, || Some(Hash::EMPTY_ROOT));
    }
    Ok(())
}

fn check_one(context: &Context, stored: &StoredCheckpoint, root: impl FnOnce() -> Option<Hash>) {
    context.checkpoints.fetch_add(1, Ordering::Relaxed);
    let size = stored.size.0;
    let opened = SignedCheckpoint::parse(&stored.note).map_err(Error::from);
    let what = match opened.and_then(|note| note.open(&context.key)) {
        Err(Error::Parse(error)) => What::CheckpointMalformed { size, reason: error.to_string() },
        Err(Error::Unchecked(UncheckedError::NoTrustedSignature)) => {
            let reason = "the log's key has not signed it".to_owned();
            What::CheckpointSignatureWrong { size, reason }
        }
        Err(error) => What::CheckpointSignatureWrong { size, reason: error.to_string() },
        Ok(checkpoint) if checkpoint.size() != stored.size => {
            What::CheckpointSizeWrong { size, signed: checkpoint.size().0 }
        }
        Ok(checkpoint) if root() != Some(checkpoint.root()) => What::CheckpointRootWrong { size },
        Ok(_) => return context.findings.proven(size),
    };
    context.findings.add(Finding::checkpoint(what));
}
