//! What is refused, and how.

use attestlog_tests::server::TestServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{no_checkpoint, problem};

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
const RAW: &str = "application/octet-stream";
const ENTRIES: &str = "/logs/default/entries";

#[tokio::test(flavor = "multi_thread")]
async fn reads_outside_the_tree_are_refused() {
    let server = TestServer::start().await;
    server.add("one").await;
    server.add("two").await;
    for (path, status, code) in [
        ("/logs/default/entries/2", 404, "index_beyond_tree"),
        ("/logs/default/entries/18446744073709551615", 404, "index_beyond_tree"),
        ("/logs/default/entries/18446744073709551616", 400, "invalid_parameter"),
        ("/logs/default/entries/-1", 400, "invalid_parameter"),
        ("/logs/default/entries/2/receipt", 404, "index_beyond_tree"),
        ("/logs/default/entries/01/receipt", 400, "invalid_parameter"),
        ("/logs/default/entries?from=3", 404, "index_beyond_tree"),
        ("/logs/default/entries?from=18446744073709551615", 404, "index_beyond_tree"),
        ("/logs/default/entries?from=x", 400, "invalid_parameter"),
        ("/logs/default/entries?limit=0", 400, "invalid_parameter"),
        ("/logs/default/entries?limit=1001", 400, "invalid_parameter"),
        ("/logs/default/proof/inclusion", 400, "invalid_parameter"),
        ("/logs/default/proof/inclusion?index=2", 404, "index_beyond_tree"),
        ("/logs/default/proof/inclusion?index=1&size=1", 404, "index_beyond_tree"),
        ("/logs/default/proof/inclusion?index=0&size=3", 404, "size_beyond_tree"),
        ("/logs/default/proof/inclusion?index=0&size=18446744073709551615", 404, "size_beyond_tree"),
        ("/logs/default/proof/inclusion?index=00&size=2", 400, "invalid_parameter"),
        ("/logs/default/proof/consistency?old=2&new=1", 400, "invalid_parameter"),
        ("/logs/default/proof/consistency?old=1&new=3", 404, "size_beyond_tree"),
        ("/logs/default/proof/consistency?old=3", 400, "invalid_parameter"),
        ("/logs/default/proof/consistency?old=+1", 400, "invalid_parameter"),
        ("/logs/none/checkpoint", 404, "unknown_log"),
        ("/logs/NONE/entries", 404, "unknown_log"),
        ("/logs/a'b%22/entries/1", 404, "unknown_log"),
        ("/logs/%ff/checkpoint", 404, "not_found"),
        ("/logs/default", 404, "not_found"),
        ("/logs/default/entries/", 404, "not_found"),
        ("/nothing", 404, "not_found"),
        ("/logs/default/add", 405, "method_not_allowed"),
    ] {
        problem(server.get(path).await, status, code).await;
    }
    let delete = server.client.delete(format!("{}/logs/default/entries/0", server.address));
    problem(delete.send().await.unwrap(), 405, "method_not_allowed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_bodies_are_refused_and_nothing_is_stored() {
    let server = TestServer::start().await;
    let long = "1".repeat(65_536);
    let too_much = " ".repeat(16 * 1024 * 1024 + 1);
    for (path, kind, body, status, code) in [
        ("/logs/default/add", RAW, "", 400, "entry_size"),
        ("/logs/default/add", RAW, &*long, 413, "entry_size"),
        (ENTRIES, RAW, "", 400, "entry_size"),
        (ENTRIES, RAW, &*long, 413, "entry_size"),
        (ENTRIES, JSON, "", 400, "entry_size"),
        (ENTRIES, JSON, &*long, 413, "entry_size"),
        (ENTRIES, JSON, "{\"a\":1", 400, "malformed_json"),
        (ENTRIES, JSON, "{} {}", 400, "malformed_json"),
        (ENTRIES, NDJSON, "", 400, "entry_size"),
        (ENTRIES, NDJSON, &*too_much, 413, "body_too_large"),
        (ENTRIES, "text/plain", "1", 415, "unsupported_media_type"),
        (ENTRIES, "", "1", 415, "unsupported_media_type"),
        (ENTRIES, "application/jsonp", "1", 415, "unsupported_media_type"),
        ("/logs/none/add", RAW, "1", 404, "unknown_log"),
        ("/logs/none/entries", JSON, "1", 404, "unknown_log"),
        ("/logs", RAW, "{}", 415, "unsupported_media_type"),
        ("/logs", JSON, "{}", 400, "malformed_json"),
        ("/logs", JSON, r#"{"name":"a","origin":"b","keys":1}"#, 400, "malformed_json"),
        ("/logs", JSON, r#"{"name":"../a","origin":"example.com/a"}"#, 400, "invalid_log"),
        ("/logs", JSON, r#"{"name":"a","origin":"exa mple"}"#, 400, "invalid_log"),
        ("/logs", JSON, r#"{"name":"default","origin":"example.com/a"}"#, 409, "log_exists"),
        ("/logs", JSON, &*long, 413, "body_too_large"),
    ] {
        let answer = server.post(path, kind, body).send().await.unwrap();
        problem(answer, status, code).await;
    }
    assert_eq!(server.add("first").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_line_among_a_thousand_is_named_and_nothing_of_them_is_stored() {
    let server = TestServer::start().await;
    let long = "1".repeat(65_536);
    for (bad, code) in [("{\"a\":", "malformed_json"), ("", "entry_size"), (&*long, "entry_size")] {
        let lines =
            (1..=1000).map(|line| if line == 777 { bad } else { "{}" }).collect::<Vec<_>>().join("\n");
        let answer = server.post(ENTRIES, NDJSON, lines).send().await.unwrap();
        let body = problem(answer, 400, code).await;
        assert_eq!(body["line"], 777);
        assert!(body["detail"].as_str().unwrap().starts_with("line 777: "), "{body}");
    }
    let lines = "1\n".repeat(20_001);
    problem(server.post(ENTRIES, NDJSON, lines).send().await.unwrap(), 413, "too_many_entries").await;
    assert_eq!(server.add("first").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_unknown_length_is_cut_off_at_the_limit() {
    let server = TestServer::start().await;
    let mut stream =
        tokio::net::TcpStream::connect(server.address.strip_prefix("http://").unwrap()).await.unwrap();
    let head = "POST /logs/default/add HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n1\r\n1\r\n", "1".repeat(65_536));
    stream.write_all(chunk.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_limit_of_unprocessed_entries_appends_are_refused() {
    let server = TestServer::start_with(|settings| settings.max_backlog = 0).await;
    for (path, kind) in [("/logs/default/add", RAW), (ENTRIES, JSON)] {
        problem(server.post(path, kind, "1").send().await.unwrap(), 503, "overloaded").await;
    }
    assert_eq!(server.get("/logs/default/checkpoint").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_everything_but_healthz_is_503_and_says_nothing_of_it() {
    let server = TestServer::start().await;
    server.add("one").await;
    assert_eq!(server.get("/readyz").await.status(), 200);
    server.store.close().await;
    no_checkpoint(&server).await;
    for path in ["/readyz", "/logs", "/logs/default/checkpoint", "/logs/default/entries/0", "/"] {
        let body = problem(server.get(path).await, 503, "database_unavailable").await;
        assert!(!body["detail"].as_str().unwrap().contains("pool"), "{body}");
    }
    let answer = server.post("/logs/default/add", RAW, "1").send().await.unwrap();
    let body = problem(answer, 503, "database_unavailable").await;
    assert!(!body["detail"].as_str().unwrap().contains("pool"), "{body}");
    assert_eq!(server.get("/healthz").await.status(), 200);
    server.stop().await;
}

#[test]
fn every_code_is_in_the_documentation() {
    use attestlog_server::http::Code;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/format.md");
    let page = std::fs::read_to_string(path).unwrap();
    let shared = ["entry_size", "index_beyond_tree", "malformed_tile_path"];
    for code in Code::ALL {
        let (name, status) = (code.as_str(), code.status().as_u16());
        if shared.contains(&name) {
            assert_eq!(page.matches(&format!("| `{name}` | ")).count(), 1, "{name}");
        } else {
            assert_eq!(page.matches(&format!("| `{name}` | {status} | ")).count(), 1, "{name}");
        }
    }
    let (_, section) = page.split_once("### Of HTTP").unwrap();
    let (table, _) = section.split_once("\n#").unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, Code::ALL.len() - shared.len());
    let names = Code::ALL.map(Code::as_str);
    assert!(names.is_sorted());
}
