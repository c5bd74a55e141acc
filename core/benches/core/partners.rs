//! What the partners need to work on the same trees.

use attestlog_core::{Hash, NodeId};
use rs_merkle::Hasher;
use sha2::{Digest, Sha256};

use super::tree::RepeatedTree;

/// RFC 6962 for `rs_merkle`, without the vector that its own hashers join two hashes in.
#[derive(Clone, Debug)]
pub(crate) struct Rfc6962;

impl Hasher for Rfc6962 {
    type Hash = [u8; 32];

    fn hash(entry: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update([0]).chain_update(entry).finalize().into()
    }

    fn concat_and_hash(left: &[u8; 32], right: Option<&[u8; 32]>) -> [u8; 32] {
        right.map_or(*left, |right| {
            Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
        })
    }
}

/// The hashes that `tlog_tiles` has stored, in its order.
#[derive(Debug, Default)]
pub(crate) struct Stored(pub(crate) Vec<tlog_tiles::Hash>);

impl tlog_tiles::HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|index| self.0[*index as usize]).collect())
    }
}

/// The nodes by the numbers that `tlog_tiles` gives them.
impl tlog_tiles::HashReader for RepeatedTree {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        let node = |index: &u64| {
            let (level, index) = tlog_tiles::split_stored_hash_index(*index);
            theirs(self.node(NodeId { level, index }))
        };
        Ok(indexes.iter().map(node).collect())
    }
}

pub(crate) fn theirs(hash: Hash) -> tlog_tiles::Hash {
    tlog_tiles::Hash(hash.0)
}

/// The node of that number in the order of `ct-merkle`: its level is the number of ones that it ends in.
pub(crate) fn array_node(index: u64) -> NodeId {
    let level = index.trailing_ones();
    NodeId { level: level as u8, index: index >> (level + 1) }
}
