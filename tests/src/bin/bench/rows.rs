//! The figures that must hold under load, each measured by `attestlog bench` against a server of its own: in a log of
//! 10,000 entries, and again in one of 10,000,000.

use attestlog_server::bench::Spread;
use serde_json::Value;

use super::Bench;
use super::process::{Server, call};
use super::sample::SampleLog;
use super::table::{Table, number};

/// The entries of a log that has just begun.
const FEW: u64 = 10_000;

/// A load, and what must hold of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// The section of `scripts/bench` that repeats it.
    pub(crate) name: &'static str,
    what: &'static str,
    postgres: bool,
    /// Arguments of `attestlog bench`.
    load: &'static [&'static str],
    figures: &'static [Figure],
}

/// A figure of a turn, or of a round's ratio.
#[derive(Clone, Copy, Debug)]
struct Figure {
    what: &'static str,
    /// Where it is in the report: below `summary` a spread, else below each turn a number.
    at: &'static str,
    bound: Bound,
}

#[derive(Clone, Copy, Debug)]
enum Bound {
    Least(f64),
    Most(f64),
    /// It is shown beside the others.
    None,
}

use Bound::{Least, Most};

const SERVER_MEMORY: Figure =
    Figure { what: "server's memory, MB", at: "/usage/server/memory", bound: Most(150.0) };

/// The machine's cores divided by it are the rate that the processor allows.
const PROCESSOR: Figure =
    Figure { what: "processor time an entry or read, µs", at: "/processor_us", bound: Bound::None };

/// All of them.
pub(crate) const ROWS: [Row; 8] = [
    Row {
        name: "sql",
        what: "one event a transaction over SQL, 32 connections",
        postgres: true,
        load: &["--through", "sql", "--connections", "32", "--baseline"],
        figures: &[
            Figure { what: "of the plain INSERT", at: "/summary/acknowledged_ratio", bound: Least(0.90) },
            Figure {
                what: "of the plain INSERT, by processor time",
                at: "/summary/processor_ratio",
                bound: Bound::None,
            },
            Figure { what: "covered leaves/s", at: "/covered_per_second", bound: Bound::None },
            Figure { what: "acknowledged p99, ms", at: "/acknowledged_ms/p99", bound: Bound::None },
            PROCESSOR,
            SERVER_MEMORY,
        ],
    },
    Row {
        name: "bulk",
        what: "bulk over SQL, 100 events a statement, 8 connections",
        postgres: true,
        load: &["--through", "sql", "--connections", "8", "--batch", "100", "--baseline"],
        figures: &[
            Figure { what: "covered leaves/s", at: "/covered_per_second", bound: Least(120_000.0) },
            Figure { what: "of the plain INSERT", at: "/summary/covered_ratio", bound: Least(0.60) },
            Figure {
                what: "of the plain INSERT, by processor time",
                at: "/summary/processor_ratio",
                bound: Bound::None,
            },
            Figure {
                what: "bytes stored, of the plain table's",
                at: "/summary/stored_ratio",
                bound: Most(1.25),
            },
            Figure { what: "WAL, bytes an entry", at: "/stored/wal", bound: Bound::None },
            PROCESSOR,
            SERVER_MEMORY,
        ],
    },
    Row {
        name: "add",
        what: "HTTP `add`, 512 closed-loop clients, 256-byte entries",
        postgres: true,
        load: &["--through", "add", "--connections", "512", "--entry-size", "256"],
        figures: &[
            Figure { what: "covered leaves/s", at: "/covered_per_second", bound: Least(12_000.0) },
            Figure { what: "p99, ms", at: "/covered_ms/p99", bound: Most(500.0) },
            PROCESSOR,
            SERVER_MEMORY,
        ],
    },
    Row {
        name: "entries",
        what: "HTTP NDJSON batches of 256",
        postgres: true,
        load: &["--through", "entries", "--connections", "16", "--batch", "256"],
        figures: &[
            Figure { what: "covered leaves/s", at: "/covered_per_second", bound: Least(70_000.0) },
            PROCESSOR,
            SERVER_MEMORY,
        ],
    },
    Row {
        name: "open",
        what: "open loop 1,000/s over HTTP, interval 100 ms",
        postgres: true,
        load: &["--through", "entries", "--batch", "1", "--rate", "1000"],
        figures: &[
            Figure { what: "acknowledged p99, ms", at: "/acknowledged_ms/p99", bound: Most(20.0) },
            Figure { what: "covered p50, ms", at: "/covered_ms/p50", bound: Most(120.0) },
            Figure { what: "covered p99, ms", at: "/covered_ms/p99", bound: Most(250.0) },
            PROCESSOR,
            SERVER_MEMORY,
        ],
    },
    Row {
        name: "embedded",
        what: "embedded store, NDJSON batches",
        postgres: false,
        load: &["--through", "entries", "--connections", "16", "--batch", "256"],
        figures: &[
            Figure { what: "covered leaves/s", at: "/covered_per_second", bound: Least(80_000.0) },
            PROCESSOR,
            SERVER_MEMORY,
        ],
    },
    Row {
        name: "tiles",
        what: "reading full tiles, 64 clients",
        postgres: true,
        load: &["--through", "tiles", "--connections", "64"],
        figures: &[
            Figure { what: "tiles/s", at: "/calls_per_second", bound: Least(25_000.0) },
            PROCESSOR,
            SERVER_MEMORY,
        ],
    },
    Row {
        name: "bundles",
        what: "reading full bundles, 64 clients",
        postgres: true,
        load: &["--through", "bundles", "--connections", "64"],
        figures: &[
            Figure { what: "bundles/s", at: "/calls_per_second", bound: Least(5_000.0) },
            PROCESSOR,
            SERVER_MEMORY,
        ],
    },
];

/// What was not measured.
const NOTHING: Spread = Spread { median: f64::NAN, min: f64::NAN, max: f64::NAN };

/// Measures the rows in logs that have just begun; with `growth` in large ones too.
pub(crate) async fn run(bench: &mut Bench, rows: &[Row], growth: bool) {
    let mut table = Table::new(
        "Figures under load",
        "Each row against a server of its own, in a log that begins with 10,000 entries: the median of the rounds, and \
         from the least to the most of them. Ratios are to a plain INSERT into an ordinary audit table, in turns.",
        &["load", "figure", "must be", "is", "least to most", "holds", "command"],
    );
    let mut small = Vec::new();
    for row in rows {
        let log = if row.postgres {
            SampleLog::on_postgres().await
        } else {
            SampleLog::on_the_embedded_store().await
        };
        let (log, report) = measure(bench, log, FEW, row).await;
        drop(log);
        for figure in row.figures {
            let spread = figure.of(&report);
            table.row(&figure.cells(row, spread));
        }
        small.push(report);
    }
    table.print();
    println!(
        "\nWhat `scripts/bench` runs, beside what names the server, the store and the times:\n\n```text"
    );
    for row in rows {
        println!("{:8}  attestlog bench {}", row.name, row.load.join(" "));
    }
    println!("```");
    if growth {
        grown(bench, rows, &small).await;
    }
}

/// Measures them again where the log is large.
async fn grown(bench: &mut Bench, rows: &[Row], small: &[Value]) {
    let size = bench.scaled(10_000_000);
    let shown = number(f64::from(u32::try_from(size).unwrap_or(u32::MAX)));
    let mut table = Table::new(
        "Growth",
        &format!(
            "The same loads in a log of {shown} entries; the ratio is of the rate there to that in a log of 10,000, or of \
             the time here to that there. It must be at least 0.95, and the server's memory under 150 MB."
        ),
        &["load", "figure", "10,000 entries", &format!("{shown} entries"), "least to most", "ratio"],
    );
    for postgres in [true, false] {
        let mut log = None;
        for (row, before) in rows.iter().zip(small).filter(|(row, _)| row.postgres == postgres) {
            let logs = &mut bench.logs;
            let large = match log.take() {
                Some(log) => log,
                None if postgres => logs.take_postgres(size).await,
                None => logs.take_embedded(size).await,
            };
            let (large, report) = measure(bench, large, size, row).await;
            log = Some(large);
            for figure in row.figures {
                let (few, many) = (figure.of(before), figure.of(&report));
                let is_memory = figure.at == SERVER_MEMORY.at;
                let faster =
                    if figure.is_rate() { many.median / few.median } else { few.median / many.median };
                table.row(&[
                    row.what.to_owned(),
                    figure.what.to_owned(),
                    number(few.median),
                    number(many.median),
                    format!("{} to {}", number(many.min), number(many.max)),
                    if is_memory || faster.is_nan() { "–".to_owned() } else { format!("{faster:.2}") },
                ]);
            }
        }
        *if postgres { &mut bench.logs.postgres } else { &mut bench.logs.embedded } = log;
    }
    table.print();
}

/// What `attestlog bench` reports of a load on a log that has at least `size` entries.
async fn measure(bench: &Bench, mut log: SampleLog, size: u64, row: &Row) -> (SampleLog, Value) {
    log.fill(size).await;
    log.settle().await;
    log.store.close().await;
    let server = Server::start(bench, log.database(), log.data()).await;
    let milliseconds = |seconds: f64| format!("{}ms", bench.seconds(seconds).as_millis());
    let mut arguments: Vec<String> =
        ["bench", "default", "--json", "--rounds", "3"].map(str::to_owned).to_vec();
    arguments.extend(row.load.iter().map(|argument| (*argument).to_owned()));
    arguments.extend(["--duration".into(), milliseconds(6.0), "--warm-up".into(), milliseconds(3.0)]);
    arguments.extend([
        "--server".into(),
        server.address.clone(),
        "--data".into(),
        log.data().display().to_string(),
    ]);
    if let Some(database) = log.database() {
        arguments.extend(["--database".into(), database.to_owned()]);
    }
    let report = call(bench.program.clone(), arguments).await;
    server.stop().await;
    let report: Value = serde_json::from_slice(&report).expect("a report is JSON");
    for turn in report["turns"].as_array().expect("turns") {
        if turn["failed"] != 0 || turn["uncovered"] != 0 {
            eprintln!("bench: {}: failed {}, not covered {}", row.name, turn["failures"], turn["uncovered"]);
        }
    }
    (log.reopened().await, report)
}

impl Figure {
    fn of(&self, report: &Value) -> Spread {
        if self.at.starts_with("/summary") {
            let at = |name: &str| report.pointer(&format!("{}/{name}", self.at)).and_then(Value::as_f64);
            let at = |name: &str| at(name).unwrap_or(f64::NAN);
            return Spread { median: at("median"), min: at("min"), max: at("max") };
        }
        let scale = if self.at == SERVER_MEMORY.at { 1e-6 } else { 1.0 };
        let turns =
            report["turns"].as_array().expect("turns").iter().filter(|turn| turn["way"] == "attestlog");
        let values = turns.filter_map(|turn| Some(turn.pointer(self.at)?.as_f64()? * scale));
        // Nothing was timed where it is 0.
        Spread::of(values.filter(|value| *value > 0.0)).unwrap_or(NOTHING)
    }

    /// Whether more is better.
    fn is_rate(&self) -> bool {
        self.at.ends_with("_per_second") || matches!(self.bound, Least(_))
    }

    fn cells(&self, row: &Row, spread: Spread) -> [String; 7] {
        let (must, holds) = match self.bound {
            Least(bound) => (format!("≥ {}", number(bound)), Some(spread.median >= bound)),
            Most(bound) => (format!("≤ {}", number(bound)), Some(spread.median <= bound)),
            Bound::None => ("–".to_owned(), None),
        };
        [
            row.what.to_owned(),
            self.what.to_owned(),
            must,
            number(spread.median),
            format!("{} to {}", number(spread.min), number(spread.max)),
            holds
                .filter(|_| spread.median.is_finite())
                .map_or("–", |holds| if holds { "yes" } else { "**no**" })
                .to_owned(),
            format!("`scripts/bench {}`", row.name),
        ]
    }
}
