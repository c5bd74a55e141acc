//! Trees of any power of two leaves whose nodes are at hand: a tree of 2^30 would take 64 GB.

use attestlog_core::{Hash, NodeId, RightEdge, TreeSize, format_tile};

/// The levels that are stored.
const STORED: u8 = 10;

/// A tree of 2^10 leaves or a larger power of two, in which the entry at an index is that of the index modulo 2^10. So
/// the subtrees of 2^10 leaves are equal, and each level above has one hash; roots and proofs are those of RFC 6962.
#[derive(Debug)]
pub(crate) struct RepeatedTree {
    rows: Vec<Vec<Hash>>,
    height: u8,
}

impl RepeatedTree {
    /// The tree of 2^`height` leaves.
    pub(crate) fn new(height: u8) -> Self {
        let entries: Vec<[u8; 8]> = (0..1_u64 << STORED).map(Self::entry).collect();
        let mut rows = vec![Hash::leaves(entries.iter().map(<[u8; 8]>::as_slice))];
        for _ in 0..STORED {
            rows.push(Hash::parents(rows.last().unwrap()));
        }
        for _ in STORED..height {
            let below = rows.last().unwrap()[0];
            rows.push(vec![Hash::node(&below, &below)]);
        }
        Self { rows, height }
    }

    pub(crate) fn entry(index: u64) -> [u8; 8] {
        (index % (1 << STORED)).to_be_bytes()
    }

    pub(crate) fn size(&self) -> TreeSize {
        TreeSize(1 << self.height)
    }

    pub(crate) fn root(&self) -> Hash {
        self.rows.last().unwrap()[0]
    }

    /// Any node of the tree.
    pub(crate) fn node(&self, node: NodeId) -> Hash {
        let row = &self.rows[usize::from(node.level)];
        row[(node.index % row.len() as u64) as usize]
    }

    /// What a server needs to append to it.
    pub(crate) fn edge(&self) -> RightEdge {
        let partial = |level: u8| {
            let full = self.size().0 >> (8 * level);
            (full - full % 256..full).map(move |index| self.node(NodeId { level: 8 * level, index }))
        };
        let hashes: Vec<Hash> = (0..=self.height / 8).flat_map(partial).collect();
        let edge = RightEdge::parse(self.size(), &format_tile(&hashes)).unwrap();
        assert_eq!(edge.head().root, self.root());
        edge
    }
}
