//! The server over HTTP, driven from this process.

use super::Bench;
use super::load::{Caller, Measured, closed_loop, count, event};
use super::process::{Server, client};
use super::sample::SampleLog;
use super::table::{Table, milliseconds, number, ratio};

/// A connection's worth of requests, one after the other.
struct Reader {
    client: reqwest::Client,
    /// What `path` makes an address of.
    prefix: String,
    next: u64,
    size: u64,
    kind: Kind,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Health,
    Checkpoint,
    Tile,
    Bundle,
    Inclusion,
    Receipt,
    Add,
}

const READS: [(Kind, &str); 6] = [
    (Kind::Health, "`/healthz`, which asks the database nothing"),
    (Kind::Checkpoint, "`checkpoint`"),
    (Kind::Tile, "`tile/0/N`, full, 8 KiB"),
    (Kind::Bundle, "`tile/entries/N`, full, 77 kB"),
    (Kind::Inclusion, "`proof/inclusion`"),
    (Kind::Receipt, "`entries/N/receipt`"),
];

/// The path of a full entry bundle below a log's prefix.
pub(crate) fn bundle_path(index: u64) -> String {
    format!("tile/entries/{}", tile_index(index))
}

/// tlog-tiles writes indexes in groups of three digits, all but the last with an `x`.
fn tile_index(index: u64) -> String {
    let last = format!("{:03}", index % 1000);
    if index < 1000 { last } else { format!("x{:03}/{last}", index / 1000) }
}

impl Reader {
    fn path(&mut self) -> String {
        self.next = self.next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let index = (self.next >> 20) % self.size.max(1);
        let tile = index / 256 % (self.size / 256).max(1);
        match self.kind {
            Kind::Health => "healthz".to_owned(),
            Kind::Checkpoint => "logs/default/checkpoint".to_owned(),
            Kind::Tile => format!("logs/default/tile/0/{}", tile_index(tile)),
            Kind::Bundle => format!("logs/default/{}", bundle_path(tile)),
            Kind::Inclusion => format!("logs/default/proof/inclusion?index={index}&size={}", self.size),
            Kind::Receipt => format!("logs/default/entries/{index}/receipt"),
            Kind::Add => "logs/default/add".to_owned(),
        }
    }
}

impl Caller for Reader {
    async fn call(&mut self) {
        let path = self.path();
        let url = format!("{}/{path}", self.prefix);
        let request = match self.kind {
            Kind::Add => self.client.post(&url).body(event(self.next)),
            _ => self.client.get(&url),
        };
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{url}");
        answer.bytes().await.expect("a body");
    }
}

/// Prints the tables.
pub(crate) async fn run(bench: &mut Bench) {
    let million = bench.scaled(1_000_000);
    bench.logs.postgres(million).await;
    let Some(log) = bench.logs.postgres.take() else { return };
    reads(bench, &log).await;
    bench.logs.postgres = Some(log);
    adds(bench).await;
}

async fn reads(bench: &Bench, log: &SampleLog) {
    let server = Server::start(&bench.program, log.database(), log.data(), "100ms").await;
    let mut table = Table::new(
        "Reads over HTTP",
        &format!(
            "Closed loop over 64 connections, nothing cached in between, at random places in a log of {} entries on \
             PostgreSQL; the client runs on the same cores. The ratio is to `/healthz` in the same run; processor time is \
             the server's alone.",
            number(count(usize::try_from(log.size).unwrap_or(usize::MAX)))
        ),
        &["request", "requests/s", "ratio", "p50 ms", "p99 ms", "server's µs of processor a request"],
    );
    let mut health = f64::NAN;
    for (kind, name) in READS {
        let (measured, cpu) = drive(bench, &server, kind, 64, log.size).await;
        if kind == Kind::Health {
            health = measured.rate();
        }
        table.row(&[
            name.to_owned(),
            number(measured.rate()),
            ratio(measured.rate() / health),
            milliseconds(measured.percentile(50)),
            milliseconds(measured.percentile(99)),
            number(cpu * 1e6 / count(measured.times.len())),
        ]);
    }
    table.print();
    server.stop().await;
}

async fn adds(bench: &Bench) {
    let mut table = Table::new(
        "Appends over HTTP",
        "Closed loop of `POST add`, one event of 300 bytes each, answered once a published checkpoint covers it; so at most \
         one request a connection and batch. The ratio is to what the interval alone would allow: connections divided by \
         the interval.",
        &[
            "store",
            "server every",
            "connections",
            "requests/s",
            "ratio",
            "p50 ms",
            "p99 ms",
            "server's µs of processor a request",
        ],
    );
    for (name, postgres) in [("PostgreSQL", true), ("embedded", false)] {
        let log =
            if postgres { SampleLog::on_postgres().await } else { SampleLog::on_the_embedded_store().await };
        for (interval, seconds) in [("100ms", 0.1), ("20ms", 0.02)] {
            let server = Server::start(&bench.program, log.database(), log.data(), interval).await;
            for connections in [64_u32, 256] {
                let (measured, cpu) = drive(bench, &server, Kind::Add, connections, 1).await;
                table.row(&[
                    name.to_owned(),
                    interval.replace("ms", " ms"),
                    connections.to_string(),
                    number(measured.rate()),
                    ratio(measured.rate() * seconds / f64::from(connections)),
                    milliseconds(measured.percentile(50)),
                    milliseconds(measured.percentile(99)),
                    number(cpu * 1e6 / count(measured.times.len())),
                ]);
            }
            server.stop().await;
        }
    }
    table.print();
}

/// The requests of one kind; what they took, and the seconds of processor time that the server took.
async fn drive(bench: &Bench, server: &Server, kind: Kind, connections: u32, size: u64) -> (Measured, f64) {
    let client = client();
    let reader = |number: u32| Reader {
        client: client.clone(),
        prefix: server.address.clone(),
        next: (u64::from(number) + 1) << 33,
        size,
        kind,
    };
    let mut readers: Vec<Reader> = (0..connections).map(reader).collect();
    // Connections are made before the time begins.
    closed_loop(&mut readers, bench.seconds(0.3)).await;
    let before = server.cpu_seconds();
    let measured = closed_loop(&mut readers, bench.seconds(4.0)).await;
    (measured, server.cpu_seconds() - before)
}
