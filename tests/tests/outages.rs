//! What a server does while its database or its disk fails it: it says so, acknowledges nothing that could be lost, and
//! goes on by itself.
//!
//! It drives the real binary. The tests that fill a disk mount a small one, which needs root.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "the code of tests fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use attestlog_server::published::PublishedHeads;
use attestlog_server::store::postgres::PostgresStore;
use attestlog_server::store::sqlite::SqliteStore;
use attestlog_server::store::{Log, Store};
use attestlog_tests::chance::Chance;
use attestlog_tests::databases::{PostgresCluster, execute, fresh_postgres, url_of};
use attestlog_tests::deadline::until;
use attestlog_tests::heads::{Heads, observe};
use attestlog_tests::history::{Writer, verify};
use attestlog_tests::http_writer::{HttpWriter, Sent};
use attestlog_tests::program::{ServerProcess, client, command};
use attestlog_tests::small_disk::{SmallDisk, give_to_postgres};
use futures_util::future::join_all;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

async fn start_cluster() -> PostgresCluster {
    tokio::task::spawn_blocking(PostgresCluster::start).await.unwrap()
}

/// A server on the embedded store in this folder, or on a database.
fn serve(data: &Path, database: Option<&str>) -> ServerProcess {
    let data = data.display().to_string();
    let mut arguments = vec!["--data", &data, "--interval", "20ms"];
    arguments.extend(database.into_iter().flat_map(|url| ["--database", url]));
    ServerProcess::start(&arguments)
}

async fn default_log(store: &dyn Store) -> Log {
    store.log("default").await.unwrap().expect("the log is there")
}

fn postgres(url: &str) -> Arc<dyn Store> {
    Arc::new(PostgresStore::connect(url, 4).unwrap())
}

async fn sqlite(data: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(&data.join("attestlog.db")).await.unwrap())
}

/// The code of the problem that a GET is answered with.
async fn problem(server: &ServerProcess, path: &str) -> String {
    let answer = client().get(format!("{}{path}", server.address)).send().await.unwrap();
    assert_eq!(answer.status(), 503, "{path}");
    assert_eq!(answer.headers()["content-type"], "application/problem+json", "{path}");
    assert!(answer.headers().contains_key("retry-after"), "{path}");
    answer.json::<Value>().await.unwrap()["code"].as_str().unwrap().to_owned()
}

/// Waits until the server shows a head that covers everything.
async fn all_is_signed(server: &ServerProcess, heads: &mut Heads, writers: &[Writer]) {
    let (client, size) = (client(), writers.iter().flatten().map(Vec::len).sum::<usize>() as u64);
    let signed = async || (heads.observe(&client, &server.address).await? >= size).then_some(());
    until("everything is signed and shown", signed).await;
}

/// Waits until everything is signed, and checks all of it.
async fn verify_all(
    server: &ServerProcess,
    store: Arc<dyn Store>,
    data: &Path,
    writers: &[Writer],
    mut heads: Heads,
) {
    all_is_signed(server, &mut heads, writers).await;
    let (client, log) = (client(), default_log(&*store).await);
    verify(&store, &log, writers, &[data]).await;
    heads.verify(&client, &server.address, &mut Chance::announced()).await;
    store.close().await;
}

/// Delivers batches until the server has no room for one. What it took, and the batch that is still to be delivered.
async fn write_until_full(writer: &HttpWriter, batch_length: u64) -> (Writer, Vec<String>) {
    let mut written = Writer::new();
    loop {
        let number = written.len() as u64;
        let batch = writer.batch(number, batch_length);
        match writer.send(number, &batch).await {
            Sent::Acknowledged(_) => written.push(batch),
            Sent::Problem(code) if code == "storage_full" => return (written, batch),
            Sent::Problem(code) => assert_eq!(code, "overloaded"),
            Sent::NoAnswer => panic!("the server does not answer"),
        }
        assert!(written.len() < 5_000, "there is always room");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_before_its_database_gets_ready_without_a_restart() {
    let cluster = start_cluster().await;
    cluster.crash();
    let place = tempfile::tempdir().unwrap();
    let mut server = serve(place.path(), Some(&cluster.url));
    let client = client();
    let alive = async || client.get(format!("{}/healthz", server.address)).send().await.ok();
    assert_eq!(until("the server lives", alive).await.status(), 200);
    for path in ["/readyz", "/logs", "/logs/default/checkpoint", "/nothing"] {
        assert_eq!(problem(&server, path).await, "database_unavailable");
    }
    let writer = HttpWriter::new(&server.address, "early", 0);
    let batch = writer.batch(0, 3);
    let sent = writer.send(0, &batch).await;
    assert!(matches!(&sent, Sent::Problem(code) if code == "database_unavailable"), "{sent:?}");
    let said = async || {
        let said = server.said();
        (said.contains("the database is not available") && said.contains("trying again")).then_some(())
    };
    until("the server says what it waits for", said).await;

    cluster.start_again();
    server.ready().await;
    writer.deliver(0, &batch, &mut Chance::random()).await;
    server.ask_to_stop();
    assert!(server.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_waits_for_its_database_can_be_stopped() {
    let place = tempfile::tempdir().unwrap();
    let mut server = serve(place.path(), Some("postgres://nobody@127.0.0.1:1/nothing"));
    let waits = async || server.said().contains("trying again").then_some(());
    until("the server waits", waits).await;
    server.ask_to_stop();
    assert!(server.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_crashes_under_appends_loses_nothing_that_was_acknowledged() {
    let mut chance = Chance::announced();
    let cluster = start_cluster().await;
    let place = tempfile::tempdir().unwrap();
    let server = serve(place.path(), Some(&cluster.url));
    server.ready().await;
    let store = postgres(&cluster.url);
    let log = default_log(&*store).await;
    let (stop, stop_observer) = (CancellationToken::new(), CancellationToken::new());
    let addresses = vec![server.address.clone()];
    let observer = observe(vec![Heads::of(log)], addresses, chance.split(), stop_observer.clone());
    let observer = tokio::spawn(observer);
    let start = |number: u32| {
        let writer = HttpWriter::new(&server.address, &number.to_string(), 0);
        tokio::spawn(writer.write(chance.split(), stop.clone()))
    };
    let writers: Vec<_> = (0..4).map(start).collect();
    for _ in 0..2 {
        server.ready().await;
        tokio::time::sleep(chance.time(1500)).await;
        cluster.crash();
        // The same code that an operator sees, until it is back.
        assert_eq!(problem(&server, "/readyz").await, "database_unavailable");
        tokio::time::sleep(chance.time(500)).await;
        cluster.start_again();
    }
    server.ready().await;
    stop.cancel();
    let (mut written, mut vain) = (Vec::new(), 0);
    for writer in writers {
        let (batches, more) = writer.await.unwrap();
        written.push(batches);
        vain += more;
    }
    assert!(vain > 0, "no append has met a database that was down");
    stop_observer.cancel();
    let heads = observer.await.unwrap().pop().unwrap();
    verify_all(&server, store, place.path(), &written, heads).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_the_embedded_store_loses_nothing_that_was_acknowledged() {
    // What is freed later has to hold SQLite's write-ahead log (8 MB before it is emptied), and what that adds to the file.
    const FREED: usize = 28 << 20;
    let disk = SmallDisk::mount(52);
    disk.take(FREED);
    let data = disk.path().join("data");
    let mut server = serve(&data, None);
    server.ready().await;
    let store = sqlite(&data).await;
    let mut heads = Heads::of(default_log(&*store).await);
    store.close().await;
    let client = client();
    heads.observe(&client, &server.address).await.unwrap();

    let writer = HttpWriter::new(&server.address, "filler", 4_000);
    let (mut written, refused) = write_until_full(&writer, 20).await;
    assert!(written.len() > 10, "{} batches", written.len());
    let alive = client.get(format!("{}/healthz", server.address)).send().await.unwrap();
    assert_eq!(alive.status(), 200);
    // A crash on top of it changes nothing, whether or not the server can start on the full disk.
    server.kill();
    disk.free();
    server.start_again();
    server.ready().await;
    writer.deliver(written.len() as u64, &refused, &mut Chance::random()).await;
    written.push(refused);
    all_is_signed(&server, &mut heads, std::slice::from_ref(&written)).await;

    // Once more, and it goes on without a restart.
    disk.take(12 << 20);
    disk.fill();
    let mut number = written.len() as u64;
    let refused = loop {
        let batch = writer.batch(number, 20);
        match writer.send(number, &batch).await {
            Sent::Acknowledged(_) => written.push(batch),
            Sent::Problem(code) if code == "storage_full" => break batch,
            other => panic!("{other:?}"),
        }
        number += 1;
    };
    disk.free();
    writer.deliver(number, &refused, &mut Chance::random()).await;
    written.push(refused);
    server.ready().await;
    verify_all(&server, sqlite(&data).await, &data, &[written], heads).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_postgresql_loses_nothing_that_was_acknowledged() {
    let cluster = start_cluster().await;
    let disk = SmallDisk::mount(64);
    let space = disk.path().join("space");
    fs::create_dir(&space).unwrap();
    give_to_postgres(&space);
    execute(&cluster.url, &format!("create tablespace small location '{}'", space.display())).await;
    execute(&cluster.url, "create database small template template0 tablespace small").await;
    let url = url_of(&cluster.url, None, "small");
    let place = tempfile::tempdir().unwrap();
    let server = serve(place.path(), Some(&url));
    server.ready().await;
    let store = postgres(&url);
    let mut heads = Heads::of(default_log(&*store).await);
    let client = client();
    heads.observe(&client, &server.address).await.unwrap();

    disk.fill();
    let writer = HttpWriter::new(&server.address, "filler", 4_000);
    let (mut written, refused) = write_until_full(&writer, 20).await;
    heads.observe(&client, &server.address).await;
    let said = async || server.said().contains("no room left").then_some(());
    until("the server says why", said).await;

    disk.free();
    writer.deliver(written.len() as u64, &refused, &mut Chance::random()).await;
    written.push(refused);
    for _ in 0..3 {
        let number = written.len() as u64;
        let batch = writer.batch(number, 20);
        writer.deliver(number, &batch, &mut Chance::random()).await;
        written.push(batch);
        all_is_signed(&server, &mut heads, std::slice::from_ref(&written)).await;
    }
    verify_all(&server, store, place.path(), &[written], heads).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_cannot_be_recorded_as_published_is_not_shown_until_it_can() {
    let (_, url, _guard) = fresh_postgres().await;
    let disk = SmallDisk::mount(1);
    let server = serve(&disk.path(), Some(&url));
    server.ready().await;
    let store = postgres(&url);
    let log = default_log(&*store).await;
    let recorded = async || {
        let heads = PublishedHeads::open(&disk.path().join("published-heads")).unwrap();
        heads.head(&log.origin).map_or(0, |head| head.size.0)
    };
    let (client, mut heads) = (client(), Heads::of(log.clone()));
    let writer = HttpWriter::new(&server.address, "writer", 0);
    let mut written = Writer::new();
    disk.fill();
    // The file's last page has some room, so a few heads are still published.
    loop {
        let number = written.len() as u64;
        let batch = writer.batch(number, 3);
        writer.deliver(number, &batch, &mut Chance::random()).await;
        written.push(batch);
        let size = written.iter().map(Vec::len).sum::<usize>() as u64;
        let ticked = async || (store.tree(log.id).await.unwrap()?.signed_size.0 >= size).then_some(());
        until("the batch is signed", ticked).await;
        match heads.observe(&client, &server.address).await {
            Some(shown) => assert!(recorded().await >= shown, "{shown} is shown and not recorded"),
            None => break,
        }
        assert!(written.len() < 1_000, "there is always room");
    }
    assert_eq!(problem(&server, "/logs/default/checkpoint").await, "storage_full");
    assert_eq!(problem(&server, "/readyz").await, "storage_full");
    let largest = recorded().await;
    let size = written.iter().map(Vec::len).sum::<usize>() as u64;
    assert!(largest < size, "{largest} of {size}");

    disk.free();
    server.ready().await;
    verify_all(&server, store, &disk.path(), &[written], heads).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_asked_to_stop_answers_what_was_sent_before() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let mut server = ServerProcess::start(&["--data", &data.display().to_string(), "--interval", "500ms"]);
    server.ready().await;
    let store = sqlite(&data).await;
    let (client, address) = (client(), server.address.clone());
    let adds = tokio::spawn(join_all((0..40).map(move |number| {
        client.post(format!("{address}/logs/default/add")).body(format!("{{\"add\":{number}}}")).send()
    })));
    // Others go on until they are refused.
    let start = |number: u64| {
        let writer = HttpWriter::new(&server.address, &number.to_string(), 0);
        tokio::spawn(async move {
            let mut written = Writer::new();
            loop {
                let number = written.len() as u64;
                let batch = writer.batch(number, 5);
                match writer.send(number, &batch).await {
                    Sent::Acknowledged(_) => written.push(batch),
                    refused => return (written, batch, refused),
                }
            }
        })
    };
    let writers: Vec<_> = (0..4).map(start).collect();
    let log = default_log(&*store).await;
    let stored = async || {
        let waiting = store.backlog(100_000).await.unwrap().rows;
        (waiting + store.tree(log.id).await.unwrap()?.edge.size().0 >= 200).then_some(())
    };
    until("appends are under way", stored).await;
    server.ask_to_stop();
    assert!(server.ended().await.success(), "{}", server.said());
    let mut entries = Vec::new();
    for answer in adds.await.unwrap() {
        // One that was not taken on is refused, and never left without an answer.
        let Ok(answer) = answer else { continue };
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status == 200 || status == 503, "{status}: {text}");
        entries.extend((status == 200).then(|| text.parse::<u64>().unwrap()));
    }
    assert!(!entries.is_empty(), "no add was answered");

    // Everything acknowledged is there, what was in flight at the end at most once, and the last batch was finished.
    let mut present = Vec::new();
    store
        .scan(log.id, 0..u64::MAX, &mut |_, entry, _| {
            present.push(String::from_utf8(entry.to_vec()).unwrap())
        })
        .await
        .unwrap();
    for index in entries {
        assert!(present[usize::try_from(index).unwrap()].starts_with("{\"add\":"));
    }
    store.close().await;
    server.start_again();
    server.ready().await;
    let store = sqlite(&data).await;
    let log = default_log(&*store).await;
    let mut written = Vec::new();
    for (number, writer) in (0..).zip(writers) {
        let (mut batches, last, refused) = writer.await.unwrap();
        assert!(
            matches!(&refused, Sent::NoAnswer)
                || matches!(&refused, Sent::Problem(code) if code == "shutting_down"),
            "{refused:?}"
        );
        let again = HttpWriter::new(&server.address, &u64::to_string(&number), 0);
        again.deliver(batches.len() as u64, &last, &mut Chance::random()).await;
        batches.push(last);
        written.push(batches);
    }
    // The adds are transactions of their own: those that are there, each once.
    let added = present.iter().filter(|entry| entry.starts_with("{\"add\":")).cloned();
    written.extend(added.map(|entry| vec![vec![entry]]));
    all_is_signed(&server, &mut Heads::of(log.clone()), &written).await;
    verify(&store, &log, &written, &[&data]).await;
    store.close().await;
}

#[test]
fn serve_refuses_a_secret_that_others_can_read_or_that_is_not_the_log_s() {
    let place = tempfile::tempdir().unwrap();
    let call = |arguments: &[&str]| command(arguments).current_dir(place.path()).output().unwrap();
    assert!(call(&["log", "create", "one", "--origin", "example.com/one"]).status.success());
    assert!(call(&["key", "generate", "--out", "wrong"]).status.success());
    let refused = |part: &str| {
        let refused = call(&["serve", "--listen", "127.0.0.1:0", "--secret-file", "wrong"]);
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains(part), "\"{part}\" is not in: {said}");
        assert!(!String::from_utf8(refused.stdout).unwrap().contains("is ready"));
    };
    refused("the secret is not the one that log");
    fs::set_permissions(place.path().join("wrong"), fs::Permissions::from_mode(0o644)).unwrap();
    refused("can be read by others than its owner: run chmod 600");
}
