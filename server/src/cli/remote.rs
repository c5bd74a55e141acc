//! A running server, over HTTP: what a command asks of it instead of the store.

use std::time::{Duration, Instant};

use attestlog_core::SignedCheckpoint;
use attestlog_server::keyring::is_log_name;
use attestlog_server::search::{Answer, PageQuery};
use attestlog_server::store::Ticket;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::entries::{Format, LineEntry};
use super::failure::Failure;

/// How long to wait for one answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// The pause before asking again.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// How often a request is sent again that the server refused for now, a second apart or more.
const TRIES: u32 = 30;

/// The longest pause that a server may ask for.
const LONGEST_PAUSE: u64 = 10;

/// A server and the token for it.
#[derive(Debug)]
pub(crate) struct Remote {
    client: Client,
    base: String,
    token: Option<Zeroizing<String>>,
}

/// The fields of a problem document that a person needs.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    code: String,
    detail: String,
}

#[derive(Deserialize)]
struct Tickets {
    tickets: Vec<String>,
}

impl Remote {
    pub(crate) fn new(url: &str, token: Option<Zeroizing<String>>) -> Result<Self, Failure> {
        let base = url.trim_end_matches('/').to_owned();
        let parsed = reqwest::Url::parse(&base).ok();
        if !parsed.is_some_and(|parsed| matches!(parsed.scheme(), "http" | "https")) {
            return Err(Failure::new(format!(
                "--server {url}: not an address: it begins with http:// or https://"
            )));
        }
        let client = Client::builder().timeout(PATIENCE).build();
        let client = client.map_err(|error| Failure::new(format!("no HTTP client: {error}")))?;
        Ok(Self { client, base, token })
    }

    /// Makes a log; answers what `log list` gives of it.
    pub(crate) async fn create_log(&self, name: &str, origin: &str, events: &str) -> Result<Value, Failure> {
        let body = json!({ "name": name, "origin": origin, "events": events }).to_string();
        let made = || self.post("/logs", "application/json").body(body.clone());
        self.read(self.send(made).await?).await
    }

    pub(crate) async fn logs(&self) -> Result<Vec<Value>, Failure> {
        self.read(self.send(|| self.get("/logs")).await?).await
    }

    /// The log of this name, as `log list` gives it.
    pub(crate) async fn log(&self, name: &str) -> Result<Value, Failure> {
        let logs = self.logs().await?;
        let found = logs.into_iter().find(|log| log.get("name").and_then(Value::as_str) == Some(name));
        found.ok_or_else(|| Failure::new(format!("the server at {} has no log \"{name}\"", self.base)))
    }

    /// Appends in order; the tickets, once all is durable. NDJSON goes in one request, unless each entry has a key
    /// of its own; anything else takes a request an entry.
    pub(crate) async fn append(
        &self,
        log: &str,
        entries: Vec<LineEntry>,
        format: Format,
        key: impl Fn(u64) -> Option<String>,
    ) -> Result<Vec<Ticket>, Failure> {
        let path = format!("{}/entries", prefix(log)?);
        let keyed = entries.first().is_some_and(|entry| key(entry.line).is_some());
        if format == Format::Ndjson && !keyed {
            let lines: Vec<&[u8]> = entries.iter().map(|entry| &entry.data[..]).collect();
            let body = lines.join(&b'\n');
            return self.append_body(|| self.post(&path, "application/x-ndjson").body(body.clone())).await;
        }
        let kind = if format == Format::Ndjson { "application/json" } else { "application/octet-stream" };
        let mut tickets = Vec::with_capacity(entries.len());
        for entry in entries {
            let request = || {
                let request = self.post(&path, kind).body(entry.data.clone());
                match key(entry.line) {
                    Some(key) => request.header("idempotency-key", key),
                    None => request,
                }
            };
            let answer = self.append_body(request).await;
            tickets.extend(
                answer
                    .map_err(|failure| failure.and(&format!("It was the entry of line {}.", entry.line)))?,
            );
        }
        Ok(tickets)
    }

    /// The index of the ticket's entry, once a published head covers it.
    pub(crate) async fn covered(
        &self,
        log: &str,
        ticket: Ticket,
        patience: Duration,
    ) -> Result<u64, Failure> {
        let path = format!("{}/tickets/{}", prefix(log)?, ticket.0);
        let began = Instant::now();
        loop {
            let state: Value = self.read(self.send(|| self.get(&path)).await?).await?;
            if let Some(index) = state.get("index").and_then(Value::as_u64) {
                return Ok(index);
            }
            if began.elapsed() > patience {
                let seconds = patience.as_secs();
                return Err(Failure::new(format!(
                    "no signed head covers ticket {} after {seconds} s",
                    ticket.0
                )));
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// A page of a search.
    pub(crate) async fn events(&self, log: &str, query: &PageQuery) -> Result<Answer, Failure> {
        prefix(log)?;
        let path = query.link(log);
        self.read(self.send(|| self.get(&path)).await?).await
    }

    /// The receipt of an entry.
    pub(crate) async fn receipt(&self, log: &str, index: u64) -> Result<String, Failure> {
        let path = format!("{}/entries/{index}/receipt", prefix(log)?);
        self.text(self.send(|| self.get(&path)).await?).await
    }

    /// The size of the newest checkpoint, as the server says.
    pub(crate) async fn checkpoint_size(&self, log: &str) -> Result<u64, Failure> {
        let logs = self.log(log).await?;
        let path = format!("{}/checkpoint", prefix(log)?);
        let text = self.text(self.send(|| self.get(&path)).await?).await?;
        let vkey = logs.get("vkey").and_then(Value::as_str).unwrap_or_default();
        let opened = attestlog_core::VerifierKey::parse(vkey)
            .map_err(attestlog_core::Error::from)
            .and_then(|key| SignedCheckpoint::parse(text.as_bytes())?.open(&key));
        match opened {
            Ok(checkpoint) => Ok(checkpoint.size().0),
            Err(error @ attestlog_core::Error::Verify(_)) => {
                Err(Failure::evidence(format!("the server's checkpoint: {error} ({})", error.code())))
            }
            Err(error) => Err(Failure::new(format!("the server's checkpoint: {error} ({})", error.code()))),
        }
    }

    async fn append_body(&self, request: impl Fn() -> RequestBuilder) -> Result<Vec<Ticket>, Failure> {
        let answer: Tickets = self.read(self.send(request).await?).await?;
        let number = |ticket: String| {
            ticket
                .parse()
                .map(Ticket)
                .map_err(|_| Failure::new(format!("the server answered a ticket \"{ticket}\"")))
        };
        answer.tickets.into_iter().map(number).collect()
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.base))
    }

    fn post(&self, path: &str, content_type: &str) -> RequestBuilder {
        let request = self.client.request(Method::POST, format!("{}{path}", self.base));
        let request = request.header(header::CONTENT_TYPE, content_type);
        match &self.token {
            Some(token) => request.bearer_auth(token.as_str()),
            None => request,
        }
    }

    /// Sends it; again, while the server says that it took nothing and asks for patience.
    async fn send(&self, request: impl Fn() -> RequestBuilder) -> Result<Response, Failure> {
        for attempt in 0.. {
            let response = request().send().await.map_err(|error| self.unreachable(&error))?;
            if response.status().is_success() {
                return Ok(response);
            }
            let retry_after =
                response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            let pause = retry_after.and_then(|text| text.parse::<u64>().ok());
            let status = response.status();
            let failure = self.refusal(response).await;
            match pause {
                Some(pause) if may_retry(status) && attempt < TRIES => {
                    tokio::time::sleep(Duration::from_secs(pause.clamp(1, LONGEST_PAUSE))).await;
                }
                _ => return Err(failure),
            }
        }
        Err(Failure::new("the server refuses"))
    }

    async fn refusal(&self, response: Response) -> Failure {
        let (status, url) = (response.status(), response.url().clone());
        let body = response.bytes().await.unwrap_or_default();
        let Problem { code, detail } = serde_json::from_slice(&body).unwrap_or_default();
        let said = if detail.is_empty() { String::new() } else { format!(": {detail} ({code})") };
        let failure = Failure::new(format!("{url} answered {status}{said}"));
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                failure.and("Name the server's append token with --token-file or ATTESTLOG_TOKEN")
            }
            _ => failure,
        }
    }

    async fn read<T: serde::de::DeserializeOwned>(&self, response: Response) -> Result<T, Failure> {
        let url = response.url().clone();
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&body).map_err(|error| {
            Failure::new(format!("{url}: the answer is not that of an Attestlog server: {error}"))
        })
    }

    async fn text(&self, response: Response) -> Result<String, Failure> {
        response.text().await.map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let mut text = format!("the server at {} cannot be reached: {error}", self.base);
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        Failure::new(format!("{text}\nCheck that it runs, and that --server names it"))
    }
}

/// Refused for now, with nothing stored.
fn may_retry(status: StatusCode) -> bool {
    matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
}

fn prefix(log: &str) -> Result<String, Failure> {
    if is_log_name(log) {
        Ok(format!("/logs/{log}"))
    } else {
        Err(Failure::new(format!("\"{log}\" cannot be the name of a log")))
    }
}
