//! Cut off and killed: every event whose append returned Ok is in the log exactly once.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use attestlog::Writer;
use attestlog::writer::Durable;
use attestlog_tests::chance::Chance;
use attestlog_tests::cutting_proxy::CuttingProxy;
use attestlog_tests::server::TestServer;
use futures_util::future::join_all;

use super::{assert_once, event, logged, writer};

/// How often the connection is cut in each test.
const CUTS: u64 = 100;

/// Appends from many tasks at once until the connection was cut often enough; the ids of all events.
async fn append_until_cut(writer: &Writer, proxy: &CuttingProxy, spooled: bool) -> Vec<String> {
    let appending = (0..8).map(async |task: usize| {
        let mut ids = Vec::new();
        while proxy.cut() < CUTS {
            let events: Vec<_> = (0..20).map(|number| event(task * 1000 + number)).collect();
            let appended = join_all(events.iter().map(|event| writer.append(event))).await;
            for (event, appended) in events.into_iter().zip(appended) {
                assert_eq!(appended.unwrap() == Durable::Spooled, spooled);
                ids.push(event.id);
            }
            if spooled {
                // Disks are faster than cuts.
                let _ = tokio::time::timeout(Duration::from_millis(20), writer.flush()).await;
            }
        }
        ids
    });
    join_all(appending).await.concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_a_hundred_times_every_acknowledged_event_is_there_once() {
    let server = TestServer::start().await;
    let proxy = CuttingProxy::start(&server.address, Chance::announced(), CUTS).await;
    let writer = writer(&proxy.address).batch_entries(50).start().await.unwrap();
    let ids = append_until_cut(&writer, &proxy, false).await;
    writer.shutdown(Duration::from_secs(60)).await.unwrap();
    let status = writer.status();
    println!("{} events, {} cuts, {} retries", ids.len(), proxy.cut(), status.retries);
    assert!(status.retries >= CUTS / 2, "{status:?}");
    let logged = logged(&server).await;
    assert_once(&logged, &ids);
    assert_eq!(logged.len(), ids.len());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_a_hundred_times_every_spooled_event_is_there_once() {
    let server = TestServer::start().await;
    let proxy = CuttingProxy::start(&server.address, Chance::announced(), CUTS).await;
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    let writer = writer(&proxy.address).spool(&spool).batch_entries(50).start().await.unwrap();
    let ids = append_until_cut(&writer, &proxy, true).await;
    writer.shutdown(Duration::from_secs(60)).await.unwrap();
    println!("{} events, {} cuts, {} retries", ids.len(), proxy.cut(), writer.status().retries);
    let logged = logged(&server).await;
    assert_once(&logged, &ids);
    assert_eq!(logged.len(), ids.len());
    assert_eq!(segments(&spool), 0, "what was sent is left in the spool");
    server.stop().await;
}

/// How many segments a spool has.
fn segments(spool: &Path) -> usize {
    let files = std::fs::read_dir(spool).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|end| end == "spool")).count()
}

const SPOOL: &str = "ATTESTLOG_TEST_SPOOL";
const SERVER: &str = "ATTESTLOG_TEST_SERVER";

/// The child of the test below: appends for as long as it lives, and says what was durable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a part of killed_ten_times_every_spooled_event_is_there_once"]
async fn appends_to_a_spool_until_it_is_killed() {
    // Without it, somebody runs all tests that are ignored.
    let Some(spool) = std::env::var_os(SPOOL).map(PathBuf::from) else { return };
    let server = std::env::var(SERVER).unwrap();
    let writer = writer(&server).spool(spool).spool_bytes(1 << 20).batch_entries(30).start().await.unwrap();
    let appending = (0..4).map(async |task: usize| {
        for number in 0.. {
            let event = event(task * 1_000_000 + number);
            writer.append(&event).await.unwrap();
            // One write, so that a line is there or not.
            std::io::stdout().write_all(format!("\ndurable {}\n", event.id).as_bytes()).unwrap();
        }
    });
    join_all(appending).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_ten_times_every_spooled_event_is_there_once() {
    let server = TestServer::start().await;
    let mut chance = Chance::announced();
    // It never ends cutting.
    let proxy = CuttingProxy::start(&server.address, chance.split(), u64::MAX).await;
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    let mut ids = Vec::new();
    for round in 0..10 {
        // Sometimes the server is there, sometimes only a connection that breaks.
        let address = if round % 3 == 2 { &server.address } else { &proxy.address };
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crashes::appends_to_a_spool_until_it_is_killed", "--ignored", "--nocapture"])
            .env(SPOOL, &spool)
            .env(SERVER, address)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let kill_after = 20 + chance.below(200);
        let (read, mut killed) = tokio::task::spawn_blocking(move || {
            let mut ids = Vec::new();
            for line in lines {
                if let Some(id) = line.unwrap().strip_prefix("durable ") {
                    ids.push(id.to_owned());
                }
                if ids.len() as u64 == kill_after {
                    // Not waited for: it writes on, and whatever it does at that moment is cut.
                    let _ = child.kill();
                }
            }
            (ids, child)
        })
        .await
        .unwrap();
        killed.wait().unwrap();
        assert!(read.len() as u64 >= kill_after, "the child ended by itself");
        ids.extend(read);
    }
    // The next writer on the spool sends what is left.
    let last = writer(&server.address).spool(&spool).start().await.unwrap();
    last.flush().await.unwrap();
    last.shutdown(Duration::from_secs(60)).await.unwrap();
    assert_eq!(last.status().damaged_segments, 0);
    println!("{} events, {} cuts", ids.len(), proxy.cut());
    assert_once(&logged(&server).await, &ids);
    assert_eq!(segments(&spool), 0);
    server.stop().await;
}
