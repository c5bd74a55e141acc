//! `attestlog search` and `attestlog reindex` as a user calls them, on a store and through a server.

#![expect(clippy::unwrap_used, reason = "the code of tests fails by panicking")]

use std::process::Output;

use attestlog_tests::databases::empty_postgres;
use attestlog_tests::deadline::until;
use attestlog_tests::program::{ServerProcess, client, command};
use serde_json::Value;
use tempfile::TempDir;

const EVENTS: &str = r#"{"action":"invoice.voided","occurred_at":"2024-11-22T08:00:00Z","actor":{"type":"user","id":"usr_7"},"targets":[{"type":"invoice","id":"inv_9"}],"outcome":"denied"}
{"action":"invoice.paid","occurred_at":"2024-11-21T08:00:00Z","actor":{"type":"user","id":"usr_8"}}
{"action":"user.renamed","occurred_at":"2024-11-20T08:00:00Z","actor":{"type":"user","id":"usr_7"},"changes":{"after":{"name":"Ada\u001b[2J\nLovelace"}}}
"#;

/// A folder with a store that has three events.
fn with_events() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("events"), EVENTS).unwrap();
    ok(&folder, &["append", "default", "events", "--format", "ndjson"]);
    folder
}

fn run(folder: &TempDir, arguments: &[&str]) -> Output {
    command(arguments).current_dir(folder.path()).output().unwrap()
}

#[track_caller]
fn ok(folder: &TempDir, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "attestlog {}\n{said}", arguments.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn cannot(folder: &TempDir, arguments: &[&str], part: &str) {
    let output = run(folder, arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "attestlog {}\n{said}", arguments.join(" "));
    assert!(said.contains(part), "\"{part}\" is not in: {said}");
}

/// The first column: the indexes.
fn indexes(table: &str) -> Vec<&str> {
    table.lines().filter_map(|line| line.split('\t').next()).collect()
}

#[test]
fn a_store_that_no_server_has_indexed_is_searched() {
    let folder = with_events();
    for (arguments, expected) in [
        (&[][..], &["0", "1", "2"][..]),
        (&["--actor", "usr_7"], &["0", "2"]),
        (&["--action", "invoice.*", "--since", "2024-11-22"], &["0"]),
        (&["--target", "invoice:inv_9", "--outcome", "denied"], &["0"]),
        (&["--until", "2024-11-21T00:00:00Z"], &["2"]),
        (&["lovelace", "ADA"], &["2"]),
        (&["\"invoice paid\""], &["1"]),
        (&["--limit", "2"], &["0", "1"]),
        (&["nothing"], &[]),
    ] {
        let table = ok(&folder, &[&["search", "default"], arguments].concat());
        assert_eq!(indexes(&table), expected, "{arguments:?}");
    }
    let table = ok(&folder, &["search", "default", "--outcome", "denied"]);
    assert_eq!(table, "0\t2024-11-22T08:00:00Z\tuser:usr_7\tinvoice.voided\tinvoice:inv_9\tdenied\n");
    // What is appended later is found at once.
    std::fs::write(folder.path().join("line"), "a line \u{1b}[2J with colour\n").unwrap();
    ok(&folder, &["append", "default", "line"]);
    let table = ok(&folder, &["search", "default", "colour"]);
    assert!(table.starts_with("3\t") && table.contains("a line \u{fffd}[2J with"), "{table}");
}

#[test]
fn json_has_the_exact_text_and_the_proofs_place() {
    let folder = with_events();
    let text = ok(&folder, &["search", "default", "--limit", "2", "--json"]);
    assert!(text.contains(EVENTS.lines().next().unwrap()), "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["events"][1]["receipt"], "/logs/default/entries/1/receipt");
    assert!(answer["next"].is_string());
    assert_eq!(answer["count"]["value"], 3);
}

#[test]
fn a_wrong_call_is_told_what_is_wrong() {
    let folder = with_events();
    for (arguments, part) in [
        (&["search"][..], "LOG"),
        (&["search", "none"], "no log \"none\""),
        (&["search", "default", "--since", "soon"], "since: \"soon\" is no time"),
        (&["search", "default", "!"], "q: it has no word"),
        (&["search", "default", "--limit", "0"], "--limit"),
        (&["search", "default", "--server", "http://127.0.0.1:1"], "cannot be reached"),
        (&["reindex", "none"], "no log \"none\""),
    ] {
        cannot(&folder, arguments, part);
    }
}

#[test]
fn the_index_is_made_again() {
    let folder = with_events();
    ok(&folder, &["log", "create", "other", "--origin", "example.com/other"]);
    let before = ok(&folder, &["search", "default"]);
    assert_eq!(
        ok(&folder, &["reindex"]),
        "default: 3 entries can be searched\nother: 0 entries can be searched\n"
    );
    assert_eq!(ok(&folder, &["search", "default"]), before);
    let results: Value =
        serde_json::from_str(&ok(&folder, &["reindex", "default", "--missing", "--json"])).unwrap();
    assert_eq!(results, serde_json::json!([{ "log": "default", "entries": 3, "added": 0 }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_asked_page_by_page_and_its_index_may_be_made_again_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let lines: String = (0..450).map(|number| format!("{{\"n\":{number}}}\n")).collect();
    std::fs::write(folder.path().join("lines"), lines).unwrap();
    let (url, _guard) = empty_postgres().await;
    let data = folder.path().join("data");
    let server = ServerProcess::start(&["--database", &url, "--data", data.to_str().unwrap()]);
    server.ready().await;
    ok(&folder, &["append", "default", "lines", "--format", "ndjson", "--server", &server.address]);
    let indexed = async || {
        let path = format!("{}/logs/default/events", server.address);
        let answer: Value = client().get(path).send().await.unwrap().json().await.unwrap();
        (answer["indexed_size"] == 450).then_some(())
    };
    until("the index has all entries", indexed).await;
    let call = ["search", "default", "--limit", "440", "--server", &server.address];
    let table = ok(&folder, &call);
    let found = indexes(&table);
    assert_eq!((found.len(), found[0], found[439]), (440, "449", "10"));
    assert_eq!(
        indexes(&ok(&folder, &["search", "default", "n", "--database", &url, "--limit", "500"])).len(),
        450
    );
    let said = ok(&folder, &["reindex", "--database", &url]);
    assert_eq!(said, "default: 450 entries can be searched\n");
    assert_eq!(ok(&folder, &call), table);
    cannot(&folder, &["search", "none", "--server", &server.address], "unknown_log");
}
