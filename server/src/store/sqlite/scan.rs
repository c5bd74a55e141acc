//! Reads many entries fast.
//!
//! sqlx hands over each row of SQLite through a channel from another thread, which costs more than reading and hashing
//! a small entry. So SQLite joins the entries of a chunk into one row: all entries one after the other, and lists of
//! their indexes and lengths.

use std::ops::{ControlFlow, Range};

use attestlog_core::{Hash, LeafIndex};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::super::entry_bundle::EntryBundle;
use super::super::{EntrySink, LogId, MAX_READ_BYTES, StoreError};
use super::connection::{column, failed, number, stored};

/// The entries of one row. At 65,535 bytes each they are 16 MB, at 300 bytes they outweigh the cost of a row.
const CHUNK: u32 = 256;

pub(super) async fn scan(
    readers: &SqlitePool,
    log: LogId,
    range: Range<u64>,
    sink: EntrySink<'_>,
) -> Result<(), StoreError> {
    let mut connection = readers.acquire().await.map_err(failed)?;
    read(&mut connection, log, range, u32::MAX, &mut |index, data, leaf_hash| {
        sink(index, data, leaf_hash);
        ControlFlow::Continue(())
    })
    .await
}

pub(super) async fn entries(
    readers: &SqlitePool,
    log: LogId,
    from: LeafIndex,
    limit: u32,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut connection = readers.acquire().await.map_err(failed)?;
    let end = from.0.saturating_add(limit.into());
    let (mut entries, mut bytes, mut next) = (Vec::new(), 0_usize, from.0);
    read(&mut connection, log, from.0..end, limit, &mut |index, data, _| {
        // The caller counts the indexes from `from` on.
        if index.0 != next || bytes > MAX_READ_BYTES {
            return ControlFlow::Break(());
        }
        (next, bytes) = (next.saturating_add(1), bytes.saturating_add(data.len()));
        entries.push(data.to_vec());
        ControlFlow::Continue(())
    })
    .await?;
    Ok(entries)
}

/// The entries of a range as an entry bundle; `None` if the log ends before.
pub(super) async fn entry_bundle(
    readers: &SqlitePool,
    log: LogId,
    range: Range<u64>,
) -> Result<Option<Vec<u8>>, StoreError> {
    let mut connection = readers.acquire().await.map_err(failed)?;
    let (mut bundle, mut damage) = (EntryBundle::new(log, range.clone()), None);
    read(&mut connection, log, range, u32::MAX, &mut |index, data, _| {
        damage = bundle.push(index.0, data).err();
        if damage.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .await?;
    if let Some(damage) = damage {
        return Err(damage);
    }
    let Some(missing) = bundle.missing() else { return Ok(Some(bundle.into_bytes())) };
    let is_gap = sqlx::query(
        "select not exists (select 1 from processed_log where log_id = ?1 and id = ?2)
            and exists (select 1 from processed_log where log_id = ?1 and id > ?2)",
    );
    let row = is_gap.bind(log.0).bind(stored(missing)).fetch_one(&mut *connection).await.map_err(failed)?;
    if column(&row, 0)? { Err(bundle.damaged()) } else { Ok(None) }
}

/// Receives index, entry and stored leaf hash, and says whether to go on.
type Visit<'a> = &'a mut (dyn FnMut(LeafIndex, &[u8], &[u8]) -> ControlFlow<()> + Send);

/// Visits the entries of the range that exist, in order, until told to stop. About `hint` of them are wanted.
async fn read(
    connection: &mut SqliteConnection,
    log: LogId,
    range: Range<u64>,
    hint: u32,
    visit: Visit<'_>,
) -> Result<(), StoreError> {
    let (mut from, end) = (stored(range.start), stored(range.end));
    while from < end {
        let chunk = sqlx::query(
            // Each statement is a snapshot of its own, which cannot matter: rows are only ever added, after these.
            "select group_concat(id), group_concat(length(data)), cast(group_concat(data, '') as blob),
                    cast(group_concat(leaf_hash, '') as blob), min(length(leaf_hash)), max(length(leaf_hash))
             from (select id, data, leaf_hash from processed_log
                   where log_id = ? and id >= ? and id < ? order by id limit ?)",
        );
        let row = chunk.bind(log.0).bind(from).bind(end).bind(i64::from(CHUNK.min(hint)));
        let row = row.fetch_one(&mut *connection).await.map_err(failed)?;
        let Some(chunk) = Chunk::parse(&row)? else { return Ok(()) };
        let Some(last) = chunk.indexes.last().copied() else { return Ok(()) };
        let flow = if chunk.is_consistent() {
            chunk.visit(visit)?
        } else {
            read_rows(connection, log, from..last.saturating_add(1), visit).await?
        };
        if flow.is_break() {
            return Ok(());
        }
        from = last.saturating_add(1);
    }
    Ok(())
}

/// The entries of a chunk, as SQLite joined them.
struct Chunk<'a> {
    indexes: Vec<i64>,
    lengths: Vec<usize>,
    data: &'a [u8],
    leaf_hashes: &'a [u8],
    /// Whether each leaf hash has 32 bytes.
    hashes_are_whole: bool,
}

impl<'a> Chunk<'a> {
    /// `None` if there are no entries.
    fn parse(row: &'a SqliteRow) -> Result<Option<Self>, StoreError> {
        let Some(indexes) = column::<Option<&str>>(row, 0)? else { return Ok(None) };
        let hash_length = i64::try_from(Hash::LEN).ok();
        Ok(Some(Self {
            indexes: parse_list(indexes)?,
            lengths: parse_list(column::<Option<&str>>(row, 1)?.unwrap_or_default())?,
            data: column::<Option<&[u8]>>(row, 2)?.unwrap_or_default(),
            leaf_hashes: column::<Option<&[u8]>>(row, 3)?.unwrap_or_default(),
            hashes_are_whole: column::<Option<i64>>(row, 4)? == hash_length
                && column::<Option<i64>>(row, 5)? == hash_length,
        }))
    }

    /// False in a damaged file: some column is null, or has a length that its constraint forbids.
    fn is_consistent(&self) -> bool {
        self.hashes_are_whole
            && self.indexes.len() == self.lengths.len()
            && self.indexes.len().checked_mul(Hash::LEN) == Some(self.leaf_hashes.len())
            && self.lengths.iter().sum::<usize>() == self.data.len()
    }

    fn visit(&self, visit: Visit<'_>) -> Result<ControlFlow<()>, StoreError> {
        let mut rest = self.data;
        let hashes = self.leaf_hashes.chunks(Hash::LEN);
        for ((&index, &length), leaf_hash) in self.indexes.iter().zip(&self.lengths).zip(hashes) {
            let (data, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = after;
            let flow = visit(LeafIndex(number(index)?), data, leaf_hash);
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn parse_list<T: std::str::FromStr>(list: &str) -> Result<Vec<T>, StoreError> {
    let numbers = list.split(',').filter(|number| !number.is_empty());
    numbers
        .map(|number| {
            number.parse().map_err(|_| StoreError::Damaged(format!("\"{number}\" is no index or length")))
        })
        .collect()
}

/// The same one row at a time: what a damaged file holds is shown as it is, a null as no bytes.
async fn read_rows(
    connection: &mut SqliteConnection,
    log: LogId,
    range: Range<i64>,
    visit: Visit<'_>,
) -> Result<ControlFlow<()>, StoreError> {
    let rows = sqlx::query(
        "select id, cast(data as blob), cast(leaf_hash as blob) from processed_log
         where log_id = ? and id >= ? and id < ? order by id",
    );
    let rows = rows.bind(log.0).bind(range.start).bind(range.end);
    for row in rows.fetch_all(connection).await.map_err(failed)? {
        let data = column::<Option<&[u8]>>(&row, 1)?.unwrap_or_default();
        let leaf_hash = column::<Option<&[u8]>>(&row, 2)?.unwrap_or_default();
        let flow = visit(LeafIndex(number(column(&row, 0)?)?), data, leaf_hash);
        if flow.is_break() {
            return Ok(flow);
        }
    }
    Ok(ControlFlow::Continue(()))
}
