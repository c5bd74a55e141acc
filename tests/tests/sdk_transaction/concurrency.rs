//! Many connections at once: the same key, and open transactions that do not wait for each other.

use std::sync::Arc;

use attestlog::{Audit, Event, Ticket};
use attestlog_tests::databases::{connection, execute};
use attestlog_tests::deadline::until;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Executor, PgConnection};
use tokio::sync::Barrier;

use super::application::{OnPostgres, OnSqlite, entries, logged, voided};

const SAME_KEY: usize = 32;
const OPEN: usize = 64;

async fn append_at_once(url: String, audit: Audit, event: Event, start: Arc<Barrier>) -> Ticket {
    let mut session = connection(&url).await;
    start.wait().await;
    let mut tx = session.begin().await.unwrap();
    let ticket = audit.append(&mut tx, &event).await.unwrap();
    tx.commit().await.unwrap();
    ticket
}

#[tokio::test]
async fn a_key_from_32_connections_at_once_is_one_entry_and_one_ticket_also_a_month_later() {
    let app = OnPostgres::start().await;
    let (event, start) = (voided(1), Arc::new(Barrier::new(SAME_KEY)));
    let tasks: Vec<_> = (0..SAME_KEY)
        .map(|_| {
            let (url, audit) = (app.url.clone(), app.audit.clone());
            tokio::spawn(append_at_once(url, audit, event.clone(), Arc::clone(&start)))
        })
        .collect();
    let mut tickets = Vec::new();
    for task in tasks {
        tickets.push(task.await.unwrap());
    }
    let ticket = tickets[0];
    assert!(tickets.iter().all(|other| *other == ticket), "{tickets:?}");
    assert_eq!(app.audit.receipt(ticket).await.unwrap().index(), 0);
    assert_eq!(logged(&app.server).await, std::slice::from_ref(&event));

    // What a month does: the row has left the staging table for good, vacuum has removed it and frozen what stays, the
    // transaction that wrote it is far below every snapshot, and others have been logged since. What a month does not
    // do is to remove the key: nothing of it says when it was made, and its table refuses a DELETE.
    let mut session = connection(&app.url).await;
    for number in 2..40 {
        app.audit.append(&mut session, &voided(number)).await.unwrap();
    }
    entries(&app.server, "default").await;
    execute(&app.url, "vacuum (freeze, analyze)").await;
    let staged: i64 = sqlx::query_scalar("select count(*) from attestlog.append_only_log")
        .fetch_one(&mut session)
        .await
        .unwrap();
    assert_eq!(staged, 0);
    let columns: Vec<String> = sqlx::query_scalar(
        "select column_name::text from information_schema.columns
         where table_schema = 'attestlog' and table_name = 'idempotency_key' order by ordinal_position",
    )
    .fetch_all(&mut session)
    .await
    .unwrap();
    assert_eq!(columns, ["log_id", "key", "ticket", "xid"], "no time, after which a key could end");
    let refused = session.execute("delete from attestlog.idempotency_key").await.unwrap_err();
    assert!(refused.to_string().contains("DELETE on attestlog.idempotency_key is refused"), "{refused}");

    assert_eq!(app.audit.append(&mut session, &event).await.unwrap(), ticket);
    assert_eq!(app.audit.append_all(&mut session, &[event.clone(), voided(40)]).await.unwrap()[0], ticket);
    let of_this = |logged: &&Event| logged.id == event.id;
    assert_eq!(logged(&app.server).await.iter().filter(of_this).count(), 1);
}

#[tokio::test]
async fn on_sqlite_too_a_key_from_32_connections_at_once_is_one_entry_and_one_ticket() {
    let app = OnSqlite::start().await;
    let (event, start) = (voided(1), Arc::new(Barrier::new(SAME_KEY)));
    let tasks: Vec<_> = (0..SAME_KEY)
        .map(|_| {
            let options = SqliteConnectOptions::new().filename(&app.file);
            let options = options.busy_timeout(std::time::Duration::from_secs(60));
            let (audit, event, start) = (app.audit.clone(), event.clone(), Arc::clone(&start));
            tokio::spawn(async move {
                let mut session = SqliteConnection::connect_with(&options).await.unwrap();
                start.wait().await;
                let mut tx = session.begin_with("begin immediate").await.unwrap();
                let ticket = audit.append(&mut tx, &event).await.unwrap();
                tx.commit().await.unwrap();
                ticket
            })
        })
        .collect();
    let mut tickets = Vec::new();
    for task in tasks {
        tickets.push(task.await.unwrap());
    }
    assert!(tickets.iter().all(|other| *other == tickets[0]), "{tickets:?}");
    assert_eq!(app.audit.receipt(tickets[0]).await.unwrap().index(), 0);
    assert_eq!(logged(&app.server).await, std::slice::from_ref(&event));
    // Processed, and others after it.
    let mut session = app.pool.acquire().await.unwrap();
    app.audit.append(&mut *session, &voided(2)).await.unwrap();
    assert_eq!(logged(&app.server).await.len(), 2);
    assert_eq!(app.audit.append(&mut *session, &event).await.unwrap(), tickets[0]);
    assert_eq!(logged(&app.server).await.len(), 2);
}

#[derive(Debug, sqlx::FromRow)]
struct Lock {
    pid: i32,
    locktype: String,
    mode: String,
    granted: bool,
    what: String,
}

async fn locks(watcher: &mut PgConnection, pids: &[i32]) -> Vec<Lock> {
    sqlx::query_as(
        "select pid, locktype, mode, granted,
                concat_ws(' ', relation::regclass, virtualxid, transactionid, classid, objid, page, tuple) as what
         from pg_locks where pid = any ($1)",
    )
    .bind(pids)
    .fetch_all(watcher)
    .await
    .unwrap()
}

#[tokio::test]
async fn open_transactions_of_64_connections_that_each_appended_do_not_wait_for_each_other() {
    let app = OnPostgres::start().await;
    let mut sessions = Vec::new();
    for _ in 0..OPEN {
        sessions.push(connection(&app.url).await);
    }
    let (mut open, mut pids) = (Vec::new(), Vec::new());
    for (number, session) in (0..).zip(&mut sessions) {
        let mut tx = session.begin().await.unwrap();
        pids.push(sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *tx).await.unwrap());
        // With and without keys, one and many. Were one of them to wait for another, this loop would not end.
        app.audit.append(&mut tx, &voided(number)).await.unwrap();
        app.audit.append(&mut tx, &voided(number).id("")).await.unwrap();
        app.audit.append_all(&mut tx, &[voided(number), voided(number)]).await.unwrap();
        app.audit.append_all(&mut tx, &[voided(number).id(""), voided(number).id("")]).await.unwrap();
        app.audit.append_bytes(&mut tx, b"bytes", None).await.unwrap();
        open.push(tx);
    }
    let locks = locks(&mut connection(&app.url).await, &pids).await;
    for pid in &pids {
        assert!(locks.iter().any(|lock| lock.pid == *pid && lock.what.contains("append_only_log")), "{pid}");
    }
    for lock in &locks {
        assert!(lock.granted, "{lock:?}");
        match (lock.locktype.as_str(), lock.mode.as_str()) {
            // The modes of reading and writing rows, which conflict with none of each other.
            ("relation", "AccessShareLock" | "RowShareLock" | "RowExclusiveLock") => {}
            // Each transaction's lock on itself, for those who wait for its end: nobody else has it.
            ("virtualxid" | "transactionid", "ExclusiveLock") => {
                let others = locks.iter().filter(|other| other.pid != lock.pid && other.what == lock.what);
                assert_eq!(others.count(), 0, "{lock:?}");
            }
            _ => panic!("{lock:?}"),
        }
    }
    // Nor is the server held up by them.
    let ticket = app.audit.append(&mut connection(&app.url).await, &voided(64)).await.unwrap();
    assert_eq!(app.audit.receipt(ticket).await.unwrap().index(), 0);
    for tx in open {
        tx.commit().await.unwrap();
    }
    until("all of it is logged", async || {
        (entries(&app.server, "default").await.len() == OPEN * 7 + 1).then_some(())
    })
    .await;
}
