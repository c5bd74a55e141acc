//! Reading: the feed, proofs, and the headers of every answer.

use attestlog_core::{ConsistencyProof, Hash, InclusionProof, LeafIndex, TreeHead, TreeSize, base64};
use attestlog_tests::reference;
use attestlog_tests::server::TestServer;
use serde_json::{Value, json};

use super::{header, problem};

async fn with_entries(count: usize) -> (TestServer, Vec<Vec<u8>>) {
    let server = TestServer::start().await;
    let entries: Vec<Vec<u8>> = (0..count).map(|number| format!("{number}").into_bytes()).collect();
    let lines = entries[..count - 1].join(&b'\n');
    if count > 1 {
        let request = server.post("/logs/default/entries", "application/x-ndjson", lines);
        assert_eq!(request.send().await.unwrap().status(), 202);
    }
    server.add(entries[count - 1].clone()).await;
    (server, entries)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_has_every_entry_in_order_and_always_goes_on() {
    let (server, entries) = with_entries(600).await;
    let (mut next, mut read) = ("/logs/default/entries".to_owned(), Vec::new());
    loop {
        let page = server.get_json(&next).await;
        assert_eq!(page["size"], 600);
        next = page["next"].as_str().unwrap().to_owned();
        let part = page["entries"].as_array().unwrap();
        if part.is_empty() {
            break;
        }
        for entry in part {
            assert_eq!(entry["index"], read.len());
            read.push(base64::parse(entry["data"].as_str().unwrap().as_bytes()).unwrap());
        }
    }
    assert_eq!(read, entries);
    assert_eq!(next, "/logs/default/entries?from=600&limit=256");
    server.add("news").await;
    let page = server.get_json(&next).await;
    assert_eq!(page["entries"], json!([{ "index": 600, "data": "bmV3cw==" }]));
    let page = server.get_json("/logs/default/entries?from=2&limit=3").await;
    assert_eq!(page["next"], "/logs/default/entries?from=5&limit=3");
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_in_json_are_those_of_rfc_6962() {
    let (server, entries) = with_entries(70).await;
    let hashes = |body: &Value| -> Vec<Hash> {
        let proof = body["proof"].as_array().unwrap();
        proof.iter().map(|hash| Hash::parse_base64(hash.as_str().unwrap().as_bytes()).unwrap()).collect()
    };
    let root = |size: usize| Hash(reference::root(&entries[..size]));
    for (index, size) in [(0, 1), (0, 70), (69, 70), (5, 6), (32, 64)] {
        let path = format!("/logs/default/proof/inclusion?index={index}&size={size}");
        let body = server.get_json(&path).await;
        assert_eq!((&body["index"], &body["size"]), (&json!(index), &json!(size)));
        let proof = InclusionProof::new(hashes(&body));
        let index = LeafIndex(index);
        let leaf = Hash::leaf(&entries[usize::try_from(index.0).unwrap()]);
        assert_eq!(proof.root(&leaf, index, TreeSize(size as u64)).unwrap(), root(size));
    }
    for (old, new) in [(0, 70), (1, 70), (64, 70), (70, 70), (3, 7)] {
        let body = server.get_json(&format!("/logs/default/proof/consistency?old={old}&new={new}")).await;
        assert_eq!((&body["old"], &body["new"]), (&json!(old), &json!(new)));
        let head = |size: usize| TreeHead { size: TreeSize(size as u64), root: root(size) };
        ConsistencyProof::new(hashes(&body)).verify(&head(old), &head(new)).unwrap();
    }
    assert_eq!(server.get_json("/logs/default/proof/inclusion?index=3").await["size"], 70);
    assert_eq!(server.get_json("/logs/default/proof/consistency?old=3").await["new"], 70);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_read_may_be_made_by_every_page() {
    let (server, _) = with_entries(2).await;
    for path in [
        "/",
        "/logs",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/logs/default/checkpoint",
        "/logs/default/tile/0/000.p/2",
        "/logs/default/tile/entries/000.p/2",
        "/logs/default/entries",
        "/logs/default/entries/1",
        "/logs/default/events?q=1",
        "/logs/default/entries/1/receipt",
        "/logs/default/proof/inclusion?index=0",
        "/logs/default/proof/consistency?old=1",
        "/logs/default/tickets/1",
    ] {
        let answer = server.request(path).header("origin", "https://a.example").send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(header(&answer, "access-control-allow-origin"), "*", "{path}");
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff", "{path}");
        assert!(!header(&answer, "cache-control").is_empty(), "{path}");
        let head = server.client.head(format!("{}{path}", server.address)).send().await.unwrap();
        assert_eq!(head.status(), 200, "{path}");
    }
    let answer = server.request("/none").header("origin", "https://a.example").send().await.unwrap();
    assert_eq!(header(&answer, "access-control-allow-origin"), "*");
    problem(answer, 404, "not_found").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_may_ask_whether_it_may_append() {
    let server = TestServer::start().await;
    let asked =
        server.client.request(reqwest::Method::OPTIONS, format!("{}/logs/default/entries", server.address));
    let asked = asked
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,idempotency-key");
    let answer = asked.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "access-control-allow-origin")), (200, "*"));
    assert!(header(&answer, "access-control-allow-methods").contains("POST"));
    for name in ["authorization", "content-type", "idempotency-key"] {
        assert!(header(&answer, "access-control-allow-headers").contains(name), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compresses_what_shrinks_for_those_who_ask() {
    let (server, _) = with_entries(300).await;
    let encoding = async |path: &str, accept: &str| {
        let answer = server.request(path).header("accept-encoding", accept).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        (header(&answer, "content-encoding").to_owned(), answer.bytes().await.unwrap().len())
    };
    let bundle = "/logs/default/tile/entries/000";
    let (plain, length) = encoding(bundle, "identity").await;
    assert_eq!(plain, "");
    for accepted in ["gzip", "zstd"] {
        let (used, shorter) = encoding(bundle, accepted).await;
        assert_eq!(used, accepted);
        assert!(shorter < length, "{shorter} {length}");
    }
    assert_eq!(encoding("/logs/default/entries", "gzip, identity").await.0, "gzip");
    // Hashes do not shrink, and a few bytes are not worth it.
    assert_eq!(encoding("/logs/default/tile/0/000", "gzip").await, (String::new(), 8192));
    assert_eq!(encoding("/logs/default/checkpoint", "gzip").await.0, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_callers_request_id_or_makes_one() {
    let server = TestServer::start().await;
    let answer = server.request("/healthz").header("x-request-id", "trace-7").send().await.unwrap();
    assert_eq!(header(&answer, "x-request-id"), "trace-7");
    let answer = server.request("/healthz").header("x-request-id", "two words").send().await.unwrap();
    assert_eq!(header(&answer, "x-request-id").len(), 32);
}
