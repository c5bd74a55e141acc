//! The program `attestlog` as a process: built once a run, started, killed, and started again on the same address.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

use crate::chance::Chance;
use crate::deadline::{Deadline, until};

/// The program, built once a run.
///
/// # Panics
/// If it cannot be built.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    BINARY.get_or_init(build).as_deref().expect("the program attestlog can be built")
}

fn build() -> Option<PathBuf> {
    // target/debug/deps/cli-…: the same folder and profile as this test.
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let target = profile.parent().unwrap();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", "attestlog-server", "--bin", "attestlog", "--target-dir"]);
    cargo.arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    cargo.status().expect("cargo runs").success().then(|| profile.join("attestlog"))
}

/// A call of the program that the environment does not change.
#[must_use]
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).stdin(Stdio::null());
    for name in ["ATTESTLOG_DATA", "ATTESTLOG_SECRET", "ATTESTLOG_TOKEN", "DATABASE_URL", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

/// `attestlog serve` on one address; dropped, it is killed.
#[derive(Debug)]
pub struct ServerProcess {
    /// `http://127.0.0.1:PORT`.
    pub address: String,
    arguments: Vec<String>,
    process: Option<Child>,
    folder: TempDir,
}

impl ServerProcess {
    /// Starts one with these arguments, and does not wait for it.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(arguments: &[&str]) -> Self {
        let listen = free_address();
        let address = format!("http://{listen}");
        let arguments =
            ["serve", "--listen", &*listen].into_iter().chain(arguments.iter().copied()).map(str::to_owned);
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self { address, arguments: arguments.collect(), process: None, folder };
        server.start_again();
        server
    }

    /// Starts it after it was killed, with the same arguments.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start_again(&mut self) {
        let said = File::options().create(true).append(true).open(self.said_path()).unwrap();
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let mut command = command(&arguments);
        command.stdout(said.try_clone().unwrap()).stderr(said);
        self.process = Some(command.spawn().unwrap());
    }

    /// Kills it as a crash would.
    ///
    /// # Panics
    /// If it has ended by itself.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        if let Some(status) = process.try_wait().unwrap() {
            panic!("the server has ended by itself, {status}:\n{}", self.said());
        }
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Asks it to stop, and does not wait until it has.
    ///
    /// # Panics
    /// If it does not run.
    pub fn ask_to_stop(&self) {
        let process = self.process.as_ref().expect("it runs");
        let sent = Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// If it goes on.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("it runs");
        until("the server ends", async || process.try_wait().unwrap()).await
    }

    /// Waits until it is ready.
    ///
    /// # Panics
    /// If it does not get ready.
    pub async fn ready(&self) {
        let (client, deadline) = (client(), Deadline::of("the server is ready"));
        let ask = || client.get(format!("{}/readyz", self.address)).send();
        while ask().await.map_or(true, |answer| answer.status() != 200) {
            deadline.pause().await;
        }
    }

    /// All that it has printed, in all its lives.
    ///
    /// # Panics
    /// If that cannot be read.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(self.said_path()).unwrap()
    }

    fn said_path(&self) -> PathBuf {
        self.folder.path().join("said")
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            let said = self.said();
            let last = said.len().saturating_sub(4000);
            let last = (last..=said.len()).find(|&at| said.is_char_boundary(at)).unwrap_or_default();
            println!("the server {} said in the end:\n{}", self.address, &said[last..]);
        }
    }
}

/// A client that gives up on a server that was killed.
///
/// # Panics
/// If it cannot be made.
#[must_use]
pub fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(40));
    client.build().unwrap()
}

/// An address that nobody listens on, outside the range from which outgoing connections take theirs: it is still free
/// when the server starts again.
fn free_address() -> String {
    let mut chance = Chance::random();
    loop {
        let address = format!("127.0.0.1:{}", 20_000 + chance.below(12_000));
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}
