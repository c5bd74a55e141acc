//! Who may do what: three roles, and history that refuses even its owner.

use std::sync::Arc;

use attestlog_core::TreeSize;
use attestlog_server::progress::Progress;
use attestlog_server::search::{Indexer, PageQuery, page};
use attestlog_server::store::postgres::PostgresStore;
use attestlog_server::store::{LogId, NewEntry, Store};
use attestlog_tests::databases::{connection, execute, fresh_postgres, maintenance_url, random_name, url_of};
use attestlog_tests::sequencing::{create_log, process_all};
use sqlx::{AssertSqlSafe, Executor, PgConnection};

/// A user who may log in and is a member of one of the roles; dropped in the end.
pub(super) struct User {
    pub(super) name: String,
    pub(super) url: String,
}

impl User {
    pub(super) async fn member_of(roles: &str, url: &str) -> Self {
        let name = random_name("attestlog_user");
        execute(&maintenance_url(), &format!("create role {name} login password 'secret' in role {roles}"))
            .await;
        let database = url.rsplit('/').next().unwrap().split('?').next().unwrap();
        Self { url: url_of(url, Some((&name, "secret")), database), name }
    }

    pub(super) async fn drop(self) {
        execute(&maintenance_url(), &format!("drop role {}", self.name)).await;
    }
}

/// The code with which a statement is refused.
pub(super) async fn refusal(connection: &mut PgConnection, sql: &str) -> String {
    match connection.execute(AssertSqlSafe(sql.to_owned())).await {
        Ok(_) => panic!("not refused: {sql}"),
        Err(error) => error.as_database_error().expect(sql).code().expect(sql).into_owned(),
    }
}

const DENIED: &str = "42501";

#[tokio::test]
async fn history_refuses_change_even_from_its_owner() {
    let (store, url, _guard) = fresh_postgres().await;
    let log = create_log(&store, "kept").await;
    let key = Some("k".to_owned());
    store.append(&[NewEntry { log: log.id, data: b"kept".to_vec(), idempotency_key: key }]).await.unwrap();
    assert_eq!(process_all(&store, 10).await.len(), 1);
    let mut owner = connection(&url).await;
    for replica in [false, true] {
        if replica {
            owner.execute("set session_replication_role = replica").await.unwrap();
        }
        for (table, column) in [
            ("processed_log", "data"),
            ("tile", "hashes"),
            ("checkpoint", "note"),
            ("log", "vkey"),
            ("idempotency_key", "ticket"),
        ] {
            for sql in [
                format!("update attestlog.{table} set {column} = {column}"),
                format!("update attestlog.{table} set {column} = {column} where false"),
                format!("delete from attestlog.{table}"),
                format!("truncate attestlog.{table} cascade"),
            ] {
                assert_eq!(refusal(&mut owner, &sql).await, DENIED, "{sql}");
            }
        }
        for sql in [
            "delete from attestlog.tree",
            "truncate attestlog.tree",
            "update attestlog.append_only_log set data = data",
            "truncate attestlog.append_only_log",
        ] {
            assert_eq!(refusal(&mut owner, sql).await, DENIED, "{sql}");
        }
    }
    // What the database computes, nobody sets.
    let sql = "insert into attestlog.processed_log (log_id, id, source_id, appended_at, data, leaf_hash)
               values (1, 1, 1, now(), 'x', sha256('x'))";
    assert_eq!(refusal(&mut owner, sql).await, "428C9");
}

#[tokio::test]
async fn a_writer_can_append_and_nothing_else() {
    let (store, url, _guard) = fresh_postgres().await;
    let log = create_log(&store, "default").await;
    let user = User::member_of("attestlog_writer", &url).await;
    let mut writer = connection(&user.url).await;
    for sql in [
        "select attestlog.append('default', 'bytes'::bytea)",
        "select attestlog.append('default', '{\"a\": 1}'::jsonb)",
        "select attestlog.append('default', 'keyed'::bytea, 'key')",
        "select attestlog.append('default', 'keyed'::bytea, idempotency_key => 'key')",
    ] {
        writer.execute(sql).await.unwrap();
    }
    for sql in [
        "select * from attestlog.append_only_log",
        "select * from attestlog.processed_log",
        "select * from attestlog.idempotency_key",
        "select * from attestlog.log",
        "select * from attestlog.tree",
        "select * from attestlog.tile",
        "select * from attestlog.checkpoint",
        "select * from attestlog.search_block",
        "select * from attestlog.search_mark",
        "select * from attestlog.search_terms(1, '', 'z', 1)",
        "select * from attestlog.search_at(1, '{}', '{}', '{}')",
        "select * from attestlog.processing_mark",
        "select * from attestlog.migration",
        "insert into attestlog.append_only_log (log_id, data) values (1, 'x')",
        "insert into attestlog.append_only_log (id, log_id, xid, data) overriding system value values (1, 1, '1', 'x')",
        "insert into attestlog.processed_log (log_id, id, source_id, appended_at, data) values (1, 9, 9, now(), 'x')",
        "update attestlog.append_only_log set data = 'y'",
        "delete from attestlog.append_only_log",
        "truncate attestlog.append_only_log",
        "select nextval('attestlog.append_only_log_id_seq')",
        "select * from attestlog.append_rows(array[1], array['x'::bytea])",
        "select * from attestlog.process_next_batch(10)",
        "select * from attestlog.backlog(10)",
        "select * from attestlog.find_tickets(array[1])",
        "select attestlog.is_event('{}')",
        "create table attestlog.mine ()",
    ] {
        assert_eq!(refusal(&mut writer, sql).await, DENIED, "{sql}");
    }
    // Objects of the caller's own do not get in the way of the functions, which run with their owner's rights.
    writer
        .execute("create temporary table log as select 1 as log_id, 'default' as name, 'any' as events")
        .await
        .unwrap();
    writer
        .execute("create temporary table append_only_log (id bigint, log_id bigint, data bytea)")
        .await
        .unwrap();
    writer.execute("select attestlog.append('default', 'last'::bytea)").await.unwrap();
    let entries = process_all(&store, 10).await;
    assert_eq!(entries.len(), 4);
    assert!(entries.iter().all(|entry| entry.log == log.id));
    assert_eq!(entries[3].data, b"last".as_slice());
    writer.execute("drop table log, append_only_log").await.unwrap();
    user.drop().await;
}

#[tokio::test]
async fn a_reader_reads_history_and_changes_nothing() {
    let (store, url, _guard) = fresh_postgres().await;
    create_log(&store, "default").await;
    let user = User::member_of("attestlog_reader", &url).await;
    let mut reader = connection(&user.url).await;
    for table in ["log", "processed_log", "tree", "tile", "checkpoint", "search_block", "search_mark"] {
        reader.execute(AssertSqlSafe(format!("select * from attestlog.{table}"))).await.unwrap();
    }
    for sql in [
        "select attestlog.append('default', 'bytes'::bytea)",
        "select attestlog.append_all('default', array['bytes'::bytea])",
        "select * from attestlog.process_next_batch(10)",
        "select * from attestlog.append_only_log",
        "update attestlog.tree set size = 1",
        "update attestlog.search_mark set next = 1",
        "delete from attestlog.search_block",
        "insert into attestlog.checkpoint values (1, 1, 'x')",
        "insert into attestlog.log (name, origin, vkey) values ('a', 'b', 'c')",
    ] {
        assert_eq!(refusal(&mut reader, sql).await, DENIED, "{sql}");
    }
    user.drop().await;
}

#[tokio::test]
async fn a_processor_runs_the_whole_server_and_cannot_touch_history() {
    let (owner, url, _guard) = fresh_postgres().await;
    let user = User::member_of("attestlog_processor", &url).await;
    let store = PostgresStore::connect(&user.url, 4).unwrap();
    assert!(store.is_migrated().await.unwrap());
    store.migrate().await.unwrap();
    assert!(store.durability_warnings().await.unwrap().is_empty());
    let log = create_log(&store, "default").await;
    let entry = |data: &[u8], key: Option<&str>| NewEntry {
        log: log.id,
        data: data.to_vec(),
        idempotency_key: key.map(str::to_owned),
    };
    let entries: Vec<NewEntry> = (0..300_u32).map(|n| entry(&n.to_be_bytes(), None)).collect();
    store.append(&entries).await.unwrap();
    store.append(&[entry(b"keyed", Some("key")), entry(b"keyed", Some("key"))]).await.unwrap();
    assert_eq!(store.backlog(1000).await.unwrap().rows, 301);
    assert_eq!(process_all(&store, 100).await.len(), 301);
    let tree = store.tree(log.id).await.unwrap().unwrap();
    assert_eq!((tree.edge.size().0, tree.signed_size.0), (301, 301));
    assert_eq!(store.logs().await.unwrap().len(), 1);
    assert_eq!(store.log("default").await.unwrap(), Some(log.clone()));
    assert_eq!(store.checkpoint(log.id).await.unwrap().unwrap().note, b"301 entries");
    let tile = attestlog_core::TileId { level: 0, index: 0 };
    assert_eq!(store.tiles(log.id, &[tile]).await.unwrap()[&tile].len(), 8192);
    assert_eq!(store.entries(log.id, attestlog_core::LeafIndex(299), 10).await.unwrap().len(), 2);
    let mut scanned = 0;
    store.scan(log.id, 0..301, &mut |_, _, _| scanned += 1).await.unwrap();
    assert_eq!(scanned, 301);
    assert_eq!(store.tree(LogId(99)).await.unwrap(), None);

    let indexer = Indexer::new(Arc::new(store.clone()));
    indexer.catch_up(log.id, &Progress::default()).await.unwrap();
    indexer.forget(log.id).await.unwrap();
    indexer.catch_up(log.id, &Progress::default()).await.unwrap();
    assert_eq!(store.search().indexed_size(log.id).await.unwrap().0, 301);
    let reader = User::member_of("attestlog_reader", &url).await;
    let reading = PostgresStore::connect(&reader.url, 2).unwrap();
    let query = PageQuery::default();
    let answer = page(&reading, &log, TreeSize(301), &query).await.unwrap();
    assert_eq!((answer.events.len(), answer.count.value), (50, 301));
    reading.close().await;
    reader.drop().await;

    let mut processor = connection(&user.url).await;
    for sql in [
        "insert into attestlog.processed_log (log_id, id, source_id, appended_at, data) values (1, 9, 9, now(), 'x')",
        "insert into attestlog.append_only_log (log_id, data) values (1, 'x')",
        "delete from attestlog.append_only_log",
        "delete from attestlog.processed_log",
        "update attestlog.processed_log set data = 'x'",
        "update attestlog.tile set hashes = ''",
        "update attestlog.checkpoint set note = ''",
        "update attestlog.tree set log_id = 7",
        "update attestlog.log set vkey = ''",
        "update attestlog.processing_mark set low = null",
    ] {
        assert_eq!(refusal(&mut processor, sql).await, DENIED, "{sql}");
    }
    drop(owner);
    store.close().await;
    user.drop().await;
}
