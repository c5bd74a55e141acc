//! What a client is made with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::answers::Answers;
use super::disk_cache::DiskCache;
use super::heads::Heads;
use super::kept_head::KeptHead;
use super::trust::Trust;
use super::{Inner, LogClient};
use crate::http::Remote;

/// The settings of a [`LogClient`].
#[derive(Clone, Debug)]
pub struct LogClientBuilder {
    url: String,
    policy: String,
    origin: Option<String>,
    heads: Option<PathBuf>,
    cache: Option<(PathBuf, u64)>,
    memory_bytes: usize,
    timeout: Duration,
    client: Option<reqwest::Client>,
}

/// An address or a policy that cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct BuildError(String);

impl BuildError {
    pub(crate) fn no_name(origin: &str) -> Self {
        Self(format!("the address of {origin} does not end in /logs/NAME, so the log has no name in SQL"))
    }
}

impl LogClientBuilder {
    pub(super) fn new(url: String, policy: String) -> Self {
        Self {
            url,
            policy,
            origin: None,
            heads: None,
            cache: None,
            memory_bytes: 16 << 20,
            timeout: Duration::from_secs(30),
            client: None,
        }
    }

    /// The log that is meant, where the policy names several.
    #[must_use]
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// Keeps the last head in this file instead of in memory: the signed note, mode 0600, replaced in one step and
    /// fsynced. Processes that read the same log may share it. Evidence is kept in `FILE.evidence.ndjson`.
    #[must_use]
    pub fn heads(mut self, file: impl Into<PathBuf>) -> Self {
        self.heads = Some(file.into());
        self
    }

    /// Keeps full tiles and entry bundles in this directory too, up to so many bytes. Clients of several logs and
    /// processes may share it; each may go over it by an eighth for a while. Nothing in it is trusted.
    #[must_use]
    pub fn cache(mut self, directory: impl Into<PathBuf>, bytes: u64) -> Self {
        self.cache = Some((directory.into(), bytes));
        self
    }

    /// How many bytes of tiles and entry bundles are kept in memory; by default 16 MiB.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: usize) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// How long a request may take, its whole answer included; by default 30 seconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The HTTP client to use, with certificates, a proxy or headers of your own, say. By default one that follows no
    /// redirects.
    #[must_use]
    pub fn client(mut self, client: reqwest::Client) -> Self {
        self.client = Some(client);
        self
    }

    /// The client. Nothing is read yet.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build(self) -> Result<LogClient, BuildError> {
        let trust = Trust::parse(&self.policy, self.origin.as_deref()).map_err(BuildError)?;
        let remote = Remote::new(&self.url, self.client, None, self.timeout).map_err(BuildError)?;
        let disk = self.cache.map(|(directory, bytes)| DiskCache::new(directory, trust.origin(), bytes));
        let heads = self.heads.map_or_else(|| Heads::Memory(Arc::default()), Heads::File);
        Ok(LogClient(Arc::new(Inner {
            answers: Answers::new(remote, self.memory_bytes, disk),
            kept: KeptHead::new(heads),
            newest: None.into(),
            trust,
        })))
    }
}
