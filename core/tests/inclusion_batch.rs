//! The verdict on many inclusion proofs is the verdict on each of them, whatever is wrong with which.

#![expect(clippy::unwrap_used, reason = "what a test makes is right, or the test fails")]

use attestlog_core::{
    Hash, Inclusion, InclusionProof, LeafIndex, NodeId, NotIncluded, TreeHead, TreeSize, VerifyError, peaks,
    perfect_root, root_of_peaks, verify_inclusions,
};
use proptest::prelude::*;
use proptest::sample::Index;

/// An inclusion that owns its proof, to be spoiled.
#[derive(Clone, Debug)]
struct Owned {
    index: u64,
    leaf: Hash,
    proof: Vec<Hash>,
}

/// A tree of the leaves 0 to `size`, by rows of perfect nodes.
struct Tree {
    rows: Vec<Vec<Hash>>,
}

impl Tree {
    fn of(size: usize) -> Self {
        let mut rows = vec![(0..size).map(|index| Hash::leaf(&index.to_be_bytes())).collect::<Vec<_>>()];
        while let Some(below) = rows.last().filter(|below| below.len() > 1) {
            rows.push(below.chunks_exact(2).map(perfect_root).collect());
        }
        Self { rows }
    }

    fn size(&self) -> TreeSize {
        TreeSize(self.rows[0].len() as u64)
    }

    fn hash(&self, node: NodeId) -> Hash {
        self.rows[usize::from(node.level)][usize::try_from(node.index).unwrap()]
    }

    fn head(&self) -> TreeHead {
        let hashes: Vec<Hash> = peaks(self.size()).into_iter().map(|peak| self.hash(peak)).collect();
        TreeHead { size: self.size(), root: root_of_peaks(&hashes) }
    }

    fn prove(&self, index: usize) -> Owned {
        let at = LeafIndex(index as u64);
        let nodes = InclusionProof::nodes(at, self.size()).unwrap();
        let hashes: Vec<Hash> = nodes.into_iter().map(|node| self.hash(node)).collect();
        let proof = InclusionProof::assemble(at, self.size(), &hashes).unwrap().hashes().to_vec();
        Owned { index: at.0, leaf: self.rows[0][index], proof }
    }
}

fn verify(batch: &[Owned], head: &TreeHead) -> Result<(), NotIncluded> {
    let proofs: Vec<Vec<[u8; 32]>> =
        batch.iter().map(|owned| owned.proof.iter().map(|hash| hash.0).collect()).collect();
    let inclusions: Vec<Inclusion<'_>> = batch
        .iter()
        .zip(&proofs)
        .map(|(owned, proof)| Inclusion { index: LeafIndex(owned.index), leaf: owned.leaf, proof })
        .collect();
    verify_inclusions(&inclusions, head)
}

/// The first that is wrong, each taken alone.
fn verify_singly(batch: &[Owned], head: &TreeHead) -> Result<(), NotIncluded> {
    for (position, Owned { index, leaf, proof }) in batch.iter().enumerate() {
        let root = InclusionProof::new(proof.clone()).root(leaf, LeafIndex(*index), head.size);
        match root {
            Ok(root) if root == head.root => (),
            Ok(_) => return Err(NotIncluded { position, error: VerifyError::RootMismatch }),
            Err(error) => return Err(NotIncluded { position, error }),
        }
    }
    Ok(())
}

/// One way to make an inclusion wrong; some of them may leave it as it was.
#[derive(Clone, Debug)]
enum Defect {
    Leaf(u8),
    Hash(Index, u8),
    Shorter(Index),
    Longer(Index),
    Swapped(Index, Index),
    IndexOf(i64),
    AnothersProof(Index),
    AnothersIndex(Index),
}

fn defect() -> impl Strategy<Value = Defect> {
    let at = any::<Index>;
    prop_oneof![
        any::<u8>().prop_map(Defect::Leaf),
        (at(), any::<u8>()).prop_map(|(at, bit)| Defect::Hash(at, bit)),
        at().prop_map(Defect::Shorter),
        at().prop_map(Defect::Longer),
        (at(), at()).prop_map(|(a, b)| Defect::Swapped(a, b)),
        prop_oneof![Just(-1), Just(1), Just(2), any::<i64>()].prop_map(Defect::IndexOf),
        at().prop_map(Defect::AnothersProof),
        at().prop_map(Defect::AnothersIndex),
    ]
}

fn flip(hash: &mut Hash, bit: u8) {
    hash.0[usize::from(bit / 8)] ^= 1 << (bit % 8);
}

fn spoil(batch: &mut [Owned], at: usize, defect: &Defect) {
    let others = batch.to_vec();
    let Owned { index, leaf, proof } = &mut batch[at];
    match defect {
        Defect::Leaf(bit) => flip(leaf, *bit),
        Defect::Longer(place) => proof.insert(place.index(proof.len() + 1), *leaf),
        Defect::IndexOf(by) => *index = index.wrapping_add_signed(*by),
        Defect::AnothersProof(other) => proof.clone_from(&others[other.index(others.len())].proof),
        Defect::AnothersIndex(other) => *index = others[other.index(others.len())].index,
        _ if proof.is_empty() => (),
        Defect::Hash(place, bit) => flip(place.get_mut(proof), *bit),
        Defect::Shorter(place) => drop(proof.remove(place.index(proof.len()))),
        Defect::Swapped(a, b) => {
            let (a, b) = (a.index(proof.len()), b.index(proof.len()));
            proof.swap(a, b);
        }
    }
}

#[test]
fn all_leaves_of_every_small_tree_are_proven_in_any_order() {
    for size in 1..=130 {
        let tree = Tree::of(size);
        let all: Vec<Owned> = (0..size).map(|index| tree.prove(index)).collect();
        let backwards: Vec<Owned> = all.iter().rev().cloned().collect();
        let twice = [all.clone(), backwards.clone()].concat();
        let every_third: Vec<Owned> = all.iter().step_by(3).cloned().collect();
        for batch in [all, backwards, twice, every_third] {
            assert_eq!(verify(&batch, &tree.head()), Ok(()), "{size}");
        }
    }
}

#[test]
fn every_flipped_hash_of_a_full_batch_is_found() {
    for size in [1, 2, 3, 5, 7, 8, 13] {
        let tree = Tree::of(size);
        let all: Vec<Owned> = (0..size).map(|index| tree.prove(index)).collect();
        for position in 0..size {
            for at in 0..all[position].proof.len() {
                let mut batch = all.clone();
                flip(&mut batch[position].proof[at], 77);
                let refused = Err(NotIncluded { position, error: VerifyError::RootMismatch });
                assert_eq!(verify(&batch, &tree.head()), refused, "{at} of {position} of {size}");
            }
        }
    }
}

#[test]
fn siblings_that_vouch_for_each_other_prove_nothing() {
    // Two false leaves, each of which the other's proof contains, under a parent that is the tree's.
    let tree = Tree::of(4);
    let mut batch = vec![tree.prove(0), tree.prove(1)];
    let (a, b) = (Hash::leaf(b"a"), Hash::leaf(b"b"));
    (batch[0].leaf, batch[1].proof[0]) = (a, a);
    (batch[1].leaf, batch[0].proof[0]) = (b, b);
    let refused = Err(NotIncluded { position: 0, error: VerifyError::RootMismatch });
    assert_eq!(verify(&batch, &tree.head()), refused);
}

#[test]
fn the_first_wrong_one_in_the_order_given_is_named() {
    let tree = Tree::of(1000);
    let mut batch: Vec<Owned> = [900, 3, 500, 4].into_iter().map(|index| tree.prove(index)).collect();
    batch[2].proof.pop();
    flip(&mut batch[3].leaf, 0);
    assert_eq!(
        verify(&batch, &tree.head()),
        Err(NotIncluded { position: 2, error: VerifyError::ProofLength })
    );
    batch[1].index = 1000;
    assert_eq!(
        verify(&batch, &tree.head()),
        Err(NotIncluded { position: 1, error: VerifyError::IndexBeyondTree })
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_batch_is_proven_if_each_is(
        size in prop_oneof![1_usize..20, 1_usize..5000],
        picks in proptest::collection::vec((any::<Index>(), 0_usize..4), 1..60),
        defects in proptest::collection::vec((any::<Index>(), defect()), 0..4),
        other_root in prop::bool::weighted(0.05),
    ) {
        let tree = Tree::of(size);
        // Runs of up to four neighbours, so that there are siblings and, where two runs meet, duplicates.
        let indexes = picks.iter().flat_map(|(at, more)| at.index(size)..=(at.index(size) + more).min(size - 1));
        let mut batch: Vec<Owned> = indexes.map(|index| tree.prove(index)).collect();
        for (at, defect) in &defects {
            let at = at.index(batch.len());
            spoil(&mut batch, at, defect);
        }
        let mut head = tree.head();
        if other_root {
            head.root = Hash::EMPTY_ROOT;
        }
        let expected = verify_singly(&batch, &head);
        prop_assert_eq!(verify(&batch, &head), expected);
        prop_assert!(expected.is_ok() || other_root || !defects.is_empty());
    }
}
