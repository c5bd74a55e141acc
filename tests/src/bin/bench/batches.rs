//! Batches of the embedded store, without a server: what one costs, at the beginning and at the end.

use std::time::Duration;

use super::Bench;
use super::load::count;
use super::sample::SampleLog;
use super::table::{Table, number, ratio};

/// Prints the table, and leaves the log for other sections.
pub(crate) async fn run(bench: &mut Bench) {
    let entries = bench.scaled(500_000);
    let mut log = SampleLog::on_the_embedded_store().await;
    let mut table = Table::new(
        "A batch on the embedded store",
        &format!(
            "`Sequencer::step` in this process, in the tree and signed, over {} entries of 300 bytes that wait; the ratio is \
             of the time an entry to the first batches'.",
            number(count(usize::try_from(entries).unwrap_or(usize::MAX)))
        ),
        &["batches", "entries a batch", "ms a batch", "entries/s", "ratio"],
    );
    log.append(entries).await;
    let batches = log.sequence().await;
    let tenth = (batches.len() / 10).max(1);
    let (first, last) = (batches.get(..tenth), batches.get(batches.len().saturating_sub(tenth)..));
    let sums = |part: &[(usize, Duration)]| {
        let entries: usize = part.iter().map(|batch| batch.0).sum();
        (count(entries), part.iter().map(|batch| batch.1).sum::<Duration>().as_secs_f64())
    };
    let (first_entries, first_time) = sums(first.unwrap_or_default());
    for (name, part) in [("the first", first), ("the last", last), ("all", Some(&*batches))] {
        let part = part.unwrap_or_default();
        let (entries, time) = sums(part);
        table.row(&[
            format!("{name} {}", part.len()),
            number(entries / count(part.len())),
            number(time * 1000.0 / count(part.len())),
            number(entries / time),
            ratio((time / entries) / (first_time / first_entries)),
        ]);
    }
    table.print();
    bench.logs.embedded = Some(log);
}
