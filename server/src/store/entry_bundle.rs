//! An entry bundle in the making, from entries that must follow each other.

use std::ops::Range;

use attestlog_core::{extend_bundle, validate_entry_size};

use super::{LogId, StoreError};

/// The entries of a range as far as they have been read.
pub(super) struct EntryBundle {
    log: LogId,
    /// The indexes that are still to come.
    rest: Range<u64>,
    bytes: Vec<u8>,
}

impl EntryBundle {
    pub(super) const fn new(log: LogId, range: Range<u64>) -> Self {
        Self { log, rest: range, bytes: Vec::new() }
    }

    /// Takes the next entry.
    pub(super) fn push(&mut self, index: u64, entry: &[u8]) -> Result<(), StoreError> {
        if self.missing() != Some(index) {
            return Err(self.damaged());
        }
        self.rest.start += 1;
        let checked = validate_entry_size(entry.len()).and_then(|()| extend_bundle(&mut self.bytes, entry));
        checked.map_err(|error| StoreError::Damaged(format!("entry {index} of log {}: {error}", self.log.0)))
    }

    /// The first index that has not come.
    pub(super) fn missing(&self) -> Option<u64> {
        (!self.rest.is_empty()).then_some(self.rest.start)
    }

    /// What it means if there are others after the one that is [missing](Self::missing).
    pub(super) fn damaged(&self) -> StoreError {
        StoreError::Damaged(format!("entry {} of log {} is missing", self.rest.start, self.log.0))
    }

    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        // Caches keep it for long.
        self.bytes.shrink_to_fit();
        self.bytes
    }
}
