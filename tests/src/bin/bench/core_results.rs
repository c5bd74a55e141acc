//! The core's results as a table: what criterion left in `target/criterion`.

use std::path::PathBuf;

use super::table::{Table, number, ratio};

/// The benchmarks of `core/benches/core.rs`: group and name, how it is called, and its partner.
const RESULTS: [(&str, &str, &str); 8] = [
    ("sha256_300_bytes", "plain SHA-256 of 300 bytes, the `sha2` crate alone", "sha256_300_bytes"),
    ("leaf_hash_300_bytes", "leaf hash of an entry of 300 bytes", "sha256_300_bytes"),
    ("sha256_as_a_tree_hashes", "2^20 SHA-256 of 65 bytes, one an inner node", "sha256_as_a_tree_hashes"),
    ("append_a_million_leaves", "2^20 leaf hashes appended to a right edge", "sha256_as_a_tree_hashes"),
    ("prove_inclusion", "an inclusion proof in a tree of 2^20, made from nodes at hand", "sha256_300_bytes"),
    ("verify_inclusion", "that proof verified (20 hashes)", "sha256_300_bytes"),
    ("sign_checkpoint", "a checkpoint signed", "open_checkpoint"),
    ("open_checkpoint", "a checkpoint parsed and its signature verified", "open_checkpoint"),
];

/// Prints the table.
pub(crate) fn print() {
    let mut table = Table::new(
        "Core",
        "One thread, medians by criterion (`core/benches/core.rs`); the ratio is the time divided by the partner's.",
        &["operation", "µs", "partner", "ratio"],
    );
    let receipt = ("verify_receipt", "a receipt parsed and verified by a policy", "open_checkpoint");
    for (name, what, partner) in RESULTS.into_iter().chain([receipt]) {
        let (own, other) = (median_nanoseconds(name), median_nanoseconds(partner));
        let partner = if name == partner { "–" } else { partner };
        table.row(&[what.to_owned(), number(own / 1000.0), partner.to_owned(), ratio(own / other)]);
    }
    table.print();
}

fn median_nanoseconds(name: &str) -> f64 {
    let target = std::env::current_exe().expect("a path");
    let target = target.ancestors().nth(2).map(PathBuf::from).unwrap_or_default();
    let path = target.join("criterion/core").join(name).join("new/estimates.json");
    let bytes = std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run scripts/bench core", path.display()));
    let estimates: serde_json::Value = serde_json::from_slice(&bytes).expect("criterion writes JSON");
    estimates["median"]["point_estimate"].as_f64().unwrap_or(f64::NAN)
}
