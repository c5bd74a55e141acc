//! What hashing, proving and verifying cost, each beside the plain hashing or signing that it cannot be faster than.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use std::hint::black_box;
use std::time::Duration;

use attestlog_core::{
    Checkpoint, Hash, InclusionProof, KeyType, LeafIndex, NodeId, Policy, Receipt, RightEdge,
    SignedCheckpoint, SigningKey, TreeSize,
};
use criterion::{Criterion, criterion_group, criterion_main};
use sha2::{Digest, Sha256};

const SIZE: u64 = 1 << 20;
const INDEX: LeafIndex = LeafIndex(0x5_5555);

fn leaf(index: u64) -> Hash {
    Hash::leaf(&index.to_be_bytes())
}

/// The hashes of all nodes of a perfect tree, by level.
fn levels(leaves: &[Hash]) -> Vec<Vec<Hash>> {
    let mut levels = vec![leaves.to_vec()];
    while let Some(below) = levels.last().filter(|below| below.len() > 1) {
        let above = below.chunks(2).map(|pair| Hash::node(&pair[0], &pair[1])).collect();
        levels.push(above);
    }
    levels
}

fn hashing(c: &mut Criterion) {
    let mut group = c.benchmark_group("core");
    let entry = [b'x'; 300];
    group.bench_function("sha256_300_bytes", |b| b.iter(|| Sha256::digest(black_box(&entry))));
    group.bench_function("leaf_hash_300_bytes", |b| b.iter(|| Hash::leaf(black_box(&entry))));
    group.sample_size(10).warm_up_time(Duration::from_secs(1));
    let leaves: Vec<Hash> = (0..SIZE).map(leaf).collect();
    group.bench_function("sha256_as_a_tree_hashes", |b| {
        b.iter(|| {
            let mut bytes = [1; 65];
            for leaf in &leaves {
                bytes[1..33].copy_from_slice(&leaf.0);
                black_box(Sha256::digest(bytes));
            }
        });
    });
    group.bench_function("append_a_million_leaves", |b| {
        b.iter(|| {
            let (mut edge, mut full) = (RightEdge::EMPTY, Vec::new());
            for leaf in &leaves {
                edge.append(*leaf, &mut full);
                // As a server does with every batch.
                if full.len() >= 39 {
                    full.clear();
                }
            }
            edge.head()
        });
    });
    group.finish();
}

fn proving(c: &mut Criterion) {
    let mut group = c.benchmark_group("core");
    let leaves: Vec<Hash> = (0..SIZE).map(leaf).collect();
    let levels = levels(&leaves);
    let size = TreeSize(SIZE);
    let hash = |node: NodeId| levels[usize::from(node.level)][usize::try_from(node.index).unwrap()];
    let prove = || {
        let hashes: Vec<Hash> = InclusionProof::nodes(INDEX, size).unwrap().into_iter().map(hash).collect();
        InclusionProof::assemble(INDEX, size, &hashes).unwrap()
    };
    group.bench_function("prove_inclusion", |b| b.iter(prove));
    let (proof, own) = (prove(), leaf(INDEX.0));
    group
        .bench_function("verify_inclusion", |b| b.iter(|| proof.root(black_box(&own), INDEX, size).unwrap()));

    let root = *levels.last().unwrap().first().unwrap();
    let key = SigningKey::new("example.com/bench", KeyType::Log, &[7; 32]).unwrap();
    let vkey = key.verifier_key().clone();
    group.bench_function("sign_checkpoint", |b| b.iter(|| Checkpoint::sign(&key, size, root).unwrap()));
    let note = Checkpoint::sign(&key, size, root).unwrap().format().into_bytes();
    let open = |note: &[u8]| SignedCheckpoint::parse(note).unwrap().open(&vkey).unwrap();
    group.bench_function("open_checkpoint", |b| b.iter(|| open(black_box(&note))));

    let signed = SignedCheckpoint::parse(&note).unwrap();
    let receipt = Receipt::new(INDEX, proof.clone(), signed, None).unwrap().format().into_bytes();
    let policy = Policy::for_log(vkey.clone()).unwrap();
    let entry = INDEX.0.to_be_bytes();
    let verify = |bytes: &[u8]| Receipt::parse(bytes).unwrap().verify(&entry, &policy).unwrap();
    group.bench_function("verify_receipt", |b| b.iter(|| verify(black_box(&receipt))));
    group.finish();
}

criterion_group!(benches, hashing, proving);
criterion_main!(benches);
