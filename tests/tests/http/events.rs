//! Search over HTTP: its answers, its pages, and what it refuses.

use attestlog_core::base64;
use attestlog_server::store::Store;
use attestlog_tests::databases::fresh_postgres;
use attestlog_tests::deadline::until;
use attestlog_tests::program::{ServerProcess, client};
use attestlog_tests::server::TestServer;
use serde_json::{Value, json};

use super::{header, problem};

const EVENTS: &str = "/logs/default/events";

/// A server with these entries, all of which can be found.
async fn with_entries(entries: &[&[u8]]) -> TestServer {
    let server = TestServer::start().await;
    for entry in entries {
        server.add(*entry).await;
    }
    indexed(&server, entries.len() as u64).await;
    server
}

async fn indexed(server: &TestServer, size: u64) {
    until("the index has all entries", async || {
        let answer = server.get_json(EVENTS).await;
        (answer["indexed_size"] == size && answer["tree_size"] == size).then_some(())
    })
    .await;
}

async fn found(server: &TestServer, query: &str) -> Vec<u64> {
    let answer = server.get_json(&format!("{EVENTS}?{query}")).await;
    answer["events"].as_array().unwrap().iter().map(|event| event["index"].as_u64().unwrap()).collect()
}

const VOIDED: &[u8] = br#"{ "action" : "invoice.voided", "occurred_at": "2024-11-22T09:00:00+01:00",
    "actor": {"type": "user", "id": "usr_7"}, "targets": [{"type": "invoice", "id": "inv_9"}],
    "outcome": "success", "amount": 1.50, "amount": 2e0 }"#;
const PAID: &[u8] = br#"{"action":"invoice.paid","occurred_at":"2024-11-21T08:00:00Z","actor":{"type":"api_key","id":"k1","on_behalf_of":{"type":"user","id":"usr_7"}}}"#;
const LINE: &[u8] = b"2024-11-20 startup \xff archives & unpack";

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_shown_with_its_exact_text_and_where_its_proof_is() {
    let server = with_entries(&[VOIDED, PAID, LINE]).await;
    let answer = server.get(&format!("{EVENTS}?action=invoice.*&limit=2")).await;
    assert_eq!(header(&answer, "cache-control"), "public, max-age=1");
    assert_eq!(header(&answer, "content-type"), "application/json");
    let text = answer.text().await.unwrap();
    // Not a text of the same meaning: these bytes, the field that stands there twice included.
    assert!(text.contains(std::str::from_utf8(VOIDED).unwrap()), "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    let events = answer["events"].as_array().unwrap();
    assert_eq!((&events[0]["index"], &events[1]["index"]), (&json!(0), &json!(1)));
    assert_eq!(events[0]["time"], "2024-11-22T08:00:00Z");
    assert_eq!(events[0]["time_from"], "occurred_at");
    assert_eq!(events[0]["entry"], "/logs/default/entries/0");
    for link in ["entry", "receipt"] {
        assert_eq!(server.get(events[0][link].as_str().unwrap()).await.status(), 200);
    }
    assert_eq!((&answer["next"], &answer["previous"]), (&Value::Null, &Value::Null));
    assert_eq!(answer["count"], json!({ "value": 2, "capped": false }));
    assert_eq!((&answer["indexed_size"], &answer["tree_size"]), (&json!(3), &json!(3)));

    let answer = server.get_json(&format!("{EVENTS}?q=startup")).await;
    let event = &answer["events"][0];
    assert_eq!(
        (&event["index"], &event["time_from"], &event["event"]),
        (&json!(2), &json!("appended_at"), &Value::Null)
    );
    assert_eq!(base64::parse(event["data"].as_str().unwrap().as_bytes()).unwrap(), LINE);
    // What was appended just now is newer than what happened before.
    assert_eq!(found(&server, "").await, [2, 0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_are_combined() {
    let server = with_entries(&[VOIDED, PAID, LINE]).await;
    for (query, expected) in [
        ("actor=usr_7", &[0, 1][..]),
        ("actor=user:usr_7&until=2024-11-22", &[1]),
        ("actor=api_key:*", &[1]),
        ("target=invoice:inv_9", &[0]),
        ("target=inv_9&outcome=failure", &[]),
        ("outcome=success", &[0]),
        ("since=2024-11-22T08:00:00Z&until=2024-11-22T08:00:00.000001Z", &[0]),
        ("since=2024-11-22T08:00:00.000001Z&until=2024-11-23", &[]),
        ("since=1h&q=unpack", &[2]),
        ("q=invoice+usr_7", &[0, 1]),
        ("q=%22archives+unpack%22", &[2]),
        ("q=%22unpack+archives%22", &[]),
        ("q=arch*&actor=", &[2]),
        ("q=2.0", &[0]),
        ("q=nowhere", &[]),
    ] {
        assert_eq!(found(&server, query).await, expected, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn links_lead_forwards_and_backwards_through_the_same_pages() {
    let server = TestServer::start().await;
    let lines: Vec<String> =
        (0..25).map(|number| format!("{{\"action\":\"a b&c=d/é\",\"n\":{number}}}")).collect();
    let body = lines.join("\n");
    let request = server.post("/logs/default/entries", "application/x-ndjson", body);
    assert_eq!(request.send().await.unwrap().status(), 202);
    indexed(&server, 25).await;
    let mut pages: Vec<Value> = Vec::new();
    let mut link = Some(format!("{EVENTS}?action=a%20b%26c%3Dd%2F%C3%A9&since=7d&limit=10"));
    while let Some(path) = link {
        let page = server.get_json(&path).await;
        link = page["next"].as_str().map(str::to_owned);
        pages.push(page);
    }
    let sizes: Vec<usize> = pages.iter().map(|page| page["events"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [10, 10, 5]);
    // What arrives meanwhile is not among them, and the pages before are the same.
    server.add(lines[0].clone()).await;
    indexed(&server, 26).await;
    for (this, before) in [(2, 1), (1, 0)] {
        let page = server.get_json(pages[this]["previous"].as_str().unwrap()).await;
        assert_eq!(page["events"], pages[before]["events"]);
        assert_eq!(page["count"], pages[before]["count"]);
        assert_eq!(server.get_json(page["next"].as_str().unwrap()).await["events"], pages[this]["events"]);
    }
    let first = server.get_json(pages[1]["previous"].as_str().unwrap()).await;
    let newest = server.get_json(first["previous"].as_str().unwrap()).await;
    assert_eq!(newest["events"].as_array().unwrap().len(), 1);
    assert_eq!(newest["previous"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_searched_for_is_refused() {
    let server = with_entries(&[VOIDED, PAID, LINE]).await;
    let first = server.get_json(&format!("{EVENTS}?limit=1")).await;
    let cursor = first["next"].as_str().unwrap().rsplit_once('=').unwrap().1.to_owned();
    let long = "x".repeat(1025);
    for (query, code) in [
        ("who=usr_7", "invalid_parameter"),
        ("action=a&action=b", "invalid_parameter"),
        ("limit=0", "invalid_parameter"),
        ("limit=201", "invalid_parameter"),
        ("limit=x", "invalid_parameter"),
        ("since=yesterday", "invalid_parameter"),
        ("until=2024-11-31", "invalid_parameter"),
        ("q=%2A", "invalid_parameter"),
        (&format!("actor={long}"), "invalid_parameter"),
        ("cursor=x", "invalid_cursor"),
        (&format!("cursor={cursor}0"), "invalid_cursor"),
        (&format!("cursor={cursor}&q=invoice"), "invalid_cursor"),
    ] {
        problem(server.get(&format!("{EVENTS}?{query}")).await, 400, code).await;
    }
    assert_eq!(
        found(&server, &format!("cursor={cursor}&limit=5")).await,
        [0, 1],
        "another limit is the same search"
    );
    problem(server.get("/logs/none/events").await, 404, "unknown_log").await;
    let post = server.post(EVENTS, "application/json", "{}").send().await.unwrap();
    problem(post, 405, "method_not_allowed").await;
    let body: String = (0..300).map(|number| format!("{{\"action\":\"x{number}\"}}\n")).collect();
    server.post("/logs/default/entries", "application/x-ndjson", body).send().await.unwrap();
    indexed(&server, 303).await;
    problem(server.get(&format!("{EVENTS}?action=x*")).await, 400, "query_too_broad").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_an_index_says_so() {
    let server = TestServer::start_with(|settings| settings.search = false).await;
    server.add("one").await;
    problem(server.get(EVENTS).await, 501, "search_off").await;
    let log = server.store.log("default").await.unwrap().unwrap();
    assert_eq!(server.store.search().indexed_size(log.id).await.unwrap().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_far_the_index_is_behind_is_measured() {
    // On the embedded store nothing could be added while the index is held; and a process has one set of measures.
    let (store, url, _guard) = fresh_postgres().await;
    let data = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(&["--database", &url, "--data", data.path().to_str().unwrap()]);
    server.ready().await;
    let lag = async |entries: f64| {
        let text =
            client().get(format!("{}/metrics", server.address)).send().await.unwrap().text().await.unwrap();
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.parse().ok());
        let (found, seconds): (f64, f64) =
            (value("attestlog_search_lag_entries ")?, value("attestlog_search_lag_seconds ")?);
        (found == entries && (seconds > 0.0) == (entries > 0.0)).then_some(())
    };
    until("nothing waits", async || lag(0.0).await).await;
    let held = until("the index is held", async || store.search().begin_indexing().await.unwrap()).await;
    let add =
        client().post(format!("{}/logs/default/add", server.address)).body(VOIDED).send().await.unwrap();
    assert_eq!(add.status(), 200);
    until("one entry waits", async || lag(1.0).await).await;
    drop(held);
    until("nothing waits again", async || lag(0.0).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_caught_up_after_a_restart() {
    let server = TestServer::start_with(|settings| settings.search = false).await;
    for number in 0..3 {
        server.add(format!("entry {number}")).await;
    }
    let server = TestServer::start_in(server.stop().await, |_| {}).await;
    indexed(&server, 3).await;
    assert_eq!(found(&server, "q=entry").await, [2, 1, 0]);
}
