//! A server as a process of its own: started, measured from outside, stopped.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Bench;

/// A running `attestlog serve`; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// `http://127.0.0.1:PORT`.
    pub(crate) address: String,
    /// From the start of the process to the first 200 of `/readyz`.
    pub(crate) ready_after: Duration,
}

impl Server {
    /// Starts one of the deployment with its data in `data`, and waits until it is ready.
    pub(crate) async fn start(bench: &Bench, database: Option<&str>, data: &Path) -> Self {
        // Free now; nobody else is likely to take it within a moment.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(&bench.program);
        command.args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--data"]).arg(data);
        command.args(&bench.serve).env_remove("DATABASE_URL").stdout(Stdio::null()).stderr(Stdio::null());
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

/// What `attestlog` prints with these arguments.
pub(crate) async fn call(program: PathBuf, arguments: Vec<String>) -> Vec<u8> {
    let run = move || {
        let output =
            Command::new(program).args(&arguments).env_remove("DATABASE_URL").output().expect("it runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    tokio::task::spawn_blocking(run).await.expect("a task")
}
