//! `attestlog.append`, as an application calls it within its transaction, and the server's own appends.

use attestlog_server::store::postgres::PostgresStore;
use attestlog_server::store::{Appended, Events, LogId, NewEntry, Store, StoreError, Ticket, TicketState};
use attestlog_tests::databases::{connection, fresh_postgres};
use attestlog_tests::sequencing::{create_log, create_log_for, process_all};
use sqlx::{Connection, Executor, PgConnection};

/// Calls `attestlog.append` for bytes.
async fn append(
    connection: &mut PgConnection,
    log: &str,
    data: &[u8],
    key: Option<&str>,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select attestlog.append($1, $2::bytea, $3)")
        .bind(log)
        .bind(data)
        .bind(key)
        .fetch_one(connection)
        .await
}

fn code(error: &sqlx::Error) -> String {
    error.as_database_error().expect("an error of the database").code().unwrap_or_default().into_owned()
}

#[tokio::test]
async fn appends_bytes_as_they_are_and_json_as_postgresql_writes_it() {
    let (store, url, _guard) = fresh_postgres().await;
    create_log(&store, "default").await;
    let mut app = connection(&url).await;
    append(&mut app, "default", b"\x00\xff raw", None).await.unwrap();
    app.execute("select attestlog.append('default', '{\"b\":1,  \"a\":\"\\u00e9\"}'::jsonb)").await.unwrap();
    let entries: Vec<_> = process_all(&store, 10).await.into_iter().map(|entry| entry.data).collect();
    assert_eq!(entries, [b"\x00\xff raw".to_vec(), "{\"a\": \"é\", \"b\": 1}".as_bytes().to_vec()]);
}

#[tokio::test]
async fn refuses_unknown_logs_and_sizes_that_no_entry_has() {
    let (store, url, _guard) = fresh_postgres().await;
    let log = create_log(&store, "default").await;
    let mut app = connection(&url).await;
    let error = append(&mut app, "nowhere", b"x", None).await.unwrap_err();
    assert!(error.to_string().contains("log \"nowhere\" does not exist"), "{error}");
    assert_eq!(code(&error), "42704");
    for (size, fits) in [(0, false), (1, true), (65_535, true), (65_536, false)] {
        for key in [None, Some(format!("key of {size}"))] {
            let answer = append(&mut app, "default", &vec![7; size], key.as_deref()).await;
            match answer {
                Ok(_) => assert!(fits, "{size}"),
                Err(error) => {
                    assert!(!fits, "{error}");
                    assert!(error.to_string().contains(&format!("this one has {size}")), "{error}");
                }
            }
        }
        let entry = NewEntry { log: log.id, data: vec![8; size], idempotency_key: None };
        let answer = store.append(&[entry]).await;
        assert!(
            matches!((&answer, fits), (Ok(_), true) | (Err(StoreError::Refused(_)), false)),
            "{size}: {answer:?}"
        );
    }
    let null = app.execute("select attestlog.append('default', null::bytea)").await.unwrap_err();
    assert!(null.to_string().contains("this one has 0"), "{null}");
    let entry = NewEntry { log: LogId(77), data: b"x".to_vec(), idempotency_key: None };
    assert!(matches!(store.append(&[entry]).await, Err(StoreError::Refused(_))));
    assert_eq!(process_all(&store, 100).await.len(), 6);
}

#[tokio::test]
async fn a_strict_log_takes_audit_events_only() {
    let (store, url, _guard) = fresh_postgres().await;
    create_log_for(&store, "strict", Events::Strict).await;
    let mut app = connection(&url).await;
    let good =
        r#"{"action":"a","occurred_at":"2026-01-01T00:00:00Z","actor":{"type":"user","id":"u"},"more":[1]}"#;
    append(&mut app, "strict", good.as_bytes(), None).await.unwrap();
    let deep = "[".repeat(65_000);
    for bad in [
        "x",
        "",
        "[]",
        "null",
        "{}",
        &deep,
        &good.replace("\"a\"", "\"\""),
        &good.replace("\"a\"", "7"),
        &good.replace("user", "robot"),
        &good.replace("\"u\"", "9"),
        &good.replace("\"u\"", "\"\""),
        &good.replace("\"2026-01-01T00:00:00Z\"", "5"),
        &good.replace("actor", "actress"),
        &format!("{good}{good}"),
    ] {
        let error = append(&mut app, "strict", bad.as_bytes(), None).await.expect_err(bad);
        assert!(["23514", "54000"].contains(&code(&error).as_str()), "{error}: {bad:.50}");
    }
    let error = append(&mut app, "strict", b"\xff\xfe", None).await.unwrap_err();
    assert_eq!(code(&error), "23514", "{error}");
    assert_eq!(process_all(&store, 100).await.len(), 1);
}

#[tokio::test]
async fn a_key_leads_to_the_first_append_for_good_and_to_no_other_entry() {
    let (store, url, _guard) = fresh_postgres().await;
    let log = create_log(&store, "default").await;
    create_log(&store, "other").await;
    let mut app = connection(&url).await;
    let first = append(&mut app, "default", b"data", Some("key")).await.unwrap();
    assert_ne!(append(&mut app, "other", b"data", Some("key")).await.unwrap(), first, "keys belong to a log");
    for processed in [false, true] {
        if processed {
            assert_eq!(process_all(&store, 10).await.len(), 4);
        }
        assert_eq!(append(&mut app, "default", b"data", Some("key")).await.unwrap(), first);
        let error = append(&mut app, "default", b"else", Some("key")).await.unwrap_err();
        assert_eq!(code(&error), "23505");
        let entry = |data: &[u8], key: Option<&str>| NewEntry {
            log: log.id,
            data: data.to_vec(),
            idempotency_key: key.map(str::to_owned),
        };
        let new_key = Some(if processed { "new 2" } else { "new 1" });
        let answers = store
            .append(&[
                entry(b"data", Some("key")),
                entry(b"plain", None),
                entry(b"else", Some("key")),
                entry(b"new", new_key),
                entry(b"new", new_key),
                entry(b"newer", new_key),
            ])
            .await
            .unwrap();
        let [Appended::Ticket(again), Appended::Ticket(plain), reused, new, same, newer] = answers[..] else {
            panic!("{answers:?}");
        };
        assert_eq!(
            (again, reused, same, newer),
            (Ticket(first), Appended::KeyReused, new, Appended::KeyReused)
        );
        assert_ne!(Appended::Ticket(plain), new);
        assert_eq!(store.backlog(10).await.unwrap().rows, if processed { 2 } else { 4 });
    }
}

#[tokio::test]
async fn a_key_whose_transaction_rolled_back_is_free_again() {
    let (store, url, _guard) = fresh_postgres().await;
    create_log(&store, "default").await;
    let mut app = connection(&url).await;
    let mut transaction = app.begin().await.unwrap();
    append(&mut transaction, "default", b"gone", Some("key")).await.unwrap();
    transaction.rollback().await.unwrap();
    let mut transaction = app.begin().await.unwrap();
    let mut savepoint = transaction.begin().await.unwrap();
    append(&mut savepoint, "default", b"gone too", Some("key")).await.unwrap();
    savepoint.rollback().await.unwrap();
    append(&mut transaction, "default", b"stays", Some("key")).await.unwrap();
    transaction.commit().await.unwrap();
    let entries = process_all(&store, 10).await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].data, b"stays".as_slice());
}

#[tokio::test]
async fn of_two_transactions_with_one_key_the_second_waits_for_the_first() {
    let (store, url, _guard) = fresh_postgres().await;
    create_log(&store, "default").await;
    for first_commits in [true, false] {
        let key = format!("key {first_commits}");
        let (mut one, mut two) = (connection(&url).await, connection(&url).await);
        let mut first = one.begin().await.unwrap();
        let ticket = append(&mut first, "default", b"same", Some(&key)).await.unwrap();
        let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut two).await.unwrap();
        let second = {
            let key = key.clone();
            tokio::spawn(async move { append(&mut two, "default", b"same", Some(&key)).await })
        };
        wait_until_blocked(&url, pid).await;
        if first_commits {
            first.commit().await.unwrap()
        } else {
            first.rollback().await.unwrap()
        };
        assert_eq!(second.await.unwrap().unwrap() == ticket, first_commits);
    }
    assert_eq!(process_all(&store, 10).await.len(), 2);
}

/// Returns when a backend waits for a lock.
async fn wait_until_blocked(url: &str, pid: i32) {
    let mut watcher = connection(url).await;
    loop {
        let blocked: bool = sqlx::query_scalar("select cardinality(pg_blocking_pids($1)) > 0")
            .bind(pid)
            .fetch_one(&mut watcher)
            .await
            .unwrap();
        if blocked {
            return;
        }
    }
}

#[tokio::test]
async fn an_open_transaction_with_the_same_key_delays_the_server_for_a_moment_only() {
    let (store, url, _guard) = fresh_postgres().await;
    let log = create_log(&store, "default").await;
    let mut app = connection(&url).await;
    let mut open = app.begin().await.unwrap();
    append(&mut open, "default", b"same", Some("key")).await.unwrap();
    let entry = |key: Option<&str>| NewEntry {
        log: log.id,
        data: b"same".to_vec(),
        idempotency_key: key.map(str::to_owned),
    };
    let answer = store.append(&[entry(None), entry(Some("key"))]).await;
    assert!(matches!(answer, Err(StoreError::Busy(_))), "{answer:?}");
    // Neither other keys nor entries without one wait.
    store.append(&[entry(None), entry(Some("other key"))]).await.unwrap();
    open.commit().await.unwrap();
    assert!(matches!(store.append(&[entry(Some("key"))]).await.unwrap()[..], [Appended::Ticket(_)]));
    assert_eq!(process_all(&store, 10).await.len(), 3);
}

#[tokio::test]
async fn the_wait_for_a_key_does_not_leak_into_the_application_s_transaction() {
    let (store, url, _guard) = fresh_postgres().await;
    create_log(&store, "default").await;
    let mut app = connection(&url).await;
    let mut transaction = app.begin().await.unwrap();
    append(&mut transaction, "default", b"x", Some("key")).await.unwrap();
    let setting: String = sqlx::query_scalar("select current_setting('lock_timeout')")
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
    assert_eq!(setting, "0");
}

#[tokio::test]
async fn a_ticket_leads_from_acceptance_to_the_index() {
    let (store, url, _guard) = fresh_postgres().await;
    let log = create_log(&store, "default").await;
    let mut app = connection(&url).await;
    let mut transaction = app.begin().await.unwrap();
    let inside = Ticket(append(&mut transaction, "default", b"inside", None).await.unwrap());
    let outside = Ticket(append(&mut connection(&url).await, "default", b"outside", None).await.unwrap());
    let unknown = Ticket(1_000_000);
    let asked = [inside, outside, unknown, outside];
    // Before the first batch there is no hint where to look; after it, only where it says.
    let states = store.tickets(&asked).await.unwrap();
    assert_eq!((states.len(), states[&outside]), (1, TicketState::Accepted(log.id)));
    process_all(&store, 10).await;
    let states = store.tickets(&asked).await.unwrap();
    let first = TicketState::Processed(log.id, attestlog_core::LeafIndex(0));
    assert_eq!((states.len(), states[&outside]), (1, first));
    transaction.commit().await.unwrap();
    let states = store.tickets(&asked).await.unwrap();
    assert_eq!((states.len(), states[&outside], states[&inside]), (2, first, TicketState::Accepted(log.id)));
    process_all(&store, 10).await;
    let states = store.tickets(&asked).await.unwrap();
    assert_eq!(states[&inside], TicketState::Processed(log.id, attestlog_core::LeafIndex(1)));
    assert_eq!(store.tickets(&[]).await.unwrap().len(), 0);
}

#[tokio::test]
async fn the_server_s_appends_are_durable_where_the_default_is_not() {
    let (store, url, _guard) = fresh_postgres().await;
    create_log(&store, "default").await;
    let mut session = connection(&url).await;
    session.execute("set synchronous_commit = off").await.unwrap();
    for (sql, durable) in [
        ("select 1 from attestlog.append_rows(array[1], array['x'::bytea])", "on"),
        ("select count(*) from attestlog.process_next_batch(10)", "on"),
        ("select attestlog.append('default', 'an application decides for itself'::bytea)", "off"),
    ] {
        let mut transaction = session.begin().await.unwrap();
        transaction.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
        let setting: String = sqlx::query_scalar("select current_setting('synchronous_commit')")
            .fetch_one(&mut *transaction)
            .await
            .unwrap();
        assert_eq!(setting, durable, "{sql}");
        transaction.commit().await.unwrap();
    }
    drop::<PostgresStore>(store);
}
