//! `refused.ndjson` in a spool: the events that the log refused for good, each with the reason, each once.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use attestlog_core::Hash;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::error::RefusedEvent;
use crate::private_file;

/// The file, and what is in it.
#[derive(Debug)]
pub(super) struct RefusedFile {
    path: PathBuf,
    file: Option<File>,
    seen: HashSet<[u8; 32]>,
}

/// A line of it.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    refused_at: String,
    status: u16,
    code: String,
    detail: String,
    /// The very bytes that were sent.
    #[serde(borrow)]
    event: &'a RawValue,
}

impl RefusedFile {
    /// Reads what is there. A last line that a crash has cut off is removed: its event is still in the spool.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let Some(bytes) = private_file::read(&path)? else {
            return Ok(Self { path, file: None, seen: HashSet::new() });
        };
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        let seen = bytes.get(..whole).unwrap_or_default().split(|&byte| byte == b'\n').filter_map(|line| {
            let line: Line<'_> = serde_json::from_slice(line).ok()?;
            Some(Hash::leaf(line.event.get().as_bytes()).0)
        });
        let seen = seen.collect();
        let file = open(&path)?;
        if whole < bytes.len() {
            file.set_len(whole as u64)?;
        }
        Ok(Self { path, file: Some(file), seen })
    }

    /// Adds an event, durable when this returns, unless it is there.
    pub(super) fn add(&mut self, refused: &RefusedEvent) -> io::Result<()> {
        let hash = Hash::leaf(&refused.entry).0;
        // Whoever has taken the file away wants to see new ones in a new file.
        if !self.path.exists() {
            (self.file, self.seen) = (None, HashSet::new());
        }
        if self.seen.contains(&hash) {
            return Ok(());
        }
        let mut line = serde_json::to_vec(&Line {
            refused_at: jiff::Timestamp::now().to_string(),
            status: refused.refusal.status,
            code: refused.refusal.code.clone(),
            detail: refused.refusal.detail.clone(),
            event: serde_json::from_slice(&refused.entry)?,
        })?;
        line.push(b'\n');
        let mut file = match self.file.take() {
            Some(file) => file,
            None => {
                let file = open(&self.path)?;
                private_file::sync_directory(private_file::parent(&self.path))?;
                file
            }
        };
        let before = file.metadata()?.len();
        if let Err(error) = file.write_all(&line).and_then(|()| file.sync_data()) {
            // The event stays in the spool until it is here; half a line would spoil the next one.
            let _ = file.set_len(before);
            return Err(error);
        }
        self.file = Some(file);
        self.seen.insert(hash);
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    private_file::options().append(true).create(true).open(path)
}
