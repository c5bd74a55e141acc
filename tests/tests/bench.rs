//! `attestlog bench`: that it counts what it does, sees what happens, and says what is wrong with a call.
//!
//! It drives the real program against real servers, and against one whose answers are written here. How fast anything
//! is, is no test's business.
#![expect(clippy::unwrap_used, reason = "the code of tests fails by panicking")]

use std::collections::HashMap;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use attestlog_core::LeafIndex;
use attestlog_server::deployment::DEFAULT_LOG;
use attestlog_server::event::validate_event;
use attestlog_server::service::AppendToken;
use attestlog_tests::databases::{PostgresGuard, connection, empty_postgres};
use attestlog_tests::deadline::until;
use attestlog_tests::program::command;
use attestlog_tests::raw_server::{RawServer, Reply, Request};
use attestlog_tests::server::TestServer;
use serde_json::Value;

/// As short as a turn can be that still sees some heads.
const SHORT: [&str; 5] =
    ["--duration=1s", "--warm-up=200ms", "--connections=4", "--entry-size=300", "--json"];

fn bench(arguments: &[&str]) -> Command {
    command(&[&["bench"], arguments].concat())
}

/// Runs it, beside the server in this process.
async fn output(arguments: &[&str]) -> Output {
    let mut command = bench(arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// The report of a call that succeeds.
async fn report(arguments: &[&str]) -> Value {
    let output = output(&[arguments, &SHORT].concat()).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {stderr}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A call that fails, and says each of `parts`.
async fn cannot(arguments: &[&str], parts: &[&str]) {
    let output = output(arguments).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
    for part in parts {
        assert!(stderr.contains(part), "{arguments:?}: \"{part}\" is not in: {stderr}");
    }
}

async fn size(server: &TestServer) -> u64 {
    let log = server.store.log(DEFAULT_LOG).await.unwrap().unwrap();
    server.store.tree(log.id).await.unwrap().unwrap().signed_size.0
}

async fn entries(server: &TestServer) -> Vec<Vec<u8>> {
    let log = server.store.log(DEFAULT_LOG).await.unwrap().unwrap();
    let (mut all, size) = (Vec::new(), size(server).await);
    while (all.len() as u64) < size {
        all.extend(server.store.entries(log.id, LeafIndex(all.len() as u64), 5_000).await.unwrap());
    }
    all
}

async fn on_postgres() -> (TestServer, String, PostgresGuard) {
    let (url, guard) = empty_postgres().await;
    let directory = tempfile::tempdir().unwrap();
    let server = TestServer::start_on(Some(url.clone()), directory, |_| {}).await;
    (server, url, guard)
}

fn number(value: &Value, path: &str) -> f64 {
    value.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no number at {path} in {value}"))
}

/// Everything was answered and covered, and the log has grown by it.
async fn agrees_with_the_log(turn: &Value, server: &TestServer, before: u64) {
    let appended = number(turn, "/appended");
    assert!(appended > 0.0, "{turn}");
    assert_eq!(appended, (size(server).await - before) as f64, "{turn}");
    assert_eq!(turn["failures"], serde_json::json!({}));
    assert_eq!((number(turn, "/unfinished"), number(turn, "/uncovered")), (0.0, 0.0), "{turn}");
    for times in ["acknowledged_ms", "covered_ms"] {
        let at = |name: &str| number(turn, &format!("/{times}/{name}"));
        assert!(at("count") > 0.0 && at("p50") > 0.0, "{turn}");
        let ascending = [at("p50"), at("p90"), at("p99"), at("p99_9"), at("max")];
        assert!(ascending.is_sorted(), "{turn}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_through_http_are_those_that_it_counts() {
    let server = TestServer::start().await;
    let address = ["--server", &server.address];
    for (way, batch) in [("add", 1.0), ("entries", 7.0)] {
        let batch_option = format!("--batch={batch}");
        let before = size(&server).await;
        let report = report(&[&["--through", way, &batch_option], &address[..]].concat()).await;
        let turn = &report["turns"][0];
        agrees_with_the_log(turn, &server, before).await;
        assert_eq!(number(turn, "/appended"), number(turn, "/calls") * batch);
        assert!(number(turn, "/usage/server/memory") > 1e6, "{turn}");
        assert_eq!((&report["load"]["through"], &report["load"]["loop"]), (&way.into(), &"closed".into()));
    }
    let entries = entries(&server).await;
    assert!(entries.iter().all(|entry| entry.len() == 300 && validate_event(entry).is_ok()));
    let different: std::collections::HashSet<_> = entries.iter().collect();
    assert_eq!(different.len(), entries.len(), "none repeats another, of either call");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_entries_are_entries_like_others() {
    let server = TestServer::start().await;
    let more = ["--through", "entries", "--duplicates", "50", "--connections", "1", "--entry-size", "1000"];
    let arguments = [&more[..], &["--server", &server.address, "--duration=1s", "--json"]].concat();
    let output = output(&arguments).await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    agrees_with_the_log(&report["turns"][0], &server, 0).await;
    let mut times: HashMap<Vec<u8>, usize> = HashMap::new();
    let entries = entries(&server).await;
    for entry in &entries {
        assert_eq!(entry.len(), 1000);
        *times.entry(entry.clone()).or_default() += 1;
    }
    let repeated = (entries.len() - times.len()) as f64 / entries.len() as f64;
    assert!((0.4..0.6).contains(&repeated), "{repeated} of {}", entries.len());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_takes_turns_with_a_plain_table_and_leaves_none() {
    let (server, url, _guard) = on_postgres().await;
    for (batch, more) in [("1", vec!["--server", &*server.address]), ("5", vec![])] {
        let before = size(&server).await;
        let call = ["--through", "sql", "--baseline", "--rounds=2", "--batch", batch, "--database", &url];
        let report = report(&[&call[..], &more].concat()).await;
        let turns = report["turns"].as_array().unwrap();
        let order: Vec<&str> = turns.iter().map(|turn| turn["way"].as_str().unwrap()).collect();
        assert_eq!(order, ["attestlog", "plain", "plain", "attestlog"]);
        let appended = number(&turns[0], "/appended") + number(&turns[3], "/appended");
        assert_eq!(appended, (size(&server).await - before) as f64);
        assert_eq!(
            appended,
            (number(&turns[0], "/calls") + number(&turns[3], "/calls")) * batch.parse::<f64>().unwrap()
        );
        for turn in turns {
            assert!(number(turn, "/stored/total") > 300.0 && number(turn, "/stored/wal") > 300.0, "{turn}");
            // The database of the tests is on this machine.
            assert!(number(turn, "/usage/database/memory") > 1e6, "{turn}");
            assert_eq!(turn["usage"]["server"].is_null(), more.is_empty());
        }
        assert!(turns[0]["stored"]["tables"]["processed_log"].as_f64().unwrap() > 300.0);
        assert!(number(&turns[0], "/covered_ms/count") > 0.0 && turns[1]["covered_ms"].is_null());
        for ratio in ["acknowledged_ratio", "covered_ratio", "processor_ratio", "stored_ratio"] {
            let at = |name: &str| number(&report, &format!("/summary/{ratio}/{name}"));
            assert!(0.0 < at("min") && at("min") <= at("median") && at("median") <= at("max"), "{report}");
        }
        let settings = report["database"]["settings"].as_array().unwrap();
        assert!(settings.contains(&"fsync = on".into()), "{settings:?}");
    }
    let sql = "select count(*) from pg_namespace where nspname = 'attestlog_bench'";
    let schemas: i64 = sqlx::query_scalar(sql).fetch_one(&mut connection(&url).await).await.unwrap();
    assert_eq!(schemas, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_of_a_database_are_followed_through_http_too() {
    let (server, url, _guard) = on_postgres().await;
    let report =
        report(&["--through=entries", "--database", &url, "--server", &server.address, "--batch=3"]).await;
    agrees_with_the_log(&report["turns"][0], &server, 0).await;
    assert!(number(&report, "/turns/0/stored/wal") > 300.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_of_full_tiles_and_bundles() {
    let server = TestServer::start().await;
    server.add("one").await;
    let address = ["--server", &*server.address];
    for way in ["tiles", "bundles"] {
        cannot(&[&["--through", way], &address[..]].concat(), &["1 entries", "256", "attestlog bench"]).await;
    }
    let lines: String = (0..600).map(|number| format!("{{\"n\":{number}}}\n")).collect();
    let path = format!("/logs/{DEFAULT_LOG}/entries?wait=receipt");
    assert_eq!(server.post(&path, "application/x-ndjson", lines).send().await.unwrap().status(), 200);
    for way in ["tiles", "bundles", "checkpoint"] {
        let report = report(&[&["--through", way, "--rounds=2"], &address[..]].concat()).await;
        assert_eq!(report["turns"].as_array().unwrap().len(), 2);
        for turn in report["turns"].as_array().unwrap() {
            assert!(number(turn, "/calls_per_second") > 0.0 && number(turn, "/calls") > 0.0, "{turn}");
            assert_eq!((number(turn, "/failed"), number(turn, "/appended")), (0.0, 0.0), "{turn}");
            assert!(turn["covered_ms"].is_null() && turn["stored"].is_null());
        }
        assert!(number(&report, "/summary/calls_per_second/median") > 0.0);
    }
    assert_eq!(size(&server).await, 601);
    server.stop().await;
}

/// A log at `/log` that answers `add` with what `add` says of the number of the request.
async fn log_of_another_make<F: Future<Output = Reply> + Send + 'static>(
    add: impl Fn(u64) -> F + Send + Sync + 'static,
) -> RawServer {
    let (numbers, add) = (AtomicU64::new(0), Arc::new(add));
    RawServer::start(move |request: Request| {
        let number = (request.path == "/log/add").then(|| numbers.fetch_add(1, Ordering::Relaxed));
        let add = Arc::clone(&add);
        async move {
            match (number, &*request.path) {
                (Some(number), _) => add(number).await,
                (None, "/log/checkpoint") => Reply::ok("example.com/log\n0\n\n"),
                _ => Reply::status(404),
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_loop_shows_a_stall_to_all_who_would_have_come() {
    // From the first call, which is due at once.
    let began = OnceLock::new();
    let stall = Duration::from_millis(500)..Duration::from_millis(2500);
    let server = log_of_another_make(move |number| {
        let (began, stall) = (*began.get_or_init(Instant::now), stall.clone());
        async move {
            // Those that come within the stall are answered at its end.
            if stall.contains(&began.elapsed()) {
                tokio::time::sleep_until((began + stall.end).into()).await;
            }
            Reply::ok(number.to_string())
        }
    })
    .await;
    let prefix = format!("{}/log", server.address);
    // A single connection: only one of the calls is on its way when the stall begins.
    let load = ["--rate=100", "--connections=1", "--warm-up=0ms", "--duration=5s", "--json"];
    let output = output(&[&["--through=add", "--prefix", &prefix], &load[..]].concat()).await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let turn = &report["turns"][0];
    assert_eq!(report["load"]["loop"], "open");
    assert_eq!(number(turn, "/acknowledged_ms/count"), 500.0, "each call that was due is timed: {turn}");
    // Of 500 calls, 200 were due within the stall; a generator that waits with them would have seen one.
    for (quantile, least) in [("p90", 500.0), ("p99", 1500.0), ("max", 1900.0)] {
        assert!(number(turn, &format!("/acknowledged_ms/{quantile}")) > least, "{turn}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_fail_are_counted_and_shown() {
    let server = log_of_another_make(async |number| match number % 4 {
        1 => Reply::Answer(503, Vec::new(), b"too  much\nwaits".to_vec()),
        2 => Reply::ok("no number"),
        3 => Reply::Gone,
        _ => Reply::ok(number.to_string()),
    })
    .await;
    let prefix = format!("{}/log", server.address);
    // A single connection, so that the first call is the one that succeeds.
    let load = ["--connections=1", "--duration=1s", "--warm-up=0ms", "--json"];
    let output = output(&[&["--through=add", "--prefix", &prefix], &load[..]].concat()).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let turn = &report["turns"][0];
    let failures = turn["failures"].as_object().unwrap();
    for said in ["/add was answered 503: too much waits", "/add was answered 200: no index: no number"] {
        assert!(failures.contains_key(said), "{said} is not in {failures:?}");
    }
    assert!(failures.keys().any(|said| said.starts_with(&format!("{prefix}/add: "))), "{failures:?}");
    let counted: f64 = failures.values().map(|times| times.as_f64().unwrap()).sum();
    assert_eq!(
        (number(turn, "/failed"), number(turn, "/appended")),
        (counted, number(turn, "/calls")),
        "{turn}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_pause_while_too_much_waits_and_ctrl_c_prints_what_was_measured() {
    // Nothing is processed for as long as the test takes.
    let server = TestServer::start_with(|settings| settings.pace.interval = Duration::from_secs(3600)).await;
    let load =
        ["--backlog=1000", "--batch=100", "--connections=2", "--duration=10m", "--warm-up=0ms", "--json"];
    let mut command = bench(&[&["--through=entries", "--server", &server.address], &load[..]].concat());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let waiting = async || server.store.backlog(100_000).await.unwrap().rows;
    until("the writers pause", async || (waiting().await >= 1000).then_some(())).await;
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["interrupted"], true);
    let turn = &report["turns"][0];
    let waiting = waiting().await;
    assert_eq!(number(turn, "/appended"), (waiting + size(&server).await) as f64, "{turn}");
    assert!((1000..=1200).contains(&waiting), "at most a call a connection more: {waiting}");
    assert!(number(turn, "/uncovered") > 0.0 && turn["covered_per_second"].is_null(), "{turn}");
    assert!(number(turn, "/seconds") < 600.0 && number(turn, "/acknowledged_ms/count") >= 10.0, "{turn}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_json_it_prints_tables_below_what_it_was_measured_on() {
    let server = TestServer::start().await;
    let load = ["--duration=300ms", "--warm-up=0ms"];
    let output = output(&[&["--through=add", "--server", &server.address], &load[..]].concat()).await;
    let text = String::from_utf8(output.stdout).unwrap();
    for part in
        ["cores (", "load average", "fdatasync of 8 KiB", "leaves/s covered", "p99.9", "| generator |"]
    {
        assert!(text.contains(part), "\"{part}\" is not in: {text}");
    }
    assert!(output.stderr.is_empty(), "no bar where nobody watches");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_calls_name_the_input_and_what_to_do() {
    let server = TestServer::start_with(|settings| {
        settings.append_token = Some(AppendToken::new("correct horse"));
    })
    .await;
    let address = &*server.address;
    let nowhere = "http://127.0.0.1:1";
    for (call, parts) in [
        (&["--through", "add"][..], &["no server", "--server"][..]),
        (&["--through", "sql"], &["--database", "postgres://"]),
        (&["--through", "sql", "--database", "sqlite:x"], &["--database", "embedded"]),
        (&["--through", "sql", "--database", "postgres://127.0.0.1:1/x"], &["--database"]),
        (&["--through", "nothing", "--server", address], &["nothing", "checkpoint"]),
        (&["--through", "entries", "--baseline", "--server", address], &["--baseline", "sql"]),
        (&["--through", "add", "--batch", "2", "--server", address], &["--batch", "entries"]),
        (&["--through", "add", "--entry-size", "10", "--server", address], &["--entry-size", "10"]),
        (&["--through", "add", "--entry-size", "65536", "--server", address], &["65535", "65536"]),
        (&["--through", "add", "--duration", "0ms", "--server", address], &["--duration"]),
        (&["--through", "add", "--rate", "0", "--server", address], &["--rate"]),
        (&["--through", "add", "--duplicates", "101", "--server", address], &["--duplicates"]),
        (&["--through", "add", "--server", nowhere], &[nowhere, "--server"]),
        (
            &["--through", "add", "--prefix", "https://example.com/log"],
            &["https://example.com/log", "http://"],
        ),
        (&["nope", "--through", "checkpoint", "--server", address], &["/checkpoint", "404", "log"]),
        (&["No", "--through", "checkpoint", "--server", address], &["\"No\""]),
        (&["--through", "add", "--server", address], &["401", "--token-file"]),
        (&["--through", "add", "--token", "wrong", "--server", address], &["401", "--token-file"]),
    ] {
        cannot(call, parts).await;
    }
    let report = report(&["--through", "add", "--token", "correct horse", "--server", address]).await;
    assert!(number(&report, "/turns/0/appended") > 0.0);
    server.stop().await;
}
