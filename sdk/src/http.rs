//! HTTP requests below a log's prefix, bounded in bytes and in time: a server can neither fill the memory nor keep us
//! waiting.

use std::borrow::Cow;
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::header::{self, HeaderMap};
use reqwest::{Client, RequestBuilder, Url};
use serde::Deserialize;

use crate::read_error::ReadError;

/// The most bytes of each kind of answer: what the formats allow.
pub(crate) mod most {
    use attestlog_core::{Hash, MAX_ENTRY_SIZE, TILE_WIDTH};

    pub(crate) const TICKET: usize = 4096;
    pub(crate) const NOTE: usize = 1_000_000;
    pub(crate) const ENTRY: usize = MAX_ENTRY_SIZE;
    pub(crate) const RECEIPT: usize = 1_200_000;
    pub(crate) const TILE: usize = TILE_WIDTH * Hash::LEN;
    pub(crate) const BUNDLE: usize = TILE_WIDTH * (2 + ENTRY);
}

/// The address of a log, and how it is asked.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    client: Client,
    prefix: Url,
    token: Option<String>,
    timeout: Duration,
}

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Why an answer was not received whole.
#[derive(Debug)]
pub(crate) enum Broken {
    /// It has more bytes than such an answer can have.
    TooLarge(usize),
    /// No connection, or one that broke off.
    Failed(reqwest::Error),
    /// It took too long.
    TimedOut(Duration),
}

impl Remote {
    /// The log below `prefix`, such as `https://audit.example.com/logs/acme`.
    pub(crate) fn new(
        prefix: &str,
        client: Option<Client>,
        token: Option<String>,
        timeout: Duration,
    ) -> Result<Self, String> {
        let prefix = Url::parse(prefix).map_err(|error| format!("{prefix}: {error}"))?;
        if !matches!(prefix.scheme(), "http" | "https") {
            return Err(format!("{prefix}: not an address of HTTP"));
        }
        let client = match client {
            Some(client) => client,
            // An answer from elsewhere would be as good as any, but a token belongs to one server.
            None => {
                let client = Client::builder().redirect(reqwest::redirect::Policy::none());
                client.build().map_err(|error| chain(&error))?
            }
        };
        Ok(Self { client, prefix, token, timeout })
    }

    /// The address of `path` below the prefix, whose query, an access key say, stays.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = self.prefix.clone();
        url.set_path(&format!("{}/{path}", self.prefix.path().trim_end_matches('/')));
        url
    }

    /// The log's name: the last segment of its address, which is `…/logs/NAME`.
    pub(crate) fn log_name(&self) -> Option<&str> {
        let (rest, name) = self.prefix.path().trim_end_matches('/').rsplit_once('/')?;
        let is_name = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        let fits = !name.is_empty() && name.bytes().all(is_name) && rest.ends_with("/logs");
        fits.then_some(name)
    }

    pub(crate) fn post(&self, url: Url) -> RequestBuilder {
        self.authorized(self.client.post(url))
    }

    /// The whole answer, if its body has at most `most` bytes.
    pub(crate) async fn answer(&self, request: RequestBuilder, most: usize) -> Result<Answer, Broken> {
        let answered = async {
            let response = request.send().await.map_err(Broken::Failed)?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let mut stream = response.bytes_stream();
            let mut body = Vec::new();
            while let Some(part) = stream.next().await {
                let part = part.map_err(Broken::Failed)?;
                if body.len().saturating_add(part.len()) > most {
                    return Err(Broken::TooLarge(most));
                }
                body.extend_from_slice(&part);
            }
            Ok(Answer { status, headers, body })
        };
        let timed_out = |_| Err(Broken::TimedOut(self.timeout));
        tokio::time::timeout(self.timeout, answered).await.unwrap_or_else(timed_out)
    }

    /// The bytes at `path`, if the answer is complete and has the status 200; `fresh` asks past the caches on the way.
    pub(crate) async fn get(&self, path: &str, most: usize, fresh: bool) -> Result<Vec<u8>, ReadError> {
        let mut request = self.authorized(self.client.get(self.url(path)));
        if fresh {
            request = request.header(header::CACHE_CONTROL, "no-cache");
        }
        let answer = self.answer(request, most).await.map_err(|broken| broken.at(path))?;
        match answer.status {
            200 => Ok(answer.body),
            status => Err(refused(path, status, &answer.body)),
        }
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

impl Broken {
    fn at(self, path: &str) -> ReadError {
        let code = match self {
            Self::TooLarge(_) => "answer_too_large",
            Self::Failed(_) => "unreachable",
            Self::TimedOut(_) => "timed_out",
        };
        ReadError::unchecked(code, format!("{path}: {self}"))
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLarge(most) => write!(f, "more than {most} bytes"),
            Self::Failed(error) => f.write_str(&chain(error)),
            Self::TimedOut(timeout) => write!(f, "no complete answer within {timeout:?}"),
        }
    }
}

/// A problem document (RFC 9457), as far as it is read.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    /// The stable code; empty where there is none.
    pub(crate) code: String,
    pub(crate) detail: String,
    /// Which line of a batch it is about, from 1 on.
    pub(crate) line: Option<usize>,
}

impl Problem {
    /// An answer that is none says nothing.
    pub(crate) fn parse(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }
}

/// What a server says instead of an answer; one that is not a log's says nothing that we know.
fn refused(path: &str, status: u16, body: &[u8]) -> ReadError {
    let Problem { code, detail, .. } = Problem::parse(body);
    let code = if code.is_empty() { Cow::from("unreachable") } else { Cow::from(code) };
    ReadError::Unchecked { code, detail: format!("{path}: status {status} {detail}"), status: Some(status) }
}

/// An error with what is behind it: reqwest's own text says only that it failed.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
