//! The cache on disk: used, bounded, shared, and never trusted.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use attestlog::LogClient;
use attestlog_tests::raw_server::RawServer;
use attestlog_tests::static_log::StaticLog;
use futures_util::TryStreamExt;
use futures_util::future::join_all;

use super::log_client;

const SIZE: usize = 5000;

/// A log, how often something else than its head was asked of it, and clients that keep nothing in memory.
struct Served {
    server: RawServer,
    requests: Arc<AtomicUsize>,
    folder: tempfile::TempDir,
}

impl Served {
    async fn new() -> Self {
        let (log, requests) = (StaticLog::of(SIZE, "a"), Arc::<AtomicUsize>::default());
        let count = Arc::clone(&requests);
        let server = RawServer::start(move |request| {
            let path = request.path.strip_prefix("/logs/static/").unwrap();
            count.fetch_add(usize::from(path != "checkpoint"), Ordering::SeqCst);
            let reply = log.answer(path, SIZE);
            async { reply }
        });
        Self { server: server.await, requests, folder: tempfile::tempdir().unwrap() }
    }

    fn client(&self, bytes: u64) -> LogClient {
        let client =
            log_client(&self.server.address).memory_bytes(0).cache(self.folder.path().join("cache"), bytes);
        client.build().unwrap()
    }

    /// Reads and checks everything; how many requests that took.
    async fn read(&self, client: &LogClient) -> usize {
        let before = self.requests.load(Ordering::SeqCst);
        let entries: Vec<_> = client.entries(..).try_collect().await.unwrap();
        let expected = StaticLog::of(SIZE, "a").0;
        assert!(entries.into_iter().map(|entry| entry.data).eq(expected));
        self.requests.load(Ordering::SeqCst) - before
    }

    fn files(&self) -> Vec<(PathBuf, u64)> {
        let mut files = Vec::new();
        walk(self.folder.path(), &mut files);
        files
    }
}

fn walk(directory: &Path, files: &mut Vec<(PathBuf, u64)>) {
    for file in fs::read_dir(directory).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_dir() {
            walk(&file.path(), files);
        } else {
            files.push((file.path(), file.metadata().unwrap().len()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn full_tiles_and_bundles_are_kept_for_the_next_process_and_partial_ones_are_not() {
    let served = Served::new().await;
    let first = served.read(&served.client(1 << 30)).await;
    assert!(first > 19, "{first}");
    let files = served.files();
    assert!(files.iter().all(|(path, _)| !path.to_str().unwrap().contains(".p/")), "{files:?}");
    assert_eq!(files.iter().filter(|(path, _)| path.to_str().unwrap().contains("entries")).count(), 19);
    let second = served.read(&served.client(1 << 30)).await;
    assert!(second < first - 18, "{second} after {first}");
    assert_eq!(served.read(&served.client(1 << 30)).await, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_missing_and_planted_files_are_fetched_again_and_put_right() {
    let served = Served::new().await;
    served.read(&served.client(1 << 30)).await;
    let undamaged = served.read(&served.client(1 << 30)).await;
    let damage: [fn(&Path); 5] = [
        |path| {
            let mut bytes = fs::read(path).unwrap();
            bytes[100] ^= 1;
            fs::write(path, bytes).unwrap();
        },
        |path| fs::write(path, "").unwrap(),
        |path| fs::write(path, vec![0; 17 << 20]).unwrap(),
        |path| fs::remove_file(path).unwrap(),
        |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        },
    ];
    for (way, damage) in damage.into_iter().enumerate() {
        for (path, _) in served.files().iter().step_by(3) {
            damage(path);
        }
        assert!(served.read(&served.client(1 << 30)).await > undamaged, "{way}");
        if way < 4 {
            assert_eq!(served.read(&served.client(1 << 30)).await, undamaged, "{way}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_go_first_and_the_bound_is_kept() {
    let served = Served::new().await;
    let all: u64 = {
        served.read(&served.client(1 << 30)).await;
        served.files().iter().map(|(_, length)| length).sum()
    };
    fs::remove_dir_all(served.folder.path().join("cache")).unwrap();
    let most = all * 6 / 10;
    let client = served.client(most);
    for _ in 0..3 {
        served.read(&client).await;
        let files = served.files();
        let bytes: u64 = files.iter().map(|(_, length)| length).sum();
        assert!(bytes <= most, "{bytes} of {most}");
        assert!(bytes > most / 2, "{bytes} of {most}");
        // The last that was written is there.
        assert!(files.iter().any(|(path, _)| path.ends_with("tile/entries/018")), "{files:?}");
    }
    // Without any room nothing is kept, and everything works.
    fs::remove_dir_all(served.folder.path().join("cache")).unwrap();
    served.read(&served.client(0)).await;
    assert_eq!(served.files(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_clients_share_a_directory() {
    let served = Served::new().await;
    let clients: Vec<_> = (0..4).map(|_| served.client(200_000)).collect();
    join_all(clients.iter().map(|client| served.read(client))).await;
    join_all(clients.iter().map(|client| served.read(client))).await;
    assert!(served.files().iter().all(|(path, _)| path.extension().is_none()), "{:?}", served.files());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_cannot_be_written_only_makes_reading_slower() {
    let served = Served::new().await;
    fs::write(served.folder.path().join("cache"), "a file").unwrap();
    let client = served.client(1 << 30);
    assert_eq!(served.read(&client).await, served.read(&client).await);
}
