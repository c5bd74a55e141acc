//! Checking whole logs, against only reading them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use attestlog_server::fsck::{Options, check};
use attestlog_server::progress::Progress;

use super::Bench;
use super::load::median;
use super::sample::SampleLog;
use super::table::{Table, number, ratio};

const ROUNDS: usize = 3;

/// Prints the table.
pub(crate) async fn run(bench: &mut Bench) {
    let (large, small) = (bench.scaled(10_000_000), bench.scaled(500_000));
    let mut table = Table::new(
        "fsck",
        &format!(
            "Every entry, leaf hash, tile, checkpoint and signature of a log of entries of 300 bytes; medians of {ROUNDS} \
             rounds in turns. It must hold: 1,000,000 entries/s on PostgreSQL, in a log of 10,000,000. The ratio is of entries/s to reading the same entries and doing nothing with \
             them, over as many connections."
        ),
        &["store", "entries", "what", "workers", "entries/s", "ratio"],
    );
    for (name, postgres) in [("PostgreSQL", true), ("embedded", false)] {
        let logs = &mut bench.logs;
        let log = if postgres { logs.take_postgres(large).await } else { logs.take_embedded(small).await };
        let mut rates = [const { Vec::new() }; 4];
        for _ in 0..ROUNDS {
            for (slot, rates) in rates.iter_mut().enumerate() {
                let workers = 1 + slot / 2;
                let time =
                    if slot % 2 == 0 { read(&log, workers).await } else { checked(&log, workers).await };
                rates.push(f64::from(u32::try_from(log.size).unwrap_or(u32::MAX)) / time.as_secs_f64());
            }
        }
        let rates = rates.map(median);
        for (slot, rate) in rates.iter().enumerate() {
            let (workers, reading) = (1 + slot / 2, rates.get(slot / 2 * 2).copied().unwrap_or(f64::NAN));
            table.row(&[
                name.to_owned(),
                number(f64::from(u32::try_from(log.size).unwrap_or(u32::MAX))),
                if slot % 2 == 0 { "reading alone" } else { "fsck" }.to_owned(),
                workers.to_string(),
                number(*rate),
                ratio(rate / reading),
            ]);
        }
        *if postgres { &mut bench.logs.postgres } else { &mut bench.logs.embedded } = Some(log);
    }
    table.print();
}

async fn checked(log: &SampleLog, workers: usize) -> Duration {
    let options = Options { workers, ..Options::default() };
    let began = Instant::now();
    let report =
        check(Arc::clone(&log.store), &log.log, options, Progress::default()).await.expect("a report");
    assert_eq!((report.findings_total, report.size), (0, log.size), "a log that is as it should be");
    began.elapsed()
}

/// Reads the log in chunks as fsck does, and does nothing with what it reads.
async fn read(log: &SampleLog, workers: usize) -> Duration {
    const CHUNK: u64 = 65_536;
    let began = Instant::now();
    let next = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..workers {
        let (store, id, size, next) = (Arc::clone(&log.store), log.log.id, log.size, Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let start = CHUNK * next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if start >= size {
                    return;
                }
                let mut bytes = 0;
                let mut sink = |_, data: &[u8], _: &[u8]| bytes += data.len();
                store.scan(id, start..size.min(start + CHUNK), &mut sink).await.expect("the entries");
                std::hint::black_box(bytes);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a reader ends well");
    }
    began.elapsed()
}
