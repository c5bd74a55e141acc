//! The writer without a spool: batches, retries, a bounded queue, shutdown, and what the server refuses.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use attestlog::writer::{AppendError, Durable, StartError, Unsent};
use attestlog::{Event, Writer};
use attestlog_server::service::AppendToken;
use attestlog_tests::deadline::until;
use attestlog_tests::raw_server::{RawServer, Reply, Request};
use attestlog_tests::server::TestServer;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{SHORT, assert_once, event, http, logged, writer};

/// What a server answers that takes everything.
fn accepted(request: &Request) -> Reply {
    let lines = request.body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).count();
    let tickets: Vec<String> = (0..lines).map(|ticket| ticket.to_string()).collect();
    Reply::Answer(202, Vec::new(), json!({ "tickets": tickets }).to_string().into())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_share_requests_and_each_gets_its_ticket() {
    let server = TestServer::start().await;
    let requests = Arc::new(AtomicUsize::new(0));
    let (count, client, address) = (Arc::clone(&requests), http(), server.address.clone());
    let proxy = RawServer::start(move |request| {
        count.fetch_add(1, Ordering::SeqCst);
        let forwarded = client.post(format!("{address}{}", request.path)).body(request.body);
        let forwarded = forwarded.header("content-type", "application/x-ndjson").send();
        async {
            let answer = forwarded.await.unwrap();
            Reply::Answer(answer.status().as_u16(), Vec::new(), answer.bytes().await.unwrap().to_vec())
        }
    })
    .await;
    let writer = writer(&proxy.address).start().await.unwrap();
    let events: Vec<_> = (0..500).map(event).collect();
    let appended = join_all(events.iter().map(|event| writer.append(event))).await;
    let ids: Vec<_> = events.iter().map(|event| event.id.clone()).collect();
    assert_once(&logged(&server).await, &ids);
    for (event, appended) in events.iter().zip(appended).step_by(50) {
        let Durable::Acknowledged { ticket } = appended.unwrap() else { panic!("there is no spool") };
        let state = server.get_json(&format!("/logs/default/tickets/{}", ticket.id())).await;
        let entry = server.get(&format!("/logs/default/entries/{}", state["index"])).await;
        let entry = entry.bytes().await.unwrap();
        assert_eq!(entry, event.to_entry().unwrap());
        assert_eq!(ticket, attestlog::Ticket::for_entry(ticket.id(), &entry));
    }
    let requests = requests.load(Ordering::SeqCst);
    assert!(requests <= 10, "{requests} requests");
    assert_eq!(writer.status().acknowledged, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_appended_twice_is_one_entry() {
    let server = TestServer::start().await;
    let writer = writer(&server.address).start().await.unwrap();
    let event = event(1);
    let (one, other) = tokio::join!(writer.append(&event), writer.append(&event));
    assert_eq!(one.unwrap(), other.unwrap());
    writer.append(&event).await.unwrap();
    assert_once(&logged(&server).await, &[event.id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_events_are_refused_with_the_reason_and_their_neighbours_are_logged() {
    let server = TestServer::start().await;
    let new = json!({ "name": "strict", "origin": "example.com/strict", "events": "strict" });
    server.post("/logs", "application/json", new.to_string()).send().await.unwrap();
    let reported = Arc::new(Mutex::new(Vec::new()));
    let report = Arc::clone(&reported);
    let writer = Writer::builder(format!("{}/logs/strict", server.address)).client(http());
    let writer = writer.on_refused(move |refused| report.lock().unwrap().push(refused.clone())).start().await;
    let writer = writer.unwrap();
    let first = event(0).id("taken");
    writer.append(&first).await.unwrap();
    let bad = |number: usize| number % 7 == 3;
    let events: Vec<Event> = (0..200)
        .map(|number| match number {
            // A second action, which a strict log does not take.
            _ if bad(number) => {
                let mut event = event(number);
                event.other.insert("action".to_owned(), "x".into());
                event
            }
            100 => event(number).id("taken"),
            _ => event(number),
        })
        .collect();
    let appended = join_all(events.iter().map(|event| writer.append(event))).await;
    for (number, appended) in appended.into_iter().enumerate() {
        let expected = if bad(number) { "invalid_event" } else { "key_reused" };
        match appended {
            Ok(_) => assert!(!bad(number) && number != 100, "{number}"),
            Err(AppendError::Refused(refusal)) => assert_eq!(refusal.code, expected, "{number}"),
            Err(error) => panic!("{number}: {error}"),
        }
    }
    let reported = reported.lock().unwrap().clone();
    assert_eq!(reported.len(), (0..200).filter(|&number| bad(number)).count() + 1);
    assert!(reported.iter().all(|refused| serde_json::from_slice::<Value>(&refused.entry).is_ok()));
    let status = writer.status();
    assert_eq!((status.refused, status.acknowledged), (reported.len() as u64, 201 - reported.len() as u64));
    let count = until("all are published", async || {
        let log = server.get_json("/logs/strict/entries?from=0&limit=1000").await;
        let count = log["entries"].as_array().unwrap().len();
        (count >= 201 - reported.len()).then_some(count)
    });
    assert_eq!(count.await, 201 - reported.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_cannot_be_keys_and_events_that_are_none_are_refused_before_they_are_sent() {
    let writer = writer("http://127.0.0.1:1").start().await.unwrap();
    for id in ["", "a\0", &"x".repeat(256)] {
        let refused = writer.append(&event(1).id(id)).await.unwrap_err();
        assert!(matches!(&refused, AppendError::Id(refused) if refused == id), "{refused}");
    }
    let long = event(1).metadata("long", "x".repeat(65_536));
    assert!(matches!(writer.append(&long).await, Err(AppendError::Event(_))));
}

#[test]
fn a_time_is_refused_before_it_is_sent_where_a_strict_log_refuses_it() {
    let taken = |time: &str| {
        let mut event = event(1);
        event.occurred_at = time.to_owned();
        let entry = serde_json::to_vec(&event).unwrap();
        (event.to_entry().is_ok(), attestlog_server::event::validate_event(&entry).is_ok())
    };
    for good in [
        "2026-11-22T08:00:00Z",
        "2026-11-22t08:00:00.123456789z",
        "2024-02-29T23:59:60Z",
        "2000-02-29T00:00:00.1+05:30",
        "1985-04-12T23:20:50.52-00:00",
        "0000-01-01T00:00:00Z",
    ] {
        assert_eq!(taken(good), (true, true), "{good}");
    }
    for bad in [
        "2026-11-22 08:00:00Z",
        "2026-11-22_08:00:00Z",
        "20261122T080000Z",
        "2026-11-22T080000Z",
        "2026-11-22T08:00Z",
        "2026-11-22T08Z",
        "2026-11-22T08:00:00",
        "2026-11-22T08:00:00,5Z",
        "2026-11-22T08:00:00.Z",
        "2026-11-22T08:00:00+05",
        "2026-11-22T08:00:00+0530",
        "2026-11-22T08:00:00+05:30:00",
        "2026-11-22T08:00:00+24:00",
        "2026-11-22T08:00:00Z[UTC]",
        "2026-11-22T08:00:00+01:00[Europe/Berlin]",
        "2026-02-29T08:00:00Z",
        "-000001-01-01T00:00:00Z",
        "+002026-11-22T08:00:00Z",
        "",
    ] {
        assert_eq!(taken(bad), (false, false), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_told_to_the_callers_and_the_right_one_works() {
    let server =
        TestServer::start_with(|settings| settings.append_token = Some(AppendToken::new("s3cret"))).await;
    let denied = writer(&server.address).token("wrong").start().await.unwrap();
    match denied.append(&event(1)).await {
        Err(AppendError::Denied(refusal)) => {
            assert_eq!((refusal.status, &*refusal.code), (401, "unauthorized"))
        }
        other => panic!("{other:?}"),
    }
    let builder = writer(&server.address).token("s3cret");
    assert!(!format!("{builder:?}").contains("s3cret"));
    let right = builder.start().await.unwrap();
    right.append(&event(2)).await.unwrap();
    assert!(!format!("{right:?}").contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_again_after_every_kind_of_failure() {
    let tries = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&tries);
    let problem = json!({ "code": "overloaded", "status": 503 }).to_string();
    let server = RawServer::start(move |request| {
        let mut seen = seen.lock().unwrap();
        seen.push(request.clone());
        let retry = |after: &str| vec![format!("retry-after: {after}")];
        let reply = match seen.len() {
            1 => Reply::Gone,
            2 => Reply::Answer(503, retry("0"), problem.clone().into()),
            3 => Reply::Answer(429, retry("soon"), Vec::new()),
            4 => Reply::Answer(500, Vec::new(), b"<html>".to_vec()),
            5 => Reply::Answer(202, Vec::new(), b"{\"tickets\":[]}".to_vec()),
            6 => Reply::Truncated(b"{\"tickets\":[\"1\"]}".to_vec()),
            7 => Reply::Endless(vec![b' '; 65_536]),
            8 => Reply::Answer(503, retry("1"), Vec::new()),
            _ => accepted(&request),
        };
        async { reply }
    })
    .await;
    let writer = writer(&server.address).start().await.unwrap();
    let event = event(1);
    writer.append(&event).await.unwrap();
    let tries = tries.lock().unwrap();
    assert_eq!((tries.len(), writer.status().retries), (9, 8));
    assert_all_send(&tries, &event);
    assert!(writer.status().trouble.is_none());
}

/// Checks that each request sends this event, and nothing else.
fn assert_all_send(requests: &[Request], event: &Event) {
    for request in requests {
        assert_eq!((&*request.method, &*request.path), ("POST", "/logs/default/entries?key=id"));
        assert_eq!(request.body, [&event.to_entry().unwrap()[..], b"\n"].concat());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_again_when_no_answer_comes() {
    let tries = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&tries);
    let server = RawServer::start(move |request| {
        let mut seen = seen.lock().unwrap();
        seen.push(request.clone());
        let reply = if seen.len() == 1 { Reply::Stalled(b"{".to_vec()) } else { accepted(&request) };
        async { reply }
    })
    .await;
    let writer = writer(&server.address).timeout(SHORT).start().await.unwrap();
    let event = event(1);
    writer.append(&event).await.unwrap();
    // The answer to the second may be late.
    let tries = tries.lock().unwrap();
    assert!(tries.len() >= 2 && writer.status().retries >= 1, "{}", tries.len());
    assert_all_send(&tries, &event);
    assert!(writer.status().trouble.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_as_long_as_the_server_asks() {
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    let server = RawServer::start(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Reply::Answer(503, vec!["retry-after: 600".to_owned()], Vec::new()) }
    })
    .await;
    let writer = writer(&server.address).start().await.unwrap();
    let event = event(1);
    let appending = writer.append(&event);
    let trouble = until("the server was asked", async || writer.status().trouble);
    let trouble = tokio::select! {
        appended = appending => panic!("{appended:?}"),
        trouble = trouble => trouble,
    };
    assert_eq!((trouble.pause, trouble.failures), (Duration::from_secs(600), 1));
    assert_eq!(writer.shutdown(Duration::ZERO).await, Err(Unsent));
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_too_large_for_a_proxy_is_divided() {
    let server = RawServer::start(async |request| match request.body.len() {
        ..2000 => accepted(&request),
        _ => Reply::Answer(413, Vec::new(), b"<html>too large</html>".to_vec()),
    })
    .await;
    let writer = writer(&server.address).start().await.unwrap();
    let events: Vec<_> = (0..100).map(event).collect();
    for appended in join_all(events.iter().map(|event| writer.append(event))).await {
        appended.unwrap();
    }
    let alone = event(1).metadata("long", "x".repeat(3000));
    match writer.append(&alone).await {
        Err(AppendError::Denied(refusal)) => assert_eq!(refusal.status, 413),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_makes_callers_wait_and_tells_those_who_do_not_want_to() {
    let (open, closed) = tokio::sync::watch::channel(false);
    let server = RawServer::start(move |request| {
        let mut closed = closed.clone();
        async move {
            closed.wait_for(|open| *open).await.unwrap();
            accepted(&request)
        }
    })
    .await;
    let size = event(0).to_entry().unwrap().len();
    let writer = writer(&server.address).queue_bytes(5 * size).start().await.unwrap();
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let writer = writer.clone();
            tokio::spawn(async move { writer.append(&event(number)).await })
        })
        .collect();
    until("the queue is full", async || (writer.status().waiting_bytes > 4 * size).then_some(())).await;
    assert!(writer.status().waiting_bytes <= 5 * size);
    assert!(matches!(writer.try_append(&event(99)).await, Err(AppendError::Full)));
    assert_eq!(writer.status().acknowledged, 0);
    open.send(true).unwrap();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    writer.try_append(&event(100)).await.unwrap();
    assert_eq!(writer.status().waiting_bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_sends_what_is_queued_and_takes_nothing_more() {
    let server = TestServer::start().await;
    let writer = writer(&server.address).batch_entries(7).start().await.unwrap();
    let events: Vec<_> = (0..100).map(event).collect();
    let appending = join_all(events.iter().map(|event| writer.append(event)));
    let shutdown = async {
        // The appends are polled first, and so are in the queue.
        tokio::task::yield_now().await;
        writer.shutdown(Duration::from_secs(60)).await
    };
    let (appended, shut_down) = tokio::join!(biased; appending, shutdown);
    shut_down.unwrap();
    for appended in appended {
        appended.unwrap();
    }
    let ids: Vec<_> = events.into_iter().map(|event| event.id).collect();
    assert_once(&logged(&server).await, &ids);
    assert!(matches!(writer.append(&event(1)).await, Err(AppendError::Closed)));
    assert!(matches!(writer.try_append(&event(1)).await, Err(AppendError::Closed)));
    writer.shutdown(Duration::ZERO).await.unwrap();
    writer.flush().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_ends_at_its_deadline_and_callers_are_told() {
    let server = RawServer::start(async |_| Reply::Stalled(Vec::new())).await;
    let writer = writer(&server.address).start().await.unwrap();
    let event = event(1);
    let (appended, shut_down, flushed) = tokio::join!(biased; writer.append(&event), writer.shutdown(Duration::from_millis(1)), writer.flush());
    assert!(matches!(appended, Err(AppendError::Closed)), "{appended:?}");
    assert_eq!((shut_down, flushed), (Err(Unsent), Err(Unsent)));
    assert_eq!(writer.shutdown(Duration::from_secs(1)).await, Err(Unsent));
}

#[tokio::test(flavor = "multi_thread")]
async fn flush_waits_for_what_was_appended_before() {
    let server = TestServer::start().await;
    let writer = writer(&server.address).start().await.unwrap();
    writer.flush().await.unwrap();
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let writer = writer.clone();
            tokio::spawn(async move { writer.append(&event(number)).await })
        })
        .collect();
    until("they are queued", async || {
        let status = writer.status();
        (status.acknowledged > 0 || status.waiting_bytes > 0).then_some(())
    })
    .await;
    writer.flush().await.unwrap();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    writer.flush().await.unwrap();
    assert_eq!(writer.status().acknowledged, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_work_are_refused() {
    for (builder, expected) in [
        (Writer::builder("not an address"), "not an address"),
        (Writer::builder("ftp://example.com/logs/a"), "HTTP"),
        (Writer::builder("http://example.com/logs/a").batch_entries(0), "20000"),
        (Writer::builder("http://example.com/logs/a").batch_entries(20_001), "20000"),
        (Writer::builder("http://example.com/logs/a").queue_bytes(0), "queue"),
        (Writer::builder("http://example.com/logs/a").queue_bytes((512 << 20) + 1), "512 MiB"),
        (Writer::builder("http://example.com/logs/a").spool_bytes(1000), "256 KiB"),
    ] {
        match builder.start().await {
            Err(StartError::Settings(why)) => assert!(why.contains(expected), "{why}"),
            other => panic!("{expected}: {other:?}"),
        }
    }
    #[cfg(target_pointer_width = "64")]
    Writer::builder("http://example.com/logs/a").queue_bytes(512 << 20).start().await.unwrap();
}
