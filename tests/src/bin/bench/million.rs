//! A log of a million entries through a real server on PostgreSQL: its memory, its batches, its start, its disk.

use std::time::{Duration, Instant};

use attestlog_tests::databases::connection;
use sqlx::PgConnection;

use super::Bench;
use super::load::event;
use super::process::{Batches, Server, client};
use super::sample::SampleLog;
use super::table::{Table, milliseconds, number, ratio};

/// Appended and not processed yet: enough to fill the next batches, and not so much that the scan is another one.
const BACKLOG: u64 = 30_000;

/// Prints the tables, and leaves the log for other sections.
pub(crate) async fn run(bench: &mut Bench) {
    let size = bench.scaled(1_000_000);
    let mut log = SampleLog::on_postgres().await;
    let url = log.database().expect("a URL").to_owned();
    let mut database = connection(&url).await;
    let wal_before = wal_position(&mut database).await;
    let server = Server::start(&bench.program, Some(&url), log.data(), "100ms").await;
    let empty = server.megabytes("VmRSS");

    let mut batches = Table::new(
        "What a batch costs as the log grows",
        &format!(
            "`attestlog serve` on PostgreSQL, its own measurements from `/metrics`; entries of 300 bytes come in by \
             `append_rows`, first a trickle of 1,000 in 100 ms, then as fast as they are processed (full batches of \
             10,000), up to {} entries, then the trickle again. The ratio is to the first row of its kind.",
            number(f64::from(u32::try_from(size).unwrap_or(u32::MAX)))
        ),
        &["entries in the log", "load", "batches", "entries a batch", "ms a batch", "µs an entry", "ratio"],
    );
    let first_trickle = trickle(bench, &mut log, &server).await;
    row(&mut batches, &log, "trickle", first_trickle, first_trickle);
    let (mut first_full, mut filling, began_at) = (None, Duration::ZERO, log.size);
    for tenth in 1..=10 {
        let target = began_at + (size - size.min(began_at)) * tenth / 10;
        let (before, began) = (server.batches().await, Instant::now());
        fill(&mut log, target).await;
        filling += began.elapsed();
        let done = server.batches().await.since(before);
        row(&mut batches, &log, "full", done, *first_full.get_or_insert(done));
    }
    let filled = log.size - began_at;
    let during = server.megabytes("VmHWM");
    let last_trickle = trickle(bench, &mut log, &server).await;
    row(&mut batches, &log, "trickle", last_trickle, first_trickle);
    batches.print();
    let wal = wal_position(&mut database).await - wal_before;
    let sizes = disk_sizes(&mut database).await;

    let mut facts = Table::new(
        "The server that did it",
        "Resident memory from `/proc/PID/status`; the time from the start of the process until `/readyz` answers 200; \
         the disk as PostgreSQL counts it.",
        &["what", "value"],
    );
    let entries = to_f64(filled);
    facts.row(&["entries sequenced and signed a second".into(), number(entries / filling.as_secs_f64())]);
    facts.row(&["memory with an empty log, MB".into(), number(empty)]);
    facts.row(&["most memory while sequencing (VmHWM), MB".into(), number(during)]);
    facts.row(&["memory afterwards (VmRSS), MB".into(), number(server.megabytes("VmRSS"))]);
    over_http(bench, &mut log, &server).await;
    facts.row(&[
        "most memory after appends of NDJSON, `POST add` and reads over HTTP as well (VmHWM), MB".into(),
        number(server.megabytes("VmHWM")),
    ]);
    facts.row(&["stop on SIGTERM, ms".into(), milliseconds(server.stop().await)]);
    let mut starts: Vec<Duration> = Vec::new();
    for _ in 0..5 {
        let server = Server::start(&bench.program, Some(&url), log.data(), "100ms").await;
        starts.push(server.ready_after);
        server.stop().await;
    }
    starts.sort_unstable();
    let shown: Vec<String> = starts.iter().map(|start| milliseconds(*start)).collect();
    facts.row(&["start to `/readyz`, ms, five times".into(), shown.join(", ")]);
    for (what, bytes) in sizes {
        facts.row(&[format!("{what}, bytes an entry"), number(bytes / to_f64(size))]);
    }
    facts.row(&["write-ahead log, bytes an entry".into(), number(wal / to_f64(size))]);
    facts.print();
    bench.logs.postgres = Some(log);
}

fn to_f64(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

fn row(table: &mut Table, log: &SampleLog, load: &str, done: Batches, first: Batches) {
    let each = |batches: Batches| batches.seconds * 1e6 / batches.entries.max(1.0);
    // Full batches differ in size; those of a trickle have a fixed part that is most of it.
    let compared = if load == "full" {
        each(done) / each(first)
    } else {
        done.mean_milliseconds() / first.mean_milliseconds()
    };
    table.row(&[
        number(to_f64(log.size)),
        load.to_owned(),
        number(done.count),
        number(done.mean_entries()),
        number(done.mean_milliseconds()),
        number(each(done)),
        ratio(compared),
    ]);
}

/// 1,000 entries every 100 ms for a while.
async fn trickle(bench: &Bench, log: &mut SampleLog, server: &Server) -> Batches {
    let before = server.batches().await;
    let began = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    while began.elapsed() < bench.seconds(4.0) {
        ticks.tick().await;
        log.append(1000).await;
    }
    log.wait_until_signed(log.size).await;
    server.batches().await.since(before)
}

/// Appends up to `target`, no more than [`BACKLOG`] ahead of the signed head, and waits for its signed head.
async fn fill(log: &mut SampleLog, target: u64) {
    while log.size < target {
        if log.size - log.signed().await < BACKLOG {
            let next = (target - log.size).min(5000);
            log.append(next).await;
        } else {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    log.wait_until_signed(target).await;
}

/// What else takes memory: large requests, many waiting requests, and every kind of read.
async fn over_http(bench: &Bench, log: &mut SampleLog, server: &Server) {
    let client = client();
    let prefix = format!("{}/logs/default", server.address);
    let before = log.signed().await;
    let requests = bench.scaled(100).max(4);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..requests {
        let mut body = Vec::new();
        for line in 0..1000 {
            body.extend(event((1 << 40) + number * 1000 + line));
            body.push(b'\n');
        }
        let request = client.post(format!("{prefix}/entries")).header("content-type", "application/x-ndjson");
        tasks.spawn(request.body(body).send());
        if tasks.len() >= 8 {
            tasks.join_next().await;
        }
    }
    while tasks.join_next().await.is_some() {}
    for number in 0..bench.scaled(5000) {
        tasks.spawn(client.post(format!("{prefix}/add")).body(event((1 << 41) + number)).send());
        if tasks.len() >= 256 {
            tasks.join_next().await;
        }
    }
    while tasks.join_next().await.is_some() {}
    let mut reads = tokio::task::JoinSet::new();
    for number in 0..bench.scaled(2000) {
        let index = number * 7919 % before.max(1);
        let path = match number % 4 {
            0 => format!("entries?from={index}&limit=1000"),
            1 => format!("entries/{index}/receipt"),
            2 => super::http::bundle_path(index / 256 % (before / 256).max(1)),
            _ => format!("proof/inclusion?index={index}&size={before}"),
        };
        let request = client.get(format!("{prefix}/{path}")).send();
        reads.spawn(async { request.await?.bytes().await });
        if reads.len() >= 32 {
            reads.join_next().await;
        }
    }
    while reads.join_next().await.is_some() {}
    log.size = log.signed().await;
}

async fn wal_position(database: &mut PgConnection) -> f64 {
    let sql = "select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8";
    sqlx::query_scalar(sql).fetch_one(database).await.expect("an answer")
}

async fn disk_sizes(database: &mut PgConnection) -> Vec<(String, f64)> {
    sqlx::query_as(
        "select '`' || relname || '` with its indexes', pg_total_relation_size(c.oid)::float8
         from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'attestlog' and relname in ('processed_log', 'tile', 'append_only_log', 'checkpoint')
         union all
         select 'all of the database', pg_database_size(current_database())::float8
         order by 2 desc",
    )
    .fetch_all(database)
    .await
    .expect("an answer")
}
