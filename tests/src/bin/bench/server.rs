//! The server as a process: how fast it starts, what memory it takes, what a log takes on disk.

use std::time::Duration;

use attestlog_server::store::NewEntry;
use attestlog_tests::databases::connection;
use sqlx::PgConnection;

use super::Bench;
use super::load::{count, event};
use super::process::{Server, client};
use super::sample::SampleLog;
use super::table::{Table, milliseconds, number};

/// Prints the tables.
pub(crate) async fn run(bench: &mut Bench) {
    let size = bench.scaled(1_000_000);
    let log = bench.logs.take_postgres(size).await;
    process(bench, &log).await;
    bench.logs.postgres = Some(log);
    rows(bench).await;
}

/// Starts, and memory.
async fn process(bench: &Bench, log: &SampleLog) {
    let mut table = Table::new(
        "The server as a process",
        &format!(
            "On PostgreSQL, a log of {} entries of 300 bytes. Memory from `/proc/PID/status`; the time from the start of \
             the process until `/readyz` answers 200.",
            number(count(usize::try_from(log.size).unwrap_or(usize::MAX)))
        ),
        &["what", "value"],
    );
    let mut starts: Vec<Duration> = Vec::new();
    for _ in 0..5 {
        let server = Server::start(bench, log.database(), log.data()).await;
        starts.push(server.ready_after);
        server.stop().await;
    }
    starts.sort_unstable();
    let shown: Vec<String> = starts.iter().map(|start| milliseconds(*start)).collect();
    table.row(&["start to `/readyz`, ms, five times".into(), shown.join(", ")]);
    let server = Server::start(bench, log.database(), log.data()).await;
    table.row(&["memory once it is ready, MB".into(), number(server.megabytes("VmRSS"))]);
    large_requests(bench, log, &server).await;
    let most = number(server.megabytes("VmHWM"));
    table
        .row(&["most memory after large appends, many waiting ones and every kind of read, MB".into(), most]);
    table.row(&["stop on SIGTERM, ms".into(), milliseconds(server.stop().await)]);
    table.print();
}

/// What takes memory: large requests, many waiting requests, and every kind of read.
async fn large_requests(bench: &Bench, log: &SampleLog, server: &Server) {
    let client = client();
    let prefix = format!("{}/logs/default", server.address);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..bench.scaled(100).max(4) {
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
        let index = number * 7919 % log.size.max(1);
        let path = match number % 4 {
            0 => format!("entries?from={index}&limit=1000"),
            1 => format!("entries/{index}/receipt"),
            2 => format!("tile/entries/{:03}", index / 256 % (log.size / 256).clamp(1, 1000)),
            _ => format!("proof/inclusion?index={index}&size={}", log.size),
        };
        let request = client.get(format!("{prefix}/{path}")).send();
        reads.spawn(async { request.await?.bytes().await });
        if reads.len() >= 32 {
            reads.join_next().await;
        }
    }
    while reads.join_next().await.is_some() {}
}

/// What rows take that do not come with each entry.
async fn rows(bench: &Bench) {
    let (entries, heads) = (bench.scaled(100_000).max(1000), bench.scaled(2000).max(100));
    let mut log = SampleLog::on_postgres().await;
    let mut database = connection(log.database().expect("a URL")).await;
    let mut table = Table::new(
        "What a log takes on PostgreSQL",
        "Tables with their indexes, grown by appends of entries of 300 bytes.",
        &["what", "bytes"],
    );
    for from in (0..entries).step_by(1000) {
        let new = |number: u64| {
            let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
            let key = Some(format!("{number:08x}-0000-7000-8000-{random:012x}"));
            NewEntry { log: log.log.id, data: event(number), idempotency_key: key }
        };
        let batch: Vec<NewEntry> = (from..entries.min(from + 1000)).map(new).collect();
        log.store.append(&batch).await.expect("the entries are appended");
    }
    let staged = size_of(&mut database, "append_only_log").await / float(entries);
    log.sequence().await;
    log.size = entries;
    let kept = size_of(&mut database, "processed_log").await / float(entries);
    let tiles = size_of(&mut database, "tile").await / float(entries);
    let key = size_of(&mut database, "idempotency_key").await / float(entries);
    let before = size_of(&mut database, "checkpoint").await;
    for _ in 0..heads {
        log.append(1).await;
        log.sequence().await;
    }
    let head = (size_of(&mut database, "checkpoint").await - before) / float(heads);
    for (what, bytes) in [
        ("`processed_log`, an entry", kept),
        ("`tile`, an entry", tiles),
        ("`idempotency_key`, a key of a UUID", key),
        ("`checkpoint`, a head", head),
        ("`append_only_log`, an entry while it waits", staged),
    ] {
        table.row(&[what.into(), number(bytes)]);
    }
    let yearly = (kept + tiles + key) * 365e6 / 1e9;
    table.row(&["a million entries with keys a day: GB a year, without heads".into(), number(yearly)]);
    table.print();
}

async fn size_of(database: &mut PgConnection, table: &str) -> f64 {
    let sql = "select pg_total_relation_size(('attestlog.' || $1)::regclass)::float8";
    sqlx::query_scalar(sql).bind(table).fetch_one(database).await.expect("a size")
}

fn float(number: u64) -> f64 {
    count(usize::try_from(number).unwrap_or(usize::MAX))
}
