//! Where the last head of a log is kept, with compare and swap; and the evidence where two contradict each other.
//!
//! In a file, the head is the signed note itself, replaced in one step under a lock that processes share; beside it
//! `FILE.evidence.ndjson` holds what was found against the log.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::Evidence;
use crate::private_file;

/// A log could sign other histories without end; the first few of them prove as much.
const MOST_EVIDENCE: usize = 16;

/// The head and the evidence of one log.
#[derive(Clone, Debug)]
pub(super) enum Heads {
    Memory(Arc<Mutex<Memory>>),
    File(PathBuf),
}

#[derive(Debug, Default)]
pub(super) struct Memory {
    head: Option<String>,
    evidence: Vec<Evidence>,
}

impl Heads {
    pub(super) fn get(&self) -> io::Result<Option<String>> {
        match self {
            Self::Memory(memory) => Ok(lock(memory).head.clone()),
            Self::File(path) => read(path),
        }
    }

    /// Puts `next` in the place of `expected`, durable when this returns; false, and no change, if another stands there.
    pub(super) fn replace(&self, expected: Option<&str>, next: &str) -> io::Result<bool> {
        match self {
            Self::Memory(memory) => {
                let mut memory = lock(memory);
                let equal = memory.head.as_deref() == expected;
                if equal {
                    memory.head = Some(next.to_owned());
                }
                Ok(equal)
            }
            Self::File(path) => locked(path, || {
                let equal = read(path)?.as_deref() == expected;
                if equal {
                    private_file::replace(path, next.as_bytes(), true)?;
                }
                Ok(equal)
            }),
        }
    }

    pub(super) fn evidence(&self) -> io::Result<Vec<Evidence>> {
        match self {
            Self::Memory(memory) => Ok(lock(memory).evidence.clone()),
            Self::File(path) => read_evidence(path),
        }
    }

    /// Keeps it beside what is there; the same twice is kept once.
    pub(super) fn add_evidence(&self, added: Evidence) -> io::Result<()> {
        let fits = |evidence: &[Evidence]| evidence.len() < MOST_EVIDENCE && !evidence.contains(&added);
        match self {
            Self::Memory(memory) => {
                let mut memory = lock(memory);
                if fits(&memory.evidence) {
                    memory.evidence.push(added);
                }
                Ok(())
            }
            Self::File(path) => locked(path, || {
                if !fits(&read_evidence(path)?) {
                    return Ok(());
                }
                // What a crash has cut off before stands on a line of its own, which counts for nothing.
                let mut line = b"\n".to_vec();
                serde_json::to_writer(&mut line, &added)?;
                line.push(b'\n');
                let path = evidence_path(path);
                let mut file = private_file::options().append(true).create(true).open(&path)?;
                file.write_all(&line)?;
                file.sync_all()?;
                private_file::sync_directory(private_file::parent(&path))
            }),
        }
    }
}

fn lock(memory: &Mutex<Memory>) -> std::sync::MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(path: &Path) -> io::Result<Option<String>> {
    let text =
        |bytes| String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
    private_file::read(path)?.map(text).transpose()
}

fn evidence_path(path: &Path) -> PathBuf {
    private_file::beside(path, ".evidence.ndjson")
}

fn read_evidence(path: &Path) -> io::Result<Vec<Evidence>> {
    let bytes = private_file::read(&evidence_path(path))?.unwrap_or_default();
    let lines = bytes.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    Ok(lines.collect())
}

/// Does this while no other process does something like it with this head.
fn locked<T>(path: &Path, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    private_file::create_directory(private_file::parent(path))?;
    let file = private_file::beside(path, ".lock");
    let lock = private_file::options().write(true).create(true).truncate(false).open(file)?;
    lock.lock()?;
    // Unlocked when it is closed.
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_replaced_only_where_the_expected_one_stands_and_is_there_for_the_next_process() {
        let folder = std::env::temp_dir().join(format!("attestlog-heads-{}", std::process::id()));
        let file = folder.join("deep/head");
        for heads in [Heads::Memory(Arc::default()), Heads::File(file.clone())] {
            assert_eq!(heads.get().unwrap(), None);
            assert!(!heads.replace(Some("other"), "one").unwrap());
            assert!(heads.replace(None, "one").unwrap());
            assert!(!heads.replace(None, "two").unwrap());
            assert!(heads.replace(Some("one"), "two").unwrap());
            let evidence = |number: usize| Evidence { kept: "a\nb".to_owned(), shown: number.to_string() };
            for number in [1, 1, 2] {
                heads.add_evidence(evidence(number)).unwrap();
            }
            assert_eq!(heads.evidence().unwrap(), [evidence(1), evidence(2)]);
            (0..100).for_each(|number| heads.add_evidence(evidence(number)).unwrap());
            assert_eq!(heads.evidence().unwrap().len(), MOST_EVIDENCE);
        }
        let lines = std::fs::read_to_string(folder.join("deep/head.evidence.ndjson")).unwrap();
        assert!(lines.starts_with("\n{\"kept\":\"a\\nb\",\"shown\":\"1\"}\n\n{"), "{lines}");
        assert_eq!(Heads::File(file).get().unwrap().as_deref(), Some("two"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
