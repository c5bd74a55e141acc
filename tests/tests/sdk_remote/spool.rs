//! The spool: what it survives, what it refuses, how large it gets.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use attestlog::writer::{AppendError, Durable, StartError, Unsent};
use attestlog::{Event, Writer};
use attestlog_tests::deadline::until;
use attestlog_tests::raw_server::{RawServer, Reply};
use attestlog_tests::server::TestServer;
use attestlog_tests::small_disk::SmallDisk;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{assert_once, event, http, logged, writer};

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:1";

const SOON: Duration = Duration::from_millis(1);
const LATE: Duration = Duration::from_secs(60);

/// Puts so many events into a spool while the server is away; their ids.
async fn spooled(spool: &Path, count: usize) -> Vec<String> {
    let writer = writer(NOWHERE).spool(spool).start().await.unwrap();
    let events: Vec<_> = (0..count).map(event).collect();
    for appended in join_all(events.iter().map(|event| writer.append(event))).await {
        assert_eq!(appended.unwrap(), Durable::Spooled);
    }
    assert_eq!(writer.shutdown(SOON).await, Err(Unsent));
    events.into_iter().map(|event| event.id).collect()
}

/// The files of a spool whose names end so.
fn files(spool: &Path, end: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(spool).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|name| name == end)).collect();
    files.sort();
    files
}

/// Sends what a spool holds; the writer, after its end.
async fn send(server: &TestServer, spool: &Path) -> Writer {
    let writer = writer(&server.address).spool(spool).start().await.unwrap();
    writer.shutdown(LATE).await.unwrap();
    assert!(files(spool, "spool").is_empty());
    writer
}

/// A proxy that lets nothing pass before it is opened.
async fn gate(server: &TestServer) -> (watch::Sender<bool>, RawServer) {
    let (open, closed) = watch::channel(false);
    let (client, address) = (http(), server.address.clone());
    let gate = RawServer::start(move |request| {
        let (mut closed, client, url) =
            (closed.clone(), client.clone(), format!("{address}{}", request.path));
        async move {
            closed.wait_for(|open| *open).await.unwrap();
            let forwarded =
                client.post(url).header("content-type", "application/x-ndjson").body(request.body);
            let answer = forwarded.send().await.unwrap();
            Reply::Answer(answer.status().as_u16(), Vec::new(), answer.bytes().await.unwrap().to_vec())
        }
    });
    (open, gate.await)
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("deep/spool");
    (folder, spool)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_durable_without_a_server_and_are_sent_by_the_next_writer() {
    let (_folder, spool) = place();
    let mut ids = spooled(&spool, 300).await;
    ids.extend(spooled(&spool, 20).await);
    assert_eq!(files(&spool, "spool").len(), 2);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&spool), 0o700);
    for file in files(&spool, "spool") {
        assert_eq!(mode(&file), 0o600);
    }
    let server = TestServer::start().await;
    let writer = send(&server, &spool).await;
    assert_eq!(writer.status().acknowledged, 320);
    assert_once(&logged(&server).await, &ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_share_a_spool_and_the_order_of_each_is_kept() {
    let (_folder, spool) = place();
    let server = TestServer::start().await;
    let writer = writer(&server.address).spool(&spool).start().await.unwrap();
    let tasks = (0..8).map(async |task: usize| {
        for number in 0..50 {
            writer.append(&event(task * 1000 + number)).await.unwrap();
        }
    });
    join_all(tasks).await;
    writer.flush().await.unwrap();
    assert_eq!(writer.status().acknowledged, 400);
    writer.shutdown(LATE).await.unwrap();
    let last = server.add("the last").await;
    let feed = server.get_json(&format!("/logs/default/entries?from=0&limit={last}")).await;
    let mut next = [0; 8];
    for entry in feed["entries"].as_array().unwrap() {
        let data = attestlog_core::base64::parse(entry["data"].as_str().unwrap().as_bytes()).unwrap();
        let number =
            usize::try_from(Event::parse(&data).unwrap().metadata["number"].as_u64().unwrap()).unwrap();
        assert_eq!(number % 1000, next[number / 1000], "task {}", number / 1000);
        next[number / 1000] += 1;
    }
    assert_eq!(next, [50; 8]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_tail_is_not_sent_and_is_no_damage() {
    let server = TestServer::start().await;
    let (_folder, spool) = place();
    let mut all = Vec::new();
    // In the entry, in its head, nothing but a head, and zeros that the file system left.
    let last = 12 + event(4).to_entry().unwrap().len();
    for cut in [1, 20, last - 12, last - 5] {
        let mut ids = spooled(&spool, 5).await;
        let segment = &files(&spool, "spool")[0];
        let bytes = fs::read(segment).unwrap();
        fs::write(segment, &bytes[..bytes.len() - cut]).unwrap();
        let lost = ids.pop().unwrap();
        let writer = send(&server, &spool).await;
        let status = writer.status();
        assert_eq!((status.acknowledged, status.damaged_segments), (4, 0), "{cut}");
        let logged = logged(&server).await;
        assert!(!logged.contains_key(&lost));
        all.extend(ids);
        assert_once(&logged, &all);
    }
    let ids = spooled(&spool, 5).await;
    let segment = &files(&spool, "spool")[0];
    fs::write(segment, [&fs::read(segment).unwrap()[..], &[0; 5000]].concat()).unwrap();
    assert_eq!(send(&server, &spool).await.status().damaged_segments, 0);
    assert_once(&logged(&server).await, &ids);
    fs::write(spool.join("00000000000000000099.spool"), b"attest").unwrap();
    assert_eq!(send(&server, &spool).await.status().damaged_segments, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_costs_one_event_is_reported_and_the_segment_is_kept() {
    let server = TestServer::start().await;
    let (_folder, spool) = place();
    let mut kept = 0;
    for (place, lost) in [(0, 0), (16, 1), (30, 1), (150, 1), (1000, 1)] {
        let ids = spooled(&spool, 6).await;
        let segment = &files(&spool, "spool")[0];
        let mut bytes = fs::read(segment).unwrap();
        bytes[place] ^= 0x10;
        fs::write(segment, &bytes).unwrap();
        let writer = send(&server, &spool).await;
        let status = writer.status();
        assert_eq!((status.acknowledged, status.damaged_segments), (6 - lost, 1), "byte {place}");
        let logged = logged(&server).await;
        let there = ids.iter().filter(|id| logged.get(*id) == Some(&1)).count();
        assert_eq!(there as u64, 6 - lost);
        kept += 1;
        let damaged = files(&spool, "damaged");
        assert_eq!(damaged.len(), kept);
        assert_eq!(fs::read(damaged.last().unwrap()).unwrap(), bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_is_cut_under_its_writer_is_not_taken_for_torn() {
    let (_folder, spool) = place();
    let server = TestServer::start().await;
    for cut in [1, 30, 300] {
        let (open, gate) = gate(&server).await;
        let writer = writer(&gate.address).spool(&spool).batch_entries(1).start().await.unwrap();
        let events: Vec<_> = (0..3).map(event).collect();
        for event in &events {
            writer.append(event).await.unwrap();
        }
        let segment = &files(&spool, "spool")[0];
        let bytes = fs::read(segment).unwrap();
        // In one step: `fs::write` would leave the file empty for a moment.
        let file = fs::OpenOptions::new().write(true).open(segment).unwrap();
        file.set_len((bytes.len() - cut) as u64).unwrap();
        open.send(true).unwrap();
        writer.shutdown(LATE).await.unwrap();
        assert_eq!(writer.status().damaged_segments, 1, "{cut} bytes");
        assert!(writer.status().acknowledged >= 1);
        let damaged = files(&spool, "damaged");
        assert_eq!(fs::read(damaged.last().unwrap()).unwrap(), &bytes[..bytes.len() - cut]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_one_log_is_not_sent_to_another() {
    let (_folder, spool) = place();
    let at = |address: &str| Writer::builder(address).client(http()).spool(&spool).start();
    // An empty spool may change hands.
    for log in ["http://127.0.0.1:1/logs/other", "http://127.0.0.1:1/logs/default"] {
        at(log).await.unwrap().shutdown(LATE).await.unwrap();
    }
    spooled(&spool, 1).await;
    match at("http://127.0.0.1:1/logs/other").await {
        Err(StartError::SpoolOfOtherLog { path, log }) => {
            assert_eq!((path, &*log), (spool.clone(), "default"))
        }
        other => panic!("{other:?}"),
    }
    // The same log by another address.
    let moved = at("http://127.0.0.1:1/audit/logs/default").await.unwrap();
    assert_eq!(moved.shutdown(SOON).await, Err(Unsent));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_writer_at_a_time_has_a_spool() {
    let (_folder, spool) = place();
    let first = writer(NOWHERE).spool(&spool).start().await.unwrap();
    match writer(NOWHERE).spool(&spool).start().await {
        Err(StartError::SpoolInUse(path)) => assert_eq!(path, spool),
        other => panic!("{other:?}"),
    }
    first.shutdown(SOON).await.unwrap();
    writer(NOWHERE).spool(&spool).start().await.unwrap().shutdown(SOON).await.unwrap();
    fs::remove_dir_all(&spool).unwrap();
    fs::write(&spool, "a file").unwrap();
    let refused = writer(NOWHERE).spool(&spool).start().await;
    assert!(matches!(refused, Err(StartError::Spool { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_makes_callers_wait_until_the_server_is_back() {
    let (_folder, spool) = place();
    let large = |number: usize| event(number).metadata("long", "x".repeat(20_000));
    let server = TestServer::start().await;
    let (open, gate) = gate(&server).await;
    let writer = writer(&gate.address).spool(&spool).spool_bytes(256 << 10).start().await.unwrap();
    let mut ids = Vec::new();
    let full = loop {
        let event = large(ids.len());
        match writer.try_append(&event).await {
            Ok(_) => ids.push(event.id),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, AppendError::Full), "{full}");
    assert_eq!(ids.len(), (256 << 10) / 20_300);
    let on_disk: u64 = files(&spool, "spool").iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!(on_disk <= (256 << 10) + 1000, "{on_disk}");
    let waiting: Vec<_> = (100..140)
        .map(|number| {
            let (writer, event) = (writer.clone(), large(number));
            ids.push(event.id.clone());
            tokio::spawn(async move { writer.append(&event).await })
        })
        .collect();
    open.send(true).unwrap();
    for appended in waiting {
        appended.await.unwrap().unwrap();
    }
    writer.shutdown(LATE).await.unwrap();
    assert_once(&logged(&server).await, &ids);
    assert_eq!(writer.status().waiting_bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_fails_appends_clearly_and_loses_nothing_that_was_durable() {
    let disk = SmallDisk::mount(4);
    let spool = disk.path().join("spool");
    let server = TestServer::start().await;
    let ids = spooled(&spool, 50).await;
    let writer = writer(NOWHERE).spool(&spool).start().await.unwrap();
    disk.fill();
    let event = event(99).metadata("long", "x".repeat(60_000));
    for _ in 0..3 {
        let failed = writer.append(&event).await;
        assert!(matches!(&failed, Err(AppendError::Spool(_))), "{failed:?}");
    }
    disk.free();
    // The same event again: it was not durable, and it is one all the same.
    writer.append(&event).await.unwrap();
    assert_eq!(writer.shutdown(SOON).await, Err(Unsent));
    let writer = send(&server, &spool).await;
    assert_eq!(writer.status().damaged_segments, 0);
    assert_once(&logged(&server).await, &[&ids[..], &[event.id]].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_events_are_moved_aside_with_the_reason_each_once() {
    let (_folder, spool) = place();
    let server = TestServer::start().await;
    let new = json!({ "name": "strict", "origin": "example.com/strict", "events": "strict" });
    server.post("/logs", "application/json", new.to_string()).send().await.unwrap();
    let strict = || Writer::builder(format!("{}/logs/strict", server.address)).client(http()).spool(&spool);
    let reported = Arc::new(Mutex::new(0));
    let report = Arc::clone(&reported);
    let mut bad = event(1);
    bad.other.insert("action".to_owned(), "twice".into());
    let writer = strict().on_refused(move |_| *report.lock().unwrap() += 1).start().await.unwrap();
    for event in [&event(0), &bad, &event(2), &bad] {
        assert_eq!(writer.append(event).await.unwrap(), Durable::Spooled);
    }
    writer.flush().await.unwrap();
    writer.shutdown(LATE).await.unwrap();
    assert_eq!((*reported.lock().unwrap(), writer.status().refused, writer.status().acknowledged), (2, 2, 2));
    let read = || {
        let text = fs::read_to_string(spool.join("refused.ndjson")).unwrap();
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    };
    let lines = read();
    assert_eq!(
        (lines.len(), &lines[0]["code"], &lines[0]["status"]),
        (1, &"invalid_event".into(), &400.into())
    );
    assert!(lines[0]["detail"].as_str().unwrap().contains("action"), "{lines:?}");
    let text = fs::read_to_string(spool.join("refused.ndjson")).unwrap();
    assert!(
        text.contains(std::str::from_utf8(&bad.to_entry().unwrap()).unwrap()),
        "the bytes are as they were"
    );

    // A line that a crash has cut off, and the same event once more in the next process.
    fs::write(spool.join("refused.ndjson"), format!("{text}{{\"code\":\"inv")).unwrap();
    let writer = strict().start().await.unwrap();
    let mut other = event(3);
    other.other.insert("action".to_owned(), "twice".into());
    for event in [&bad, &other] {
        writer.append(event).await.unwrap();
    }
    writer.shutdown(LATE).await.unwrap();
    let lines = read();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["event"]["metadata"]["number"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_nothing_does_not_lose_what_is_spooled() {
    use attestlog_server::service::AppendToken;
    let (_folder, spool) = place();
    let server =
        TestServer::start_with(|settings| settings.append_token = Some(AppendToken::new("new"))).await;
    let denied = writer(&server.address).token("old").spool(&spool).start().await.unwrap();
    let event = event(1);
    denied.append(&event).await.unwrap();
    let trouble = until("it was denied", async || denied.status().trouble).await;
    assert!(trouble.error.contains("unauthorized"), "{trouble:?}");
    assert_eq!(denied.shutdown(SOON).await, Err(Unsent));
    assert!(!spool.join("refused.ndjson").exists());
    let allowed = writer(&server.address).token("new").spool(&spool).start().await.unwrap();
    allowed.shutdown(LATE).await.unwrap();
    assert_eq!(allowed.status().acknowledged, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_dropped_frees_its_spool() {
    let (_folder, spool) = place();
    drop(writer(NOWHERE).spool(&spool).start().await.unwrap());
    until("the spool is free", async || writer(NOWHERE).spool(&spool).start().await.ok()).await;
}
