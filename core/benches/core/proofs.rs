//! Making and verifying proofs in trees of 2^10, 2^20 and 2^30 leaves.

use std::collections::BTreeMap;
use std::hint::black_box;

use attestlog_core::{
    ConsistencyProof, Hash, Inclusion, InclusionProof, LeafIndex, NodeId, TILE_WIDTH, TileId, TreeHead,
    TreeSize, format_tile, node_hash, parse_tile, verify_inclusions,
};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion};
use rs_merkle::MerkleProof;
use sha2::Sha256;

use super::partners::{Rfc6962, array_node, theirs};
use super::tree::RepeatedTree;

pub(crate) fn run(c: &mut Criterion) {
    let mut group = c.benchmark_group("inclusion");
    for height in [10, 20, 30] {
        inclusion(&mut group, height);
    }
    group.finish();
    from_tiles(c);
    consistency(c);
    together(c);
}

/// An index with as many ones as zeros.
fn index_in(height: u8) -> u64 {
    0x1555_5555 & ((1 << height) - 1)
}

fn inclusion(group: &mut BenchmarkGroup<'_, WallTime>, height: u8) {
    let tree = RepeatedTree::new(height);
    let (size, root, index) = (tree.size(), tree.root(), LeafIndex(index_in(height)));
    let entry = RepeatedTree::entry(index.0);
    let leaf = Hash::leaf(&entry);
    let prove = || {
        let nodes = InclusionProof::nodes(index, size).unwrap();
        let hashes: Vec<Hash> = nodes.into_iter().map(|node| tree.node(node)).collect();
        InclusionProof::assemble(index, size, &hashes).unwrap()
    };
    let proof = prove();
    let bench = |group: &mut BenchmarkGroup<'_, WallTime>, name, run: &dyn Fn() -> bool| {
        assert!(run(), "{name} {height}");
        group.bench_function(BenchmarkId::new(name, height), |b| b.iter(|| assert!(run())));
    };
    bench(group, "prove_attestlog", &|| prove().hashes().len() == usize::from(height));
    bench(group, "prove_tlog_tiles", &|| {
        tlog_tiles::prove_record(size.0, index.0, &tree).unwrap().len() == usize::from(height)
    });
    bench(group, "prove_ct_merkle", &|| {
        ct_proof(&tree, index.0).as_bytes().len() == Hash::LEN * usize::from(height)
    });

    bench(group, "verify_attestlog", &|| proof.root(black_box(&leaf), index, size) == Ok(root));
    let record_proof: Vec<tlog_tiles::Hash> = proof.hashes().iter().copied().map(theirs).collect();
    let (their_root, their_leaf) = (theirs(root), theirs(leaf));
    bench(group, "verify_tlog_tiles", &|| {
        tlog_tiles::check_record(black_box(&record_proof), size.0, their_root, index.0, their_leaf).is_ok()
    });
    let ct_root = ct_merkle::RootHash::<Sha256>::new(root.0.into(), size.0);
    let proof_of_ct = ct_proof(&tree, index.0);
    bench(group, "verify_ct_merkle", &|| {
        ct_root.verify_inclusion(black_box(&entry), index.0, &proof_of_ct).is_ok()
    });
    let rs_proof = MerkleProof::<Rfc6962>::new(proof.hashes().iter().map(|hash| hash.0).collect());
    bench(group, "verify_rs_merkle", &|| {
        rs_proof.verify(root.0, &[index.0 as usize], black_box(&[leaf.0]), size.0 as usize)
    });
}

fn ct_proof(tree: &RepeatedTree, index: u64) -> ct_merkle::InclusionProof<Sha256> {
    let nodes = ct_merkle::indices_for_inclusion_proof(tree.size().0, index);
    let hashes: Vec<_> = nodes.into_iter().map(|node| tree.node(array_node(node)).0.into()).collect();
    ct_merkle::InclusionProof::from_digests(&hashes)
}

/// A proof made from the bytes of tiles, as the server makes it.
fn from_tiles(c: &mut Criterion) {
    let tree = RepeatedTree::new(30);
    let (size, index) = (tree.size(), LeafIndex(index_in(30)));
    let nodes = InclusionProof::nodes(index, size).unwrap();
    let tile = |id: TileId| {
        let first = id.first_node().unwrap();
        let hash = |place| tree.node(NodeId { level: first.level, index: first.index + place as u64 });
        format_tile(&(0..id.width(size)).map(hash).collect::<Vec<_>>())
    };
    let tiles: BTreeMap<TileId, Vec<u8>> =
        nodes.iter().map(|node| TileId::holding(*node)).map(|id| (id, tile(id))).collect();
    c.benchmark_group("inclusion").bench_function(BenchmarkId::new("prove_from_tiles", 30), |b| {
        b.iter(|| {
            let parse =
                |(id, bytes): (&TileId, &Vec<u8>)| (*id, parse_tile(bytes, bytes.len() / Hash::LEN).unwrap());
            let parsed: BTreeMap<TileId, Vec<Hash>> = tiles.iter().map(parse).collect();
            let hash = |node: &NodeId| node_hash(*node, &parsed[&TileId::holding(*node)]).unwrap();
            let hashes: Vec<Hash> = nodes.iter().map(hash).collect();
            InclusionProof::assemble(index, size, &hashes).unwrap()
        });
    });
}

/// That a tree of 2^30 leaves extends one of two thirds as many.
fn consistency(c: &mut Criterion) {
    let tree = RepeatedTree::new(30);
    let (old, new) = (TreeSize(0x2aaa_aaab), tree.size());
    let nodes = ConsistencyProof::nodes(old, new).unwrap();
    let hashes: Vec<Hash> = nodes.into_iter().map(|node| tree.node(node)).collect();
    let proof = ConsistencyProof::assemble(old, new, &hashes).unwrap();
    let their_proof = tlog_tiles::prove_tree(new.0, old.0, &tree).unwrap();
    let old_root = tlog_tiles::tree_hash(old.0, &tree).unwrap();
    let old = TreeHead { size: old, root: Hash(old_root.0) };
    let new = TreeHead { size: new, root: tree.root() };
    let mut group = c.benchmark_group("consistency");
    group.bench_function(BenchmarkId::new("verify_attestlog", 30), |b| {
        b.iter(|| proof.verify(black_box(&old), &new).unwrap());
    });
    group.bench_function(BenchmarkId::new("verify_tlog_tiles", 30), |b| {
        b.iter(|| {
            let root = theirs(new.root);
            tlog_tiles::check_tree(black_box(&their_proof), new.size.0, root, old.size.0, old_root).unwrap();
        });
    });
    group.finish();
}

/// The inclusions of a tile's leaves, together and one by one.
fn together(c: &mut Criterion) {
    let tree = RepeatedTree::new(30);
    let (size, root, first) =
        (tree.size(), tree.root(), index_in(30) / TILE_WIDTH as u64 * TILE_WIDTH as u64);
    let indexes: Vec<LeafIndex> = (first..first + TILE_WIDTH as u64).map(LeafIndex).collect();
    let prove = |index: &LeafIndex| -> Vec<[u8; Hash::LEN]> {
        let nodes = InclusionProof::nodes(*index, size).unwrap();
        nodes.into_iter().map(|node| tree.node(node).0).collect()
    };
    let proofs: Vec<Vec<[u8; Hash::LEN]>> = indexes.iter().map(prove).collect();
    let leaf = |index: LeafIndex| tree.node(NodeId { level: 0, index: index.0 });
    let inclusions: Vec<Inclusion<'_>> = indexes
        .iter()
        .zip(&proofs)
        .map(|(index, proof)| Inclusion { index: *index, leaf: leaf(*index), proof })
        .collect();
    let head = TreeHead { size, root };
    c.benchmark_group("inclusion").bench_function(BenchmarkId::new("verify_256_together", 30), |b| {
        b.iter(|| verify_inclusions(black_box(&inclusions), &head).unwrap());
    });
}
