//! Hashing entries and integrating them into a tree, as the sequencer does.

use std::hint::black_box;

use attestlog_core::{FullTile, Hash, RightEdge, TreeHead};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use sha2::Sha256;

use super::partners::{Rfc6962, Stored};
use super::tree::RepeatedTree;

/// The sequencer's default.
const BATCH: usize = 10_000;

pub(crate) fn run(c: &mut Criterion) {
    integrate(c);
    build(c);
    append(c);
}

/// Entries of 256 bytes to the root over them.
fn integrate(c: &mut Criterion) {
    let entries: Vec<[u8; 256]> = (0..1_u32 << 16)
        .map(|index| {
            let mut entry = [b'x'; 256];
            entry[..4].copy_from_slice(&index.to_be_bytes());
            entry
        })
        .collect();
    let root = ours(&entries).root;
    assert_eq!(one_by_one(&entries).root, root);
    assert_eq!(tlog_tiles(&entries), root.0);
    assert_eq!(ct_merkle(&entries), root.0);
    assert_eq!(rs_merkle(&entries), root.0);
    let mut group = c.benchmark_group("integrate");
    group.throughput(Throughput::Elements(entries.len() as u64)).sample_size(10);
    group.bench_function("attestlog", |b| b.iter(|| ours(black_box(&entries))));
    group.bench_function("attestlog_one_by_one", |b| b.iter(|| one_by_one(black_box(&entries))));
    group.bench_function("tlog_tiles", |b| b.iter(|| tlog_tiles(black_box(&entries))));
    group.bench_function("ct_merkle", |b| b.iter(|| ct_merkle(black_box(&entries))));
    group.bench_function("rs_merkle", |b| b.iter(|| rs_merkle(black_box(&entries))));
    group.finish();
}

fn ours(entries: &[[u8; 256]]) -> TreeHead {
    let mut edge = RightEdge::EMPTY;
    for batch in entries.chunks(BATCH) {
        let leaves = Hash::leaves(batch.iter().map(<[u8; 256]>::as_slice));
        let mut full: Vec<FullTile> = Vec::new();
        edge.extend(&leaves, &mut full);
        black_box(full);
    }
    edge.head()
}

fn one_by_one(entries: &[[u8; 256]]) -> TreeHead {
    let (mut edge, mut full) = (RightEdge::EMPTY, Vec::new());
    for entry in entries {
        edge.append(Hash::leaf(entry), &mut full);
    }
    black_box(full);
    edge.head()
}

fn tlog_tiles(entries: &[[u8; 256]]) -> [u8; 32] {
    let mut stored = Stored(Vec::with_capacity(2 * entries.len()));
    for (index, entry) in (0..).zip(entries) {
        let hashes = tlog_tiles::stored_hashes(index, entry, &stored).unwrap();
        stored.0.extend(hashes);
    }
    tlog_tiles::tree_hash(entries.len() as u64, &stored).unwrap().0
}

fn ct_merkle(entries: &[[u8; 256]]) -> [u8; 32] {
    let mut tree = ct_merkle::mem_backed_tree::MemoryBackedTree::<Sha256, &[u8; 256]>::new();
    for entry in entries {
        tree.push(entry);
    }
    (*tree.root().as_bytes()).into()
}

fn rs_merkle(entries: &[[u8; 256]]) -> [u8; 32] {
    let mut leaves: Vec<_> =
        entries.iter().map(|entry| <Rfc6962 as rs_merkle::Hasher>::hash(entry)).collect();
    let mut tree = rs_merkle::MerkleTree::<Rfc6962>::new();
    tree.append(&mut leaves);
    tree.commit();
    tree.root().unwrap()
}

/// Leaf hashes to the root over them.
fn build(c: &mut Criterion) {
    let mut group = c.benchmark_group("build");
    for height in [10, 20] {
        let leaves: Vec<Hash> = (0..1_u64 << height).map(|index| Hash::leaf(&index.to_be_bytes())).collect();
        group.throughput(Throughput::Elements(leaves.len() as u64)).sample_size(10);
        group.bench_function(BenchmarkId::new("attestlog", height), |b| {
            b.iter(|| {
                let mut edge = RightEdge::EMPTY;
                for batch in leaves.chunks(BATCH) {
                    let mut full = Vec::new();
                    edge.extend(batch, &mut full);
                    black_box(full);
                }
                edge.head()
            });
        });
        group.bench_function(BenchmarkId::new("tlog_tiles", height), |b| {
            b.iter(|| {
                let mut stored = Stored(Vec::with_capacity(2 * leaves.len()));
                for (index, leaf) in (0..).zip(&leaves) {
                    let leaf = tlog_tiles::Hash(leaf.0);
                    let hashes = tlog_tiles::stored_hashes_for_record_hash(index, leaf, &stored).unwrap();
                    stored.0.extend(hashes);
                }
                tlog_tiles::tree_hash(leaves.len() as u64, &stored).unwrap()
            });
        });
        let hashes: Vec<[u8; 32]> = leaves.iter().map(|leaf| leaf.0).collect();
        group.bench_function(BenchmarkId::new("rs_merkle", height), |b| {
            b.iter_batched(
                || hashes.clone(),
                |mut hashes| {
                    let mut tree = rs_merkle::MerkleTree::<Rfc6962>::new();
                    tree.append(&mut hashes);
                    tree.commit();
                    tree.root().unwrap()
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

/// A batch of leaf hashes appended to a tree that is there already, and its root.
fn append(c: &mut Criterion) {
    let leaves: Vec<Hash> = (0..BATCH).map(|index| Hash::leaf(&index.to_be_bytes())).collect();
    let mut group = c.benchmark_group("append_batch");
    group.throughput(Throughput::Elements(BATCH as u64));
    for height in [10, 20, 30] {
        let edge = RepeatedTree::new(height).edge();
        group.bench_function(BenchmarkId::from_parameter(height), |b| {
            b.iter_batched(
                || edge.clone(),
                |mut edge| {
                    let mut full = Vec::new();
                    edge.extend(black_box(&leaves), &mut full);
                    (edge.head(), full)
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}
