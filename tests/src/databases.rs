//! Databases for tests: each its own, made empty and dropped with its guard.
#![expect(clippy::expect_used, reason = "a test that cannot set up its database fails, and says why")]

use std::process::Command;

use attestlog_server::store::Store;
use attestlog_server::store::postgres::PostgresStore;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

/// The environment variable that holds the URL of a superuser on a maintenance database.
pub const POSTGRES: &str = "ATTESTLOG_TEST_POSTGRES";

/// Drops its database when it is dropped itself.
#[derive(Debug)]
pub struct PostgresGuard {
    name: String,
}

/// A migrated store in a PostgreSQL database of its own, the database's URL, and what drops it in the end.
///
/// # Panics
/// If there is no server to make it on: a test that needs PostgreSQL is never skipped.
pub async fn fresh_postgres() -> (PostgresStore, String, PostgresGuard) {
    let (url, guard) = empty_postgres().await;
    let store = PostgresStore::connect(&url, 8).expect("the URL of a test database");
    store.migrate().await.expect("a new database can be migrated");
    (store, url, guard)
}

/// A PostgreSQL database without anything in it.
///
/// # Panics
/// If there is no server to make it on.
pub async fn empty_postgres() -> (String, PostgresGuard) {
    let name = random_name("attestlog_test");
    execute(&maintenance_url(), &format!("create database {name} template template0")).await;
    (url_of(&maintenance_url(), None, &name), PostgresGuard { name })
}

/// The URL of the maintenance database.
///
/// # Panics
/// If the environment does not name it.
#[must_use]
pub fn maintenance_url() -> String {
    std::env::var(POSTGRES).unwrap_or_else(|_| {
        panic!("{POSTGRES} is not set: run scripts/test, or set it to what \"scripts/postgres start\" prints")
    })
}

/// The same server's URL for another database, and for another user and their password.
///
/// # Panics
/// If it is no URL of PostgreSQL with a user and a database.
#[must_use]
pub fn url_of(url: &str, user: Option<(&str, &str)>, database: &str) -> String {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let (login, rest) = rest.split_once('@').expect("a URL with a user");
    let (address, old_database) = rest.split_once('/').expect("a URL with a database");
    let parameters = old_database.split_once('?').map_or(String::new(), |(_, query)| format!("?{query}"));
    let login = user.map_or(login.to_owned(), |(name, password)| format!("{name}:{password}"));
    format!("{scheme}://{login}@{address}/{database}{parameters}")
}

/// A connection for what an application or an operator does.
///
/// # Panics
/// If it cannot be made.
pub async fn connection(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("PostgreSQL takes connections")
}

/// Runs statements, given as text, on a connection of their own.
///
/// # Panics
/// If one of them fails.
pub async fn execute(url: &str, sql: &str) {
    let mut connection = connection(url).await;
    if let Err(error) = connection.execute(AssertSqlSafe(sql.to_owned())).await {
        panic!("{error}, in: {sql}");
    }
    connection.close().await.expect("the connection closes");
}

/// A name that no other test uses.
///
/// # Panics
/// If the system has no randomness.
#[must_use]
pub fn random_name(prefix: &str) -> String {
    let mut random = [0; 8];
    let mut file = std::fs::File::open("/dev/urandom").expect("/dev/urandom");
    std::io::Read::read_exact(&mut file, &mut random).expect("random bytes");
    format!("{prefix}_{:016x}", u64::from_be_bytes(random))
}

impl Drop for PostgresGuard {
    fn drop(&mut self) {
        let sql = format!("drop database if exists {} with (force)", self.name);
        // The test's runtime may be the one that is unwinding.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(execute(&maintenance_url(), &sql));
        });
        if dropped.join().is_err() {
            eprintln!("the database {} was left behind", self.name);
        }
    }
}

/// A PostgreSQL cluster of its own, for tests that stop it or that need a second one.
#[derive(Debug)]
pub struct PostgresCluster {
    directory: tempfile::TempDir,
    /// The URL of its superuser on its maintenance database.
    pub url: String,
}

impl PostgresCluster {
    /// Makes and starts one.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory for the cluster");
        // The server's user has to pass through.
        let all_may_enter = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(directory.path(), all_may_enter).expect("the directory's mode");
        let mut cluster = Self { directory, url: String::new() };
        cluster.url = cluster.call("start");
        cluster
    }

    /// Kills the server as a crash would, and keeps its data.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub fn crash(&self) {
        self.call("crash");
    }

    /// Starts it again after a crash, with the same URL.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_again(&self) {
        assert_eq!(self.call("start"), self.url);
    }

    fn call(&self, command: &str) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/postgres");
        let output = Command::new(script)
            .arg(command)
            .arg(self.directory.path().join("postgres"))
            .output()
            .expect("scripts/postgres runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for PostgresCluster {
    fn drop(&mut self) {
        self.call("stop");
    }
}
