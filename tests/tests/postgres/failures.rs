//! What goes wrong around the store: a server that stops, a full disk, a dump that is restored elsewhere.

use std::process::{Command, Stdio};

use attestlog_core::LeafIndex;
use attestlog_server::store::postgres::PostgresStore;
use attestlog_server::store::{LogId, NewEntry, NewLog, Store, StoreError};
use attestlog_tests::databases::{
    PostgresCluster, connection, empty_postgres, execute, fresh_postgres, url_of,
};
use attestlog_tests::sequencing::{create_log, process, process_all};
use sqlx::{Connection, Executor};

fn entry(text: &str) -> NewEntry {
    NewEntry { log: LogId(1), data: text.as_bytes().to_vec(), idempotency_key: None }
}

#[tokio::test]
async fn a_server_that_is_down_is_unavailable_and_comes_back() {
    let cluster = PostgresCluster::start();
    cluster.crash();
    let store = PostgresStore::connect(&cluster.url, 4).unwrap();
    let answer = store.migrate().await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    cluster.start_again();
    store.migrate().await.unwrap();
    create_log(&store, "one").await;
    store.append(&[entry("acknowledged")]).await.unwrap();

    // It goes down in the middle of a batch: nothing of the batch is there, and the entry still is.
    let mut batch = store.begin_batch().await.unwrap().unwrap();
    assert_eq!(batch.process_next_batch(10, false).await.unwrap().len(), 1);
    cluster.crash();
    let answer = batch.commit().await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    let answer = store.append(&[entry("not acknowledged")]).await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    let answer = store.scan(LogId(1), 0..9, &mut |_, _, _| ()).await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    cluster.start_again();
    assert_eq!(process_all(&store, 10).await[0].data, b"acknowledged".as_slice());
}

#[tokio::test]
async fn a_dump_that_is_restored_in_another_cluster_loses_and_doubles_nothing() {
    let (store, url, _guard) = fresh_postgres().await;
    create_log(&store, "one").await;
    let append = async |store: &PostgresStore, name: &str, rows: u32| {
        let entries: Vec<NewEntry> = (0..rows).map(|n| entry(&format!("{name} {n}"))).collect();
        store.append(&entries).await.unwrap()
    };
    append(&store, "processed", 200).await;
    process_all(&store, 1000).await;
    // A batch cuts through these; the dump is taken in the middle.
    append(&store, "waiting", 200).await;
    let keyed = NewEntry { idempotency_key: Some("key".to_owned()), ..entry("keyed") };
    let ticket = store.append(std::slice::from_ref(&keyed)).await.unwrap();
    process(&store, 50, false).await.unwrap().unwrap();

    // The other cluster has seen far fewer transactions.
    let cluster = PostgresCluster::start();
    execute(&cluster.url, "create database restored template template0").await;
    let restored_url = url_of(&cluster.url, None, "restored");
    for role in ["writer", "processor", "reader"] {
        execute(&cluster.url, &format!("create role attestlog_{role} nologin")).await;
    }
    restore(&url, &restored_url);
    let restored = PostgresStore::connect(&restored_url, 4).unwrap();
    assert!(restored.is_migrated().await.unwrap());
    append(&restored, "new", 200).await;
    assert_eq!(restored.append(&[keyed]).await.unwrap(), ticket, "keys lead to the same tickets");
    process_all(&restored, 70).await;
    let entries = restored.entries(LogId(1), LeafIndex(0), 1000).await.unwrap();
    let entries: Vec<String> = entries.into_iter().map(|data| String::from_utf8(data).unwrap()).collect();
    assert_eq!(entries.len(), 601);
    let named = |name: &str| (0..200).map(|n| format!("{name} {n}")).collect::<Vec<_>>();
    assert_eq!(
        entries[..400],
        [named("processed"), named("waiting")].concat(),
        "what was cut is finished first"
    );
    let rest: Vec<&String> = entries[400..].iter().filter(|text| *text != "keyed").collect();
    assert_eq!(rest, named("new").iter().collect::<Vec<_>>());
    // And history is as protected there as it was.
    let mut owner = connection(&restored_url).await;
    assert!(owner.execute("delete from attestlog.processed_log").await.is_err());
}

/// pg_dump of one database, into psql on another.
pub(super) fn restore(from: &str, to: &str) {
    let mut dump =
        Command::new("pg_dump").arg(from).stdout(Stdio::piped()).spawn().expect("pg_dump is installed");
    let psql = Command::new("psql")
        .args(["-q", "-v", "ON_ERROR_STOP=1", to])
        .stdin(dump.stdout.take().unwrap())
        .stdout(Stdio::null())
        .status()
        .expect("psql is installed");
    assert!(psql.success() && dump.wait().unwrap().success());
}

#[tokio::test]
async fn says_of_each_failure_what_a_caller_can_do_about_it() {
    let (store, url, _guard) = fresh_postgres().await;
    create_log(&store, "one").await;
    for (code, kind) in [
        ("53100", "Full"),
        ("53200", "Unavailable"),
        ("53300", "Unavailable"),
        ("57014", "Unavailable"),
        ("57P01", "Unavailable"),
        ("57P03", "Unavailable"),
        ("08006", "Unavailable"),
        ("25006", "Unavailable"),
        ("55P03", "Busy"),
        ("40001", "Busy"),
        ("40P01", "Busy"),
        ("XX001", "Damaged"),
        ("42501", "Refused"),
        ("23514", "Refused"),
        ("XX000", "Refused"),
    ] {
        let sql = format!(
            "create or replace function public.fail() returns trigger language plpgsql as $$
             begin raise exception 'as if' using errcode = '{code}'; end $$;
             create or replace trigger fail before insert on attestlog.append_only_log execute function public.fail()"
        );
        execute(&url, &sql).await;
        let error = store.append(&[entry("x")]).await.unwrap_err();
        assert!(format!("{error:?}").starts_with(kind), "{code}: {error:?}");
    }
    execute(&url, "drop trigger fail on attestlog.append_only_log").await;
    store.append(&[entry("x")]).await.unwrap();
}

#[tokio::test]
async fn refuses_a_log_whose_name_or_origin_is_taken() {
    let (store, _url, _guard) = fresh_postgres().await;
    let log = create_log(&store, "one").await;
    for (name, origin) in [("one", "log.example/new"), ("new", "log.example/one"), ("one", "log.example/one")]
    {
        let new = NewLog {
            name: name.to_owned(),
            origin: origin.to_owned(),
            vkey: log.vkey.clone(),
            events: log.events,
            checkpoint: b"empty".to_vec(),
        };
        let error = store.create_log(&new).await.unwrap_err();
        assert!(matches!(&error, StoreError::LogExists { name: taken, .. } if taken == name), "{error}");
    }
    assert_eq!(store.logs().await.unwrap().len(), 1);
}

#[tokio::test]
async fn refuses_what_it_was_not_migrated_for_and_urls_that_are_none() {
    let (url, _guard) = empty_postgres().await;
    let store = PostgresStore::connect(&url, 1).unwrap();
    assert!(matches!(store.logs().await, Err(StoreError::Refused(_))));
    assert!(matches!(PostgresStore::connect("postgres//nowhere", 1), Err(StoreError::Refused(_))));
    let store = PostgresStore::connect(&url_of(&url, Some(("nobody", "wrong")), "postgres"), 1).unwrap();
    assert!(matches!(store.logs().await, Err(StoreError::Refused(_))));
}

#[tokio::test]
async fn an_entry_that_is_missing_is_damage_to_a_reader_and_a_gap_to_a_scan() {
    let (store, url, _guard) = fresh_postgres().await;
    create_log(&store, "one").await;
    store.append(&[entry("0"), entry("1"), entry("2")]).await.unwrap();
    process_all(&store, 10).await;
    let sql = "alter table attestlog.processed_log disable trigger all;
               delete from attestlog.processed_log where id = 1";
    execute(&url, sql).await;
    let answer = store.entries(LogId(1), LeafIndex(0), 10).await;
    assert!(matches!(answer, Err(StoreError::Damaged(_))), "{answer:?}");
    let mut seen = Vec::new();
    store.scan(LogId(1), 0..10, &mut |index, _, _| seen.push(index.0)).await.unwrap();
    assert_eq!(seen, [0, 2]);
}

#[tokio::test]
async fn a_processor_that_stops_in_the_middle_gives_the_lock_back() {
    let (store, url, _guard) = fresh_postgres().await;
    create_log(&store, "one").await;
    let batch = store.begin_batch().await.unwrap().unwrap();
    let settings =
        "select count(*) from pg_locks where locktype = 'advisory' and classid = 6962 and objid = 1
                    and database = (select oid from pg_database where datname = current_database())";
    let mut watcher = connection(&url).await;
    let held: i64 = sqlx::query_scalar(settings).fetch_one(&mut watcher).await.unwrap();
    assert_eq!(held, 1);
    drop(batch);
    loop {
        let held: i64 = sqlx::query_scalar(settings).fetch_one(&mut watcher).await.unwrap();
        if held == 0 {
            break;
        }
    }
    watcher.close().await.unwrap();
}
