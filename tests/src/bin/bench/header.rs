//! What the figures were measured on.

use attestlog_server::bench::Conditions;
use attestlog_tests::databases::maintenance_url;

use super::Bench;

/// Prints the machine, the disk and the database.
pub(crate) async fn print(bench: &Bench) {
    let conditions = Conditions::look(Some(&maintenance_url()), std::env::temp_dir()).await;
    print!("{}", conditions.expect("the database answers"));
    let serve =
        if bench.serve.is_empty() { "nothing".to_owned() } else { format!("`{}`", bench.serve.join(" ")) };
    println!(
        "- server, database and load on the same cores; scale {} (ATTESTLOG_BENCH_SCALE); options of `attestlog serve`: \
         {serve} (ATTESTLOG_BENCH_SERVE)",
        bench.scale
    );
}
