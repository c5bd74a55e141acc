//! `attestlog.append_all`: the checks of `attestlog.append` for each of many entries, in one round trip.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use attestlog::AppendError;
use attestlog_server::store::Events;
use attestlog_tests::databases::{connection, url_of};
use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::application::{OnPostgres, another_log, entries, logged, voided};

type Entries<'a> = Vec<Option<&'a [u8]>>;
type Keys<'a> = Option<Vec<Option<&'a str>>>;

/// A call, and the SQLSTATE and the words that refuse it.
type Refusal<'a> = (&'a str, Entries<'a>, Keys<'a>, &'a str, &'a str);

async fn append_all(
    session: &mut PgConnection,
    log: &str,
    entries: Entries<'_>,
    keys: Keys<'_>,
) -> Result<Vec<i64>, (String, String)> {
    let appended = sqlx::query_scalar("select attestlog.append_all($1, $2, $3)")
        .bind(log)
        .bind(entries)
        .bind(keys)
        .fetch_one(session)
        .await;
    appended.map_err(|error| {
        let error = error.into_database_error().unwrap();
        (error.code().unwrap().into_owned(), error.message().to_owned())
    })
}

#[tokio::test]
async fn refuses_what_append_refuses_and_then_takes_none() {
    let app = OnPostgres::start().await;
    another_log(&app.server, "strict", Events::Strict).await;
    let mut session = connection(&app.url).await;
    let (long, good) = (vec![7; 65_536], voided(1).to_entry().unwrap());
    let taken = append_all(&mut session, "default", vec![Some(b"taken")], Some(vec![Some("taken")])).await;
    assert_eq!(taken.unwrap().len(), 1);
    let key_255 = "k".repeat(255);
    let key_256 = "k".repeat(256);
    let two = || vec![Some(&b"one"[..]), Some(&b"two"[..])];
    let cases: [Refusal<'_>; 11] = [
        ("nowhere", two(), None, "42704", "log \"nowhere\" does not exist"),
        ("default", vec![Some(b"x"), Some(b"")], None, "54000", "this one has 0"),
        ("default", vec![Some(b"x"), None], None, "54000", "this one has 0"),
        ("default", vec![Some(&long), Some(b"x")], None, "54000", "this one has 65536"),
        ("default", two(), Some(vec![Some("k")]), "2202E", "2 entries have 1 idempotency keys"),
        ("default", two(), Some(vec![]), "2202E", "2 entries have 0 idempotency keys"),
        ("default", two(), Some(vec![Some("k"), Some("k")]), "23505", "key \"k\" was used"),
        ("default", two(), Some(vec![None, Some("taken")]), "23505", "key \"taken\" was used"),
        ("default", two(), Some(vec![None, Some("")]), "23514", "idempotency_key_length"),
        ("default", two(), Some(vec![Some(&key_256), None]), "23514", "idempotency_key_length"),
        ("strict", vec![Some(&good), Some(b"{}")], None, "23514", "log \"strict\" takes audit events only"),
    ];
    for (log, entries, keys, code, message) in cases {
        let refused = append_all(&mut session, log, entries, keys).await.expect_err(message);
        assert!(refused.0 == code && refused.1.contains(message), "{refused:?} is not {code} {message}");
    }
    let null = sqlx::query("select attestlog.append_all('default', null)").execute(&mut session).await;
    assert!(null.unwrap_err().to_string().contains("entries is null"));
    assert_eq!(append_all(&mut session, "default", vec![], None).await.unwrap(), [0_i64; 0]);
    let last = append_all(&mut session, "default", two(), Some(vec![Some(&key_255), None])).await;
    assert_eq!(last.unwrap().len(), 2);
    assert_eq!(append_all(&mut session, "strict", vec![Some(&good)], None).await.unwrap().len(), 1);
    assert_eq!(entries(&app.server, "default").await, [&b"taken"[..], b"one", b"two"]);
    assert_eq!(entries(&app.server, "strict").await, [good]);
}

#[tokio::test]
async fn a_key_twice_in_one_call_is_one_entry_and_an_earlier_one_its_ticket() {
    let app = OnPostgres::start().await;
    let mut session = connection(&app.url).await;
    let keys = || Some(vec![Some("a"), None, Some("a"), Some("b")]);
    let data = || vec![Some(&b"A"[..]), Some(&b"plain"[..]), Some(&b"A"[..]), Some(&b"B"[..])];
    let first = append_all(&mut session, "default", data(), keys()).await.unwrap();
    assert_eq!(first[0], first[2]);
    assert!(first[0] != first[1] && first[1] != first[3]);
    for processed in [false, true] {
        if processed {
            assert_eq!(entries(&app.server, "default").await.len(), 4);
        }
        let again = append_all(&mut session, "default", data(), keys()).await.unwrap();
        assert_eq!((again[0], again[2], again[3]), (first[0], first[0], first[3]));
        assert!(!first.contains(&again[1]), "an entry without a key counts each time");
    }
    assert_eq!(entries(&app.server, "default").await, [&b"A"[..], b"plain", b"B", b"plain", b"plain"]);
}

#[tokio::test]
async fn ten_thousand_events_are_one_call_in_their_order_and_again_the_same_tickets() {
    let app = OnPostgres::start().await;
    let events: Vec<_> = (0..10_000).map(voided).collect();
    let mut tx = app.pool.begin().await.unwrap();
    let began = std::time::Instant::now();
    let tickets = app.audit.append_all(&mut tx, &events).await.unwrap();
    let first = began.elapsed();
    tx.commit().await.unwrap();
    assert_eq!(logged(&app.server).await, events);
    let mut tx = app.pool.begin().await.unwrap();
    let began = std::time::Instant::now();
    assert_eq!(app.audit.append_all(&mut tx, &events).await.unwrap(), tickets);
    println!("10,000 events: {first:?}, and again, all of them known: {:?}", began.elapsed());
    tx.commit().await.unwrap();
    assert_eq!(logged(&app.server).await.len(), 10_000);
    assert_eq!(app.audit.receipt(tickets[9_999]).await.unwrap().index(), 9_999);
}

#[tokio::test]
async fn an_append_is_one_round_trip_however_many_events_it_has() {
    let app = OnPostgres::start().await;
    let (port, turns) = count_turns(&app.url).await;
    let (_, database) = app.url.rsplit_once('/').unwrap();
    let (login, _) = app.url.split_once('@').unwrap();
    let url = url_of(&format!("{login}@127.0.0.1:{port}/{database}"), None, database);
    let mut session = connection(&url).await;
    let mut tx = session.begin().await.unwrap();
    let events: Vec<_> = (0..500).map(voided).collect();
    // The first call of a connection prepares its statement.
    app.audit.append(&mut tx, &voided(0)).await.unwrap();
    app.audit.append_all(&mut tx, &events[..2]).await.unwrap();
    let before = turns.load(Ordering::SeqCst);
    app.audit.append(&mut tx, &voided(1)).await.unwrap();
    assert_eq!(turns.load(Ordering::SeqCst) - before, 1);
    app.audit.append_all(&mut tx, &events).await.unwrap();
    assert_eq!(turns.load(Ordering::SeqCst) - before, 2);
    let refused = app.audit.append_with_key(&mut tx, &voided(2), &events[0].id).await;
    assert!(matches!(refused, Err(AppendError::KeyReused(_))));
    assert_eq!(turns.load(Ordering::SeqCst) - before, 3);
}

/// Stands between a client and PostgreSQL, and counts how often it was the client's turn to speak.
async fn count_turns(url: &str) -> (u16, Arc<AtomicU32>) {
    let (_, address) = url.split_once('@').unwrap();
    let address = address.split('/').next().unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let turns = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&turns);
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(address).await.unwrap();
        let (mut said, mut answered, mut of_client) = ([0; 65_536], [0; 65_536], false);
        loop {
            tokio::select! {
                read = client.read(&mut said) => {
                    let Ok(1..) = read else { return };
                    if !of_client {
                        counted.fetch_add(1, Ordering::SeqCst);
                    }
                    of_client = true;
                    server.write_all(&said[..read.unwrap()]).await.unwrap();
                }
                read = server.read(&mut answered) => {
                    let Ok(1..) = read else { return };
                    of_client = false;
                    client.write_all(&answered[..read.unwrap()]).await.unwrap();
                }
            }
        }
    });
    (port, turns)
}
