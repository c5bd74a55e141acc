//! Writers, servers that are killed at random, and an observer: nothing is lost, doubled, torn or shown twice over.
//!
//! It drives the real binary. What happens follows from a seed, though not when; a failing test shows its seed.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "the code of tests fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use attestlog_server::store::sqlite::SqliteStore;
use attestlog_server::store::{Log, Store};
use attestlog_tests::chance::Chance;
use attestlog_tests::databases::{connection, fresh_postgres};
use attestlog_tests::deadline::until;
use attestlog_tests::heads::{Heads, observe};
use attestlog_tests::history::{Transaction, Writer, verify};
use attestlog_tests::http_writer::HttpWriter;
use attestlog_tests::log::TestLog;
use attestlog_tests::program::{ServerProcess, client, command};
use sqlx::{Connection, Executor, PgConnection};
use tokio_util::sync::CancellationToken;

const WRITERS: u64 = 8;

/// How often each server is killed.
const KILLS: u64 = 6;

/// The longest transaction.
const MAX_ENTRIES: u64 = 40;

const LOGS: [&str; 2] = ["default", "second"];

/// Kills a server and starts it again, now and then before it was ready; it is up in the end.
async fn kill_again_and_again(mut server: ServerProcess, mut chance: Chance) -> ServerProcess {
    for _ in 0..KILLS {
        if chance.percent(70) {
            server.ready().await;
        }
        // At any point of whatever it is doing.
        tokio::time::sleep(chance.time(700)).await;
        server.kill();
        tokio::time::sleep(chance.time(300)).await;
        server.start_again();
    }
    server.ready().await;
    server
}

/// The entries of a transaction by log.
type Entries = BTreeMap<usize, Transaction>;

/// An application on a connection of its own, which appends within its transactions.
struct Application {
    name: String,
    connection: PgConnection,
    chance: Chance,
}

impl Application {
    async fn new(url: &str, name: String, chance: Chance) -> Self {
        Self { name, connection: connection(url).await, chance }
    }

    async fn run(&mut self, sql: &'static str) {
        self.connection.execute(sql).await.unwrap();
    }

    /// Appends entries to random logs, and now and then takes its time.
    async fn append(&mut self, transaction: u64, from: u64, entries: u64) -> Entries {
        let mut appended = Entries::new();
        for entry in from..from + entries {
            let log = usize::try_from(self.chance.below(LOGS.len() as u64)).unwrap();
            let text =
                format!("{{\"writer\":\"{}\",\"transaction\":{transaction},\"entry\":{entry}}}", self.name);
            sqlx::query("select attestlog.append($1, convert_to($2, 'UTF8'))")
                .bind(LOGS[log])
                .bind(&text)
                .execute(&mut self.connection)
                .await
                .unwrap();
            appended.entry(log).or_default().push(text);
            if self.chance.percent(10) {
                tokio::time::sleep(self.chance.time(20)).await;
            }
        }
        appended
    }

    /// One transaction; what it has committed, if it was not rolled back.
    async fn transact(&mut self, number: u64) -> Option<Entries> {
        let length = 1 + self.chance.below(MAX_ENTRIES);
        self.run("begin").await;
        let first = self.chance.below(length + 1);
        let mut appended = self.append(number, 0, first).await;
        if self.chance.percent(30) {
            // Entries that are rolled back on their own, and entries of a subtransaction that stays.
            self.run("savepoint s").await;
            let extra = 1 + self.chance.below(5);
            let kept = self.append(number, 1_000, extra).await;
            if self.chance.percent(50) {
                self.run("rollback to s").await;
            } else {
                self.run("release s").await;
                merge(&mut appended, kept);
            }
        }
        merge(&mut appended, self.append(number, first, length - first).await);
        let kept = !self.chance.percent(15);
        self.run(if kept { "commit" } else { "rollback" }).await;
        kept.then_some(appended)
    }

    /// Transactions until `stop`: those of each log that were committed, in order.
    async fn write(mut self, stop: CancellationToken) -> Vec<Writer> {
        let mut committed = vec![Writer::new(); LOGS.len()];
        for number in 0.. {
            if stop.is_cancelled() {
                break;
            }
            for (log, entries) in self.transact(number).await.into_iter().flatten() {
                committed[log].push(entries);
            }
            tokio::time::sleep(self.chance.time(60)).await;
        }
        self.connection.close().await.unwrap();
        committed
    }
}

fn merge(entries: &mut Entries, more: Entries) {
    for (log, more) in more {
        entries.entry(log).or_default().extend(more);
    }
}

async fn log_of(store: &dyn Store, name: &str) -> Log {
    store.log(name).await.unwrap().expect("the log is there")
}

/// Waits until each server shows a head of this size.
async fn all_is_signed(heads: &mut Heads, servers: &[&ServerProcess], size: usize) {
    let client = client();
    for server in servers {
        let signed = async || {
            let shown = heads.observe(&client, &server.address).await?;
            assert!(shown <= size as u64, "{shown} entries are signed, and {size} were committed");
            (shown == size as u64).then_some(())
        };
        until("everything is signed and shown", signed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_that_are_killed_again_and_again_keep_every_committed_entry_once_and_one_history() {
    let mut chance = Chance::announced();
    let (store, url, _guard) = fresh_postgres().await;
    let store: Arc<dyn Store> = Arc::new(store);
    let place = tempfile::tempdir().unwrap();
    let secret = place.path().join("secret").display().to_string();
    let data = ["one", "other"].map(|name| place.path().join(name));
    let made = command(&["key", "generate", "--out", &secret]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let serve = |data: &Path| {
        let data = data.display().to_string();
        let options = ["--database", &url, "--data", &data, "--secret-file", &secret, "--interval", "20ms"];
        ServerProcess::start(&options)
    };
    let servers = [serve(&data[0]), serve(&data[1])];
    servers[0].ready().await;
    let made = command(&["log", "create", LOGS[1], "--origin", "example.com/second"])
        .args(["--database", &url, "--secret-file", &secret, "--data"])
        .arg(&data[0])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let logs = [log_of(&*store, LOGS[0]).await, log_of(&*store, LOGS[1]).await];

    let mut open = Application::new(&url, "open".into(), chance.split()).await;
    open.run("begin").await;
    let mut open_entries = open.append(0, 0, 5).await;
    let (stop_writers, stop_observer) = (CancellationToken::new(), CancellationToken::new());
    let addresses = servers.iter().map(|server| server.address.clone()).collect();
    let observed = logs.iter().cloned().map(Heads::of).collect();
    let observer = tokio::spawn(observe(observed, addresses, chance.split(), stop_observer.clone()));
    let mut writers = Vec::new();
    for number in 0..WRITERS {
        let application = Application::new(&url, number.to_string(), chance.split()).await;
        writers.push(tokio::spawn(application.write(stop_writers.clone())));
    }
    let killed = servers.map(|server| tokio::spawn(kill_again_and_again(server, chance.split())));
    let mut servers = Vec::new();
    for killed in killed {
        servers.push(killed.await.unwrap());
    }
    stop_writers.cancel();
    let mut committed = vec![Vec::new(); LOGS.len()];
    for writer in writers {
        for (log, transactions) in writer.await.unwrap().into_iter().enumerate() {
            committed[log].push(transactions);
        }
    }
    merge(&mut open_entries, open.append(0, 5, 5).await);
    open.run("commit").await;
    for (log, entries) in open_entries {
        committed[log].push(vec![entries]);
    }
    stop_observer.cancel();
    let mut observed = observer.await.unwrap();

    let servers: Vec<&ServerProcess> = servers.iter().collect();
    let client = client();
    for ((log, writers), heads) in logs.iter().zip(&committed).zip(&mut observed) {
        let size = writers.iter().flatten().map(Vec::len).sum();
        all_is_signed(heads, &servers, size).await;
        println!("{}: {size} entries, {} heads", log.name, heads.count());
        verify(&store, log, writers, &data.each_ref().map(|data| &**data)).await;
        heads.verify(&client, &servers[1].address, &mut chance).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_server_that_is_killed_again_and_again_keeps_every_acknowledged_batch_once() {
    let mut chance = Chance::announced();
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let server = ServerProcess::start(&["--data", &data.display().to_string(), "--interval", "20ms"]);
    server.ready().await;
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&data.join("attestlog.db")).await.unwrap());
    let log = log_of(&*store, LOGS[0]).await;

    let (stop_writers, stop_observer) = (CancellationToken::new(), CancellationToken::new());
    let observed = vec![Heads::of(log.clone())];
    let addresses = vec![server.address.clone()];
    let observer = tokio::spawn(observe(observed, addresses, chance.split(), stop_observer.clone()));
    let start = |number: u64| {
        let writer = HttpWriter::new(&server.address, &number.to_string(), 0);
        tokio::spawn(writer.write(chance.split(), stop_writers.clone()))
    };
    let writers: Vec<_> = (0..WRITERS).map(start).collect();
    let server = kill_again_and_again(server, chance.split()).await;
    stop_writers.cancel();
    let (mut committed, mut vain) = (Vec::new(), 0);
    for writer in writers {
        let (written, more) = writer.await.unwrap();
        committed.push(written);
        vain += more;
    }
    assert!(vain > 0, "no request has met a server that was down");
    stop_observer.cancel();
    let mut heads = observer.await.unwrap().pop().unwrap();

    let size = committed.iter().flatten().map(Vec::len).sum();
    all_is_signed(&mut heads, &[&server], size).await;
    println!("{size} entries, {vain} requests in vain, {} heads", heads.count());
    verify(&store, &log, &committed, &[&data]).await;
    heads.verify(&client(), &server.address, &mut chance).await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_published_while_another_is_read_is_not_taken_for_a_second_history() {
    let log = TestLog::embedded().await;
    let stop = CancellationToken::new();
    let reader = {
        let (publisher, log, stop) = (Arc::clone(&log.publisher), log.log.clone(), stop.clone());
        tokio::spawn(async move {
            let mut largest = 0;
            while !stop.is_cancelled() {
                let size = publisher.checkpoint(&log).await.unwrap().checkpoint.size().0;
                assert!(size >= largest, "{size} after {largest}");
                largest = size;
            }
        })
    };
    for number in 0..400 {
        log.append_range(number..number + 1).await;
        log.sequence().await;
    }
    stop.cancel();
    reader.await.unwrap();
}
