//! The core's results as tables: what criterion left in `target/criterion`.

use std::path::PathBuf;

use super::table::{Table, number, ratio};

const MEASURED: &str = "One thread, medians by criterion (`core/benches/core`).";

/// Prints the tables.
pub(crate) fn print() {
    hashing();
    integrating();
    growth();
    proofs();
    formats();
}

/// How fast are hashes, and what do many at once gain?
fn hashing() {
    let mut table = Table::new(
        "Core: hashing",
        &format!(
            "{MEASURED} `sha2` is that crate alone, with the processor's SHA instructions; \"one\" and \"many\" are \
             Attestlog's leaf hash of one entry and of 256 at once. Ratios are times divided by `sha2`'s."
        ),
        &["what", "`sha2`, ns", "one, ns", "many, ns each", "one, ratio", "many, ratio"],
    );
    for size in ["32", "256", "1024", "4096", "65535"] {
        let [sha2, one, many] =
            ["sha2", "one", "many"].map(|way| nanoseconds(&format!("leaf_hash/{way}/{size}")));
        hash_row(&mut table, &format!("leaf, entry of {size} bytes"), sha2, Some(one), many / 256.0);
    }
    let [sha2, many] = ["sha2", "many"].map(|way| nanoseconds(&format!("leaf_hash/{way}_mixed")));
    hash_row(&mut table, "leaf, entries of 100 to 499 bytes", sha2 / 256.0, None, many / 256.0);
    let [sha2, one, many] = ["sha2", "one", "many"].map(|way| nanoseconds(&format!("node_hash/{way}")));
    hash_row(&mut table, "inner node", sha2, Some(one), many / 256.0);
    table.print();
}

fn hash_row(table: &mut Table, what: &str, sha2: f64, one: Option<f64>, many: f64) {
    let one_or_none =
        |show: fn(f64) -> String, divisor| one.map_or("–".to_owned(), |one| show(one / divisor));
    table.row(&[
        what.to_owned(),
        number(sha2),
        one_or_none(number, 1.0),
        number(many),
        one_or_none(ratio, sha2),
        ratio(many / sha2),
    ]);
}

/// How fast do entries become a tree?
fn integrating() {
    const WAYS: [(&str, &str); 5] = [
        ("attestlog", "Attestlog, 10,000 at a time (`Hash::leaves`, `RightEdge::extend`)"),
        ("attestlog_one_by_one", "Attestlog, one by one (`Hash::leaf`, `RightEdge::append`)"),
        ("tlog_tiles", "`tlog_tiles` (`stored_hashes`, `tree_hash`), hashes in a vector"),
        ("ct_merkle", "`ct-merkle` (`MemoryBackedTree::push`)"),
        ("rs_merkle", "`rs_merkle` (`append`, one `commit`)"),
    ];
    let mut table = Table::new(
        "Core: entries hashed and integrated",
        &format!(
            "{MEASURED} 65,536 entries of 256 bytes to the root over them; leaf hashes to the root for 2^20 leaves. \
             The ratio is Attestlog's rate, many at a time, divided by this one."
        ),
        &["who", "entries/s", "ratio", "leaf hashes/s at 2^20", "ratio"],
    );
    let rate = |name: &str, leaves: f64| leaves * 1e9 / nanoseconds(name);
    let (own, own_leaves) = (rate("integrate/attestlog", 65_536.0), rate("build/attestlog/20", 1_048_576.0));
    for (way, what) in WAYS {
        let entries = rate(&format!("integrate/{way}"), 65_536.0);
        let leaves = ["attestlog", "tlog_tiles", "rs_merkle"]
            .contains(&way)
            .then(|| rate(&format!("build/{way}/20"), 1_048_576.0));
        table.row(&[
            what.to_owned(),
            number(entries),
            ratio(own / entries),
            leaves.map_or("–".to_owned(), number),
            leaves.map_or("–".to_owned(), |leaves| ratio(own_leaves / leaves)),
        ]);
    }
    table.print();
}

/// Does a batch cost more in a larger tree?
fn growth() {
    let mut table = Table::new(
        "Core: a batch in trees of any size",
        &format!(
            "{MEASURED} 10,000 leaf hashes appended to the right edge of a tree, and the new root. The ratio is to the \
             smallest tree."
        ),
        &["leaves before", "µs", "ratio"],
    );
    let first = nanoseconds("append_batch/10");
    for height in ["10", "20", "30"] {
        let time = nanoseconds(&format!("append_batch/{height}"));
        table.row(&[format!("2^{height}"), number(time / 1e3), ratio(time / first)]);
    }
    table.print();
}

/// How long do proofs take, and how does that compare?
fn proofs() {
    const WAYS: [&str; 4] = ["attestlog", "tlog_tiles", "ct_merkle", "rs_merkle"];
    let mut table = Table::new(
        "Core: proofs",
        &format!(
            "{MEASURED} Inclusion is proven from nodes at hand; the index has as many ones as zeros. `rs_merkle` makes \
             proofs only of a tree in memory, `ct-merkle` hashes the entry, of 8 bytes, too. The ratio is Attestlog's \
             time divided by that of `tlog_tiles`."
        ),
        &["what", "Attestlog, µs", "`tlog_tiles`, µs", "`ct-merkle`, µs", "`rs_merkle`, µs", "ratio"],
    );
    let mut row = |what: String, times: [Option<f64>; 4]| {
        let [own, other, ..] = times.map(|time| time.unwrap_or(f64::NAN));
        let mut cells = vec![what];
        cells.extend(times.map(|time| time.map_or("–".to_owned(), |time| number(time / 1e3))));
        cells.push(if other.is_nan() { "–".to_owned() } else { ratio(own / other) });
        table.row(&cells);
    };
    for (verb, what) in [("verify", "verified"), ("prove", "proven")] {
        for height in ["10", "20", "30"] {
            let time = |way: &str| {
                let measured = verb == "verify" || way != "rs_merkle";
                measured.then(|| nanoseconds(&format!("inclusion/{verb}_{way}/{height}")))
            };
            row(format!("inclusion {what}, 2^{height} leaves"), WAYS.map(time));
        }
    }
    let own = |name: &str| [Some(nanoseconds(name)), None, None, None];
    row("inclusion proven from the bytes of tiles, 2^30".to_owned(), own("inclusion/prove_from_tiles/30"));
    row("256 neighbours verified together, 2^30".to_owned(), own("inclusion/verify_256_together/30"));
    let consistency = |way: &str| {
        ["attestlog", "tlog_tiles"]
            .contains(&way)
            .then(|| nanoseconds(&format!("consistency/verify_{way}/30")))
    };
    row("consistency verified, from 2/3 of 2^30 to 2^30".to_owned(), WAYS.map(consistency));
    table.print();
}

/// What do the formats and signatures cost?
fn formats() {
    const ROWS: [(&str, &str, &str); 10] = [
        ("formats/copy_8_kb", "8 kB copied", "formats/copy_8_kb"),
        ("formats/format_tile", "a tile of 256 hashes written", "formats/copy_8_kb"),
        ("formats/parse_tile", "a tile of 256 hashes read", "formats/copy_8_kb"),
        ("formats/copy_77_kb", "77 kB copied", "formats/copy_77_kb"),
        ("formats/format_bundle", "a bundle of 256 entries of 300 bytes written", "formats/copy_77_kb"),
        (
            "formats/parse_bundle",
            "a bundle of 256 entries of 300 bytes read, without a copy",
            "formats/copy_77_kb",
        ),
        ("signatures/ed25519_sign", "a plain Ed25519 signature made", "signatures/ed25519_sign"),
        ("signatures/sign_checkpoint", "a checkpoint signed", "signatures/ed25519_sign"),
        ("signatures/ed25519_verify", "a plain Ed25519 signature verified", "signatures/ed25519_verify"),
        ("signatures/open_checkpoint", "a checkpoint parsed and verified", "signatures/ed25519_verify"),
    ];
    let receipts = [
        (
            "signatures/verify_receipt",
            "a receipt parsed and verified by a policy, 2^30",
            "signatures/ed25519_verify",
        ),
        (
            "signatures/verify_receipt_under",
            "a receipt parsed and verified under an open checkpoint, 2^30",
            "signatures/ed25519_verify",
        ),
    ];
    let mut table = Table::new(
        "Core: tiles, bundles, checkpoints and receipts",
        &format!("{MEASURED} The ratio is the time divided by that of the plain copy or signature."),
        &["operation", "µs", "ratio"],
    );
    for (name, what, partner) in ROWS.into_iter().chain(receipts) {
        let time = nanoseconds(name);
        table.row(&[what.to_owned(), number(time / 1e3), ratio(time / nanoseconds(partner))]);
    }
    table.print();
}

/// The median of the benchmark with this path.
fn nanoseconds(name: &str) -> f64 {
    let target = std::env::current_exe().expect("a path");
    let target = target.ancestors().nth(2).map(PathBuf::from).unwrap_or_default();
    let path = target.join("criterion").join(name).join("new/estimates.json");
    let bytes = std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run scripts/bench core", path.display()));
    let estimates: serde_json::Value = serde_json::from_slice(&bytes).expect("criterion writes JSON");
    estimates["median"]["point_estimate"].as_f64().unwrap_or(f64::NAN)
}
