//! On PostgreSQL: an event commits with the change or not at all, however the transaction ends.

use std::sync::Arc;

use attestlog::{AppendError, Audit, Event, Ticket};
use attestlog_server::store::Events;
use attestlog_tests::databases::{connection, execute, maintenance_url, random_name, url_of};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::sync::Barrier;

use super::application::{NO_EVENTS, OnPostgres, another_log, entries, logged, voided};

#[tokio::test]
async fn a_committed_event_has_a_receipt_and_one_that_was_rolled_back_is_nowhere() {
    let app = OnPostgres::start().await;
    let mut tx = app.pool.begin().await.unwrap();
    app.audit.append(&mut tx, &voided(1)).await.unwrap();
    tx.rollback().await.unwrap();
    let mut dropped = app.pool.begin().await.unwrap();
    sqlx::query("insert into invoice values (1, 'void')").execute(&mut *dropped).await.unwrap();
    app.audit.append(&mut dropped, &voided(1)).await.unwrap();
    drop(dropped);

    let event = voided(2);
    let mut tx = app.pool.begin().await.unwrap();
    sqlx::query("insert into invoice values (2, 'void')").execute(&mut *tx).await.unwrap();
    let ticket = app.audit.append(&mut *tx, &event).await.unwrap();
    tx.commit().await.unwrap();
    let receipt = app.audit.receipt(ticket).await.unwrap();
    assert_eq!((receipt.index(), receipt.checkpoint().size().0), (0, 1));
    assert_eq!(receipt.entry(), event.to_entry().unwrap());
    assert_eq!(receipt.event().unwrap(), event);
    let proof = attestlog_core::Receipt::parse(receipt.text().as_bytes()).unwrap();
    proof.verify(receipt.entry(), &app.server.policy().await).unwrap();
    assert_eq!(logged(&app.server).await, [event]);
    let invoices: Vec<i32> = sqlx::query_scalar("select id from invoice").fetch_all(&app.pool).await.unwrap();
    assert_eq!(invoices, [2]);
}

#[tokio::test]
async fn a_savepoint_that_is_rolled_back_leaves_no_event_and_its_key_is_free() {
    let app = OnPostgres::start().await;
    let (kept, undone) = (voided(1), voided(2));
    let mut tx = app.pool.begin().await.unwrap();
    app.audit.append(&mut tx, &kept).await.unwrap();
    let mut savepoint = tx.begin().await.unwrap();
    app.audit.append(&mut savepoint, &undone).await.unwrap();
    app.audit.append_all(&mut savepoint, &[voided(3), voided(4)]).await.unwrap();
    savepoint.rollback().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(logged(&app.server).await, std::slice::from_ref(&kept));

    let mut tx = app.pool.begin().await.unwrap();
    let mut savepoint = tx.begin().await.unwrap();
    let first = app.audit.append(&mut savepoint, &undone).await.unwrap();
    savepoint.rollback().await.unwrap();
    let again = app.audit.append(&mut tx, &undone).await.unwrap();
    assert_ne!(first, again);
    tx.commit().await.unwrap();
    assert_eq!(app.audit.receipt(again).await.unwrap().index(), 1);
    assert_eq!(logged(&app.server).await, [kept, undone]);
}

#[tokio::test]
async fn an_error_in_a_savepoint_leaves_the_transaction_as_it_was_before() {
    let app = OnPostgres::start().await;
    let event = voided(1);
    let mut tx = app.pool.begin().await.unwrap();
    app.audit.append(&mut tx, &event).await.unwrap();
    let mut savepoint = tx.begin().await.unwrap();
    let reused = app.audit.append_with_key(&mut savepoint, &voided(2), &event.id).await;
    assert!(matches!(reused, Err(AppendError::KeyReused(_))), "{reused:?}");
    savepoint.rollback().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(logged(&app.server).await, [event]);
}

#[tokio::test]
async fn two_phase_commit_decides_about_the_event_too() {
    let app = OnPostgres::start().await;
    let (committed, undone) = (voided(1), voided(2));
    let mut tickets = Vec::new();
    for (event, end) in [(&undone, "rollback"), (&committed, "commit")] {
        let name = random_name("attestlog");
        let mut session = connection(&app.url).await;
        session.execute("begin").await.unwrap();
        tickets.push(app.audit.append(&mut session, event).await.unwrap());
        session.execute(AssertSqlSafe(format!("prepare transaction '{name}'"))).await.unwrap();
        session.close().await.unwrap();
        assert_eq!(logged(&app.server).await, []);
        execute(&app.url, &format!("{end} prepared '{name}'")).await;
    }
    assert_eq!(app.audit.receipt(tickets[1]).await.unwrap().index(), 0);
    assert_eq!(logged(&app.server).await, [committed]);
    let error = app.audit.receipt(tickets[0]).await.unwrap_err();
    assert_eq!(error.code(), "unknown_ticket");
}

/// Moves half of what there is in both invoices to one of them; whoever reads what another writes has to try again.
async fn retry_until_serialised(url: String, audit: Audit, id: i64, both: Arc<Barrier>) -> (Event, u32) {
    let (mut session, event, mut retries) = (connection(&url).await, voided(id), 0);
    loop {
        let attempt: Result<Ticket, AppendError> = async {
            let mut tx = session.begin_with("begin isolation level serializable").await?;
            let states: Vec<String> =
                sqlx::query_scalar("select state from invoice").fetch_all(&mut *tx).await?;
            if retries == 0 {
                both.wait().await;
            }
            sqlx::query("insert into invoice values ($1, $2)")
                .bind(id)
                .bind(states.len().to_string())
                .execute(&mut *tx)
                .await?;
            let ticket = audit.append(&mut tx, &event).await?;
            tx.commit().await?;
            Ok(ticket)
        }
        .await;
        match attempt {
            Ok(_) => return (event, retries),
            Err(error) => assert_eq!(sqlstate(&error), "40001", "{error}"),
        }
        retries += 1;
    }
}

fn sqlstate(error: &AppendError) -> String {
    let error = error.as_database().unwrap_or_else(|| panic!("no error of the database: {error}"));
    error.as_database_error().unwrap().code().unwrap().into_owned()
}

#[tokio::test]
async fn a_serialisable_transaction_that_is_tried_again_leaves_one_event() {
    let app = OnPostgres::start().await;
    let both = Arc::new(Barrier::new(2));
    let tasks: Vec<_> = (1..=2)
        .map(|id| {
            let task = retry_until_serialised(app.url.clone(), app.audit.clone(), id, Arc::clone(&both));
            tokio::spawn(task)
        })
        .collect();
    let (mut events, mut retries) = (Vec::new(), 0);
    for task in tasks {
        let (event, tried) = task.await.unwrap();
        events.push(event.id);
        retries += tried;
    }
    assert!(retries > 0, "neither transaction had to be tried again");
    let mut logged: Vec<String> = logged(&app.server).await.into_iter().map(|event| event.id).collect();
    logged.sort();
    events.sort();
    assert_eq!(logged, events);
}

#[tokio::test]
async fn a_key_that_the_snapshot_does_not_show_is_a_serialisation_failure_and_then_the_same_ticket() {
    let app = OnPostgres::start().await;
    let (event, mut session) = (voided(1), connection(&app.url).await);
    for level in ["repeatable read", "serializable"] {
        for batch in [false, true] {
            let event = Event::id(event.clone(), format!("{level} {batch}"));
            let begin = || AssertSqlSafe(format!("begin isolation level {level}"));
            let mut tx = session.begin_with(begin()).await.unwrap();
            sqlx::query("select 1 from invoice").fetch_optional(&mut *tx).await.unwrap();
            let first = app.audit.append(&mut connection(&app.url).await, &event).await.unwrap();
            let events = [event.clone(), voided(2)];
            let error = match batch {
                false => app.audit.append(&mut tx, &event).await.unwrap_err(),
                true => app.audit.append_all(&mut tx, &events).await.unwrap_err(),
            };
            assert_eq!(sqlstate(&error), "40001");
            assert!(std::error::Error::source(&error).is_some_and(|source| source.is::<sqlx::Error>()));
            tx.rollback().await.unwrap();
            let mut tx = session.begin_with(begin()).await.unwrap();
            assert_eq!(app.audit.append(&mut tx, &event).await.unwrap(), first);
            tx.commit().await.unwrap();
        }
    }
    assert_eq!(logged(&app.server).await.len(), 4);
}

#[tokio::test]
async fn whoever_is_a_writer_and_nothing_else_can_append_and_get_receipts() {
    let app = OnPostgres::start().await;
    let name = random_name("attestlog_user");
    let role = format!("create role {name} login password 'secret' in role attestlog_writer");
    execute(&maintenance_url(), &role).await;
    let database = app.url.rsplit('/').next().unwrap().split('?').next().unwrap();
    let mut writer = connection(&url_of(&app.url, Some((&name, "secret")), database)).await;
    let mut tx = writer.begin().await.unwrap();
    let mut tickets = vec![app.audit.append(&mut tx, &voided(1)).await.unwrap()];
    tickets.extend(app.audit.append_all(&mut tx, &[voided(2), voided(3)]).await.unwrap());
    tickets.push(app.audit.append_bytes(&mut tx, b"bytes", None).await.unwrap());
    tx.commit().await.unwrap();
    for (index, ticket) in (0..).zip(tickets) {
        assert_eq!(app.audit.receipt(ticket).await.unwrap().index(), index);
    }
    // Tests that look at what was logged need more rights, and hear which.
    let error = attestlog::testing::logged(&mut writer, "default").await.unwrap_err();
    assert!(error.to_string().contains("attestlog_processor"), "{error}");
    writer.close().await.unwrap();
    execute(&maintenance_url(), &format!("drop role {name}")).await;
}

#[tokio::test]
async fn each_refusal_has_its_error() {
    let app = OnPostgres::start().await;
    let strict = another_log(&app.server, "strict", Events::Strict).await;
    let mut session = connection(&app.url).await;
    let session: &mut PgConnection = &mut session;
    let nowhere = super::application::audit_at(&app.server.address, "nowhere", &vkey(&app).await);
    let (one, two) = (voided(1), [voided(1), voided(2)]);

    let error = nowhere.append(session, &one).await.unwrap_err();
    assert!(matches!(&error, AppendError::UnknownLog(log) if log == "nowhere"), "{error}");
    let error = nowhere.append_all(session, &two).await.unwrap_err();
    assert!(matches!(&error, AppendError::UnknownLog(log) if log == "nowhere"), "{error}");

    app.audit.append(session, &one).await.unwrap();
    let error = app.audit.append_with_key(session, &two[1], &one.id).await.unwrap_err();
    assert!(matches!(&error, AppendError::KeyReused(key) if *key == one.id), "{error}");
    let mixed = [two[0].clone(), Event::id(two[1].clone(), one.id.clone())];
    let error = app.audit.append_all(session, &mixed).await.unwrap_err();
    assert!(matches!(&error, AppendError::KeyReused(key) if *key == one.id), "{error}");

    let error = strict.append_bytes(session, b"{}", None).await.unwrap_err();
    assert!(matches!(&error, AppendError::NotAnEvent(log) if log == "strict"), "{error}");
    for bad in NO_EVENTS {
        let error = strict.append_bytes(session, bad.as_bytes(), None).await.expect_err(bad);
        assert!(matches!(error, AppendError::NotAnEvent(_)), "{bad}: {error}");
    }
    strict.append_all(session, &two).await.unwrap();

    let error = app.audit.append_bytes(session, b"", None).await.unwrap_err();
    assert!(matches!(error, AppendError::EntrySize(0)), "{error}");
    let error = app.audit.append_bytes(session, b"x", Some("")).await.unwrap_err();
    assert!(matches!(error, AppendError::KeySize(0)), "{error}");
    let mut tx = session.begin().await.unwrap();
    let error = app.audit.append_bytes(&mut tx, b"x", Some("k\0")).await.unwrap_err();
    assert!(matches!(error, AppendError::KeySize(2)), "{error}");
    tx.execute("select 'the transaction goes on'").await.unwrap();
    tx.rollback().await.unwrap();
    let error = app.audit.append(session, &Event::new("a")).await.unwrap_err();
    assert!(matches!(error, AppendError::Event(_)), "{error}");

    assert_eq!(logged(&app.server).await, [one]);
    assert_eq!(entries(&app.server, "strict").await.len(), 2);
    execute(&app.url, "drop schema attestlog cascade").await;
    let error = app.audit.append(session, &voided(9)).await.unwrap_err();
    assert!(matches!(error, AppendError::Database(_)), "{error}");
}

async fn vkey(app: &OnPostgres) -> String {
    app.server.store.log("default").await.unwrap().unwrap().vkey
}

#[tokio::test]
async fn an_event_without_an_id_has_no_key_and_counts_each_time() {
    let app = OnPostgres::start().await;
    let event = voided(1).id("");
    let mut tx = app.pool.begin().await.unwrap();
    let one = app.audit.append(&mut tx, &event).await.unwrap();
    let two = app.audit.append(&mut tx, &event).await.unwrap();
    tx.commit().await.unwrap();
    assert_ne!(one.id(), two.id());
    // A ticket that was kept as text with the business row leads on, and so does a number from SQL.
    let kept: Ticket = one.to_string().parse().unwrap();
    assert_eq!(app.audit.receipt(kept).await.unwrap().index(), 0);
    assert_eq!(app.audit.receipt(two.id()).await.unwrap().index(), 1);
}
