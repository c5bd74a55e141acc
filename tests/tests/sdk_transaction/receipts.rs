//! A receipt that is returned is proven: whatever one thing a server or the way to it changes, there is none.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use attestlog::{Audit, LogClient, ReadError, Ticket};
use attestlog_core::VerifierKey;
use attestlog_server::store::Events;
use attestlog_tests::deadline::until;

use super::application::{OnSqlite, another_log, audit_at, voided};
use super::proxy::{self, Change};

const ENTRY: &str = "/logs/default/entries/1";
const RECEIPT: &str = "/logs/default/entries/1/receipt";

type MakeChange = fn() -> Change;

/// What an error calls for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Parse,
    Verify,
    Unchecked,
}

fn kind_of(error: &ReadError) -> Kind {
    match error {
        ReadError::Unreadable { .. } => Kind::Parse,
        ReadError::Tampering(_) => Kind::Verify,
        ReadError::Unchecked { .. } => Kind::Unchecked,
    }
}

/// An application that has logged three events, of which the second has this ticket.
async fn logged() -> (OnSqlite, Ticket, String) {
    let app = OnSqlite::start().await;
    let events = [voided(1), voided(2), voided(3)];
    let mut session = app.pool.acquire().await.unwrap();
    let tickets = app.audit.append_all(&mut *session, &events).await.unwrap();
    drop(session);
    assert_eq!(app.audit.receipt(tickets[1]).await.unwrap().event().unwrap(), events[1]);
    let vkey = app.server.store.log("default").await.unwrap().unwrap().vkey;
    (app, tickets[1], vkey)
}

/// The log behind a proxy that changes the answer to one path.
async fn behind(app: &OnSqlite, vkey: &str, at: &'static str, change: MakeChange) -> Audit {
    let changed = move |path: &str| if path == at { change() } else { Change::Nothing };
    audit_at(&proxy::start(&app.server.address, changed).await, "default", vkey)
}

fn flip(mut body: Vec<u8>, place: usize) -> Vec<u8> {
    body[place] ^= 1;
    body
}

/// The bytes of the last line's signature, after the key's name and id: one of its characters becomes another.
fn change_signature(body: Vec<u8>) -> Vec<u8> {
    let place = body.len() - 20;
    let other = if body[place] == b'A' { b'B' } else { b'A' };
    let mut body = body;
    body[place] = other;
    body
}

/// The first hash of the proof becomes another of the same length.
fn change_hash(body: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8(body).unwrap();
    let (head, rest) = text.split_once("index 1\n").unwrap();
    let other = if rest.starts_with('A') { 'B' } else { 'A' };
    format!("{head}index 1\n{other}{}", &rest[1..]).into_bytes()
}

#[tokio::test]
async fn one_changed_thing_is_refused_with_its_code() {
    let (app, ticket, vkey) = logged().await;
    another_log(&app.server, "other", Events::Any).await;
    let cases: [(&'static str, MakeChange, &str, Kind); 12] = [
        (ENTRY, || Change::Body(|body| flip(body, 0)), "root_mismatch", Kind::Verify),
        (ENTRY, || Change::Body(|_| Vec::new()), "root_mismatch", Kind::Verify),
        (ENTRY, || Change::Path("/logs/default/entries/0".into()), "root_mismatch", Kind::Verify),
        (RECEIPT, || Change::Path("/logs/default/entries/0/receipt".into()), "index_mismatch", Kind::Verify),
        (RECEIPT, || Change::Body(change_signature), "bad_signature", Kind::Verify),
        (RECEIPT, || Change::Body(change_hash), "root_mismatch", Kind::Verify),
        (RECEIPT, || Change::Body(|body| body[..body.len() - 1].to_vec()), "malformed_note", Kind::Parse),
        (RECEIPT, || Change::Answer(200, "no receipt".into()), "malformed_receipt", Kind::Parse),
        (RECEIPT, || Change::Endless, "answer_too_large", Kind::Unchecked),
        (ENTRY, || Change::Endless, "answer_too_large", Kind::Unchecked),
        (ENTRY, || Change::Answer(404, "{}".into()), "unreachable", Kind::Unchecked),
        (
            RECEIPT,
            || Change::Answer(500, "{\"code\": \"history_refused\"}".into()),
            "history_refused",
            Kind::Unchecked,
        ),
    ];
    for (at, change, code, kind) in cases {
        let audit = behind(&app, &vkey, at, change).await;
        // Be the bytes known from the append, or only what the server shows.
        for ticket in [ticket, Ticket::from(ticket.id())] {
            let error = audit.receipt(ticket).await.unwrap_err();
            assert_eq!((error.code(), kind_of(&error)), (code, kind), "{at}: {error}");
        }
    }
}

#[tokio::test]
async fn another_log_s_checkpoint_is_refused_be_it_trusted_or_not() {
    let (app, ticket, vkey) = logged().await;
    let other = another_log(&app.server, "other", Events::Any).await;
    let mut session = app.pool.acquire().await.unwrap();
    // The same bytes at the same index, in a log with another key.
    let events = [voided(4), app.audit.receipt(ticket).await.unwrap().event().unwrap()];
    let tickets = other.append_all(&mut *session, &events).await.unwrap();
    assert_eq!(other.receipt(tickets[1]).await.unwrap().index(), 1);
    let changed = |path: &str| match path {
        RECEIPT => Change::Path("/logs/other/entries/1/receipt".into()),
        _ => Change::Nothing,
    };
    let address = proxy::start(&app.server.address, changed).await;
    let audit = audit_at(&address, "default", &vkey);
    let error = audit.receipt(ticket).await.unwrap_err();
    assert_eq!((error.code(), kind_of(&error)), ("no_trusted_signature", Kind::Unchecked), "{error}");

    let other_vkey = app.server.store.log("other").await.unwrap().unwrap().vkey;
    let policy = format!("log {vkey}\nlog {other_vkey}\nquorum none\n");
    let origin = VerifierKey::parse(vkey.as_bytes()).unwrap().name().to_owned();
    let client = LogClient::builder(format!("{address}/logs/default"), policy).origin(origin);
    let client = client.client(reqwest::Client::builder().no_proxy().build().unwrap()).build().unwrap();
    let error = Audit::of(client).unwrap().receipt(ticket).await.unwrap_err();
    assert_eq!((error.code(), kind_of(&error)), ("origin_mismatch", Kind::Verify), "{error}");
}

#[tokio::test]
async fn a_ticket_that_knows_its_bytes_gets_no_receipt_for_another_entry_of_the_log() {
    let (app, ticket, vkey) = logged().await;
    let changed = |path: &str| match path.strip_prefix("/logs/default/tickets/") {
        Some(_) => Change::Answer(200, r#"{"status": "processed", "index": 2, "receipt": "x"}"#.into()),
        None => Change::Nothing,
    };
    let audit = audit_at(&proxy::start(&app.server.address, changed).await, "default", &vkey);
    let error = audit.receipt(ticket).await.unwrap_err();
    assert_eq!((error.code(), kind_of(&error)), ("root_mismatch", Kind::Verify), "{error}");
    // A bare number has only the server's word for which entry is its own.
    assert_eq!(audit.receipt(ticket.id()).await.unwrap().index(), 2);
}

#[tokio::test]
async fn what_cannot_be_checked_is_said_after_the_time_that_was_set() {
    let (app, ticket, vkey) = logged().await;
    let soon = Duration::from_millis(300);
    let cases: [(MakeChange, &str, Kind); 5] = [
        (|| Change::Answer(200, r#"{"status": "accepted"}"#.into()), "not_covered_yet", Kind::Unchecked),
        (|| Change::Closed, "unreachable", Kind::Unchecked),
        (
            || Change::Answer(503, r#"{"code": "database_unavailable"}"#.into()),
            "database_unavailable",
            Kind::Unchecked,
        ),
        (|| Change::Answer(502, "<html>".into()), "unreachable", Kind::Unchecked),
        (|| Change::Answer(200, "<html>".into()), "malformed_json", Kind::Parse),
    ];
    for (change, code, kind) in cases {
        let changed = move |_: &str| change();
        let audit = audit_at(&proxy::start(&app.server.address, changed).await, "default", &vkey);
        // Longer each time, until the answer has come in time.
        let mut time = soon;
        let error = until("the answer comes within the time", async || {
            let error = audit.clone().receipt_timeout(time).receipt(ticket).await.unwrap_err();
            time *= 2;
            (error.code() != "timed_out").then_some(error)
        });
        let error = error.await;
        assert_eq!((error.code(), kind_of(&error)), (code, kind), "{error}");
    }
    let silent = proxy::start(&app.server.address, |_: &str| Change::Silence).await;
    let silent = audit_at(&silent, "default", &vkey).receipt_timeout(soon);
    let error = silent.receipt(ticket).await.unwrap_err();
    assert_eq!((error.code(), kind_of(&error)), ("timed_out", Kind::Unchecked), "{error}");
    let error = app.audit.receipt(1_000_000).await.unwrap_err();
    assert_eq!((error.code(), kind_of(&error)), ("unknown_ticket", Kind::Unchecked), "{error}");
    let error = audit_at(&app.server.address, "nowhere", &vkey).receipt(ticket).await.unwrap_err();
    assert_eq!(error.code(), "unknown_log", "{error}");
}

#[tokio::test]
async fn a_failure_that_passes_is_waited_for() {
    let (app, ticket, vkey) = logged().await;
    let asked = AtomicU32::new(0);
    let changed = move |path: &str| match (asked.fetch_add(1, Ordering::SeqCst), path) {
        (0, _) => Change::Closed,
        (1, _) => Change::Answer(503, "{}".into()),
        (2, _) => Change::Answer(200, r#"{"status": "accepted"}"#.into()),
        // Another server than the one that knows the ticket, which has not seen the newest head.
        (3..6, RECEIPT) => Change::Answer(404, r#"{"code": "index_beyond_tree"}"#.into()),
        (6, ENTRY) => Change::Answer(429, "{}".into()),
        _ => Change::Nothing,
    };
    let audit = audit_at(&proxy::start(&app.server.address, changed).await, "default", &vkey);
    assert_eq!(audit.receipt(ticket).await.unwrap().index(), 1);
    assert_eq!(audit.receipt_timeout(Duration::MAX).receipt(ticket).await.unwrap().index(), 1);
}
