//! Leaf and node hashes, one at a time and many at once.

use std::hint::black_box;

use attestlog_core::Hash;
use criterion::{BenchmarkId, Criterion, Throughput};
use sha2::{Digest, Sha256};

/// The entries that are hashed at once: those of a bundle.
const MANY: usize = 256;

pub(crate) fn run(c: &mut Criterion) {
    let mut group = c.benchmark_group("leaf_hash");
    for size in [32, 256, 1024, 4096, 65_535] {
        let entry = vec![b'x'; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("sha2", size), |b| {
            b.iter(|| Sha256::new().chain_update([0]).chain_update(black_box(&entry)).finalize());
        });
        group.bench_function(BenchmarkId::new("one", size), |b| b.iter(|| Hash::leaf(black_box(&entry))));
        let many = vec![entry.clone(); MANY];
        group.throughput(Throughput::Bytes((size * MANY) as u64));
        group.bench_function(BenchmarkId::new("many", size), |b| {
            b.iter(|| Hash::leaves(black_box(&many).iter().map(Vec::as_slice)));
        });
    }
    let mixed: Vec<Vec<u8>> = (0..MANY).map(|place| vec![b'x'; 100 + place * 7919 % 400]).collect();
    group.throughput(Throughput::Bytes(mixed.iter().map(|entry| entry.len() as u64).sum()));
    group.bench_function("sha2_mixed", |b| {
        b.iter(|| {
            for entry in black_box(&mixed) {
                black_box(Sha256::new().chain_update([0]).chain_update(entry).finalize());
            }
        });
    });
    group.bench_function("many_mixed", |b| {
        b.iter(|| Hash::leaves(black_box(&mixed).iter().map(Vec::as_slice)));
    });
    group.finish();

    let mut group = c.benchmark_group("node_hash");
    let row: Vec<Hash> = (0..2 * MANY).map(|leaf| Hash::leaf(&leaf.to_be_bytes())).collect();
    let [left, right] = [row[0], row[1]];
    group.bench_function("sha2", |b| {
        b.iter(|| {
            let (left, right) = black_box((&left.0, &right.0));
            Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize()
        });
    });
    group.bench_function("one", |b| b.iter(|| Hash::node(black_box(&left), black_box(&right))));
    group.bench_function("many", |b| b.iter(|| Hash::parents(black_box(&row))));
    group.finish();
}
