//! Reads from a log's server over HTTP: every answer is bounded in size and in time.
//!
//! Nothing here is verified; whoever asks does that.

use std::time::Duration;

use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The most bytes of a problem document that are read.
const MAX_PROBLEM_BYTES: usize = 64 * 1024;

/// What an error calls for. The same three everywhere, in JavaScript too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there are three, and a caller must handle each")]
pub enum Kind {
    /// I cannot read this: the input is bad, and nothing is said about the log.
    Parse,
    /// I read it, and it is proven not to hold: evidence of tampering.
    Verify,
    /// I could not check: the network, a key or a cosignature is missing, or it is too early.
    Unchecked,
}

/// Why a log cannot be asked at an address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It is not the address of a log.
    #[error("\"{0}\" is not the address of a log: http(s)://HOST/logs/NAME")]
    Malformed(String),
    /// No HTTP client can be made: the machine's certificates cannot be read, say.
    #[error("no HTTP client can be made")]
    Client(#[source] reqwest::Error),
}

/// Why a server's answer is not there. Nothing follows from it about the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// There is no answer.
    #[error("{url} cannot be reached")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What failed on the way.
        source: reqwest::Error,
    },
    /// The answer was not complete in time.
    #[error("{url} did not answer within {} ms", waited.as_millis())]
    TimedOut {
        /// What was asked for.
        url: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The answer is larger than such an answer can be.
    #[error("{url} answered more than {at_most} bytes")]
    TooLarge {
        /// What was asked for.
        url: String,
        /// The most that was expected.
        at_most: usize,
    },
    /// The server answered, but not what was asked for.
    #[error("{url} answered {status}: {detail} ({code})")]
    Refused {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The code of the problem document; `unreachable` if the answer has none.
        code: String,
        /// What the server says, for people.
        detail: String,
    },
}

impl RemoteError {
    /// The stable code, as in `docs/format.md`.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::TimedOut { .. } => "timed_out",
            Self::TooLarge { .. } => "answer_too_large",
            Self::Refused { code, .. } => code,
        }
    }

    /// Whether the same request may be answered later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } => true,
            Self::TooLarge { .. } => false,
            Self::Refused { status, .. } => matches!(status, 408 | 429 | 502..=504),
        }
    }
}

/// A problem document, as far as it is read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    code: String,
    detail: String,
}

/// A log's server.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    client: Client,
    base: String,
    log: String,
}

impl Remote {
    /// The server of the log at `http(s)://HOST/…/logs/NAME`.
    pub(crate) fn new(address: &str) -> Result<Self, AddressError> {
        let malformed = || AddressError::Malformed(address.to_owned());
        let (base, log) = parse_address(address).ok_or_else(malformed)?;
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("attestlog/", env!("CARGO_PKG_VERSION")));
        Ok(Self { client: client.build().map_err(AddressError::Client)?, base, log })
    }

    /// Asks through another client: with other headers, certificates or a proxy.
    pub(crate) fn set_client(&mut self, client: Client) {
        self.client = client;
    }

    /// The log's name: the last segment of its address.
    pub(crate) fn log(&self) -> &str {
        &self.log
    }

    /// The body at a path below the log's address: at most `at_most` bytes, complete within `timeout`.
    pub(crate) async fn get(
        &self,
        path: &str,
        at_most: usize,
        timeout: Duration,
    ) -> Result<Vec<u8>, RemoteError> {
        let url = format!("{}/{path}", self.base);
        let answered = tokio::time::timeout(timeout, self.get_patiently(&url, at_most)).await;
        answered.unwrap_or_else(|_| Err(RemoteError::TimedOut { url, waited: timeout }))
    }

    async fn get_patiently(&self, url: &str, at_most: usize) -> Result<Vec<u8>, RemoteError> {
        let unreachable = |source| RemoteError::Unreachable { url: url.to_owned(), source };
        let mut response = self.client.get(url).send().await.map_err(unreachable)?;
        if response.status() == StatusCode::OK {
            let body = read(&mut response, at_most).await.map_err(unreachable)?;
            return body.ok_or_else(|| RemoteError::TooLarge { url: url.to_owned(), at_most });
        }
        let status = response.status();
        let body = read(&mut response, MAX_PROBLEM_BYTES).await.ok().flatten().unwrap_or_default();
        let Problem { code, detail } = serde_json::from_slice(&body).unwrap_or_default();
        let code = if code.is_empty() { "unreachable".to_owned() } else { code };
        Err(RemoteError::Refused { url: url.to_owned(), status: status.as_u16(), code, detail })
    }
}

/// The body; `None` if it has more than `at_most` bytes, of which no more are read.
async fn read(response: &mut Response, at_most: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if chunk.len() > at_most - body.len() {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// The address without what may follow its name, and the name.
fn parse_address(address: &str) -> Option<(String, String)> {
    let url = Url::parse(address).ok()?;
    if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
        return None;
    }
    let base = url.as_str().trim_end_matches('/');
    let (rest, name) = base.rsplit_once('/')?;
    let is_name = name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'));
    let fits = is_name && !name.is_empty() && rest.ends_with("/logs");
    fits.then(|| (base.to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_ends_in_logs_and_the_name() {
        for (address, base, name) in [
            ("http://127.0.0.1:8080/logs/default", "http://127.0.0.1:8080/logs/default", "default"),
            ("https://h.example/audit/logs/a.b_c-1/", "https://h.example/audit/logs/a.b_c-1", "a.b_c-1"),
        ] {
            assert_eq!(parse_address(address).unwrap(), (base.to_owned(), name.to_owned()));
        }
        for address in [
            "",
            "default",
            "ftp://h.example/logs/a",
            "http://h.example/",
            "http://h.example/logs",
            "http://h.example/logs/",
            "http://h.example/logs/a/b",
            "http://h.example/logs/A",
            "http://h.example/logs/a%2fb",
            "http://h.example/logs/a?b=c",
            "http://h.example/logs/a#b",
            "http://h.example/catalogs/a",
        ] {
            assert!(parse_address(address).is_none(), "{address}");
        }
    }
}
