//! An application with its own table, a server beside it, and the log that both know.

use std::time::Duration;

use attestlog::{Audit, Event, LogClient, user};
use attestlog_core::LeafIndex;
use attestlog_server::keyring::create_log;
use attestlog_server::secret::Secret;
use attestlog_server::store::Events;
use attestlog_tests::databases::{PostgresGuard, empty_postgres};
use attestlog_tests::deadline::until;
use attestlog_tests::server::TestServer;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{PgPool, SqlitePool};

const TABLE: &str = "create table invoice (id integer primary key, state text not null)";

/// An application on PostgreSQL.
pub(crate) struct OnPostgres {
    pub(crate) pool: PgPool,
    pub(crate) audit: Audit,
    pub(crate) server: TestServer,
    /// The URL of the database.
    pub(crate) url: String,
    _guard: PostgresGuard,
}

/// An application on SQLite: its file has the log's tables too.
pub(crate) struct OnSqlite {
    pub(crate) pool: SqlitePool,
    pub(crate) audit: Audit,
    pub(crate) server: TestServer,
    pub(crate) file: std::path::PathBuf,
}

impl OnPostgres {
    pub(crate) async fn start() -> Self {
        let (url, guard) = empty_postgres().await;
        let directory = tempfile::tempdir().unwrap();
        let server = TestServer::start_on(Some(url.clone()), directory, |_| {}).await;
        let pool = PgPoolOptions::new().max_connections(4).connect(&url).await.unwrap();
        sqlx::query(TABLE).execute(&pool).await.unwrap();
        Self { pool, audit: audit(&server, "default").await, server, url, _guard: guard }
    }
}

impl OnSqlite {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("app.db");
        // The application was there first.
        let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
        let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await.unwrap();
        sqlx::query(TABLE).execute(&pool).await.unwrap();
        let address = format!("sqlite://{}", file.display());
        let server = TestServer::start_on(Some(address), directory, |_| {}).await;
        Self { pool, audit: audit(&server, "default").await, server, file }
    }
}

/// A log of a server as an application knows it: by its address and its key.
pub(crate) async fn audit(server: &TestServer, log: &str) -> Audit {
    let vkey = server.store.log(log).await.unwrap().unwrap().vkey;
    audit_at(&server.address, log, &vkey)
}

/// The same at another address.
pub(crate) fn audit_at(address: &str, log: &str, policy: &str) -> Audit {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let client = LogClient::builder(format!("{address}/logs/{log}"), policy).client(client).build().unwrap();
    Audit::of(client).unwrap().receipt_timeout(Duration::from_secs(90))
}

/// Makes another log on a server.
pub(crate) async fn another_log(server: &TestServer, name: &str, events: Events) -> Audit {
    let secret = server.directory.as_ref().unwrap().path().join("data/secret");
    let secret = Secret::read(&secret).unwrap();
    create_log(&*server.store, &secret, name, &format!("h.example/{name}"), events).await.unwrap();
    audit(server, name).await
}

/// All events of the log `default`, once each entry that was committed has its place.
pub(crate) async fn logged(server: &TestServer) -> Vec<Event> {
    entries(server, "default").await.iter().map(|entry| Event::parse(entry).unwrap()).collect()
}

/// All entries of a log, once each that was committed has its place.
pub(crate) async fn entries(server: &TestServer, log: &str) -> Vec<Vec<u8>> {
    let store = &server.store;
    let log = store.log(log).await.unwrap().unwrap().id;
    until("all is processed", async || (store.backlog(1).await.unwrap().rows == 0).then_some(())).await;
    store.entries(log, LeafIndex(0), 100_000).await.unwrap()
}

/// An event about an invoice.
pub(crate) fn voided(number: i64) -> Event {
    Event::new("invoice.voided").actor(user("usr_7")).target("invoice", number.to_string())
}

/// What is no event although an array of the fields' values, or an object in place of a name, may look like one.
pub(crate) const NO_EVENTS: [&str; 4] = [
    r#"["a","2026-11-22T08:00:00Z",["user","u"]]"#,
    r#"["a","2026-11-22T08:00:00Z",{"type":"user","id":"u"}]"#,
    r#"{"action":"a","occurred_at":"2026-11-22T08:00:00Z","actor":["user","u"]}"#,
    r#"{"action":"a","occurred_at":"2026-11-22T08:00:00Z","actor":{"type":{"user":null},"id":"u"}}"#,
];
