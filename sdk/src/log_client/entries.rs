//! Reading consecutive entries: a group of bundles at a time is proven as a whole.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use attestlog_core::{Checkpoint, LeafIndex, LogRead, TILE_WIDTH};
use futures_util::stream::{self, BoxStream, StreamExt};

use super::{LogClient, LogEntry, not_covered};
use crate::read_error::ReadError;

const BUNDLE: u64 = TILE_WIDTH as u64;

/// A group grows while its entries are small, and shrinks where they are large, so that memory stays at a few groups.
const MOST_BUNDLES: u64 = 8;
const SMALL_GROUP: usize = 1 << 20;
const LARGE_GROUP: usize = 4 << 20;

/// Where a run of entries is read next.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) next: u64,
    pub(crate) end: u64,
    pub(crate) head: Arc<Checkpoint>,
    pub(crate) bundles: u64,
}

impl Run {
    /// The next group of entries, none at the end. After an error it may be asked again.
    pub(crate) async fn group(&mut self, client: &LogClient) -> Result<Vec<LogEntry>, ReadError> {
        if self.next >= self.end {
            return Ok(Vec::new());
        }
        let boundary = (self.next / BUNDLE).saturating_add(self.bundles).saturating_mul(BUNDLE);
        let end = boundary.min(self.end);
        let entries = client.read(&self.head, self.next, end).await?;
        // A newer head, if the log has taken the old one's partial tiles away.
        if let Some(last) = entries.last() {
            self.head = Arc::clone(&last.checkpoint);
        }
        let bytes: usize = entries.iter().map(|entry| entry.data.len()).sum();
        if bytes < SMALL_GROUP && self.bundles < MOST_BUNDLES {
            self.bundles *= 2;
        } else if bytes > LARGE_GROUP && self.bundles > 1 {
            self.bundles /= 2;
        }
        self.next = end;
        Ok(entries)
    }
}

/// What is to be read, before anything is known of the log.
enum State {
    Range(u64, Option<u64>),
    Run(Run),
    Failed,
}

/// The entries of a range as a stream.
pub(super) fn stream(
    client: LogClient,
    range: &impl RangeBounds<u64>,
) -> BoxStream<'static, Result<LogEntry, ReadError>> {
    let first = match range.start_bound() {
        Bound::Included(&first) => first,
        Bound::Excluded(&before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&last) => Some(last.saturating_add(1)),
        Bound::Excluded(&end) => Some(end),
        Bound::Unbounded => None,
    };
    let groups = stream::unfold((client, State::Range(first, end)), async |(client, state)| {
        let group = match state {
            State::Failed => return None,
            State::Range(first, end) => begin(&client, first, end).await,
            State::Run(run) => Ok(run),
        };
        let group = match group {
            Ok(mut run) => run.group(&client).await.map(|entries| (entries, run)),
            Err(error) => Err(error),
        };
        match group {
            Ok((entries, _)) if entries.is_empty() => None,
            Ok((entries, run)) => {
                let entries: Vec<_> = entries.into_iter().map(Ok).collect();
                Some((stream::iter(entries), (client, State::Run(run))))
            }
            Err(error) => Some((stream::iter(vec![Err(error)]), (client, State::Failed))),
        }
    });
    groups.flatten().boxed()
}

async fn begin(client: &LogClient, first: u64, end: Option<u64>) -> Result<Run, ReadError> {
    let head = match end {
        Some(end) if end <= first => client.covering(0).await?,
        Some(end) => client.covering(end).await?,
        None => Arc::new(client.checkpoint().await?),
    };
    if end.is_none() && first > head.size().0 {
        return Err(not_covered(first, &head));
    }
    let end = end.unwrap_or(head.size().0);
    Ok(Run { next: first, end, head, bundles: 1 })
}

impl LogClient {
    /// The entries `[first, end)`, proven by `head`, or by a newer one.
    pub(crate) async fn read(
        &self,
        head: &Arc<Checkpoint>,
        first: u64,
        end: u64,
    ) -> Result<Vec<LogEntry>, ReadError> {
        match self.read_under(head, first, end).await {
            // A log may take away a partial tile once the full one is there (tlog-tiles); a newer head does not ask for
            // it.
            Err(ReadError::Unchecked { code, detail, status: Some(404) }) => {
                let newer = self.checkpoint().await?;
                if newer.size() <= head.size() {
                    return Err(ReadError::Unchecked { code, detail, status: Some(404) });
                }
                self.read_under(&Arc::new(newer), first, end).await
            }
            result => result,
        }
    }

    async fn read_under(
        &self,
        head: &Arc<Checkpoint>,
        first: u64,
        end: u64,
    ) -> Result<Vec<LogEntry>, ReadError> {
        let read = LogRead::entries(LeafIndex(first)..LeafIndex(end), head.size())
            .map_err(|error| ReadError::of(error.into(), "entries", Some(head)))?;
        let (tree, before) = (head.head(), usize::try_from(first - read.first().0).unwrap_or(usize::MAX));
        let count = usize::try_from(end - first).unwrap_or(usize::MAX);
        let open = |parts: &[bytes::Bytes]| {
            let entries = read.open_entries(parts, &tree)?;
            Ok(entries.into_iter().skip(before).take(count).map(<[u8]>::to_vec).collect::<Vec<_>>())
        };
        let entries = self.answers().proven(&read, Some(head), open).await?;
        let entry = |(index, data)| LogEntry { index, data, checkpoint: Arc::clone(head) };
        Ok((first..).zip(entries).map(entry).collect())
    }
}
