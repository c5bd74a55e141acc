//! What an entry costs the process that serves a connection in PostgreSQL, step by step: the processor time on it, which
//! neither the disk nor other machines move.

use attestlog_server::store::postgres::bench::BenchConnection;
use attestlog_tests::databases::connection;
use sqlx::{Executor, PgConnection};

use super::Bench;
use super::load::{count, event, median};
use super::sample::SampleLog;
use super::table::{Table, number, ratio};

const ROUNDS: usize = 25;

/// Calls of one entry in a round.
const CALLS: usize = 100;

/// Entries of a call in bulk.
const BULK: usize = 100;

/// The most rows of a large batch: 16 MB are its other limit.
const MOST_ROWS: usize = 50_000;

const ROUND_TRIP: &str = "`select 1`: a round trip";
const PLAIN: &str = "one event: INSERT into the plain table";
const INSERT: &str = "one event: INSERT into `append_only_log`, without the function";
const APPEND: &str = "one event: `attestlog.append`";
const PLAIN_BULK: &str = "100 events a statement: INSERT into the plain table, each";
const APPEND_BULK: &str = "100 events a statement: `attestlog.append_all`, each";
const BATCH: &str = "`process_next_batch`, each row of a large batch";
const EMPTY_BATCH: &str = "`process_next_batch`, when there is nothing";
const VACUUM: &str = "vacuum of `append_only_log`, each row of a large batch";

/// Prints the table.
pub(crate) async fn run(bench: &Bench) {
    let log = SampleLog::on_postgres().await;
    // Whole calls, and no more than a batch takes.
    let rows = usize::try_from(bench.scaled(10_000)).expect("a size").next_multiple_of(BULK).min(MOST_ROWS);
    let mut costs = Costs::connect(log.database().expect("a URL"), rows).await;
    let title = format!("Costs in PostgreSQL (batches of {})", number(count(rows)));
    let mut table = Table::new(
        &title,
        &format!(
            "Processor time on the one process that serves the connection, user and system, per /proc; events of 300 \
             bytes, {ROUNDS} rounds in turns, one connection at a time. The sums are what an entry takes from append to \
             vacuum; the ratio is the plain table's least divided by this one's."
        ),
        &["step", "µs, least", "µs, median", "of the plain INSERT"],
    );
    for _ in 0..ROUNDS {
        costs.round().await;
    }
    for (step, plain) in [
        (ROUND_TRIP, None),
        (PLAIN, Some(PLAIN)),
        (INSERT, Some(PLAIN)),
        (APPEND, Some(PLAIN)),
        (PLAIN_BULK, Some(PLAIN_BULK)),
        (APPEND_BULK, Some(PLAIN_BULK)),
        (EMPTY_BATCH, None),
        (BATCH, None),
        (VACUUM, None),
    ] {
        costs.print(&mut table, step, &[step], plain);
    }
    costs.print(&mut table, "**one event, all steps**", &[APPEND, BATCH, VACUUM], Some(PLAIN));
    costs.print(
        &mut table,
        "**100 events a statement, all steps, each**",
        &[APPEND_BULK, BATCH, VACUUM],
        Some(PLAIN_BULK),
    );
    table.print();
}

/// The connections, and what was measured.
#[derive(Debug)]
struct Costs {
    /// The statements of the load generator.
    writer: BenchConnection,
    writer_process: i32,
    /// All others.
    other: PgConnection,
    other_process: i32,
    /// Rows of a large batch.
    rows: usize,
    next: u64,
    /// Microseconds of a step, once a round.
    steps: Vec<(&'static str, f64)>,
}

impl Costs {
    async fn connect(url: &str, rows: usize) -> Self {
        let mut writer = BenchConnection::connect(url).await.expect("a connection");
        writer.make_plain_table().await.expect("the plain table");
        let writer_process = writer.backend().await.expect("an answer");
        let mut other = connection(url).await;
        let other_process =
            sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut other).await.expect("an answer");
        Self { writer, writer_process, other, other_process, rows, next: 0, steps: Vec::new() }
    }

    fn events(&mut self, count: usize) -> Vec<String> {
        let first = self.next;
        self.next += count as u64;
        (first..self.next).map(|number| String::from_utf8(event(number)).expect("text")).collect()
    }

    /// Each step once; nothing waits in the end.
    async fn round(&mut self) {
        let before = on_processor(self.other_process);
        for _ in 0..CALLS {
            sqlx::query("select 1").execute(&mut self.other).await.expect("an answer");
        }
        self.note(ROUND_TRIP, before, self.other_process, CALLS);
        self.write(PLAIN, CALLS, 1, true).await;
        self.insert().await;
        self.write(APPEND, CALLS, 1, false).await;
        self.write(PLAIN_BULK, self.rows / BULK, BULK, true).await;
        self.tidy().await;
        self.write(APPEND_BULK, self.rows / BULK, BULK, false).await;
        let before = on_processor(self.other_process);
        assert_eq!(self.next_batch().await, self.rows, "a batch takes them all");
        self.note(BATCH, before, self.other_process, self.rows);
        let before = on_processor(self.other_process);
        self.vacuum().await;
        self.note(VACUUM, before, self.other_process, self.rows);
        // After a vacuum everything is planned again.
        self.next_batch().await;
        let before = on_processor(self.other_process);
        self.next_batch().await;
        self.note(EMPTY_BATCH, before, self.other_process, 1);
    }

    async fn write(&mut self, step: &'static str, calls: usize, entries: usize, plain: bool) {
        let events = self.events(calls * entries);
        let before = on_processor(self.writer_process);
        for events in events.chunks(entries) {
            let events: Vec<&str> = events.iter().map(String::as_str).collect();
            if plain {
                self.writer.insert_plain(&events).await.expect("the rows are inserted");
            } else {
                let entries: Vec<&[u8]> = events.iter().map(|event| event.as_bytes()).collect();
                self.writer.append("default", &entries).await.expect("the entries are appended");
            }
        }
        self.note(step, before, self.writer_process, calls * entries);
    }

    async fn insert(&mut self) {
        let events = self.events(CALLS);
        let before = on_processor(self.other_process);
        for event in &events {
            let sql = "insert into attestlog.append_only_log (log_id, data) values (1, $1) returning id";
            sqlx::query(sql).bind(event.as_bytes()).execute(&mut self.other).await.expect("a row");
        }
        self.note(INSERT, before, self.other_process, CALLS);
    }

    /// Moves what waits, as the server does.
    async fn next_batch(&mut self) -> usize {
        let sql =
            "select log_id, id, source_id, data, leaf_hash from attestlog.process_next_batch(1000000, false)";
        sqlx::query(sql).fetch_all(&mut self.other).await.expect("a batch").len()
    }

    /// Empties staging.
    async fn tidy(&mut self) {
        while self.next_batch().await > 0 {}
        self.vacuum().await;
    }

    async fn vacuum(&mut self) {
        self.other.execute("vacuum attestlog.append_only_log").await.expect("it is vacuumed");
    }

    fn note(&mut self, step: &'static str, before: f64, process: i32, done: usize) {
        self.steps.push((step, (on_processor(process) - before) / count(done)));
    }

    /// The least and the median of a step.
    fn of(&self, step: &str) -> (f64, f64) {
        let times: Vec<f64> =
            self.steps.iter().filter(|(name, _)| *name == step).map(|(_, time)| *time).collect();
        (times.iter().copied().fold(f64::INFINITY, f64::min), median(times))
    }

    /// Adds a row: the sum of these steps beside the plain one.
    fn print(&self, table: &mut Table, what: &str, steps: &[&str], plain: Option<&str>) {
        let (least, middle) = steps
            .iter()
            .map(|step| self.of(step))
            .fold((0.0, 0.0), |sum, step| (sum.0 + step.0, sum.1 + step.1));
        let of_plain = plain.map_or("–".to_owned(), |plain| ratio(self.of(plain).0 / least));
        table.row(&[what.to_owned(), number(least), number(middle), of_plain]);
    }
}

/// Microseconds that a process has been on a processor.
fn on_processor(process: i32) -> f64 {
    let path = format!("/proc/{process}/schedstat");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let nanoseconds: f64 = text.split(' ').next().and_then(|first| first.parse().ok()).expect("nanoseconds");
    nanoseconds / 1000.0
}
