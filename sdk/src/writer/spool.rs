//! The spool's directory: segments of entries that wait to be sent, numbered in their order, and a lock.
//!
//! `NUMBER.spool` is a segment, `refused.ndjson` what the log refused for good, `NUMBER.damaged` a segment in which
//! bytes were changed by someone else than this program. A segment is only appended to by the process that made it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::frame::MAGIC;
use crate::private_file;

/// A directory that this process alone uses.
#[derive(Debug)]
pub(super) struct Spool {
    path: PathBuf,
    /// Held as long as this lives; the system frees it when the process dies.
    lock: File,
}

/// A place in the spool: a segment and how many bytes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// Why a spool cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error("another writer uses it")]
    InUse,
    #[error("it has events for the log \"{0}\"")]
    OtherLog(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Spool {
    /// The spool of a log, by whatever address it is reached: the name is in the file that is locked.
    pub(super) fn open(path: &Path, log: &str) -> Result<Self, OpenError> {
        private_file::create_directory(path)?;
        let mut options = private_file::options();
        let mut lock = options.read(true).write(true).create(true).truncate(false).open(path.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let mut before = String::new();
        lock.read_to_string(&mut before)?;
        let before = before.trim_end();
        if before != log {
            let spool = Self { path: path.to_owned(), lock };
            if !before.is_empty() && !spool.segments()?.is_empty() {
                return Err(OpenError::OtherLog(before.to_owned()));
            }
            spool.write_log(log)?;
            return Ok(spool);
        }
        Ok(Self { path: path.to_owned(), lock })
    }

    fn write_log(&self, log: &str) -> io::Result<()> {
        let mut lock = &self.lock;
        lock.set_len(0)?;
        lock.rewind()?;
        lock.write_all(format!("{log}\n").as_bytes())?;
        lock.sync_all()
    }

    /// The numbers of the segments with their lengths in bytes, in order.
    pub(super) fn segments(&self) -> io::Result<Vec<(u64, u64)>> {
        let mut segments = Vec::new();
        for file in fs::read_dir(&self.path)? {
            let file = file?;
            let name = file.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".spool")).map(str::parse);
            if let Some(Ok(number)) = number {
                segments.push((number, file.metadata()?.len()));
            }
        }
        segments.sort_unstable();
        Ok(segments)
    }

    /// A number that no segment has had, also none that was set aside.
    pub(super) fn next_number(&self) -> io::Result<u64> {
        let mut next = 0;
        for file in fs::read_dir(&self.path)? {
            let name = file?.file_name();
            let number = name.to_str().and_then(|name| name.split('.').next()).map(str::parse::<u64>);
            if let Some(Ok(number)) = number {
                next = next.max(number.saturating_add(1));
            }
        }
        Ok(next)
    }

    /// A new segment, durably there, and without entries.
    pub(super) fn create(&self, number: u64) -> io::Result<File> {
        let mut file = private_file::options().write(true).create_new(true).open(self.segment(number))?;
        file.write_all(MAGIC)?;
        file.sync_all()?;
        private_file::sync_directory(&self.path)?;
        Ok(file)
    }

    /// The bytes of a segment from `from` as far as `to`, or fewer if it is shorter.
    pub(super) fn read(&self, from: Position, to: u64) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.segment(from.segment))?;
        file.seek(SeekFrom::Start(from.offset))?;
        let mut bytes = Vec::new();
        file.take(to.saturating_sub(from.offset)).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Removes a segment whose entries are all in the log. One that a crash brings back is sent again, which adds
    /// nothing.
    pub(super) fn remove(&self, number: u64) -> io::Result<()> {
        ignore_missing(fs::remove_file(self.segment(number)))
    }

    /// Keeps a damaged segment for people to look at.
    pub(super) fn set_aside(&self, number: u64) -> io::Result<()> {
        ignore_missing(fs::rename(self.segment(number), self.path.join(format!("{number:020}.damaged"))))
    }

    /// The file of what was refused.
    pub(super) fn refused(&self) -> PathBuf {
        self.path.join("refused.ndjson")
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:020}.spool"))
    }
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
