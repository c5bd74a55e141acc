//! On SQLite, in the application's own file: an event commits with the change or not at all.

use std::task::Poll;

use attestlog::{AppendError, Event};
use attestlog_server::store::Events;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{Connection, Executor};

use super::application::{NO_EVENTS, OnSqlite, another_log, audit_at, entries, logged, voided};

#[tokio::test]
async fn a_committed_event_has_a_receipt_and_one_that_was_rolled_back_is_nowhere() {
    let app = OnSqlite::start().await;
    let mut tx = app.pool.begin_with("begin immediate").await.unwrap();
    sqlx::query("insert into invoice values (1, 'void')").execute(&mut *tx).await.unwrap();
    app.audit.append(&mut tx, &voided(1)).await.unwrap();
    app.audit.append_all(&mut tx, &[voided(1), voided(1)]).await.unwrap();
    tx.rollback().await.unwrap();
    let mut dropped = app.pool.begin_with("begin immediate").await.unwrap();
    sqlx::query("insert into invoice values (1, 'void')").execute(&mut *dropped).await.unwrap();
    app.audit.append(&mut dropped, &voided(1)).await.unwrap();
    drop(dropped);

    let event = voided(2);
    let mut tx = app.pool.begin_with("begin immediate").await.unwrap();
    sqlx::query("insert into invoice values (2, 'void')").execute(&mut *tx).await.unwrap();
    let ticket = app.audit.append(&mut *tx, &event).await.unwrap();
    tx.commit().await.unwrap();
    let receipt = app.audit.receipt(ticket).await.unwrap();
    assert_eq!((receipt.index(), receipt.event().unwrap()), (0, event.clone()));
    assert_eq!(logged(&app.server).await, [event]);
    let invoices: Vec<i64> = sqlx::query_scalar("select id from invoice").fetch_all(&app.pool).await.unwrap();
    assert_eq!(invoices, [2]);
}

#[tokio::test]
async fn a_savepoint_that_is_rolled_back_leaves_no_event_and_its_key_is_free() {
    let app = OnSqlite::start().await;
    let (kept, undone) = (voided(1), voided(2));
    let mut tx = app.pool.begin().await.unwrap();
    app.audit.append(&mut tx, &kept).await.unwrap();
    let mut savepoint = tx.begin().await.unwrap();
    app.audit.append(&mut savepoint, &undone).await.unwrap();
    savepoint.rollback().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(logged(&app.server).await, std::slice::from_ref(&kept));
    let mut session = app.pool.acquire().await.unwrap();
    let ticket = app.audit.append(&mut *session, &undone).await.unwrap();
    assert_eq!(app.audit.receipt(ticket).await.unwrap().index(), 1);
    assert_eq!(logged(&app.server).await, [kept, undone]);
}

#[tokio::test]
async fn an_error_leaves_nothing_of_its_append_and_the_transaction_goes_on() {
    let app = OnSqlite::start().await;
    let (first, second) = (voided(1), voided(2));
    let reusing = [voided(3), Event::id(voided(4), first.id.clone())];
    // In a transaction of sqlx, in one that the caller began with SQL, and in none.
    let mut session = app.pool.acquire().await.unwrap();
    let mut tx = session.begin().await.unwrap();
    app.audit.append(&mut tx, &first).await.unwrap();
    let error = app.audit.append_all(&mut tx, &reusing).await.unwrap_err();
    assert!(matches!(&error, AppendError::KeyReused(key) if *key == first.id), "{error}");
    tx.commit().await.unwrap();

    session.execute("begin").await.unwrap();
    let error = app.audit.append_all(&mut *session, &reusing).await.unwrap_err();
    assert!(matches!(error, AppendError::KeyReused(_)), "{error}");
    app.audit.append(&mut *session, &second).await.unwrap();
    session.execute("commit").await.unwrap();

    session.execute("begin").await.unwrap();
    app.audit.append(&mut *session, &voided(5)).await.unwrap();
    session.execute("rollback").await.unwrap();

    let error = app.audit.append_all(&mut *session, &reusing).await.unwrap_err();
    assert!(matches!(error, AppendError::KeyReused(_)), "{error}");
    assert!(!session.is_in_transaction());
    assert_eq!(logged(&app.server).await, [first, second]);
}

#[tokio::test]
async fn keys_lead_to_the_first_append_within_a_call_and_after_it() {
    let app = OnSqlite::start().await;
    let mut session = app.pool.acquire().await.unwrap();
    let events: Vec<Event> = (0..1000).map(voided).collect();
    let twice: Vec<Event> = events.iter().chain(&events).cloned().collect();
    let tickets = app.audit.append_all(&mut *session, &twice).await.unwrap();
    assert_eq!(tickets[..1000], tickets[1000..]);
    assert!(tickets[..1000].windows(2).all(|pair| pair[0].id() < pair[1].id()));
    for _ in 0..2 {
        assert_eq!(app.audit.append_all(&mut *session, &twice[500..1500]).await.unwrap(), tickets[500..1500]);
        assert_eq!(app.audit.append(&mut *session, &events[7]).await.unwrap(), tickets[7]);
        let other = app.audit.append_with_key(&mut *session, &voided(1), &events[7].id).await;
        assert!(matches!(&other, Err(AppendError::KeyReused(key)) if *key == events[7].id), "{other:?}");
        // Waiting at first, and processed the second time.
        assert_eq!(logged(&app.server).await, events);
    }
    assert_eq!(app.audit.receipt(tickets[999]).await.unwrap().index(), 999);
    // Keys belong to a log.
    let other = another_log(&app.server, "other", Events::Any).await;
    let ticket = other.append(&mut *session, &events[7]).await.unwrap();
    assert_eq!(other.receipt(ticket).await.unwrap().index(), 0);
}

#[tokio::test]
async fn each_refusal_has_its_error() {
    let app = OnSqlite::start().await;
    let strict = another_log(&app.server, "strict", Events::Strict).await;
    let vkey = app.server.store.log("default").await.unwrap().unwrap().vkey;
    let nowhere = audit_at(&app.server.address, "nowhere", &vkey);
    let mut session = app.pool.acquire().await.unwrap();
    let error = nowhere.append(&mut *session, &voided(1)).await.unwrap_err();
    assert!(matches!(&error, AppendError::UnknownLog(log) if log == "nowhere"), "{error}");
    let error = strict.append_bytes(&mut *session, b"{}", None).await.unwrap_err();
    assert!(matches!(&error, AppendError::NotAnEvent(log) if log == "strict"), "{error}");
    for bad in NO_EVENTS {
        let error = strict.append_bytes(&mut *session, bad.as_bytes(), None).await.expect_err(bad);
        assert!(matches!(error, AppendError::NotAnEvent(_)), "{bad}: {error}");
    }
    strict.append(&mut *session, &voided(1)).await.unwrap();
    let error = app.audit.append_bytes(&mut *session, &[0; 65_536], None).await.unwrap_err();
    assert!(matches!(error, AppendError::EntrySize(65_536)), "{error}");
    assert_eq!(entries(&app.server, "strict").await.len(), 1);
    assert_eq!(logged(&app.server).await, []);

    let mut elsewhere = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    let error = app.audit.append(&mut elsewhere, &voided(1)).await.unwrap_err();
    assert!(error.to_string().contains("no such table"), "{error}");
    assert!(matches!(error, AppendError::Database(_)));
    assert!(!elsewhere.is_in_transaction());
}

#[tokio::test]
async fn the_connection_may_have_no_foreign_keys_and_no_patience() {
    let app = OnSqlite::start().await;
    let options = SqliteConnectOptions::new()
        .filename(&app.file)
        .foreign_keys(false)
        .busy_timeout(std::time::Duration::ZERO)
        .synchronous(SqliteSynchronous::Normal);
    let mut hasty = SqliteConnection::connect_with(&options).await.unwrap();
    let event = voided(1);
    let mut other = app.pool.begin_with("begin immediate").await.unwrap();
    app.audit.append(&mut other, &event).await.unwrap();
    for _ in 0..2 {
        let mut tx = hasty.begin().await.unwrap();
        let error = app.audit.append(&mut tx, &event).await.unwrap_err();
        let error = error.as_database().unwrap().as_database_error().unwrap();
        assert_eq!(error.code().as_deref(), Some("5"), "{error}");
        tx.rollback().await.unwrap();
    }
    other.rollback().await.unwrap();
    // The server may have its turn now.
    let ticket = attestlog_tests::deadline::until("it is the hasty one's turn", async || {
        app.audit.append(&mut hasty, &event).await.ok()
    })
    .await;
    assert_eq!(app.audit.receipt(ticket).await.unwrap().index(), 0);
    assert_eq!(logged(&app.server).await, [event]);
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_no_transaction_open() {
    let app = OnSqlite::start().await;
    let events: Vec<Event> = (0..2000).map(voided).collect();
    let mut session = app.pool.acquire().await.unwrap();
    let mut completed = 0;
    for steps in (0..1000_u32).map(|number| number * number / 8) {
        let mut call = Box::pin(app.audit.append_all(&mut *session, &events));
        let mut left = steps;
        // Dropped where it waits for the time `steps`.
        let ended = std::future::poll_fn(|context| match left {
            0 => Poll::Ready(None),
            _ => {
                left -= 1;
                call.as_mut().poll(context).map(Some)
            }
        });
        let ended = ended.await;
        drop(call);
        if let Some(appended) = ended {
            assert_eq!(appended.unwrap().len(), events.len());
            completed += 1;
        }
        // Whatever it was doing, what follows is a transaction of its own.
        let mut tx = session.begin_with("begin immediate").await.unwrap();
        sqlx::query("insert into invoice (state) values ('x')").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        if completed == 3 {
            break;
        }
    }
    // In the end it has got through, and its keys have kept it from doing so twice.
    assert!(logged(&app.server).await == events);
}
