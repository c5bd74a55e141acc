//! Goes through a part of a log, entry by entry: to find what a filter takes, and to write rows of it.
//!
//! Every entry of the part is looked at, so nothing depends on the search index: it may be behind, or off.

use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{Entry, Format, Rows};
use crate::partial_file::PartialFile;
use crate::progress::Progress;
use crate::search::Filter;
use crate::store::search::{EVENTS_AT_ONCE, StoredEvent};
use crate::store::{Log, Store, StoreError};

/// Why not all entries could be gone through.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// The database has no entry at an index of the tree.
    #[error("entry {0} is missing: run attestlog fsck")]
    Missing(u64),
    /// The database could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The rows could not be written.
    #[error("{path}: {source}")]
    Io {
        /// Where to.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The caller asked to stop.
    #[error("the export was ended before it was complete")]
    Cancelled,
}

/// The indexes of the entries in a range that the filter takes, in order.
///
/// # Errors
/// [`SelectError`].
pub async fn find(
    store: &dyn Store,
    log: &Log,
    range: Range<u64>,
    filter: &Filter,
    progress: &Progress,
) -> Result<Vec<u64>, SelectError> {
    progress.expect(range.end.saturating_sub(range.start));
    let mut found = Vec::new();
    let mut part = range;
    while let Some(events) = next(store, log, &mut part, progress).await? {
        found.extend(events.iter().filter(|event| takes(filter, event)).map(|event| event.index.0));
    }
    Ok(found)
}

/// Writes the rows of the entries in a range that the filter takes into the file, replacing what is there once all are
/// written. Returns how many there are.
///
/// # Errors
/// [`SelectError`]; then nothing has changed under the name.
pub async fn write_file(
    store: &dyn Store,
    log: &Log,
    range: Range<u64>,
    filter: Option<&Filter>,
    format: Format,
    target: &Path,
    progress: &Progress,
) -> Result<u64, SelectError> {
    let io_error = |source| SelectError::Io { path: target.to_owned(), source };
    let partial = PartialFile::create(target, ".partial").map_err(io_error)?;
    let out = partial.file().map_err(io_error)?;
    let count = write(store, log, range, filter, format, (target, out), progress).await?;
    partial.publish(target).map_err(io_error)?;
    Ok(count)
}

/// Writes rows as they come to a writer, which has a name for errors. Returns how many there are.
///
/// # Errors
/// [`SelectError`].
pub async fn write(
    store: &dyn Store,
    log: &Log,
    range: Range<u64>,
    filter: Option<&Filter>,
    format: Format,
    (name, out): (&Path, impl Write + Send),
    progress: &Progress,
) -> Result<u64, SelectError> {
    let io_error = |source| SelectError::Io { path: name.to_owned(), source };
    progress.expect(range.end.saturating_sub(range.start));
    let mut rows = Rows::new(format, BufWriter::with_capacity(1 << 16, out)).map_err(io_error)?;
    let (mut count, mut part) = (0, range);
    while let Some(events) = next(store, log, &mut part, progress).await? {
        for event in events.iter().filter(|event| filter.is_none_or(|filter| takes(filter, event))) {
            let (origin, index, data) = (&*log.origin, event.index, &*event.data);
            let entry = Entry { origin, index, appended_at: appended_at(event)?, data };
            rows.write(&entry).map_err(io_error)?;
            count += 1;
        }
    }
    rows.finish().map_err(io_error)?;
    Ok(count)
}

/// The next entries of the part, which begins after them then; `None` at its end.
async fn next(
    store: &dyn Store,
    log: &Log,
    part: &mut Range<u64>,
    progress: &Progress,
) -> Result<Option<Vec<StoredEvent>>, SelectError> {
    if part.is_empty() {
        return Ok(None);
    }
    if progress.stop.is_cancelled() {
        return Err(SelectError::Cancelled);
    }
    let indexes: Vec<u64> = part.by_ref().take(EVENTS_AT_ONCE).collect();
    let events = store.search().events(log.id, &indexes).await?;
    if let Some(missing) = indexes.iter().zip(&events).find(|(index, event)| **index != event.index.0) {
        return Err(SelectError::Missing(*missing.0));
    }
    if let Some(missing) = indexes.get(events.len()) {
        return Err(SelectError::Missing(*missing));
    }
    progress.add(events.len() as u64);
    Ok(Some(events))
}

fn takes(filter: &Filter, event: &StoredEvent) -> bool {
    let (fields, time) = event.read();
    filter.matches(&fields, time)
}

fn appended_at(event: &StoredEvent) -> Result<Timestamp, SelectError> {
    Timestamp::from_microsecond(event.appended_at)
        .map_err(|_| StoreError::Damaged(format!("entry {} was appended at no time", event.index)).into())
}
