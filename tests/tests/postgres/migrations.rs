//! The schema, from an empty database to a newer version.

use std::process::Command;

use attestlog_server::store::postgres::PostgresStore;
use attestlog_server::store::{Store, StoreError};
use attestlog_tests::databases::{connection, empty_postgres, execute, fresh_postgres};
use attestlog_tests::sequencing::{create_log, process_all};
use sqlx::Executor;
use sqlx::migrate::MigrateError;

#[tokio::test]
async fn migrates_an_empty_database_and_has_nothing_to_do_the_second_and_third_time() {
    let (url, _guard) = empty_postgres().await;
    let store = PostgresStore::connect(&url, 2).unwrap();
    assert!(!store.is_migrated().await.unwrap());
    for _ in 0..3 {
        store.migrate().await.unwrap();
        assert!(store.is_migrated().await.unwrap());
    }
    let installed = "select count(distinct installed_on), count(*) from attestlog.migration";
    let (times, rows): (i64, i64) =
        sqlx::query_as(installed).fetch_one(&mut connection(&url).await).await.unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/postgres");
    let files =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let migrations = files.filter(|file| file.starts_with(|first: char| first.is_ascii_digit())).count();
    assert_eq!(
        (times, rows),
        (1, i64::try_from(migrations).unwrap()),
        "one transaction, and each migration once"
    );
}

#[tokio::test]
async fn twenty_migrators_at_once_migrate_once() {
    let (url, _guard) = empty_postgres().await;
    let migrators: Vec<_> = (0..20)
        .map(|_| {
            let store = PostgresStore::connect(&url, 1).unwrap();
            tokio::spawn(async move { store.migrate().await })
        })
        .collect();
    for migrator in migrators {
        migrator.await.unwrap().unwrap();
    }
    assert!(PostgresStore::connect(&url, 1).unwrap().is_migrated().await.unwrap());
}

#[tokio::test]
async fn databases_that_share_the_roles_can_be_migrated_at_once() {
    let mut databases = Vec::new();
    for _ in 0..6 {
        databases.push(empty_postgres().await);
    }
    let migrators: Vec<_> = databases
        .iter()
        .map(|(url, _)| {
            let store = PostgresStore::connect(url, 1).unwrap();
            tokio::spawn(async move { store.migrate().await })
        })
        .collect();
    for migrator in migrators {
        migrator.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn refuses_a_newer_schema_and_a_changed_one() {
    let (store, url, _guard) = fresh_postgres().await;
    execute(&url, "insert into attestlog.migration values (9999, 'the future', now(), true, '', 0)").await;
    assert!(!store.is_migrated().await.unwrap());
    let error = store.migrate().await.unwrap_err();
    assert!(matches!(error, StoreError::Migration(MigrateError::VersionMissing(9999))), "{error}");

    execute(&url, "delete from attestlog.migration where version = 9999").await;
    execute(&url, "update attestlog.migration set checksum = 'other' where version = 3").await;
    assert!(!store.is_migrated().await.unwrap());
    let error = store.migrate().await.unwrap_err();
    assert!(matches!(error, StoreError::Migration(MigrateError::VersionMismatch(3))), "{error}");
}

#[tokio::test]
async fn a_migration_that_fails_leaves_nothing_behind_and_can_be_run_again() {
    let (url, _guard) = empty_postgres().await;
    // In the way of a later migration.
    execute(&url, "create schema attestlog; create table attestlog.tile ()").await;
    let store = PostgresStore::connect(&url, 2).unwrap();
    let error = store.migrate().await.unwrap_err();
    assert!(matches!(error, StoreError::Migration(_)), "{error}");
    assert!(!store.is_migrated().await.unwrap());
    execute(&url, "drop table attestlog.tile").await;
    store.migrate().await.unwrap();
    assert!(store.is_migrated().await.unwrap());
}

#[tokio::test]
async fn leaves_an_application_s_own_migrations_alone() {
    let (url, _guard) = empty_postgres().await;
    let table = "create table public._sqlx_migrations (
        version bigint primary key, description text not null, installed_on timestamptz not null default now(),
        success boolean not null, checksum bytea not null, execution_time bigint not null)";
    execute(&url, table).await;
    execute(&url, "insert into _sqlx_migrations values (1, 'theirs', now(), true, 'theirs', 1)").await;
    let store = PostgresStore::connect(&url, 2).unwrap();
    store.migrate().await.unwrap();
    let theirs: Vec<(i64, String)> =
        sqlx::query_as("select version, description from public._sqlx_migrations")
            .fetch_all(&mut connection(&url).await)
            .await
            .unwrap();
    assert_eq!(theirs, [(1, "theirs".to_owned())]);
}

#[tokio::test]
async fn the_committed_schema_is_what_the_migrations_make() {
    let (_store, url, _guard) = fresh_postgres().await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let output = Command::new(format!("{folder}/scripts/schema-dump")).arg(&url).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made = String::from_utf8(output.stdout).unwrap();
    let committed = std::fs::read_to_string(format!("{folder}/migrations/postgres/schema.sql")).unwrap();
    assert!(made.contains("CREATE TABLE attestlog.processed_log"), "{made}");
    for (number, (made, committed)) in made.lines().zip(committed.lines()).enumerate() {
        assert_eq!(made, committed, "line {}: run scripts/schema-dump", number + 1);
    }
    assert_eq!(made.lines().count(), committed.lines().count(), "run scripts/schema-dump");
}

#[tokio::test]
async fn warns_of_settings_that_can_lose_entries() {
    let (store, url, _guard) = fresh_postgres().await;
    assert_eq!(store.durability_warnings().await.unwrap(), Vec::<String>::new());
    let mut connection = connection(&url).await;
    let name: String =
        sqlx::query_scalar("select current_database()").fetch_one(&mut connection).await.unwrap();
    let off = format!("alter database {name} set synchronous_commit = off");
    connection.execute(sqlx::AssertSqlSafe(off)).await.unwrap();
    connection.execute("alter table attestlog.append_only_log set unlogged").await.unwrap();
    let store = PostgresStore::connect(&url, 1).unwrap();
    let warnings = store.durability_warnings().await.unwrap();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("synchronous_commit is off"), "{warnings:?}");
    assert!(warnings[1].contains("attestlog.append_only_log is unlogged"), "{warnings:?}");
}

#[tokio::test]
async fn statistics_hold_no_copy_of_an_entry() {
    let (store, url, _guard) = fresh_postgres().await;
    create_log(&store, "one").await;
    let mut app = connection(&url).await;
    let append =
        "select attestlog.append('one', convert_to('entry ' || n, 'UTF8')) from generate_series(1, 1000) n";
    app.execute(append).await.unwrap();
    process_all(&store, 10_000).await;
    app.execute(append).await.unwrap();
    app.execute("analyze").await.unwrap();
    let sampled = "select tablename::text || '.' || attname from pg_stats
                   where schemaname = 'attestlog' and tablename in ('append_only_log', 'processed_log')";
    let sampled: Vec<String> = sqlx::query_scalar(sampled).fetch_all(&mut app).await.unwrap();
    assert!(sampled.iter().any(|column| column == "processed_log.id"), "{sampled:?}");
    assert!(
        !sampled.iter().any(|column| column.ends_with(".data") || column.ends_with("_hash")),
        "{sampled:?}"
    );
}
