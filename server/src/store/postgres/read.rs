//! Reads full tiles, and the entries of a bundle or a page, from PostgreSQL. Long ranges are in `scan`.

use std::collections::HashMap;
use std::ops::Range;

use attestlog_core::{LeafIndex, TileId};
use futures_util::TryStreamExt;
use sqlx::Row;
use sqlx::postgres::PgPool;

use super::{to_i64, to_u64, within};
use crate::store::entry_bundle::EntryBundle;
use crate::store::{LogId, MAX_READ_BYTES, StoreError};

/// The most rows that one statement of [`entries`] looks at.
const ENTRIES_AT_ONCE: u32 = 4_096;

/// Those of these full tiles that exist.
pub(super) async fn tiles(
    pool: &PgPool,
    log: LogId,
    tiles: &[TileId],
) -> Result<HashMap<TileId, Vec<u8>>, StoreError> {
    // Most ask for one: a probe of the key.
    if let &[tile] = tiles {
        let one = "select hashes from attestlog.tile where log_id = $1 and level = $2 and index = $3";
        let one = sqlx::query_scalar(one).bind(log.0).bind(i16::from(tile.level)).bind(to_i64(tile.index));
        let hashes: Option<Vec<u8>> = within(one.fetch_optional(pool)).await?;
        return Ok(hashes.map(|hashes| (tile, hashes)).into_iter().collect());
    }
    // An index beyond the column's type is one that does not exist.
    let (levels, indexes): (Vec<i16>, Vec<i64>) = tiles
        .iter()
        .filter_map(|tile| Some((i16::from(tile.level), i64::try_from(tile.index).ok()?)))
        .unzip();
    let rows: Vec<(i16, i64, Vec<u8>)> = within(
        sqlx::query_as(
            "select level, index, hashes from attestlog.tile
             where log_id = $1 and (level, index) in (select * from unnest($2::smallint[], $3::bigint[]))",
        )
        .bind(log.0)
        .bind(levels)
        .bind(indexes)
        .fetch_all(pool),
    )
    .await?;
    let tile = |(level, index, hashes)| {
        let level = u8::try_from(level)
            .map_err(|_| StoreError::Damaged(format!("log {} has a tile at level {level}", log.0)))?;
        Ok((TileId { level, index: to_u64(index)? }, hashes))
    };
    rows.into_iter().map(tile).collect()
}

/// The entries from `from` on, at most `limit`, and no more than the first beyond [`MAX_READ_BYTES`].
pub(super) async fn entries(
    pool: &PgPool,
    log: LogId,
    from: LeafIndex,
    limit: u32,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let (mut entries, mut bytes, mut rest) = (Vec::new(), 0_usize, limit);
    while rest > 0 {
        let from = from.0.saturating_add(entries.len() as u64);
        let asked = rest.min(ENTRIES_AT_ONCE);
        let more = entries_at_once(pool, log, from, asked, MAX_READ_BYTES.saturating_sub(bytes)).await?;
        let found = u32::try_from(more.len()).unwrap_or(asked);
        bytes = more.iter().fold(bytes, |sum, entry| sum.saturating_add(entry.len()));
        entries.extend(more);
        if found < asked {
            break;
        }
        rest = rest.saturating_sub(found);
    }
    Ok(entries)
}

/// The entries from `from` on, at most `limit` of them and `max_bytes`.
async fn entries_at_once(
    pool: &PgPool,
    log: LogId,
    from: u64,
    limit: u32,
    max_bytes: usize,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let rows: Vec<(i64, Vec<u8>)> = within(
        sqlx::query_as(
            "select id, data from (
                 select id, data, sum(octet_length(data)) over (order by id) as bytes
                 from attestlog.processed_log where log_id = $1 and id >= $2 order by id limit $3
             ) entry where bytes <= $4 order by id",
        )
        .bind(log.0)
        .bind(to_i64(from))
        .bind(i64::from(limit))
        .bind(i64::try_from(max_bytes).unwrap_or(i64::MAX))
        .fetch_all(pool),
    )
    .await?;
    let mut entries = Vec::with_capacity(rows.len());
    for ((id, data), index) in rows.into_iter().zip(from..) {
        if to_u64(id)? != index {
            return Err(StoreError::Damaged(format!("entry {index} of log {} is missing", log.0)));
        }
        entries.push(data);
    }
    Ok(entries)
}

/// The entries of a range as an entry bundle; `None` if the log ends before.
pub(super) async fn entry_bundle(
    pool: &PgPool,
    log: LogId,
    range: Range<u64>,
) -> Result<Option<Vec<u8>>, StoreError> {
    let mut bundle = EntryBundle::new(log, range.clone());
    within(fill(pool, log, range, &mut bundle)).await??;
    match bundle.missing() {
        None => Ok(Some(bundle.into_bytes())),
        Some(missing) if is_gap(pool, log, missing).await? => Err(bundle.damaged()),
        Some(_) => Ok(None),
    }
}

/// Takes each entry from where it was received. Joined to one row, they would cost the database more.
async fn fill(
    pool: &PgPool,
    log: LogId,
    range: Range<u64>,
    bundle: &mut EntryBundle,
) -> Result<Result<(), StoreError>, sqlx::Error> {
    let mut rows = sqlx::query(
        "select id, data from attestlog.processed_log
         where log_id = $1 and id >= $2 and id < $3 order by id",
    )
    .bind(log.0)
    .bind(to_i64(range.start))
    .bind(to_i64(range.end))
    .fetch(pool);
    while let Some(row) = rows.try_next().await? {
        let (id, data) = (row.try_get(0)?, row.try_get(1)?);
        if let Err(damage) = to_u64(id).and_then(|index| bundle.push(index, data)) {
            return Ok(Err(damage));
        }
    }
    Ok(Ok(()))
}

/// Whether a later entry is there, so that the log does not end before the one that is missing.
async fn is_gap(pool: &PgPool, log: LogId, missing: u64) -> Result<bool, StoreError> {
    within(
        sqlx::query_scalar(
            "select not exists (select from attestlog.processed_log where log_id = $1 and id = $2)
                and exists (select from attestlog.processed_log where log_id = $1 and id > $2)",
        )
        .bind(log.0)
        .bind(to_i64(missing))
        .fetch_one(pool),
    )
    .await
}
