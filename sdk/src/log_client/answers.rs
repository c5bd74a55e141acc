//! The log's tiles and entry bundles: fetched, or taken from a cache, and never given away before they are proven.

use std::sync::{Mutex, PoisonError};

use attestlog_core::{Checkpoint, Error, LogRead, TilePath};
use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::sync::Semaphore;

use super::disk_cache::DiskCache;
use super::memory_cache::MemoryCache;
use crate::http::{Remote, most};
use crate::read_error::ReadError;

/// More would not be faster with most servers, and less polite.
const REQUESTS_AT_ONCE: usize = 6;

#[derive(Debug)]
pub(super) struct Answers {
    remote: Remote,
    memory: Mutex<MemoryCache>,
    disk: Option<DiskCache>,
    requests: Semaphore,
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Memory,
    Disk,
    Log,
}

impl Answers {
    pub(super) fn new(remote: Remote, memory: usize, disk: Option<DiskCache>) -> Self {
        let memory = Mutex::new(MemoryCache::new(memory));
        Self { remote, memory, disk, requests: Semaphore::new(REQUESTS_AT_ONCE) }
    }

    pub(super) const fn remote(&self) -> &Remote {
        &self.remote
    }

    /// What `prove` makes of the answers to a read's paths. Where that fails, once more with new answers: those that
    /// failed may have been a cache's, ours or one on the way, which would go on to give them for a year.
    pub(super) async fn proven<T>(
        &self,
        read: &LogRead,
        head: Option<&Checkpoint>,
        prove: impl Fn(&[Bytes]) -> Result<T, Error>,
    ) -> Result<T, ReadError> {
        match self.prove_once(read.paths(), head, &prove, false).await {
            // Two histories are proven by right answers, and what was late has taken all its time.
            Err(error) if !error.is_rewritten() && !error.is_late() && !read.paths().is_empty() => {
                self.prove_once(read.paths(), head, &prove, true).await
            }
            result => result,
        }
    }

    async fn prove_once<T>(
        &self,
        paths: &[TilePath],
        head: Option<&Checkpoint>,
        prove: impl Fn(&[Bytes]) -> Result<T, Error>,
        fresh: bool,
    ) -> Result<T, ReadError> {
        let answers = try_join_all(paths.iter().map(|path| self.answer(path, fresh))).await?;
        let (bytes, origins): (Vec<Bytes>, Vec<Origin>) = answers.into_iter().unzip();
        match prove(&bytes) {
            Ok(proven) => {
                for ((path, bytes), origin) in paths.iter().zip(bytes).zip(origins) {
                    self.keep(path, bytes, origin).await;
                }
                Ok(proven)
            }
            Err(error) => {
                let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
                paths.iter().for_each(|path| memory.forget(path));
                let what = match paths {
                    [] => "checkpoint".to_owned(),
                    [path] => path.format(),
                    [first, others @ ..] => format!("{first} and {} more", others.len()),
                };
                Err(ReadError::of(error, &what, head))
            }
        }
    }

    async fn answer(&self, path: &TilePath, fresh: bool) -> Result<(Bytes, Origin), ReadError> {
        let longest = match path {
            TilePath::Hashes { .. } => most::TILE,
            TilePath::Entries { .. } => most::BUNDLE,
        };
        if !fresh {
            let kept = self.memory.lock().unwrap_or_else(PoisonError::into_inner).get(path);
            if let Some(bytes) = kept {
                return Ok((bytes, Origin::Memory));
            }
            if let Some(disk) = &self.disk
                && let Some(bytes) = disk.get(path, longest).await
            {
                return Ok((bytes, Origin::Disk));
            }
        }
        // Never closed.
        let _turn = self.requests.acquire().await;
        let bytes = self.remote.get(&path.format(), longest, fresh).await?;
        Ok((Bytes::from(bytes), Origin::Log))
    }

    async fn keep(&self, path: &TilePath, bytes: Bytes, origin: Origin) {
        if origin != Origin::Memory {
            self.memory.lock().unwrap_or_else(PoisonError::into_inner).keep(path, &bytes);
        }
        if let Some(disk) = &self.disk
            && origin == Origin::Log
        {
            disk.keep(path, bytes).await;
        }
    }
}
