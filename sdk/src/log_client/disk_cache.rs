//! Full tiles and entry bundles on disk, up to a number of bytes; what was written first goes first.
//!
//! Nothing here is trusted: whatever is read is proven against a signed head each time it is used, so files that are
//! damaged, or that somebody planted, are found then and fetched again. Several processes may share a directory: files
//! are there whole or not at all, and one that is missing is fetched. A disk that fails only makes reading slower.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use attestlog_core::{Hash, TILE_WIDTH, TilePath};
use bytes::Bytes;

use crate::private_file;

/// What a process that died has left half written is removed after this time.
const ABANDONED: Duration = Duration::from_secs(3600);

#[derive(Clone, Debug)]
pub(super) struct DiskCache {
    /// What all logs share.
    root: PathBuf,
    /// This log's part of it.
    directory: PathBuf,
    most: u64,
    /// Bytes that may be written before the directory is looked through again.
    allowance: Arc<AtomicU64>,
}

struct Kept {
    written: SystemTime,
    path: PathBuf,
    length: u64,
}

impl DiskCache {
    pub(super) fn new(root: PathBuf, origin: &str, most: u64) -> Self {
        // Not the origin itself, which has slashes, and case that some systems ignore.
        let name = Hash::leaf(origin.as_bytes())
            .0
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>();
        Self { directory: root.join(name), root, most, allowance: Arc::default() }
    }

    /// What is there, if it has at most `longest` bytes.
    pub(super) async fn get(&self, path: &TilePath, longest: usize) -> Option<Bytes> {
        let file = self.file(path)?;
        let read = move || {
            let length = usize::try_from(fs::metadata(&file).ok()?.len()).ok()?;
            if length > longest { None } else { fs::read(&file).ok() }
        };
        tokio::task::spawn_blocking(read).await.ok().flatten().map(Bytes::from)
    }

    /// Keeps what was just proven.
    pub(super) async fn keep(&self, path: &TilePath, bytes: Bytes) {
        let Some(file) = self.file(path) else { return };
        let cache = self.clone();
        // A cache that cannot be written is none.
        let _ = tokio::task::spawn_blocking(move || cache.write(&file, &bytes)).await;
    }

    /// Where it is kept: partial ones are not, the log soon has larger ones.
    fn file(&self, path: &TilePath) -> Option<PathBuf> {
        let (TilePath::Hashes { width, .. } | TilePath::Entries { width, .. }) = *path;
        (width == TILE_WIDTH).then(|| self.directory.join(path.format()))
    }

    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        let length = bytes.len() as u64;
        if length > self.most / 8 {
            return Ok(());
        }
        let spend = |left: u64| left.checked_sub(length);
        if self.allowance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_err() {
            self.make_room()?;
            self.allowance.store((self.most / 8).saturating_sub(length), Ordering::Relaxed);
        }
        private_file::create_directory(private_file::parent(file))?;
        // Not fsynced: what a crash damages is found when it is used.
        private_file::replace(file, bytes, false)
    }

    /// Removes what was written first until an eighth of the room is free, which each of the processes fills before it
    /// comes here again.
    fn make_room(&self) -> io::Result<()> {
        private_file::create_directory(&self.root)?;
        let mut kept = Vec::new();
        walk(&self.root, &mut kept)?;
        kept.sort_by_key(|file| file.written);
        let mut bytes: u64 = kept.iter().map(|file| file.length).sum();
        for Kept { written, path, length } in kept {
            let abandoned = path.extension().is_some_and(|end| end == "tmp")
                && written.elapsed().is_ok_and(|age| age > ABANDONED);
            if bytes > self.most - self.most / 8 || abandoned {
                // Another process may have removed it.
                let _ = fs::remove_file(path);
                bytes = bytes.saturating_sub(length);
            }
        }
        Ok(())
    }
}

fn walk(directory: &Path, kept: &mut Vec<Kept>) -> io::Result<()> {
    for file in fs::read_dir(directory)? {
        let file = file?;
        let Ok(metadata) = file.metadata() else { continue };
        if metadata.is_dir() {
            walk(&file.path(), kept)?;
        } else {
            let written = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            kept.push(Kept { written, path: file.path(), length: metadata.len() });
        }
    }
    Ok(())
}
