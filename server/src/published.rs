//! The last head of each log that was published, kept outside the database.
//!
//! A restored backup, or a failover to a replica that lags, takes the database back to an older tree; signing on from
//! there would be a second history. This file does not go back with it. Each line is `SIZE ROOT ORIGIN`; later lines
//! of a log replace its earlier ones. Lines are appended and synced; the file is rewritten (atomically) when most of
//! it is replaced. Several processes may share it: each takes the file's lock to write, and reads what others added.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use attestlog_core::{Hash, TreeHead, TreeSize, decimal};

use crate::secret::sync_directory;

/// Rewriting waits until so many lines are replaced, so that it is rare even with one log.
const SPARE_LINES: usize = 4096;

/// One step of one log: recorded only where the last head is still the one that was checked.
#[derive(Clone, Debug)]
pub struct Advance {
    /// The log's origin.
    pub origin: String,
    /// The head that `new` was checked against.
    pub old: Option<TreeHead>,
    /// The head to publish.
    pub new: TreeHead,
}

/// The file, and what it says.
#[derive(Debug)]
pub struct PublishedHeads {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    heads: HashMap<String, TreeHead>,
    /// The lines, replaced ones too.
    lines: usize,
    /// The bytes that have been read or written.
    end: u64,
}

impl PublishedHeads {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// If it cannot be opened, or holds a line that this program did not write.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut state = State::open(path)?;
        state.file.lock_shared()?;
        let read = state.read_new(path);
        state.file.unlock()?;
        read?;
        Ok(Self { path: path.to_owned(), state: Mutex::new(state) })
    }

    /// The last head of the log with this origin that was recorded, as far as this process knows.
    #[must_use]
    pub fn head(&self, origin: &str) -> Option<TreeHead> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).heads.get(origin).copied()
    }

    /// Records heads, durable when this returns. Returns those that were not recorded since another process has
    /// recorded a different head meanwhile: check again, against that one. Blocks for the time of a sync.
    ///
    /// # Errors
    /// If the file cannot be written; then nothing may be published.
    pub fn record(&self, advances: Vec<Advance>) -> io::Result<Vec<Advance>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.lock_current(&self.path)?;
        let recorded = state.append(&self.path, advances);
        state.file.unlock()?;
        recorded
    }
}

impl State {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        sync_directory(path)?;
        Ok(Self { file, heads: HashMap::new(), lines: 0, end: 0 })
    }

    /// Takes the lock of the file that now has the name, and reads what others have added.
    fn lock_current(&mut self, path: &Path) -> io::Result<()> {
        loop {
            self.file.lock()?;
            let same = |named: std::fs::Metadata, held: std::fs::Metadata| named.ino() == held.ino();
            if std::fs::metadata(path)
                .and_then(|named| Ok(same(named, self.file.metadata()?)))
                .unwrap_or(false)
            {
                return self.read_new(path);
            }
            // Another process has rewritten the file.
            let known = std::mem::take(&mut self.heads);
            *self = Self::open(path)?;
            // What this process has seen published stays published, even if the file was removed.
            self.heads = known;
        }
    }

    fn read_new(&mut self, path: &Path) -> io::Result<()> {
        let mut text = String::new();
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.read_to_string(&mut text)?;
        // A last line without its end was cut by a crash before its sync: its head was never published.
        let complete = text.rfind('\n').map_or(0, |end| end + 1);
        let (lines, torn) = text.split_at(complete);
        for line in lines.split_terminator('\n') {
            let (origin, head) = parse_line(line).ok_or_else(|| {
                let reason = format!("{}: \"{line}\" is not SIZE ROOT ORIGIN", path.display());
                io::Error::new(io::ErrorKind::InvalidData, reason)
            })?;
            self.heads.insert(origin, head);
            self.lines += 1;
        }
        self.end += lines.len() as u64;
        if torn.is_empty() { Ok(()) } else { self.file.set_len(self.end) }
    }

    fn append(&mut self, path: &Path, advances: Vec<Advance>) -> io::Result<Vec<Advance>> {
        // Never back to a smaller tree, whatever the caller has checked.
        let may_follow = |advance: &Advance| {
            let current = self.heads.get(&advance.origin).copied();
            current == advance.old && current.is_none_or(|current| current.size <= advance.new.size)
        };
        let (fresh, moved): (Vec<_>, Vec<_>) = advances.into_iter().partition(may_follow);
        let text: String = fresh.iter().map(|advance| format_line(&advance.origin, &advance.new)).collect();
        if !text.is_empty() {
            // On failure a part may be there: cut it off, so that the next append does not continue a torn line.
            let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
            if let Err(error) = written {
                self.file.set_len(self.end)?;
                return Err(error);
            }
        }
        self.end += text.len() as u64;
        self.lines += fresh.len();
        self.heads.extend(fresh.into_iter().map(|advance| (advance.origin, advance.new)));
        if self.lines > 2 * self.heads.len() + SPARE_LINES {
            self.rewrite(path)?;
        }
        Ok(moved)
    }

    /// Replaces the file by one with a line a log. A crash leaves the old file or the new one.
    fn rewrite(&mut self, path: &Path) -> io::Result<()> {
        let temporary = path.with_extension("new");
        let mut origins: Vec<_> = self.heads.iter().collect();
        origins.sort_unstable_by_key(|(origin, _)| *origin);
        let text: String = origins.into_iter().map(|(origin, head)| format_line(origin, head)).collect();
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        // The old file's lock goes with it; others notice that the name has moved on.
        let heads = std::mem::take(&mut self.heads);
        *self = Self { lines: heads.len(), heads, end: text.len() as u64, ..Self::open(path)? };
        self.file.lock()
    }
}

fn format_line(origin: &str, head: &TreeHead) -> String {
    format!("{} {} {origin}\n", head.size, head.root)
}

fn parse_line(line: &str) -> Option<(String, TreeHead)> {
    let (size, rest) = line.split_once(' ')?;
    let (root, origin) = rest.split_once(' ')?;
    let size = TreeSize(decimal::parse(size.as_bytes()).ok()?);
    Some((origin.to_owned(), TreeHead { size, root: Hash::parse_base64(root.as_bytes()).ok()? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(size: u64) -> TreeHead {
        TreeHead { size: TreeSize(size), root: Hash::leaf(&size.to_be_bytes()) }
    }

    fn advance(old: Option<u64>, new: u64) -> Vec<Advance> {
        vec![Advance { origin: "example.com/a".into(), old: old.map(head), new: head(new) }]
    }

    #[test]
    fn survives_reopening() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("published-heads");
        let heads = PublishedHeads::open(&path).unwrap();
        assert_eq!(heads.head("example.com/a"), None);
        assert!(heads.record(advance(None, 3)).unwrap().is_empty());
        assert!(heads.record(advance(Some(3), 5)).unwrap().is_empty());
        assert_eq!(PublishedHeads::open(&path).unwrap().head("example.com/a"), Some(head(5)));
    }

    #[test]
    fn records_nothing_against_a_head_that_another_process_has_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("published-heads");
        let (one, other) = (PublishedHeads::open(&path).unwrap(), PublishedHeads::open(&path).unwrap());
        assert!(one.record(advance(None, 3)).unwrap().is_empty());
        assert_eq!(other.record(advance(None, 4)).unwrap().len(), 1);
        assert_eq!(other.head("example.com/a"), Some(head(3)));
        assert!(other.record(advance(Some(3), 4)).unwrap().is_empty());
    }

    #[test]
    fn never_goes_back_to_a_smaller_tree() {
        let directory = tempfile::tempdir().unwrap();
        let heads = PublishedHeads::open(&directory.path().join("published-heads")).unwrap();
        assert!(heads.record(advance(None, 3)).unwrap().is_empty());
        assert_eq!(heads.record(advance(Some(3), 2)).unwrap().len(), 1);
        assert_eq!(heads.head("example.com/a"), Some(head(3)));
    }

    #[test]
    fn a_line_torn_by_a_crash_was_never_published() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("published-heads");
        PublishedHeads::open(&path).unwrap().record(advance(None, 3)).unwrap();
        let torn = format_line("example.com/a", &head(9));
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&torn.as_bytes()[..torn.len() - 1]).unwrap();
        let heads = PublishedHeads::open(&path).unwrap();
        assert_eq!(heads.head("example.com/a"), Some(head(3)));
        assert!(heads.record(advance(Some(3), 4)).unwrap().is_empty());
        assert_eq!(PublishedHeads::open(&path).unwrap().head("example.com/a"), Some(head(4)));
    }

    #[test]
    fn refuses_a_file_with_a_line_that_cannot_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("published-heads");
        std::fs::write(&path, "7 root example.com/a\n").unwrap();
        assert_eq!(PublishedHeads::open(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn stays_small_and_is_shared_while_it_is_rewritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("published-heads");
        let (one, other) = (PublishedHeads::open(&path).unwrap(), PublishedHeads::open(&path).unwrap());
        let mut last = None;
        for size in 1..=(SPARE_LINES as u64 + 20) {
            assert!(one.record(advance(last, size)).unwrap().is_empty());
            last = Some(size);
        }
        assert!(std::fs::metadata(&path).unwrap().len() < 4096);
        assert_eq!(other.record(advance(None, 1)).unwrap().len(), 1);
        assert_eq!(other.head("example.com/a"), last.map(head));
        let next = last.map_or(0, |size| size + 1);
        assert!(other.record(advance(last, next)).unwrap().is_empty());
        assert!(one.record(advance(Some(next), next + 1)).unwrap().is_empty());
    }
}
