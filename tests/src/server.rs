//! A real server in this process, on a port of its own and an embedded store in a directory of its own.

use std::sync::Arc;
use std::time::Duration;

use attestlog_core::{Policy, VerifierKey};
use attestlog_server::deployment::{DEFAULT_LOG, Deployment, SecretSource};
use attestlog_server::serve::{open_patiently, serve};
use attestlog_server::service::Settings;
use attestlog_server::store::Store;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A server; dropped, it stops without waiting.
#[derive(Debug)]
pub struct TestServer {
    /// `http://127.0.0.1:PORT`.
    pub address: String,
    /// A client that keeps answers as they come: no decompression, no redirects.
    pub client: Client,
    /// The server's own store.
    pub store: Arc<dyn Store>,
    /// Where its data are.
    pub directory: tempfile::TempDir,
    stop: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

impl TestServer {
    /// Starts one that processes every 10 ms, with the log `default`.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts one with other settings.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        settings.pace.interval = Duration::from_millis(10);
        change(&mut settings);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let data = directory.path().join("data");
        let deployment = Deployment { data, database: None, secret: SecretSource::DataDirectory };
        let stop = CancellationToken::new();
        let signing =
            open_patiently(&deployment, &stop).await.expect("a new deployment").expect("not stopped");
        let store = Arc::clone(&signing.store);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let task = tokio::spawn(serve(listener, signing, settings, stop.clone()));
        let client = Client::builder().no_gzip().redirect(reqwest::redirect::Policy::none());
        let client = client.no_proxy().build().expect("a client");
        Self { address, client, store, directory, stop, task }
    }

    /// Asks the server to stop. It answers what it was asked before.
    pub fn ask_to_stop(&self) {
        self.stop.cancel();
    }

    /// Stops the server, and waits until it has.
    ///
    /// # Panics
    /// If it ends with an error.
    pub async fn stop(mut self) {
        self.stop.cancel();
        (&mut self.task).await.expect("the server's task").expect("the server ends well");
    }

    /// A GET of a path.
    #[must_use]
    pub fn request(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.address))
    }

    /// The answer to a GET of a path.
    ///
    /// # Panics
    /// If there is none.
    pub async fn get(&self, path: &str) -> Response {
        self.request(path).send().await.expect("an answer")
    }

    /// The JSON at a path, which must be answered 200.
    ///
    /// # Panics
    /// If it is not.
    pub async fn get_json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.expect("JSON")
    }

    /// A POST of a body.
    #[must_use]
    pub fn post(&self, path: &str, content_type: &str, body: impl Into<Vec<u8>>) -> RequestBuilder {
        let request = self.client.post(format!("{}{path}", self.address));
        request.header("content-type", content_type).body(body.into())
    }

    /// Appends an entry to the log `default`, and returns its index once a published checkpoint covers it.
    ///
    /// # Panics
    /// If it is not appended.
    pub async fn add(&self, entry: impl Into<Vec<u8>>) -> u64 {
        let path = format!("/logs/{DEFAULT_LOG}/add");
        let answer = self.post(&path, "text/plain", entry).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.text().await.expect("a text").parse().expect("an index")
    }

    /// The policy that trusts the log `default` alone.
    ///
    /// # Panics
    /// If there is no such log.
    pub async fn policy(&self) -> Policy {
        let log = self.store.log(DEFAULT_LOG).await.expect("a database").expect("the log");
        Policy::for_log(VerifierKey::parse(&log.vkey).expect("a vkey")).expect("a policy")
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
