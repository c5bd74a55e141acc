//! Following a log: over appends and restarts, through failures, until it is proven to misbehave.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use attestlog::follow::{Follow, FollowState, News};
use attestlog::{LogClient, Tampering};
use attestlog_tests::chance::Chance;
use attestlog_tests::cutting_proxy::CuttingProxy;
use attestlog_tests::raw_server::{RawServer, Reply};
use attestlog_tests::server::TestServer;
use attestlog_tests::static_log::StaticLog;
use futures_util::StreamExt;

use super::{SHORT, event, http, log_client, writer};

const SOON: Duration = Duration::from_millis(5);

/// What the server answers with: a log and how much of it, or a reply to everything.
enum Shown {
    Log(StaticLog, usize),
    Reply(Reply),
}

/// A server whose log the test changes.
struct Stage {
    server: RawServer,
    shown: Arc<Mutex<Shown>>,
}

impl Stage {
    async fn new(log: &StaticLog, size: usize) -> Self {
        let shown = Arc::new(Mutex::new(Shown::Log(log.clone(), size)));
        let now = Arc::clone(&shown);
        let server = RawServer::start(move |request| {
            let reply = match &*now.lock().unwrap() {
                Shown::Log(log, size) => {
                    log.answer(request.path.strip_prefix("/logs/static/").unwrap(), *size)
                }
                Shown::Reply(reply) => reply.clone(),
            };
            async { reply }
        });
        Self { server: server.await, shown }
    }

    fn show(&self, log: &StaticLog, size: usize) {
        *self.shown.lock().unwrap() = Shown::Log(log.clone(), size);
    }

    fn reply(&self, reply: Reply) {
        *self.shown.lock().unwrap() = Shown::Reply(reply);
    }

    fn client(&self) -> LogClient {
        log_client(&self.server.address).build().unwrap()
    }

    fn follow(&self, state: FollowState) -> Follow {
        self.client().follow(state).unwrap().interval(SOON)
    }
}

/// Reads up to the next head; the entries before it, and its size.
async fn to_head(follow: &mut Follow) -> (Vec<Vec<u8>>, u64) {
    let mut entries = Vec::new();
    loop {
        match follow.next().await.unwrap().unwrap() {
            News::Entry(entry) => {
                assert_eq!(follow.state().next, entry.index + 1);
                entries.push(entry.data);
            }
            News::Head(head) => return (entries, head.size().0),
            other => panic!("{other:?}"),
        }
    }
}

/// Reads up to the end, which must come; the entries before it.
async fn to_end(follow: &mut Follow) -> (Vec<Vec<u8>>, Box<Tampering>) {
    let mut entries = Vec::new();
    loop {
        match follow.next().await.unwrap() {
            Ok(News::Entry(entry)) => entries.push(entry.data),
            Ok(News::Head(_)) => {}
            Ok(other) => panic!("{other:?}"),
            Err(tampering) => {
                assert!(follow.next().await.is_none(), "it has ended");
                return (entries, tampering);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entry_comes_once_in_order_while_the_log_grows() {
    let log = StaticLog::of(3000, "a");
    let stage = Stage::new(&log, 0).await;
    let mut follow = stage.follow(FollowState::default());
    assert_eq!(to_head(&mut follow).await, (vec![], 0));
    let mut before = 0;
    for size in [1, 2, 255, 256, 257, 1000, 3000] {
        stage.show(&log, size);
        assert_eq!(to_head(&mut follow).await, (log.0[before..size].to_vec(), size as u64));
        before = size;
    }
    let mut later = stage.follow(FollowState::from_index(2990));
    assert_eq!(to_head(&mut later).await, (log.0[2990..].to_vec(), 3000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_where_the_saved_state_is_whatever_it_was_in_the_middle_of() {
    let log = StaticLog::of(900, "a");
    let stage = Stage::new(&log, 500).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let mut seen = Vec::new();
    for steps in [1, 3, 254, 2, 100, 300, 5, 235] {
        let mut follow = stage.follow(FollowState::load(&file).unwrap());
        let mut left = steps;
        while left > 0 {
            if let News::Entry(entry) = follow.next().await.unwrap().unwrap() {
                seen.push(entry.data);
                left -= 1;
            }
        }
        follow.state().save(&file).unwrap();
        if seen.len() > 300 {
            stage.show(&log, 900);
        }
    }
    assert_eq!(seen, log.0);
    let state = FollowState::load(&file).unwrap();
    assert_eq!((state.next, state.checkpoint), (900, Some(log.note(900))));
    for damaged in ["", "{}", "{\"next\":-1}", "{\"next\":\"1\"}"] {
        std::fs::write(&file, damaged).unwrap();
        assert!(FollowState::load(&file).is_err(), "{damaged}");
    }
    std::fs::write(&file, "{\"next\":1,\"checkpoint\":\"text\"}").unwrap();
    let refused = stage.client().follow(FollowState::load(&file).unwrap()).unwrap_err();
    assert_eq!(refused.code(), "heads_unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_says_nothing_about_the_log_is_reported_and_tried_again() {
    let log = StaticLog::of(1000, "a");
    let stage = Stage::new(&log, 500).await;
    let mut follow = stage.follow(FollowState::default());
    assert_eq!(to_head(&mut follow).await.1, 500);
    let mut before = 500;
    for (reply, code) in [
        (Reply::Gone, "unreachable"),
        (Reply::status(503), "unreachable"),
        (Reply::ok("<html>"), "malformed_note"),
        (Reply::Endless(vec![b'a'; 65_536]), "answer_too_large"),
        (Reply::Gone, "older_checkpoint"),
    ] {
        match code {
            "older_checkpoint" => stage.show(&log, 400),
            _ => stage.reply(reply),
        }
        for _ in 0..2 {
            match follow.next().await.unwrap().unwrap() {
                News::Unavailable { error, pause } => {
                    assert_eq!(error.code(), code, "{error}");
                    assert!(!pause.is_zero());
                }
                other => panic!("{other:?}"),
            }
        }
        stage.show(&log, before + 50);
        let (entries, size) = loop {
            match follow.next().await.unwrap().unwrap() {
                News::Unavailable { .. } => {}
                News::Entry(entry) => {
                    let (mut rest, size) = to_head(&mut follow).await;
                    rest.insert(0, entry.data);
                    break (rest, size);
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((entries, size), (log.0[before..before + 50].to_vec(), before as u64 + 50), "{code}");
        before += 50;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_never_comes_is_reported_and_asked_for_again() {
    let log = StaticLog::of(500, "a");
    let stage = Stage::new(&log, 500).await;
    stage.reply(Reply::Stalled(Vec::new()));
    let client = log_client(&stage.server.address).timeout(SHORT).build().unwrap();
    let mut follow = client.follow(FollowState::default()).unwrap().interval(SOON);
    let (mut entries, mut failures) = (Vec::new(), 0);
    loop {
        match follow.next().await.unwrap().unwrap() {
            // Also honest answers may be late.
            News::Unavailable { error, pause } => {
                assert_eq!(error.code(), "timed_out", "{error}");
                assert!(!pause.is_zero());
                failures += 1;
            }
            News::Entry(entry) => entries.push(entry.data),
            News::Head(_) => break,
            other => panic!("{other:?}"),
        }
        if failures == 2 {
            stage.show(&log, 500);
        }
    }
    assert!(failures >= 2, "{failures}");
    assert_eq!(entries, log.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewritten_history_ends_it_with_both_signed_notes() {
    let log = StaticLog::of(1000, "a");
    let other = StaticLog::of(1000, "b");
    // A larger tree, the same size, and one that was shown a moment ago.
    for (fork, size) in [(300, 900), (300, 600), (0, 601), (599, 1000)] {
        let stage = Stage::new(&log, 600).await;
        let mut follow = stage.follow(FollowState::default());
        assert_eq!(to_head(&mut follow).await.0, log.0[..600]);
        let state = follow.state().clone();
        let forked = log.forked_at(fork, &other);
        stage.show(&forked, size);
        let (entries, tampering) = to_end(&mut follow).await;
        assert_eq!((entries.len(), tampering.code), (0, "history_rewritten"));
        assert_eq!((tampering.kept, tampering.shown), (Some(log.note(600)), Some(forked.note(size))));
        // Also for one that was away meanwhile, and knows the log by its state only.
        let (entries, tampering) = to_end(&mut stage.follow(state)).await;
        assert_eq!((entries.len(), tampering.code), (0, "history_rewritten"));
        assert_eq!((tampering.kept, tampering.shown), (Some(log.note(600)), Some(forked.note(size))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_not_in_the_tree_ends_it_and_is_not_given() {
    let log = StaticLog::of(700, "a");
    let mut changed = log.clone();
    changed.0[650] = b"{\"never\":\"logged\"}".to_vec();
    let server = RawServer::start(move |request| {
        let path = request.path.strip_prefix("/logs/static/").unwrap();
        let log = if path.starts_with("tile/entries/002") { &changed } else { &log };
        let reply = log.answer(path, 700);
        async { reply }
    })
    .await;
    let log = StaticLog::of(700, "a");
    let mut follow = log_client(&server.address).build().unwrap().follow(FollowState::default()).unwrap();
    let (entries, tampering) = to_end(&mut follow).await;
    assert_eq!(entries, log.0[..entries.len()]);
    assert!(entries.len() <= 512);
    assert_eq!(
        (tampering.code, tampering.kept, tampering.shown),
        ("root_mismatch", None, Some(log.note(700)))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_log_is_followed_through_connections_that_break() {
    let server = TestServer::start().await;
    let proxy = CuttingProxy::start(&server.address, Chance::announced(), 30).await;
    let vkey = server.store.log("default").await.unwrap().unwrap().vkey;
    let client =
        LogClient::builder(format!("{}/logs/default", proxy.address), vkey).client(http()).build().unwrap();
    let writer = writer(&server.address).start().await.unwrap();
    let events: Vec<_> = (0..300).map(event).collect();
    let mut follow = Box::pin(client.follow(FollowState::default()).unwrap().interval(SOON).into_stream());
    let writing = async {
        for chunk in events.chunks(10) {
            futures_util::future::join_all(chunk.iter().map(|event| writer.append(event))).await;
        }
    };
    let reading = async {
        let (mut ids, mut failures) = (Vec::new(), 0);
        while ids.len() < events.len() {
            match follow.next().await.unwrap().unwrap() {
                News::Entry(entry) => {
                    assert_eq!(entry.index, ids.len() as u64);
                    ids.push(entry.event().unwrap().id);
                }
                News::Unavailable { .. } => failures += 1,
                _ => {}
            }
        }
        (ids, failures)
    };
    let (_, (mut ids, failures)) = tokio::join!(writing, reading);
    println!("{failures} failures, {} cuts", proxy.cut());
    let mut expected: Vec<_> = events.into_iter().map(|event| event.id).collect();
    ids.sort();
    expected.sort();
    assert_eq!(ids, expected);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_interval_that_there_is_can_be_waited_for() {
    let stage = Stage::new(&StaticLog::of(1, "a"), 1).await;
    stage.reply(Reply::Gone);
    let mut follow = stage.follow(FollowState::default()).interval(Duration::MAX);
    match follow.next().await.unwrap().unwrap() {
        News::Unavailable { pause, .. } => assert!(pause >= Duration::MAX / 2),
        news => panic!("{news:?}"),
    }
}
