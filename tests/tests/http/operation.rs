//! Running a server: the page, the description, the measures, starting and stopping.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use attestlog_server::deployment::{Deployment, SecretSource};
use attestlog_server::serve::{open_patiently, serve};
use attestlog_server::service::Settings;
use attestlog_tests::server::TestServer;
use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::header;

/// Every path and what it answers to, as the documentation has them.
const ROUTES: [(&str, &[&str]); 17] = [
    ("/", &["get"]),
    ("/healthz", &["get"]),
    ("/logs", &["get", "post"]),
    ("/logs/{log}/add", &["post"]),
    ("/logs/{log}/checkpoint", &["get"]),
    ("/logs/{log}/entries", &["get", "post"]),
    ("/logs/{log}/entries/{index}", &["get"]),
    ("/logs/{log}/entries/{index}/receipt", &["get"]),
    ("/logs/{log}/events", &["get"]),
    ("/logs/{log}/proof/consistency", &["get"]),
    ("/logs/{log}/proof/inclusion", &["get"]),
    ("/logs/{log}/tickets/{ticket}", &["get"]),
    ("/logs/{log}/tile/{path}", &["get"]),
    ("/metrics", &["get"]),
    ("/openapi.json", &["get"]),
    ("/readyz", &["get"]),
    ("/logs/{log}/nothing", &[]),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_description_has_every_route_and_no_other() {
    let server = TestServer::start().await;
    let description = server.get_json("/openapi.json").await;
    assert!(description["openapi"].as_str().unwrap().starts_with("3."));
    let paths = description["paths"].as_object().unwrap();
    let described: BTreeSet<(&str, &str)> = paths
        .iter()
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(|method| (&**path, &**method)))
        .collect();
    let expected: BTreeSet<(&str, &str)> =
        ROUTES.iter().flat_map(|(path, methods)| methods.iter().map(|method| (*path, *method))).collect();
    assert_eq!(described, expected);
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            let name = format!("{method} {path}");
            let text = operation["summary"].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{name} has no summary");
            let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
            for part in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
                let named =
                    |parameter: &&serde_json::Value| parameter["name"] == part && parameter["in"] == "path";
                assert_eq!(parameters.iter().filter(named).count(), 1, "{name} {part}");
            }
        }
    }
    // What is described is there, and the schemas that it refers to are too.
    for (path, methods) in ROUTES {
        let path = path.replace("{log}", "default").replace("{index}", "0").replace("{ticket}", "1");
        let answer = server.get(&path.replace("{path}", "0/000")).await;
        let known = answer.status() == 200 || !answer.text().await.unwrap().contains("\"not_found\"");
        assert_eq!(known, !methods.is_empty(), "{path}");
    }
    let text = description.to_string();
    for part in text.split("\"#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(description["components"]["schemas"][name].is_object(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_lists_the_logs_and_runs_nothing() {
    let server = TestServer::start().await;
    let new = json!({ "name": "second", "origin": "example.com/<script>alert('&')</script>" });
    let made = server.post("/logs", "application/json", new.to_string()).send().await.unwrap();
    assert_eq!(made.status(), 201);
    server.add("one").await;
    let answer = server.get("/").await;
    assert_eq!(header(&answer, "content-type"), "text/html; charset=utf-8");
    let policy = header(&answer, "content-security-policy").to_owned();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    let page = answer.text().await.unwrap();
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;alert(&#39;&amp;&#39;)"), "{page}");
    let logs = server.get_json("/logs").await;
    let names: Vec<_> = logs.as_array().unwrap().iter().map(|log| log["name"].clone()).collect();
    assert_eq!(names, ["default", "second"]);
    assert_eq!(logs[0]["size"], 1);
    assert!(page.contains(logs[0]["vkey"].as_str().unwrap()), "{page}");
    let checkpoint = server.get("/logs/default/checkpoint").await.text().await.unwrap();
    assert!(page.contains(checkpoint.lines().nth(2).unwrap()), "{page}");
    for link in
        ["/logs/default/checkpoint", "/logs/default/entries?from=0", "/logs/default/entries/0/receipt"]
    {
        assert!(page.contains(&format!("href=\"{link}\"")), "{link}");
        assert_eq!(server.get(link).await.status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn measures_requests_by_route_and_the_ages_of_what_waits() {
    let server = TestServer::start().await;
    server.add("one").await;
    server.get("/logs/default/entries/0").await;
    let answer = server.get("/metrics").await;
    assert_eq!(header(&answer, "content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text().await.unwrap();
    for line in [
        "attestlog_http_requests_total{method=\"GET\",route=\"/logs/{log}/entries/{index}\",status=\"200\"} ",
        "attestlog_http_request_seconds_bucket{method=\"POST\",route=\"/logs/{log}/add\",status=\"200\",le=\"1\"} ",
        "attestlog_last_published_head_age_seconds ",
        "attestlog_oldest_unprocessed_seconds ",
        "attestlog_unprocessed_rows ",
        "attestlog_entries_processed_total ",
    ] {
        assert!(text.lines().any(|found| found.starts_with(line)), "{line}\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_answers_the_appends_in_flight() {
    let server = TestServer::start_with(|settings| settings.pace.interval = Duration::from_millis(300)).await;
    let log = server.store.log("default").await.unwrap().unwrap();
    let (address, client) = (server.address.clone(), server.client.clone());
    let adds = tokio::spawn(join_all((0..40).map(move |number| {
        client.post(format!("{address}/logs/default/add")).body(format!("entry {number}")).send()
    })));
    loop {
        let waiting = server.store.backlog(100).await.unwrap().rows;
        let processed = server.store.tree(log.id).await.unwrap().unwrap().edge.size().0;
        if waiting + processed >= 40 {
            break;
        }
        tokio::task::yield_now().await;
    }
    let address = server.address.strip_prefix("http://").unwrap().to_owned();
    server.stop().await;
    let mut indexes = BTreeSet::new();
    for answer in adds.await.unwrap() {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 200);
        indexes.insert(answer.text().await.unwrap().parse::<u64>().unwrap());
    }
    assert_eq!(indexes, (0..40).collect());
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn goes_on_where_it_was_stopped_and_never_behind_what_it_published() {
    let server = TestServer::start().await;
    server.add("one").await;
    let checkpoint = server.get("/logs/default/checkpoint").await.text().await.unwrap();
    let directory = server.stop().await;

    let server = TestServer::start_in(directory, |_| {}).await;
    assert_eq!(server.get("/logs/default/checkpoint").await.text().await.unwrap(), checkpoint);
    assert_eq!(server.add("two").await, 1);
    let directory = server.stop().await;

    // As if the database had been restored from a backup.
    let heads = directory.path().join("data/published-heads");
    let text = std::fs::read_to_string(&heads).unwrap();
    let origin = checkpoint.lines().next().unwrap();
    let root = checkpoint.lines().nth(2).unwrap();
    std::fs::write(&heads, format!("{text}99 {root} {origin}\n")).unwrap();
    let server = TestServer::start_in(directory, |_| {}).await;
    for path in ["checkpoint", "entries", "entries/0", "entries/0/receipt", "tile/0/000.p/1"] {
        let answer = server.get(&format!("/logs/default/{path}")).await;
        super::problem(answer, 500, "history_refused").await;
    }
    let page = server.get("/").await;
    assert_eq!(page.status(), 200);
    assert!(page.text().await.unwrap().contains("not shown"));
    assert_eq!(server.get("/readyz").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_does_not_hold_up_a_shutdown() {
    let server = TestServer::start().await;
    let mut idle = TcpStream::connect(server.address.strip_prefix("http://").unwrap()).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    tokio::time::timeout(Duration::from_secs(5), server.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_to_listen_to_other_machines_without_a_token() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let deployment = Deployment { data, database: None, secret: SecretSource::DataDirectory };
    let stop = CancellationToken::new();
    let signing = open_patiently(&deployment, &stop).await.unwrap().unwrap();
    let store = Arc::clone(&signing.store);
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let refused = serve(listener, signing, Settings::default(), stop).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
    assert!(refused.to_string().contains("--append-token-file"));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_again_while_the_database_does_not_answer_until_it_is_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    // It hangs up on whoever connects.
    let broken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let database = Some(format!("postgres://nobody@{}/nothing", broken.local_addr().unwrap()));
    let deployment = Deployment { data, database, secret: SecretSource::DataDirectory };
    let stop = CancellationToken::new();
    let stop_after_three = async {
        for _ in 0..3 {
            drop(broken.accept().await.unwrap());
        }
        stop.cancel();
    };
    let (opened, ()) = tokio::join!(open_patiently(&deployment, &stop), stop_after_three);
    assert!(opened.unwrap().is_none());
}
