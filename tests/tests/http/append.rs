//! Appending: tickets, receipts, idempotency, the bytes that are kept.

use std::collections::BTreeSet;
use std::time::Duration;

use attestlog_core::{LeafIndex, Receipt};
use attestlog_server::service::AppendToken;
use attestlog_tests::server::TestServer;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{header, problem};

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
const RAW: &str = "application/octet-stream";
const ENTRIES: &str = "/logs/default/entries";

async fn receipt_of(server: &TestServer, index: u64) -> Receipt {
    let answer = server.get(&format!("/logs/default/entries/{index}/receipt")).await;
    assert_eq!(header(&answer, "content-type"), "text/plain; charset=utf-8");
    Receipt::parse(&answer.bytes().await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_adds_at_once_get_an_index_each_and_receipts_that_verify() {
    let server = TestServer::start().await;
    let policy = server.policy().await;
    let entries: Vec<String> = (0..200).map(|number| format!("entry {number}")).collect();
    let indexes = join_all(entries.iter().map(|entry| server.add(entry.clone()))).await;
    assert_eq!(indexes.iter().copied().collect::<BTreeSet<u64>>(), (0..200).collect());
    for (entry, &index) in entries.iter().zip(&indexes) {
        let receipt = receipt_of(&server, index).await;
        assert_eq!(receipt.index(), LeafIndex(index));
        receipt.verify(entry.as_bytes(), &policy).unwrap();
        assert!(receipt.verify(b"another", &policy).is_err());
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_leads_to_the_index_and_the_receipt() {
    let server = TestServer::start().await;
    let answer = server.post(ENTRIES, JSON, "{\"a\": 1}").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "cache-control")), (202, "no-store"));
    let body: Value = answer.json().await.unwrap();
    let ticket = body["tickets"][0].as_str().unwrap();
    // The next entry's checkpoint covers this one.
    server.add("next").await;
    let state = server.get_json(&format!("/logs/default/tickets/{ticket}")).await;
    let expected = json!({ "status": "processed", "index": 0, "receipt": "/logs/default/entries/0/receipt" });
    assert_eq!(state, expected);
    let receipt = receipt_of(&server, 0).await;
    receipt.verify(b"{\"a\": 1}", &server.policy().await).unwrap();

    problem(server.get("/logs/default/tickets/99").await, 404, "unknown_ticket").await;
    problem(server.get("/logs/default/tickets/9223372036854775808").await, 404, "unknown_ticket").await;
    problem(server.get("/logs/default/tickets/01").await, 400, "invalid_parameter").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_for_receipts_of_many_lines() {
    let server = TestServer::start().await;
    let lines: Vec<String> = (0..300).map(|number| format!("{{\"line\":{number}}}")).collect();
    let path = format!("{ENTRIES}?wait=receipt");
    let answer = server.post(&path, NDJSON, lines.join("\n")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let body: Value = answer.json().await.unwrap();
    let receipts = body["receipts"].as_array().unwrap();
    assert_eq!(receipts.len(), 300);
    let policy = server.policy().await;
    for (number, (line, receipt)) in lines.iter().zip(receipts).enumerate() {
        assert_eq!(receipt["index"], number);
        assert!(receipt["ticket"].is_string());
        let receipt = Receipt::parse(receipt["receipt"].as_str().unwrap().as_bytes()).unwrap();
        receipt.verify(line.as_bytes(), &policy).unwrap();
    }
    let lines = "1\n".repeat(1001);
    problem(server.post(&path, NDJSON, lines).send().await.unwrap(), 413, "too_many_entries").await;
    let bad = server.post(&format!("{ENTRIES}?wait=forever"), JSON, "1").send().await.unwrap();
    problem(bad, 400, "invalid_parameter").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_bytes_as_they_were_sent() {
    let server = TestServer::start().await;
    let lines = "{\"a\":1}\r\n {\"a\" : 1.0} \n\"last\"";
    for (kind, body) in [(JSON, &b" {\"b\": 1e2}\n"[..]), (NDJSON, lines.as_bytes()), (RAW, b"\0\xff{")] {
        let answer = server.post(ENTRIES, kind, body).send().await.unwrap();
        assert_eq!(answer.status(), 202);
    }
    server.add("\n").await;
    let expected: [(&str, &[u8]); 6] = [
        (JSON, b" {\"b\": 1e2}\n"),
        (JSON, b"{\"a\":1}\r"),
        (JSON, b" {\"a\" : 1.0} "),
        (JSON, b"\"last\""),
        (RAW, b"\0\xff{"),
        (RAW, b"\n"),
    ];
    for (index, (kind, bytes)) in expected.into_iter().enumerate() {
        let answer = server.get(&format!("/logs/default/entries/{index}")).await;
        assert_eq!(header(&answer, "content-type"), kind);
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
        assert_eq!(header(&answer, "cache-control"), "public, max-age=31536000, immutable");
        assert!(header(&answer, "content-security-policy").contains("sandbox"));
        assert_eq!(&answer.bytes().await.unwrap()[..], bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_with_the_same_key_is_the_same_append() {
    let server = TestServer::start().await;
    let append = async |kind: &str, body: &str, key: &str| {
        let request = server.post(ENTRIES, kind, body).header("idempotency-key", key);
        request.send().await.unwrap()
    };
    let tickets = async |kind: &str, body: &str, key: &str| {
        let answer = append(kind, body, key).await;
        assert_eq!(answer.status(), 202);
        answer.json::<Value>().await.unwrap()["tickets"].clone()
    };
    let first = tickets(JSON, "1", "one").await;
    assert_eq!(tickets(JSON, "1", "one").await, first);
    assert_ne!(tickets(JSON, "1", "other").await, first);
    let lines = tickets(NDJSON, "1\n2\n2\n", "lines").await;
    assert_eq!(lines.as_array().unwrap().len(), 3);
    server.add("processed meanwhile").await;
    assert_eq!(tickets(NDJSON, "1\n2\n2\n", "lines").await, lines);
    assert_eq!(tickets(JSON, "1", "one").await, first);

    problem(append(JSON, "2", "one").await, 422, "key_reused").await;
    let reused = problem(append(NDJSON, "1\n3\n2\n", "lines").await, 422, "key_reused").await;
    assert_eq!(reused["line"], 2);
    problem(append(JSON, "2", "").await, 400, "invalid_parameter").await;
    problem(append(JSON, "2", &"k".repeat(241)).await, 400, "invalid_parameter").await;
    // Five honest entries and one that waited for them: no retry added anything.
    let next = server.add("last").await;
    assert_eq!(next, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_key_id_an_event_is_one_append_in_whatever_body_it_comes() {
    let server = TestServer::start().await;
    let append = async |kind: &str, body: &str| {
        server.post(&format!("{ENTRIES}?key=id"), kind, body.as_bytes()).send().await.unwrap()
    };
    let tickets = async |kind: &str, body: &str| {
        let answer = append(kind, body).await;
        assert_eq!(answer.status(), 202, "{body}");
        answer.json::<Value>().await.unwrap()["tickets"].as_array().unwrap().clone()
    };
    let (a, b, c) = (r#"{"id":"a"}"#, r#"{"n":1,"id":"b"}"#, r#" {"id":"c"}"#);
    let first = tickets(NDJSON, &format!("{a}\n{b}\n{a}")).await;
    assert_eq!(first[0], first[2]);
    assert_ne!(first[0], first[1]);
    // Other neighbours, another order, one at a time; before and after they are processed.
    let regrouped = tickets(NDJSON, &format!("{c}\n{b}\n")).await;
    assert_eq!(regrouped[1], first[1]);
    assert_eq!(tickets(JSON, a).await[0], first[0]);
    assert_eq!(server.add("processed meanwhile").await, 3);
    assert_eq!(tickets(RAW, a).await[0], first[0]);
    assert_eq!(tickets(NDJSON, &format!("{c}\n{b}\n{a}")).await, [&regrouped[..], &first[..1]].concat());

    let reused = append(NDJSON, &format!("{a}\n{{\"id\":\"b\"}}")).await;
    assert_eq!(problem(reused, 422, "key_reused").await["line"], 2);
    let header = server.post(ENTRIES, JSON, "{}").header("idempotency-key", "b").send().await.unwrap();
    problem(header, 422, "key_reused").await;
    assert_eq!(server.add("nothing was there twice").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_key_id_an_event_without_a_key_and_a_second_kind_of_key_are_refused() {
    let server = TestServer::start().await;
    let path = format!("{ENTRIES}?key=id");
    for (kind, body, code, line) in [
        (JSON, "{}", "missing_id", Value::Null),
        (RAW, "bytes", "malformed_json", Value::Null),
        (RAW, r#"{"id":7}"#, "missing_id", Value::Null),
        (NDJSON, "{\"id\":\"a\"}\n{\"id\":\"\"}\n{}", "missing_id", json!(2)),
        (NDJSON, "{\"id\":\"a\"}\n{\"id\":\"b\",\"id\":\"b\"}", "missing_id", json!(2)),
    ] {
        let refused = problem(server.post(&path, kind, body).send().await.unwrap(), 400, code).await;
        assert_eq!(refused["line"], line, "{body}");
    }
    let both = server.post(&path, JSON, r#"{"id":"a"}"#).header("idempotency-key", "k").send().await.unwrap();
    problem(both, 400, "invalid_parameter").await;
    let other = server.post(&format!("{ENTRIES}?key=name"), JSON, r#"{"id":"a"}"#).send().await.unwrap();
    problem(other, 400, "invalid_parameter").await;
    assert_eq!(server.add("the first").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_log_takes_only_events() {
    let server = TestServer::start().await;
    let new = json!({ "name": "strict", "origin": "example.com/strict", "events": "strict" });
    let made = server.post("/logs", JSON, new.to_string()).send().await.unwrap();
    assert_eq!((made.status().as_u16(), header(&made, "location")), (201, "/logs/strict"));
    let made: Value = made.json().await.unwrap();
    assert_eq!((&made["origin"], &made["size"]), (&"example.com/strict".into(), &0.into()));

    let event =
        r#"{"action":"a","occurred_at":"2026-11-22T08:00:00Z","actor":{"type":"system","id":"cron"}}"#;
    let path = "/logs/strict/entries";
    let send = async |path, kind, body: String| server.post(path, kind, body).send().await.unwrap();
    assert_eq!(send(path, JSON, event.into()).await.status(), 202);
    assert_eq!(send("/logs/strict/add", RAW, event.into()).await.text().await.unwrap(), "1");
    let without = event.replace("\"action\":\"a\",", "");
    let refused = problem(send(path, RAW, without.clone()).await, 400, "invalid_event").await;
    assert!(refused["detail"].as_str().unwrap().contains("`action`"), "{refused}");
    let refused = send(path, NDJSON, format!("{event}\n{without}\n")).await;
    assert_eq!(problem(refused, 400, "invalid_event").await["line"], 2);
    problem(send("/logs/strict/add", RAW, "text".into()).await, 400, "malformed_json").await;
    assert_eq!(send("/logs/strict/add", RAW, event.into()).await.text().await.unwrap(), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_need_the_token_where_there_is_one() {
    let server =
        TestServer::start_with(|settings| settings.append_token = Some(AppendToken::new("s3cret"))).await;
    for path in ["/logs/default/add", ENTRIES, "/logs"] {
        for sent in [None, Some("Bearer wrong"), Some("s3cret"), Some("Basic s3cret")] {
            let request = server.post(path, JSON, "1");
            let request = sent.iter().fold(request, |request, sent| request.header("authorization", *sent));
            let answer = request.send().await.unwrap();
            assert_eq!(header(&answer, "www-authenticate"), "Bearer");
            problem(answer, 401, "unauthorized").await;
        }
    }
    let page = server.post(ENTRIES, JSON, "1").bearer_auth("s3cret").header("origin", "https://app.example");
    let answer = page.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "access-control-allow-origin")), (202, "*"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_token_takes_nothing_from_foreign_pages() {
    let server = TestServer::start().await;
    let from =
        async |origin: &str| server.post(ENTRIES, JSON, "1").header("origin", origin).send().await.unwrap();
    problem(from("https://evil.example").await, 403, "foreign_origin").await;
    problem(from("null").await, 403, "foreign_origin").await;
    problem(from("http://localhost.evil.example").await, 403, "foreign_origin").await;
    assert_eq!(from("http://localhost:3000").await.status(), 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_no_checkpoint_covers_in_time_keeps_its_ticket() {
    let server = TestServer::start_with(|settings| {
        settings.pace.interval = Duration::from_secs(3600);
        settings.wait = Duration::from_millis(50);
    })
    .await;
    // The first batch, at the start, may still take the first of them.
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(server.post("/logs/default/add", RAW, "late").send().await.unwrap());
    }
    let late = problem(answers.pop().unwrap(), 504, "not_covered_yet").await;
    let ticket = late["tickets"][0].as_str().unwrap();
    let state = server.get_json(&format!("/logs/default/tickets/{ticket}")).await;
    assert_eq!(state, json!({ "status": "accepted" }));
}
