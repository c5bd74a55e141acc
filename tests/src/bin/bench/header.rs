//! What the figures were measured on.

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::time::Instant;

use attestlog_tests::databases::{connection, maintenance_url};
use sqlx::Connection;

use super::Bench;
use super::load::Measured;
use super::table::{load_average, milliseconds};

/// Prints the machine, the disk and the database.
pub(crate) async fn print(bench: &Bench) {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1)).unwrap_or("?");
    let sync = fdatasync();
    println!("- {cores} cores ({cpu}), load average {}", load_average());
    println!(
        "- fdatasync of 8 KiB in a file: {} ms at the median, {} ms at p99",
        milliseconds(sync.percentile(50)),
        milliseconds(sync.percentile(99))
    );
    let mut connection = connection(&maintenance_url()).await;
    let version: String =
        sqlx::query_scalar("select version()").fetch_one(&mut connection).await.expect("an answer");
    let settings: String = sqlx::query_scalar(
        "select string_agg(name || ' = ' || current_setting(name), ', ' order by name) from pg_settings
         where name in ('fsync', 'synchronous_commit', 'full_page_writes', 'shared_buffers', 'max_wal_size',
                        'wal_sync_method', 'checkpoint_timeout', 'autovacuum_naptime')",
    )
    .fetch_one(&mut connection)
    .await
    .expect("an answer");
    let _ = connection.close().await;
    println!("- {}", version.split(" on ").next().unwrap_or_default());
    println!("- {settings}");
    println!(
        "- scale {} (ATTESTLOG_BENCH_SCALE), entries of 300 bytes, client and servers on the same cores",
        bench.scale
    );
}

/// What a commit cannot be faster than.
fn fdatasync() -> Measured {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(&[0; 1 << 20]).expect("a file takes bytes");
    file.as_file().sync_all().expect("a file syncs");
    let mut measured = Measured::default();
    for round in 0..200_u64 {
        let began = Instant::now();
        file.as_file().write_all_at(&[1; 8192], round % 128 * 8192).expect("a file takes bytes");
        file.as_file().sync_data().expect("a file syncs");
        measured.times.push(began.elapsed());
    }
    measured
}
