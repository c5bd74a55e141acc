//! Tiles, entry bundles, checkpoints and receipts: written, read and verified.

use std::hint::black_box;

use attestlog_core::{
    Checkpoint, Hash, InclusionProof, KeyType, LeafIndex, Policy, Receipt, SignedCheckpoint, SigningKey,
    TILE_WIDTH, format_bundle, format_tile, parse_bundle, parse_tile,
};
use criterion::Criterion;
use ed25519_dalek::Signer;

use super::tree::RepeatedTree;

pub(crate) fn run(c: &mut Criterion) {
    tiles(c);
    signatures(c);
}

fn tiles(c: &mut Criterion) {
    let mut group = c.benchmark_group("formats");
    let hashes: Vec<Hash> = (0..TILE_WIDTH).map(|leaf| Hash::leaf(&leaf.to_be_bytes())).collect();
    let tile = format_tile(&hashes);
    group.bench_function("format_tile", |b| b.iter(|| format_tile(black_box(&hashes))));
    group.bench_function("parse_tile", |b| b.iter(|| parse_tile(black_box(&tile), TILE_WIDTH).unwrap()));
    group.bench_function("copy_8_kb", |b| b.iter(|| black_box(&tile).clone()));

    let entries = vec![vec![b'x'; 300]; TILE_WIDTH];
    let format = || format_bundle(black_box(&entries).iter().map(Vec::as_slice)).unwrap();
    let bundle = format();
    group.bench_function("format_bundle", |b| b.iter(format));
    group
        .bench_function("parse_bundle", |b| b.iter(|| parse_bundle(black_box(&bundle), TILE_WIDTH).unwrap()));
    group.bench_function("copy_77_kb", |b| b.iter(|| black_box(&bundle).clone()));
    group.finish();
}

/// In a tree of 2^30, each beside the plain signature.
fn signatures(c: &mut Criterion) {
    let tree = RepeatedTree::new(30);
    let (size, root, index) = (tree.size(), tree.root(), LeafIndex(0x1555_5555));
    let key = SigningKey::new("example.com/bench", KeyType::Log, &[7; 32]).unwrap();
    let vkey = key.verifier_key().clone();
    let note = Checkpoint::sign(&key, size, root).unwrap().format().into_bytes();
    let mut group = c.benchmark_group("signatures");
    let plain = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let plain_key = plain.verifying_key();
    let message = &note[..note.len() / 2];
    let signature = plain.sign(message);
    group.bench_function("ed25519_sign", |b| b.iter(|| plain.sign(black_box(message))));
    group.bench_function("ed25519_verify", |b| {
        b.iter(|| plain_key.verify_strict(black_box(message), &signature).unwrap());
    });
    group.bench_function("sign_checkpoint", |b| b.iter(|| Checkpoint::sign(&key, size, root).unwrap()));
    group.bench_function("open_checkpoint", |b| {
        b.iter(|| SignedCheckpoint::parse(black_box(&note)).unwrap().open(&vkey).unwrap());
    });

    let nodes = InclusionProof::nodes(index, size).unwrap();
    let hashes: Vec<Hash> = nodes.into_iter().map(|node| tree.node(node)).collect();
    let proof = InclusionProof::assemble(index, size, &hashes).unwrap();
    let signed = SignedCheckpoint::parse(&note).unwrap();
    let checkpoint = signed.clone().open(&vkey).unwrap();
    let receipt = Receipt::new(index, proof, signed, None).unwrap().format().into_bytes();
    let policy = Policy::for_log(vkey.clone()).unwrap();
    let entry = RepeatedTree::entry(index.0);
    group.bench_function("verify_receipt", |b| {
        b.iter(|| Receipt::parse(black_box(&receipt)).unwrap().verify(&entry, &policy).unwrap());
    });
    group.bench_function("verify_receipt_under", |b| {
        b.iter(|| Receipt::parse(black_box(&receipt)).unwrap().verify_under(&entry, &checkpoint).unwrap());
    });
    group.finish();
}
