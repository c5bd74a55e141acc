//! What hashing, building, proving, verifying and the formats cost, beside the crates of this field and beside the plain
//! hashing or signing that it cannot be faster than; `scripts/bench core` prints it as tables.
//!
//! The partners are used as their documentation has it, each with the fastest way that it offers: `tlog_tiles` stores
//! the hashes of a record in a vector that it reads them from, `ct-merkle` pushes into its tree in memory, `rs_merkle`
//! appends a batch and commits it once, with RFC 6962 as its hasher. All lead to the same roots, which is checked.
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a benchmark that cannot go on has failed"
)]

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

mod building;
mod formats;
mod hashing;
mod partners;
mod proofs;
mod tree;

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_millis(1500));
    targets = hashing::run, building::run, proofs::run, formats::run
}
criterion_main!(benches);
