//! Reading a log from servers that change one thing at a time: each is refused with its code, and nothing unproven is
//! returned.

use std::sync::Arc;

use attestlog::{LogClient, ReadError};
use attestlog_core::{Checkpoint, Hash, KeyType, SigningKey, TreeSize};
use attestlog_tests::raw_server::{RawServer, Reply};
use attestlog_tests::server::TestServer;
use attestlog_tests::static_log::{self, StaticLog, vkey};
use futures_util::TryStreamExt;

use super::{SHORT, http, log_client};

/// Enough for full tiles, a partial one of each kind, and two levels.
const SIZE: usize = 1000;

/// What is changed in one answer: the path that begins so, and how.
type Change = fn(&str, Vec<u8>) -> Reply;

/// A log whose answers to paths that contain `what` are changed.
async fn lying(what: &'static str, change: Change) -> (RawServer, LogClient) {
    let log = Arc::new(StaticLog::of(SIZE, "a"));
    let server = RawServer::start(move |request| {
        let path = request.path.strip_prefix("/logs/static/").unwrap().to_owned();
        let reply = match log.answer(&path, SIZE) {
            Reply::Answer(200, _, body) if path.contains(what) => change(&path, body),
            reply => reply,
        };
        async { reply }
    })
    .await;
    let client = log_client(&server.address).build().unwrap();
    (server, client)
}

/// In the last entry of a bundle, or the last hash of a tile.
fn flip(_: &str, mut body: Vec<u8>) -> Reply {
    let place = body.len() - 2;
    body[place] ^= 1;
    Reply::ok(body)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_log_is_read_entry_by_entry_in_runs_and_with_receipts() {
    let (_server, client) = lying("nothing", flip).await;
    let log = StaticLog::of(SIZE, "a");
    let head = client.checkpoint().await.unwrap();
    assert_eq!(
        (head.size(), head.origin(), client.origin()),
        (TreeSize(1000), static_log::ORIGIN, head.origin())
    );
    for index in [0, 255, 256, 999] {
        let entry = client.entry(index).await.unwrap();
        assert_eq!((entry.index, &entry.data), (index, &log.0[usize::try_from(index).unwrap()]));
        let receipt = client.receipt(index).await.unwrap();
        assert_eq!((receipt.index(), receipt.entry()), (index, &entry.data[..]));
        let policy = attestlog_core::Policy::for_log(static_log::key().verifier_key().clone()).unwrap();
        let proof = attestlog_core::Receipt::parse(receipt.text().as_bytes()).unwrap();
        proof.verify(&entry.data, &policy).unwrap();
    }
    for (from, to) in [(0, 1000), (0, 1), (100, 900), (255, 257), (256, 512), (999, 1000), (5, 5), (9, 3)] {
        let entries: Vec<_> = client.entries(from..to).try_collect().await.unwrap();
        assert!(entries.iter().map(|entry| entry.index).eq(from..to), "{from}..{to}");
        assert!(entries.iter().all(|entry| entry.data == log.0[usize::try_from(entry.index).unwrap()]));
    }
    assert_eq!(client.entries(..).try_fold(0, async |count, _| Ok(count + 1)).await.unwrap(), 1000);
    assert_eq!(client.entries(1000..).try_collect::<Vec<_>>().await.unwrap(), []);
    for beyond in [1000, u64::MAX - 1, u64::MAX] {
        assert_eq!(client.entry(beyond).await.unwrap_err().code(), "not_covered_yet");
        assert_eq!(
            client.entries(0..=beyond).try_collect::<Vec<_>>().await.unwrap_err().code(),
            "not_covered_yet"
        );
    }
    assert_eq!(client.entries(1001..).try_collect::<Vec<_>>().await.unwrap_err().code(), "not_covered_yet");
    match client.receipt(1000).await {
        Err(ReadError::Unchecked { code, status: Some(404), .. }) if code == "unreachable" => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(client.evidence().await.unwrap(), []);
}

/// Checks that what the changed answer is needed for is refused so, and gives no entry that was not proven.
async fn refused(what: &'static str, change: Change, code: &str) {
    let (_server, client) = lying(what, change).await;
    refused_by(&client, what, code).await;
}

/// The same of an answer that never comes, by a client that does not wait long for it.
async fn not_waited_for(what: &'static str) {
    let (server, patient) = lying(what, |_, body| Reply::Stalled(body)).await;
    if what != "checkpoint" {
        patient.checkpoint().await.unwrap();
    }
    let client = log_client(&server.address).timeout(SHORT).build().unwrap();
    refused_by(&client, what, "timed_out").await;
}

async fn refused_by(client: &LogClient, what: &str, code: &str) {
    let log = StaticLog::of(SIZE, "a");
    let mut errors = vec![client.checkpoint().await.err()];
    if what != "checkpoint" && code != "timed_out" {
        assert!(errors[0].is_none(), "{what}: {errors:?}");
    }
    if what.starts_with("entries/") {
        errors.push(client.receipt(700).await.err());
    } else {
        errors.push(client.entry(700).await.err());
        errors.push(client.entry(999).await.err());
        let mut entries = client.entries(0..1000);
        loop {
            match entries.try_next().await {
                Ok(Some(entry)) => assert_eq!(entry.data, log.0[usize::try_from(entry.index).unwrap()]),
                Ok(None) => break,
                Err(error) => errors.push(Some(error)),
            }
        }
    }
    let codes: Vec<_> = errors.iter().flatten().map(ReadError::code).collect();
    assert!(!codes.is_empty() && codes.iter().all(|found| *found == code), "{what}, {code}: {errors:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_changed_byte_is_refused_wherever_it_is() {
    refused("tile/entries/002", flip, "root_mismatch").await;
    refused("tile/entries/003.p/232", flip, "root_mismatch").await;
    refused("tile/1/000.p/3", flip, "root_mismatch").await;
    refused(
        "entries/700",
        |path, body| if path.ends_with("700") { flip(path, body) } else { Reply::ok(body) },
        "root_mismatch",
    )
    .await;
    refused(
        "entries/700/receipt",
        |_, body| {
            let text = String::from_utf8(body).unwrap();
            Reply::ok(text.replacen("index 700", "index 701", 1))
        },
        "index_mismatch",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_another_shape_are_refused() {
    let cut = |_: &str, mut body: Vec<u8>| {
        body.pop();
        Reply::ok(body)
    };
    refused("tile/entries/002", cut, "malformed_entry_bundle").await;
    refused("tile/1/000", cut, "malformed_tile").await;
    refused("checkpoint", cut, "malformed_note").await;
    refused("tile/entries/", |_, _| Reply::ok(""), "malformed_entry_bundle").await;
    refused("checkpoint", |_, _| Reply::ok("<html>"), "malformed_note").await;
    refused("entries/700/receipt", |_, _| Reply::ok("{}"), "malformed_receipt").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_do_not_come_whole_are_not_waited_for() {
    for what in ["checkpoint", "tile/1/000", "tile/entries/002"] {
        refused(what, |_, body| Reply::Truncated(body), "unreachable").await;
        not_waited_for(what).await;
        refused(what, |_, _| Reply::Gone, "unreachable").await;
        refused(what, |_, _| Reply::status(500), "unreachable").await;
        refused(what, |_, _| Reply::Answer(302, vec!["location: /".into()], Vec::new()), "unreachable").await;
    }
    // What would fill a memory is cut off at what the formats allow.
    for what in ["checkpoint", "tile/1/000", "entries/700/receipt", "entries/700"] {
        refused(what, |_, _| Reply::Endless(vec![b'x'; 65_536]), "answer_too_large").await;
    }
    refused("tile/1/000", |_, body| Reply::ok([&body[..], &[0; 8193]].concat()), "answer_too_large").await;
}

/// A note with another text at one place.
fn replaced(note: Vec<u8>, from: &str, to: &str) -> Reply {
    let note = String::from_utf8(note).unwrap();
    assert_eq!(note.matches(from).count(), 1, "{from:?} in {note}");
    assert_ne!(from, to);
    Reply::ok(note.replace(from, to))
}

/// A head of this size, root and origin, signed by this key.
fn signed(origin: &str, seed: u8, size: u64, root: Hash) -> String {
    let key = SigningKey::new(origin, KeyType::Log, &[seed; 32]).unwrap();
    Checkpoint::sign(&key, TreeSize(size), root).unwrap().format()
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_the_log_did_not_sign_are_refused() {
    // Size, root, origin, signature, one at a time.
    refused("checkpoint", |_, note| replaced(note, "\n1000\n", "\n1001\n"), "bad_signature").await;
    refused(
        "checkpoint",
        |_, note| {
            let root = |history| StaticLog::of(SIZE, history).note(SIZE).lines().nth(2).unwrap().to_owned();
            replaced(note, &root("a"), &root("b"))
        },
        "bad_signature",
    )
    .await;
    refused(
        "checkpoint",
        |_, note| replaced(note, "example.com/static\n", "example.com/other\n"),
        "bad_signature",
    )
    .await;
    refused(
        "checkpoint",
        |_, _| Reply::ok(signed(static_log::ORIGIN, 8, 1000, Hash([1; 32]))),
        "no_trusted_signature",
    )
    .await;
    refused(
        "checkpoint",
        |_, _| Reply::ok(signed("example.com/other", 7, 1000, Hash([1; 32]))),
        "no_trusted_signature",
    )
    .await;
    // Signed, but the tree is not what is served.
    let (_server, client) =
        lying("checkpoint", |_, _| Reply::ok(signed(static_log::ORIGIN, 7, 1000, Hash([1; 32])))).await;
    client.checkpoint().await.unwrap();
    for error in
        [client.entry(0).await.unwrap_err(), client.entries(..).try_collect::<Vec<_>>().await.unwrap_err()]
    {
        let ReadError::Tampering(tampering) = error else { panic!("{error}") };
        assert_eq!(tampering.code, "root_mismatch");
        assert_eq!(tampering.shown.as_deref(), Some(&*signed(static_log::ORIGIN, 7, 1000, Hash([1; 32]))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_of_several_logs_takes_only_the_one_that_is_meant() {
    let other = SigningKey::new("example.com/other", KeyType::Log, &[9; 32]).unwrap();
    let policy = format!("log {}\nlog {}\nquorum none\n", vkey(), other.verifier_key());
    let log = StaticLog::of(10, "a");
    let server = RawServer::start(move |request| {
        let note = signed("example.com/other", 9, 10, Hash([1; 32]));
        let checkpoint = request.path.ends_with("/other/checkpoint");
        let reply = if checkpoint { Reply::ok(note) } else { log.answer("checkpoint", 10) };
        async { reply }
    })
    .await;
    let build =
        |name: &str| LogClient::builder(format!("{}/logs/{name}", server.address), &*policy).client(http());
    assert!(build("static").build().unwrap_err().to_string().contains("origin"));
    assert!(build("static").origin("example.com/third").build().is_err());
    build("static").origin(static_log::ORIGIN).build().unwrap().checkpoint().await.unwrap();
    let mistaken = build("other").origin(static_log::ORIGIN).build().unwrap();
    assert_eq!(mistaken.checkpoint().await.unwrap_err().code(), "origin_mismatch");
    for bad in ["", "text", "quorum none\n", "log x\nquorum none\n"] {
        assert!(LogClient::builder("http://127.0.0.1/", bad).build().is_err(), "{bad}");
    }
    assert!(LogClient::builder("nowhere", vkey()).build().is_err());
    let witness = SigningKey::new("w", KeyType::Witness, &[3; 32]).unwrap();
    let policy = format!("log {}\nwitness w {}\nquorum w\n", vkey(), witness.verifier_key());
    let cosigned = LogClient::builder(format!("{}/logs/static", server.address), policy).client(http());
    assert_eq!(cosigned.build().unwrap().checkpoint().await.unwrap_err().code(), "quorum_not_met");
}

/// A server that shows one state of a log after the other: each of them is what all requests get until `next`.
struct Staged {
    server: RawServer,
    stage: tokio::sync::watch::Sender<usize>,
}

impl Staged {
    async fn of(stages: Vec<(StaticLog, usize)>) -> Self {
        let (stage, now) = tokio::sync::watch::channel(0);
        let server = RawServer::start(move |request| {
            let (log, size) = &stages[*now.borrow()];
            let reply = log.answer(request.path.strip_prefix("/logs/static/").unwrap(), *size);
            async { reply }
        });
        Self { server: server.await, stage }
    }

    fn next(&self) {
        self.stage.send_modify(|stage| *stage += 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_grows_is_followed_and_an_older_head_is_told_from_a_rewritten_one() {
    let log = StaticLog::of(2000, "a");
    let fork = log.forked_at(600, &StaticLog::of(2000, "b"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deep/head");
    let staged = Staged::of(vec![
        (log.clone(), 700),
        (log.clone(), 1500),
        (log.clone(), 700),
        (fork.clone(), 1800),
        (fork.clone(), 1500),
    ])
    .await;
    let client = || log_client(&staged.server.address).heads(&file).build().unwrap();
    let in_memory = log_client(&staged.server.address).build().unwrap();
    assert_eq!(client().checkpoint().await.unwrap().size(), TreeSize(700));
    staged.next();
    assert_eq!(client().checkpoint().await.unwrap().size(), TreeSize(1500));
    assert_eq!(in_memory.checkpoint().await.unwrap().size(), TreeSize(1500));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), log.note(1500));
    staged.next();
    for client in [&client(), &in_memory] {
        assert_eq!(client.checkpoint().await.unwrap_err().code(), "older_checkpoint");
    }
    // An older receipt is as good as a newer one.
    assert_eq!(client().receipt(42).await.unwrap().checkpoint().size(), TreeSize(700));
    for (size, round) in [(1800, 1), (1500, 2)] {
        staged.next();
        let error = client().checkpoint().await.unwrap_err();
        let ReadError::Tampering(tampering) = error else { panic!("{error}") };
        assert_eq!(tampering.code, "history_rewritten");
        assert_eq!((tampering.kept, tampering.shown), (Some(log.note(1500)), Some(fork.note(size))));
        let receipt = client().receipt(649).await.unwrap_err();
        assert_eq!(receipt.code(), "history_rewritten");
        let evidence = client().evidence().await.unwrap();
        assert_eq!(evidence.len(), round);
        assert_eq!(evidence[round - 1].shown, fork.note(size));
    }
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        log.note(1500),
        "a lie does not replace what was kept"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_a_server_refuses_with_is_no_evidence_and_the_tile_is_asked_for_once_more() {
    for code in ["history_rewritten", "root_mismatch", "timed_out"] {
        let (log, asked) = (StaticLog::of(SIZE, "a"), Arc::new(std::sync::Mutex::new(Vec::new())));
        let fresh = Arc::clone(&asked);
        let server = RawServer::start(move |request| {
            let reply = match request.path.strip_prefix("/logs/static/").unwrap() {
                "checkpoint" => {
                    log.answer("checkpoint", if fresh.lock().unwrap().is_empty() { 700 } else { SIZE })
                }
                _ => Reply::Answer(404, Vec::new(), format!("{{\"code\":\"{code}\"}}").into_bytes()),
            };
            fresh.lock().unwrap().push((request.path, request.head.contains("cache-control: no-cache")));
            async { reply }
        })
        .await;
        let client = log_client(&server.address).build().unwrap();
        assert_eq!(client.checkpoint().await.unwrap().size(), TreeSize(700));
        match client.checkpoint().await.unwrap_err() {
            ReadError::Unchecked { code: found, status: Some(404), .. } if found == code => {}
            error => panic!("{code}: {error:?}"),
        }
        assert_eq!(client.evidence().await.unwrap(), [], "{code}");
        let asked = asked.lock().unwrap();
        let tiles = asked.iter().filter(|(path, _)| path.contains("/tile/"));
        assert!(
            tiles.clone().any(|(_, fresh)| *fresh) && tiles.clone().any(|(_, fresh)| !*fresh),
            "{asked:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_file_that_is_damaged_or_of_another_log_is_not_taken_for_none() {
    let log = StaticLog::of(10, "a");
    let server = RawServer::start(move |request| {
        let reply = log.answer(request.path.strip_prefix("/logs/static/").unwrap(), 10);
        async { reply }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("head");
    let other = signed("example.com/other", 7, 10, Hash([1; 32]));
    for kept in [b"".to_vec(), b"text\n".to_vec(), vec![0xff; 100], other.into_bytes()] {
        std::fs::write(&file, &kept).unwrap();
        let client = log_client(&server.address).heads(&file).build().unwrap();
        assert_eq!(client.checkpoint().await.unwrap_err().code(), "heads_unavailable");
        assert_eq!(std::fs::read(&file).unwrap(), kept);
    }
    let client = log_client(&server.address).heads(folder.path()).build().unwrap();
    assert_eq!(client.checkpoint().await.unwrap_err().code(), "heads_unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_share_a_head_file_keep_the_newest_whoever_comes_first() {
    let log = StaticLog::of(1000, "a");
    let sizes = Arc::new(std::sync::atomic::AtomicUsize::new(500));
    let server = RawServer::start(move |request| {
        let path = request.path.strip_prefix("/logs/static/").unwrap();
        // Every head is a new one.
        let checkpoint = path == "checkpoint";
        let size = if checkpoint { sizes.fetch_add(1, std::sync::atomic::Ordering::SeqCst) } else { 1000 };
        let reply = log.answer(path, size);
        async { reply }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("head");
    let clients = (0..6).map(async |_| {
        let client = log_client(&server.address).heads(&file).build().unwrap();
        let mut last = TreeSize(0);
        for _ in 0..10 {
            let head = client.checkpoint().await.unwrap();
            assert!(head.size() > last);
            last = head.size();
        }
        last
    });
    let newest = futures_util::future::join_all(clients).await.into_iter().max().unwrap();
    let kept = std::fs::read_to_string(&file).unwrap();
    assert_eq!(kept, StaticLog::of(1000, "a").note(usize::try_from(newest.0).unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_read_is_asked_once_more_past_the_caches() {
    let log = StaticLog::of(SIZE, "a");
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let asked = Arc::clone(&seen);
    let server = RawServer::start(move |request| {
        let path = request.path.strip_prefix("/logs/static/").unwrap().to_owned();
        let fresh = request.head.contains("cache-control: no-cache");
        asked.lock().unwrap().push((path.clone(), fresh));
        let reply = match log.answer(&path, SIZE) {
            // A cache on the way that was poisoned.
            Reply::Answer(200, _, body) if path == "tile/entries/001" && !fresh => flip("", body),
            reply => reply,
        };
        async { reply }
    })
    .await;
    let client = log_client(&server.address).build().unwrap();
    assert_eq!(client.entry(300).await.unwrap().data, b"{\"a\":300}");
    let seen = seen.lock().unwrap();
    let bundles: Vec<_> =
        seen.iter().filter(|(path, _)| path == "tile/entries/001").map(|(_, fresh)| *fresh).collect();
    assert_eq!(bundles, [false, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_is_read_while_it_grows() {
    let server = TestServer::start().await;
    let log = server.store.log("default").await.unwrap().unwrap();
    let client = LogClient::builder(format!("{}/logs/default", server.address), log.vkey).client(http());
    let client = client.build().unwrap();
    assert_eq!(client.checkpoint().await.unwrap().size(), TreeSize(0));
    for round in 0..3_u64 {
        let lines: Vec<String> = (0..200).map(|line| format!("{{\"{round}\":{line}}}")).collect();
        let path = "/logs/default/entries?wait=receipt";
        let sent = server.post(path, "application/x-ndjson", lines.join("\n")).send().await.unwrap();
        assert_eq!(sent.status(), 200);
        let entries: Vec<_> = client.entries(round * 200..).try_collect().await.unwrap();
        assert!(entries.iter().map(|entry| &entry.data[..]).eq(lines.iter().map(String::as_bytes)));
        let receipt = client.receipt(round * 200 + 7).await.unwrap();
        assert_eq!(receipt.entry(), lines[7].as_bytes());
        assert_eq!(client.entry(round * 200 + 199).await.unwrap().data, lines[199].as_bytes());
    }
    server.stop().await;
}
