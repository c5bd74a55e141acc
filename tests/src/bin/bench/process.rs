//! A server as a process of its own: started, measured from outside, stopped.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running `attestlog serve`; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// `http://127.0.0.1:PORT`.
    pub(crate) address: String,
    /// From the start of the process to the first 200 of `/readyz`.
    pub(crate) ready_after: Duration,
}

/// What `/metrics` says about batches, since the process was started.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Batches {
    /// Their number.
    pub(crate) count: f64,
    /// What they took, in seconds.
    pub(crate) seconds: f64,
    /// The entries in them.
    pub(crate) entries: f64,
}

impl Batches {
    /// What was done since an earlier reading.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            count: self.count - earlier.count,
            seconds: self.seconds - earlier.seconds,
            entries: self.entries - earlier.entries,
        }
    }

    /// The milliseconds of a batch.
    pub(crate) fn mean_milliseconds(self) -> f64 {
        self.seconds * 1000.0 / self.count.max(1.0)
    }

    /// The entries of a batch.
    pub(crate) fn mean_entries(self) -> f64 {
        self.entries / self.count.max(1.0)
    }
}

impl Server {
    /// Starts one with its data in `data`, and waits until it is ready.
    pub(crate) async fn start(program: &Path, database: Option<&str>, data: &Path, interval: &str) -> Self {
        // Free now; nobody else is likely to take it within a moment.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program);
        command.args(["serve", "--interval", interval, "--listen", &format!("127.0.0.1:{port}"), "--data"]);
        command.arg(data).env_remove("DATABASE_URL").stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(database) = database {
            command.args(["--database", database]);
        }
        let client = client();
        let began = Instant::now();
        let child = command.spawn().expect("the program that scripts/bench has built");
        let address = format!("http://127.0.0.1:{port}");
        let mut server = Self { child, address, ready_after: Duration::ZERO };
        loop {
            let answer = client.get(format!("{}/readyz", server.address)).send().await;
            if answer.is_ok_and(|answer| answer.status() == 200) {
                break;
            }
            let gone = server.child.try_wait().expect("a child of ours");
            assert!(gone.is_none() && began.elapsed() < Duration::from_secs(60), "the server is not ready");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        server.ready_after = began.elapsed();
        server
    }

    /// Ends it as an operator does, and waits for it.
    pub(crate) async fn stop(mut self) -> Duration {
        let began = Instant::now();
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        while self.child.try_wait().expect("a child of ours").is_none() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        began.elapsed()
    }

    /// The number of megabytes (10^6) in a line of `/proc/PID/status`, such as `VmHWM` or `VmRSS`.
    pub(crate) fn megabytes(&self, line: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let value = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
        let kib: f64 =
            value.and_then(|value| value.trim().split(' ').next()?.parse().ok()).unwrap_or(f64::NAN);
        kib * 1024.0 / 1e6
    }

    /// The seconds of processor time that it has taken.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks =
            |field: usize| fields.get(field).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0);
        // proc(5): user time is field 14, system time 15, in hundredths of a second.
        (ticks(11) + ticks(12)) / 100.0
    }

    /// What it has measured of its batches.
    pub(crate) async fn batches(&self) -> Batches {
        let answer = client().get(format!("{}/metrics", self.address)).send().await.expect("an answer");
        let text = answer.text().await.expect("a text");
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.parse().ok()).unwrap_or(0.0)
        };
        Batches {
            count: value("attestlog_batch_seconds_count"),
            seconds: value("attestlog_batch_seconds_sum"),
            entries: value("attestlog_entries_processed_total"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that takes what it gets: no decompression, no proxy.
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().no_gzip().no_proxy().pool_max_idle_per_host(1024).build().expect("a client")
}

/// Runs `attestlog` with these arguments; how long it took.
pub(crate) async fn call(program: PathBuf, arguments: Vec<String>) -> Duration {
    let run = move || {
        let began = Instant::now();
        let output =
            Command::new(program).args(&arguments).env_remove("DATABASE_URL").output().expect("it runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        began.elapsed()
    };
    tokio::task::spawn_blocking(run).await.expect("a task")
}
