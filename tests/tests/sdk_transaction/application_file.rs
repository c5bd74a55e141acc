//! `--database sqlite:PATH`: the application's file holds the log too, and each goes its own way otherwise.

use std::path::Path;
use std::process::Output;

use attestlog_server::deployment::{Deployment, DeploymentError, SecretSource};
use attestlog_server::store::sqlite::path_of_address;
use attestlog_tests::program::command;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Executor, SqlStr};

use super::application::{OnSqlite, voided};

async fn open(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    SqliteConnection::connect_with(&options).await.unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn deployment(folder: &Path, address: &str) -> Deployment {
    let database = Some(address.to_owned());
    Deployment { data: folder.join("data"), database, secret: SecretSource::DataDirectory }
}

#[test]
fn an_address_names_a_file() {
    for (address, path) in [
        ("sqlite:app.db", "app.db"),
        ("sqlite://app.db", "app.db"),
        ("sqlite:/var/lib/app.db", "/var/lib/app.db"),
        ("sqlite:///var/lib/app.db?mode=rwc", "/var/lib/app.db"),
        ("sqlite:a%20b.db?mode=rw", "a b.db"),
    ] {
        assert_eq!(path_of_address(address).as_deref(), Some(Path::new(path)), "{address}");
    }
    for address in [
        "app.db",
        "sqlite",
        "sqlite:",
        "sqlite://",
        "sqlite::memory:",
        "sqlite://:memory:",
        "sqlite:app.db?mode=memory",
        "sqlite:app.db?mode=ro",
        "sqlite:app.db?immutable=1",
        "postgres://localhost/app",
        "mysql://localhost/app",
    ] {
        assert_eq!(path_of_address(address), None, "{address}");
    }
}

#[tokio::test]
async fn every_command_takes_the_application_s_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.db");
    open(&file).await.execute("create table invoice (id integer primary key)").await.unwrap();
    let (data, address) = (folder.path().join("data"), format!("sqlite:{}", file.display()));
    let run = |arguments: &[&str]| {
        let mut command = command(arguments);
        command.arg("--data").arg(&data).args(["--database", &address]);
        command.current_dir(folder.path()).output().unwrap()
    };
    let runs = |arguments: &[&str]| {
        let output = run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        said(&output)
    };

    // A command that only looks makes nothing in a file that is not known to be meant.
    let output = run(&["log", "list"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("no store"), "{}", said(&output));

    assert!(runs(&["migrate"]).contains("app.db"));
    let vkey = runs(&["log", "create", "acme", "--origin", "h.example/acme"]);
    assert!(vkey.starts_with("h.example/acme+"), "{vkey}");
    std::fs::write(folder.path().join("lines"), "one\ntwo\n").unwrap();
    runs(&["append", "acme", "lines", "--format", "lines"]);
    assert!(runs(&["log", "list", "--json"]).contains("\"size\":2"));
    runs(&["receipt", "acme", "1", "--out", "two.tlog-proof"]);
    runs(&["fsck"]);
    runs(&["export", "acme", "--out", "acme.tar"]);
    assert!(data.join("secret").exists() && data.join("published-heads").exists());
    assert!(!data.join("attestlog.db").exists());
    let invoices = open(&file).await.fetch_all("select * from invoice").await.unwrap();
    assert!(invoices.is_empty());
}

#[tokio::test]
async fn an_address_of_no_database_is_refused_with_what_it_should_be() {
    let folder = tempfile::tempdir().unwrap();
    for address in ["mysql://me:secret@host/app", "sqlite::memory:", "app.db"] {
        let error = deployment(folder.path(), address).create_store().await.unwrap_err();
        assert!(matches!(error, DeploymentError::NotADatabase(_)), "{error}");
        let error = error.to_string();
        assert!(error.contains("postgres://") && error.contains("sqlite:"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    let missing = format!("sqlite:{}/missing.db", folder.path().display());
    let error = deployment(folder.path(), &missing).open_store().await.unwrap_err();
    assert!(error.to_string().contains("missing.db"), "{error}");
    assert!(!folder.path().join("missing.db").exists());
}

#[tokio::test]
async fn an_application_that_migrates_its_file_with_sqlx_goes_on_to_do_so() {
    let migration = |version, sql: &'static str| {
        let sql = SqlStr::from_static(sql);
        Migration::new(version, "theirs".into(), MigrationType::Simple, sql, false)
    };
    let one = migration(1, "create table theirs (id integer primary key)");
    let two = migration(2, "alter table theirs add column name text");
    let app = OnSqlite::start().await;
    Migrator::with_migrations(vec![one.clone()]).run(&app.pool).await.unwrap();
    let mut tx = app.pool.begin().await.unwrap();
    let ticket = app.audit.append(&mut tx, &voided(1)).await.unwrap();
    tx.commit().await.unwrap();
    app.audit.receipt(ticket).await.unwrap();
    Migrator::with_migrations(vec![one, two]).run(&app.pool).await.unwrap();
    assert!(app.server.store.is_migrated().await.unwrap());
    let tables =
        "select count(*) from sqlite_schema where name in ('_sqlx_migrations', 'attestlog_migration')";
    let tables: i64 = sqlx::query_scalar(tables).fetch_one(&app.pool).await.unwrap();
    assert_eq!(tables, 2);
}

#[tokio::test]
async fn a_file_with_a_table_in_the_way_is_refused_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.db");
    let mut theirs = open(&file).await;
    theirs.execute("create table checkpoint (theirs text)").await.unwrap();
    let address = format!("sqlite:{}", file.display());
    let error = deployment(folder.path(), &address).create_store().await.unwrap_err();
    assert!(error.to_string().contains("checkpoint"), "{error}");
    let tables: Vec<String> = sqlx::query_scalar("select name from sqlite_schema where type = 'table'")
        .fetch_all(&mut theirs)
        .await
        .unwrap();
    assert_eq!(tables, ["checkpoint"]);
}
