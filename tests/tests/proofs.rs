//! Every proof of every tree up to 130 entries, against RFC 6962's own recursion, and every way to spoil it.

#![expect(clippy::unwrap_used, reason = "a proof that cannot be made fails the test")]

use attestlog_core::{
    ConsistencyProof, FullTile, Hash, InclusionProof, LeafIndex, NodeId, RightEdge, TileId, TreeHead,
    TreeSize, VerifyError, node_hash, peaks, perfect_root, root_of_peaks,
};
use attestlog_tests::reference;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

const LARGEST: usize = 130;

fn entries(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|index| vec![u8::try_from(index).unwrap()]).collect()
}

fn size(count: usize) -> TreeSize {
    TreeSize(count as u64)
}

fn head(count: usize) -> TreeHead {
    TreeHead { size: size(count), root: Hash(reference::root(&entries(count))) }
}

/// The hash of a perfect subtree, straight from the leaves.
fn hash_of(node: NodeId, leaves: &[Hash]) -> Hash {
    let first = usize::try_from(node.index << node.level).unwrap();
    perfect_root(&leaves[first..first + (1 << node.level)])
}

fn leaves(count: usize) -> Vec<Hash> {
    entries(count).iter().map(|entry| Hash::leaf(entry)).collect()
}

fn prove_inclusion(index: usize, leaves: &[Hash]) -> InclusionProof {
    let (index, size) = (LeafIndex(index as u64), size(leaves.len()));
    let nodes = InclusionProof::nodes(index, size).unwrap();
    let hashes: Vec<Hash> = nodes.into_iter().map(|node| hash_of(node, leaves)).collect();
    InclusionProof::assemble(index, size, &hashes).unwrap()
}

fn prove_consistency(old: usize, leaves: &[Hash]) -> ConsistencyProof {
    let nodes = ConsistencyProof::nodes(size(old), size(leaves.len())).unwrap();
    let hashes: Vec<Hash> = nodes.into_iter().map(|node| hash_of(node, leaves)).collect();
    ConsistencyProof::assemble(size(old), size(leaves.len()), &hashes).unwrap()
}

/// Every list of hashes that differs from `hashes` in one flipped bit, one hash less, or one more.
fn spoiled(hashes: &[Hash]) -> Vec<Vec<Hash>> {
    let mut all = Vec::new();
    for at in 0..hashes.len() {
        let mut flipped = hashes.to_vec();
        flipped[at].0[at % 32] ^= 1 << (at % 8);
        let mut shorter = hashes.to_vec();
        shorter.remove(at);
        all.extend([flipped, shorter]);
    }
    for at in 0..=hashes.len() {
        let mut longer = hashes.to_vec();
        longer.insert(at, Hash::leaf(b"one too many"));
        all.push(longer);
    }
    all
}

fn lines(numbers: [usize; 2], hashes: &[Hash]) -> String {
    let hex = hashes
        .iter()
        .map(|hash| format!(" {}", hash.0.iter().map(|b| format!("{b:02x}")).collect::<String>()));
    format!("{} {}{}\n", numbers[0], numbers[1], hex.collect::<String>())
}

fn hex(digest: impl AsRef<[u8]>) -> String {
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_inclusion_proof_equals_the_reference_and_verifies() {
    let mut accumulated = Sha256::new();
    for count in 1..=LARGEST {
        let (all, leaves) = (entries(count), leaves(count));
        for index in 0..count {
            let proof = prove_inclusion(index, &leaves);
            let expected: Vec<Hash> = reference::inclusion(index, &all).into_iter().map(Hash).collect();
            assert_eq!(proof.hashes(), expected, "{index} of {count}");
            let root = proof.root(&leaves[index], LeafIndex(index as u64), size(count));
            assert_eq!(root, Ok(head(count).root), "{index} of {count}");
            accumulated.update(lines([index, count], proof.hashes()));
        }
    }
    assert_eq!(
        hex(accumulated.finalize()),
        "893ce6eea61adc33c22c0e3a952498b76dfa3c282e78ac659f6fcc0ea44f9983"
    );
}

#[test]
fn every_consistency_proof_equals_the_reference_and_verifies() {
    let mut accumulated = Sha256::new();
    for new in 1..=LARGEST {
        let (all, leaves) = (entries(new), leaves(new));
        for old in 1..=new {
            let proof = prove_consistency(old, &leaves);
            let expected: Vec<Hash> = reference::consistency(old, &all).into_iter().map(Hash).collect();
            assert_eq!(proof.hashes(), expected, "{old} to {new}");
            assert_eq!(proof.verify(&head(old), &head(new)), Ok(()), "{old} to {new}");
            accumulated.update(lines([old, new], proof.hashes()));
        }
    }
    assert_eq!(
        hex(accumulated.finalize()),
        "2498232e1aebe8d1aa8d339d897fc471f4495fe0b8a55ac08f7dae3d88bc4c2a"
    );
}

#[test]
fn no_spoiled_inclusion_proof_leads_to_the_root() {
    for count in 1..=LARGEST {
        let (leaves, root) = (leaves(count), head(count).root);
        for index in 0..count {
            let proof = prove_inclusion(index, &leaves);
            let at = LeafIndex(index as u64);
            for hashes in spoiled(proof.hashes()) {
                assert_ne!(InclusionProof::new(hashes).root(&leaves[index], at, size(count)), Ok(root));
            }
            assert_ne!(proof.root(&Hash::leaf(b"another"), at, size(count)), Ok(root));
            for other in (0..=count).filter(|&other| other != index) {
                assert_ne!(proof.root(&leaves[index], LeafIndex(other as u64), size(count)), Ok(root));
            }
        }
    }
}

#[test]
fn a_proof_for_another_size_never_leads_to_that_sizes_root() {
    for count in 1..=LARGEST {
        let leaves = leaves(count);
        let roots: Vec<Hash> = (0..=LARGEST).map(|other| head(other).root).collect();
        for index in [0, count / 2, count - 1] {
            let proof = prove_inclusion(index, &leaves);
            for other in (0..=LARGEST).filter(|&other| other != count) {
                assert_ne!(
                    proof.root(&leaves[index], LeafIndex(index as u64), size(other)),
                    Ok(roots[other])
                );
            }
        }
    }
}

#[test]
fn no_spoiled_consistency_proof_verifies() {
    for new in 1..=LARGEST {
        let leaves = leaves(new);
        for old in (1..=new).filter(|old| new < 40 || old % 7 == new % 7) {
            let proof = prove_consistency(old, &leaves);
            for hashes in spoiled(proof.hashes()) {
                assert!(
                    ConsistencyProof::new(hashes).verify(&head(old), &head(new)).is_err(),
                    "{old} to {new}"
                );
            }
            let other = Hash::leaf(b"another");
            let forged_old = TreeHead { size: size(old), root: other };
            // Where the old root is the proof's own beginning, a forged one leads nowhere.
            let begins_at_root = old.is_power_of_two() && old != new;
            let refusal =
                if begins_at_root { VerifyError::RootMismatch } else { VerifyError::HistoryRewritten };
            assert_eq!(proof.verify(&forged_old, &head(new)), Err(refusal));
            let forged_new = TreeHead { size: size(new), root: other };
            let refusal = if old == new { VerifyError::HistoryRewritten } else { VerifyError::RootMismatch };
            assert_eq!(proof.verify(&head(old), &forged_new), Err(refusal));
            for wrong in [old - 1, old + 1].into_iter().filter(|&wrong| wrong != new || old == new) {
                assert!(proof.verify(&head(wrong), &head(new)).is_err() || wrong == 0, "{old} to {new}");
            }
            if old < new {
                assert_eq!(proof.verify(&head(new), &head(old)), Err(VerifyError::TreeShrank));
            }
        }
    }
}

/// Appends leaves one at a time; returns the edge and the tiles that filled.
fn grow(leaves: &[Hash]) -> (RightEdge, Vec<FullTile>) {
    let (mut edge, mut full) = (RightEdge::EMPTY, Vec::new());
    for leaf in leaves {
        edge.append(*leaf, &mut full);
    }
    (edge, full)
}

#[test]
fn appending_gives_the_reference_root_at_every_size() {
    let (mut edge, mut full) = (RightEdge::EMPTY, Vec::new());
    assert_eq!(edge.head(), TreeHead::EMPTY);
    for (count, leaf) in (1..).zip(leaves(LARGEST)) {
        edge.append(leaf, &mut full);
        assert_eq!(edge.head(), head(count));
    }
}

/// The hash of a node as a reader finds it: in a full tile, or in a partial tile of the edge.
fn stored(node: NodeId, edge: &RightEdge, full: &[FullTile]) -> Hash {
    let id = TileId::holding(node);
    let tile = full.iter().find(|tile| tile.id == id);
    let hashes = tile.map_or_else(|| edge.partial_tile(id.level), |tile| &tile.hashes);
    assert_eq!(hashes.len(), id.width(edge.size()));
    node_hash(node, hashes).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_larger_tree_proves_every_index_and_older_size_from_its_tiles(
        count in 1_usize..70_000,
        picks in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 8),
    ) {
        let leaves: Vec<Hash> = (0..count).map(|index| Hash::leaf(&index.to_be_bytes())).collect();
        let (edge, full) = grow(&leaves);
        let root = |count: usize| {
            root_of_peaks(&peaks(size(count)).into_iter().map(|node| hash_of(node, &leaves)).collect::<Vec<_>>())
        };
        let head = edge.head();
        prop_assert_eq!(head, TreeHead { size: size(count), root: root(count) });
        for (index, old) in picks {
            let (index, old) = (index.index(count), old.index(count) + 1);
            let at = LeafIndex(index as u64);
            let nodes = InclusionProof::nodes(at, head.size).unwrap();
            let hashes: Vec<Hash> = nodes.into_iter().map(|node| stored(node, &edge, &full)).collect();
            let proof = InclusionProof::assemble(at, head.size, &hashes).unwrap();
            prop_assert_eq!(proof.root(&leaves[index], at, head.size), Ok(head.root));
            let nodes = ConsistencyProof::nodes(size(old), head.size).unwrap();
            let hashes: Vec<Hash> = nodes.into_iter().map(|node| stored(node, &edge, &full)).collect();
            let proof = ConsistencyProof::assemble(size(old), head.size, &hashes).unwrap();
            prop_assert_eq!(proof.verify(&TreeHead { size: size(old), root: root(old) }, &head), Ok(()));
        }
    }

    #[test]
    fn verifying_arbitrary_numbers_and_hashes_never_panics(
        numbers in any::<[u64; 4]>(),
        hashes in proptest::collection::vec(any::<[u8; 32]>(), 0..130),
    ) {
        let hashes: Vec<Hash> = hashes.into_iter().map(Hash).collect();
        let [index, size, old, new] = numbers;
        let root = Hash::EMPTY_ROOT;
        let _ = InclusionProof::new(hashes.clone()).root(&root, LeafIndex(index), TreeSize(size));
        let old = TreeHead { size: TreeSize(old), root };
        let _ = ConsistencyProof::new(hashes).verify(&old, &TreeHead { size: TreeSize(new), root });
    }
}
