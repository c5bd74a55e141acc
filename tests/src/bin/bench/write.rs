//! The write path on PostgreSQL: what an application's own transaction pays.

use std::time::Duration;

use attestlog_tests::databases::{connection, execute};
use sqlx::PgConnection;

use super::Bench;
use super::load::{Caller, Measured, closed_loop, event, median};
use super::process::Server;
use super::sample::SampleLog;
use super::table::{Table, milliseconds, number, ratio};

const ROUNDS: usize = 3;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The table that an application would have otherwise.
    Plain,
    /// `attestlog.append`, while a server processes at this interval in milliseconds.
    Append(u32),
    /// `attestlog.append_rows` with arrays, at this interval.
    Rows(u32),
}

const WAYS: [Way; 5] = [Way::Plain, Way::Append(100), Way::Append(50), Way::Rows(100), Way::Rows(50)];

impl Way {
    fn name(self) -> String {
        match self {
            Self::Plain => "plain audit table (`bigserial`, `created_at`, `jsonb`)".to_owned(),
            Self::Append(interval) => format!("`attestlog.append`, server every {interval} ms"),
            Self::Rows(interval) => format!("`attestlog.append_rows`, server every {interval} ms"),
        }
    }

    fn interval(self) -> Option<u32> {
        match self {
            Self::Plain => None,
            Self::Append(interval) | Self::Rows(interval) => Some(interval),
        }
    }
}

/// One connection, and the number of its next event.
struct Writer {
    connection: PgConnection,
    next: u64,
    log: i64,
    way: Way,
    /// The events of a statement.
    events: u64,
}

impl Caller for Writer {
    async fn call(&mut self) {
        let data: Vec<Vec<u8>> = (self.next..self.next + self.events).map(event).collect();
        self.next += self.events;
        match (self.way, <[Vec<u8>; 1]>::try_from(data)) {
            (Way::Plain, Ok([one])) => {
                let one = String::from_utf8(one).expect("JSON");
                self.run(sqlx::query("insert into audit (data) values ($1::text::jsonb)").bind(one)).await;
            }
            (Way::Plain, Err(many)) => {
                let many: Vec<String> =
                    many.into_iter().map(|one| String::from_utf8(one).expect("JSON")).collect();
                let sql = "insert into audit (data) select d::jsonb from unnest($1::text[]) d";
                self.run(sqlx::query(sql).bind(many)).await;
            }
            (Way::Append(_), Ok([one])) => {
                self.run(sqlx::query("select attestlog.append('default', $1::bytea)").bind(one)).await;
            }
            (Way::Append(_), Err(many)) => {
                let sql = "select attestlog.append('default', d) from unnest($1::bytea[]) d";
                self.run(sqlx::query(sql).bind(many)).await;
            }
            (Way::Rows(_), data) => {
                let data = data.map_or_else(|many| many, Vec::from);
                let logs = vec![self.log; data.len()];
                let sql = "select ticket from attestlog.append_rows($1::bigint[], $2::bytea[])";
                self.run(sqlx::query(sql).bind(logs).bind(data)).await;
            }
        }
    }
}

impl Writer {
    async fn run(&mut self, query: sqlx::query::Query<'_, sqlx::Postgres, sqlx::postgres::PgArguments>) {
        query.fetch_all(&mut self.connection).await.expect("the rows are written");
    }
}

/// What one way has done in all rounds.
#[derive(Default)]
struct Turns {
    measured: Measured,
    rates: Vec<f64>,
    ratios: Vec<f64>,
    signed: Vec<f64>,
}

/// Prints the tables.
pub(crate) async fn run(bench: &Bench) {
    let log = SampleLog::on_postgres().await;
    let url = log.database().expect("a URL").to_owned();
    execute(
        &url,
        "create table audit (id bigserial primary key, created_at timestamptz not null default now(), data jsonb not null)",
    )
    .await;
    let mut table = Table::new(
        "The write path on PostgreSQL",
        &format!(
            "Closed loop, autocommit, events of 300 bytes; {ROUNDS} rounds in which the ways take turns, medians of the \
             rounds; the ratio is of rows/s to the plain table in the same round. \"Signed meanwhile\" is the share of \
             the rows that a signed head covered when the round's time was over (the server runs on the same cores)."
        ),
        &[
            "connections × events a statement",
            "way",
            "rows/s",
            "ratio",
            "p50 ms",
            "p99 ms",
            "signed meanwhile",
        ],
    );
    for (connections, events) in [(1, 1), (8, 1), (32, 1), (8, 100)] {
        let mut results: Vec<Turns> = WAYS.iter().map(|_| Turns::default()).collect();
        for round in 0..ROUNDS {
            let mut plain = f64::NAN;
            // Each round begins with another way, but the plain one goes first: the others refer to it.
            let turns = std::iter::once(0)
                .chain((0..WAYS.len() - 1).map(|turn| 1 + (turn + round) % (WAYS.len() - 1)));
            for position in turns {
                let (Some(way), Some(result)) = (WAYS.get(position), results.get_mut(position)) else {
                    continue;
                };
                let (measured, signed) = turn(bench, &log, *way, connections, events).await;
                let rate = measured.rate() * f64::from(events);
                if *way == Way::Plain {
                    plain = rate;
                }
                result.rates.push(rate);
                result.ratios.push(rate / plain);
                // What the rounds before the time began left is signed in it too.
                result.signed.push((signed / (rate * measured.elapsed.as_secs_f64())).min(1.0));
                result.measured.times.extend(measured.times);
            }
        }
        for (way, result) in WAYS.into_iter().zip(results) {
            let signed = median(result.signed) * 100.0;
            table.row(&[
                format!("{connections} × {events}"),
                way.name(),
                number(median(result.rates)),
                ratio(median(result.ratios)),
                milliseconds(result.measured.percentile(50)),
                milliseconds(result.measured.percentile(99)),
                if way == Way::Plain { "–".to_owned() } else { format!("{signed:.0} %") },
            ]);
        }
    }
    table.print();
}

/// Writes in one way for a while; what it took, and how many of the rows were signed by its end.
async fn turn(bench: &Bench, log: &SampleLog, way: Way, connections: u32, events: u32) -> (Measured, f64) {
    let url = log.database().expect("a URL");
    let server = match way.interval() {
        Some(interval) => {
            Some(Server::start(&bench.program, Some(url), log.data(), &format!("{interval}ms")).await)
        }
        None => None,
    };
    let mut writers = Vec::new();
    for number in 0..connections {
        let connection = connection(url).await;
        writers.push(Writer {
            connection,
            next: u64::from(number) << 32,
            log: log.log.id.0,
            way,
            events: events.into(),
        });
    }
    // Plans are made and pages are touched before the time begins.
    closed_loop(&mut writers, Duration::from_millis(200)).await;
    let before = log.signed().await;
    let measured = closed_loop(&mut writers, bench.seconds(2.0)).await;
    let signed = u32::try_from(log.signed().await - before).unwrap_or(u32::MAX);
    if let Some(server) = server {
        drain(url).await;
        server.stop().await;
    }
    (measured, f64::from(signed))
}

/// Waits until nothing is left to process, so that the next turn has the machine for itself.
async fn drain(url: &str) {
    let mut connection = connection(url).await;
    loop {
        let waiting: i64 = sqlx::query_scalar("select waiting from attestlog.backlog(1)")
            .fetch_one(&mut connection)
            .await
            .expect("an answer");
        if waiting == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
