//! The embedded store: appends through the command line, and batches.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Bench;
use super::load::{count, event};
use super::process::call;
use super::sample::SampleLog;
use super::table::{Table, number, ratio};

/// Prints the tables, and leaves the log for other sections.
pub(crate) async fn run(bench: &mut Bench) {
    let lines = bench.scaled(250_000);
    let log = SampleLog::on_the_embedded_store().await;
    let mut table = Table::new(
        "The embedded store",
        "A file of lines of 300 bytes, appended by `attestlog append` as a process of its own, then processed in batches \
         of up to 10,000, and a second file appended on top; the ratio is to the SHA-256 of the file by the `sha2` crate.",
        &["what", "entries", "entries/s", "ratio"],
    );
    let (first, second) = (write_lines(&log, 0, lines), write_lines(&log, lines, lines));
    let hashing = hash_file(&first);
    let entries = count(usize::try_from(lines).unwrap_or(usize::MAX));
    let mut row = |what: &str, time: Duration| {
        let rate = entries / time.as_secs_f64();
        let compared = hashing.as_secs_f64() / time.as_secs_f64();
        table.row(&[what.to_owned(), number(entries), number(rate), ratio(compared)]);
    };
    row("reading and hashing the file", hashing);
    log.store.close().await;
    let data = log.data().display().to_string();
    let append = |file: &Path, wait: bool| {
        let mut arguments = vec!["append".to_owned(), "default".to_owned(), file.display().to_string()];
        arguments.extend(["--data".to_owned(), data.clone()]);
        arguments.extend((!wait).then(|| "--no-wait".to_owned()));
        call(bench.program.clone(), arguments)
    };
    row("`attestlog append --no-wait`: durable", append(&first, false).await);
    let log = log.reopened().await;
    let batches = log.sequence().await;
    row(
        "`Sequencer::step` until nothing is left: in the tree and signed",
        batches.iter().map(|batch| batch.1).sum(),
    );
    log.store.close().await;
    row("`attestlog append`: durable, in the tree and signed", append(&second, true).await);
    table.print();
    let file = std::fs::metadata(log.data().join("attestlog.db")).map_or(0, |file| file.len());
    let bytes = count(usize::try_from(file).unwrap_or(usize::MAX)) / (2.0 * entries);
    println!("\nThe file has {} bytes an entry.", number(bytes));

    let mut table = Table::new(
        "A batch on the embedded store, first and last",
        "`Sequencer::step` in this process, over the first file.",
        &["batches", "entries a batch", "ms a batch", "ratio"],
    );
    let tenth = (batches.len() / 10).max(1);
    let mean = |part: &[(usize, Duration)]| {
        let entries: usize = part.iter().map(|batch| batch.0).sum();
        let time: Duration = part.iter().map(|batch| batch.1).sum();
        (count(entries) / count(part.len()), time.as_secs_f64() * 1000.0 / count(part.len()))
    };
    let (first_tenth, last_tenth) =
        (batches.get(..tenth), batches.get(batches.len().saturating_sub(tenth)..));
    let (first_entries, first_time) = mean(first_tenth.unwrap_or_default());
    for (name, part) in [("first", first_tenth), ("last", last_tenth)] {
        let (entries, time) = mean(part.unwrap_or_default());
        let compared = ratio((time / entries) / (first_time / first_entries));
        table.row(&[format!("{name} {tenth}"), number(entries), number(time), compared]);
    }
    table.print();
    let mut log = log.reopened().await;
    log.size = log.signed().await;
    bench.logs.embedded = Some(log);
}

fn write_lines(log: &SampleLog, from: u64, lines: u64) -> PathBuf {
    let path = log.directory().join(format!("{from}.ndjson"));
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).expect("a file"));
    for number in from..from + lines {
        file.write_all(&event(number)).and_then(|()| file.write_all(b"\n")).expect("the file takes lines");
    }
    file.into_inner().expect("the file takes lines").sync_all().expect("the file syncs");
    path
}

fn hash_file(path: &Path) -> Duration {
    let began = std::time::Instant::now();
    let bytes = std::fs::read(path).expect("the file");
    std::hint::black_box(<sha2::Sha256 as sha2::Digest>::digest(&bytes));
    began.elapsed()
}
