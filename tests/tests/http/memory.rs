//! Full tiles and bundles from memory: the same answers as from the database, and nothing more than those.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

use attestlog_tests::server::TestServer;
use reqwest::Response;
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use super::{header, problem};

const TILE: &str = "/logs/default/tile/0/000";
const BUNDLE: &str = "/logs/default/tile/entries/000";

async fn with_full_tile() -> TestServer {
    let server = TestServer::start().await;
    append(&server, "default", "first").await;
    server
}

/// 256 entries, covered by a checkpoint when it returns.
async fn append(server: &TestServer, log: &str, text: &str) {
    let lines: Vec<String> = (0..256).map(|number| format!("{{\"{text}\":{number}}}")).collect();
    let path = format!("/logs/{log}/entries?wait=receipt");
    let answer = server.post(&path, "application/x-ndjson", lines.join("\n")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

/// From now on the database has none of them.
async fn remove_what_is_stored(server: &TestServer) {
    execute_unguarded(server, &["delete from tile", "delete from processed_log"]).await;
}

/// Does what triggers refuse.
async fn execute_unguarded(server: &TestServer, statements: &[&str]) {
    let file = server.directory.as_ref().unwrap().path().join("data/attestlog.db");
    let mut connection = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    let triggers: Vec<String> =
        sqlx::query_scalar("select 'drop trigger ' || name from sqlite_schema where type = 'trigger'")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    for statement in triggers.into_iter().chain(statements.iter().map(ToString::to_string)) {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

async fn get(server: &TestServer, path: &str, accept: &str) -> Response {
    let answer = server.request(path).header("accept-encoding", accept).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    answer
}

/// All that a client sees, but for what every answer has of its own.
async fn seen(answer: Response) -> (BTreeMap<String, String>, Vec<u8>) {
    let text = |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap().to_owned())
    };
    let mut headers: BTreeMap<String, String> = answer.headers().iter().map(text).collect();
    assert_eq!(headers.remove("x-request-id").unwrap().len(), 32);
    headers.remove("date").unwrap();
    (headers, answer.bytes().await.unwrap().to_vec())
}

fn decoded(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match encoding {
        "gzip" => drop(flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).unwrap()),
        "zstd" => plain = zstd::stream::decode_all(bytes).unwrap(),
        _ => plain.extend_from_slice(bytes),
    }
    plain
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_from_memory_is_that_from_the_database_header_for_header() {
    let server = with_full_tile().await;
    let mut first = Vec::new();
    let asked = [(TILE, ""), (TILE, "gzip"), (BUNDLE, ""), (BUNDLE, "br, gzip"), (BUNDLE, "gzip, ZSTD")];
    for (path, accept) in asked {
        first.push(seen(get(&server, path, accept).await).await);
    }
    remove_what_is_stored(&server).await;
    for ((path, accept), first) in asked.into_iter().zip(&first) {
        assert_eq!(&seen(get(&server, path, accept).await).await, first, "{path} {accept}");
    }
    let encodings: Vec<_> =
        first.iter().map(|(headers, _)| headers.get("content-encoding").map(|e| &**e)).collect();
    assert_eq!(encodings, [None, None, None, Some("gzip"), Some("zstd")]);
    let (_, plain) = &first[2];
    for (headers, bytes) in &first[3..] {
        assert_eq!(&decoded(&headers["content-encoding"], bytes), plain);
        assert!(bytes.len() < plain.len());
        assert_eq!(
            (&*headers["vary"], &headers["content-length"]),
            ("accept-encoding", &bytes.len().to_string())
        );
    }
    // What is not full is read each time.
    problem(server.get("/logs/default/tile/entries/000.p/7").await, 500, "internal").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_the_same_round_the_router_and_through_it_header_for_header() {
    let server = with_full_tile().await;
    for accept in ["", "gzip", "zstd, gzip;q=0.5", "*"] {
        let answer = seen(get(&server, "/logs/default/checkpoint", accept).await).await;
        // Only the router reads this as the same path.
        assert_eq!(answer, seen(get(&server, "/logs/%64efault/checkpoint", accept).await).await, "{accept}");
        assert_eq!(answer.0["cache-control"], "public, max-age=1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_lacks_an_entry_is_the_server_s_failure() {
    let server = with_full_tile().await;
    execute_unguarded(&server, &["delete from processed_log where id = 7"]).await;
    for path in [BUNDLE, "/logs/default/tile/entries/000.p/255"] {
        problem(server.get(path).await, 500, "internal").await;
    }
    assert_eq!(server.get("/logs/default/tile/entries/000.p/7").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_request_is_told_of_what_is_in_memory_without_it() {
    let server = with_full_tile().await;
    for path in [TILE, BUNDLE] {
        let (mut headers, bytes) = seen(get(&server, path, "").await).await;
        let head = server.client.head(format!("{}{path}", server.address)).send().await.unwrap();
        assert_eq!(head.status(), 200);
        let (mut of_head, none) = seen(head).await;
        assert!(none.is_empty());
        assert_eq!(of_head.remove("content-length"), Some(bytes.len().to_string()));
        headers.remove("content-length");
        assert_eq!(of_head, headers);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn codings_with_weights_are_weighed_also_for_what_is_in_memory() {
    let server = with_full_tile().await;
    let plain = get(&server, BUNDLE, "identity").await.bytes().await.unwrap();
    for (accept, encoding) in [
        ("gzip;q=0.5, zstd;q=0.1", "gzip"),
        ("gzip;q=0", ""),
        ("*", "zstd"),
        ("zstd;q=0, *", "gzip"),
        ("gzip;q=0.5, identity", ""),
        ("br", ""),
    ] {
        let answer = get(&server, BUNDLE, accept).await;
        assert_eq!(header(&answer, "content-encoding"), encoding, "{accept}");
        assert_eq!(decoded(encoding, &answer.bytes().await.unwrap()), plain, "{accept}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_log_has_its_own_tiles_in_memory() {
    let server = with_full_tile().await;
    let made = server
        .post(
            "/logs",
            "application/json",
            json!({ "name": "second", "origin": "example.com/second" }).to_string(),
        )
        .send()
        .await
        .unwrap();
    assert_eq!(made.status(), 201);
    let path = |log: &str, tile: &str| format!("/logs/{log}/tile/{tile}");
    for tile in ["0/000", "entries/000"] {
        assert_eq!(server.get(&path("default", tile)).await.status(), 200);
        problem(server.get(&path("second", tile)).await, 404, "no_such_tile").await;
        problem(server.get(&path("third", tile)).await, 404, "unknown_log").await;
    }
    append(&server, "second", "other").await;
    for tile in ["0/000", "entries/000"] {
        let mut bodies = Vec::new();
        for log in ["default", "second", "default", "second"] {
            bodies.push(server.get(&path(log, tile)).await.bytes().await.unwrap());
        }
        assert_eq!((&bodies[0], &bodies[1]), (&bodies[2], &bodies[3]));
        assert_ne!(bodies[0], bodies[1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_tile_beyond_the_published_head_is_not_shown() {
    // The first batch is signed, and none after it.
    let server =
        TestServer::start_with(|settings| settings.pace.head_interval = Duration::from_secs(3600)).await;
    server.add("one").await;
    let lines: Vec<String> = (0..300).map(|number| format!("{{\"n\":{number}}}")).collect();
    let answer =
        server.post("/logs/default/entries", "application/x-ndjson", lines.join("\n")).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let log = server.store.log("default").await.unwrap().unwrap();
    while server.store.tree(log.id).await.unwrap().unwrap().edge.size().0 < 301 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for path in [TILE, BUNDLE, TILE, BUNDLE] {
        problem(server.get(path).await, 404, "no_such_tile").await;
    }
    let server = TestServer::start_in(server.stop().await, |_| {}).await;
    server.add("last").await;
    for path in [TILE, BUNDLE] {
        assert_eq!(server.get(path).await.status(), 200);
    }
}
