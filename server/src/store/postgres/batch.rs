//! The transaction that processes a batch on PostgreSQL: the same number of statements however many logs have news.

use std::ops::Range;

use async_trait::async_trait;
use attestlog_core::{Hash, LeafIndex};
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use sqlx::postgres::{PgPool, PgRow};
use sqlx::{Decode, Postgres, Row, Transaction, Type};

use super::{TreeRow, begin_locked, classify, to_i32, to_i64, to_u64, within};
use crate::store::{Batch, LogId, ProcessedEntry, StoreError, Ticket, Tree, TreeChange};

/// Takes the lock, and has the database give it up soon if this server vanishes in the middle of the batch: after ten
/// seconds of silence within the transaction, or when what it sent is not acknowledged.
const BEGIN: &str = "select pg_try_advisory_xact_lock(6962, 1)
    from (select set_config('idle_in_transaction_session_timeout', '10s', true),
                 set_config('tcp_keepalives_idle', '10', true),
                 set_config('tcp_keepalives_interval', '5', true),
                 set_config('tcp_keepalives_count', '3', true),
                 set_config('tcp_user_timeout', '30s', true),
                 set_config('synchronous_commit', case when current_setting('synchronous_commit') in ('off', 'local')
                                                  then 'on' else current_setting('synchronous_commit') end, true),
                 -- Statistics do not fit tables of few rows and many old versions.
                 set_config('enable_seqscan', 'off', true)
          offset 0) settings";

/// A transaction that holds the lock.
pub(super) struct PostgresBatch {
    transaction: Transaction<'static, Postgres>,
}

impl PostgresBatch {
    /// Begins one; `None` while another server is in one.
    pub(super) async fn begin(pool: &PgPool) -> Result<Option<Self>, StoreError> {
        Ok(begin_locked(pool, BEGIN).await?.map(|transaction| Self { transaction }))
    }

    /// Replaces the edges of the trees, on the condition that all of them still have the size that was read.
    async fn replace_edges(&mut self, changes: &[TreeChange]) -> Result<(), StoreError> {
        let logs: Vec<i64> = changes.iter().map(|change| change.log.0).collect();
        let old_sizes: Vec<i64> = changes.iter().map(|change| to_i64(change.old_size.0)).collect();
        let sizes: Vec<i64> = changes.iter().map(|change| to_i64(change.edge.size().0)).collect();
        let edges: Vec<Vec<u8>> = changes.iter().map(|change| change.edge.format()).collect();
        let signed: Vec<bool> = changes.iter().map(|change| change.checkpoint.is_some()).collect();
        let mut replaced: Vec<i64> = within(
            sqlx::query_scalar(
                "update attestlog.tree t
                 set size = c.size, edge = c.edge,
                     signed_size = case when c.signed then c.size else t.signed_size end
                 from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::boolean[])
                     as c (log_id, old_size, size, edge, signed)
                 where t.log_id = c.log_id and t.size = c.old_size
                 returning t.log_id",
            )
            .bind(logs)
            .bind(old_sizes)
            .bind(sizes)
            .bind(edges)
            .bind(signed)
            .fetch_all(&mut *self.transaction),
        )
        .await?;
        replaced.sort_unstable();
        match changes.iter().find(|change| replaced.binary_search(&change.log.0).is_err()) {
            Some(change) => Err(StoreError::TreeMoved(change.log)),
            None => Ok(()),
        }
    }

    /// Adds full tiles and checkpoints, which never change again.
    async fn add_tiles_and_checkpoints(&mut self, changes: &[TreeChange]) -> Result<(), StoreError> {
        let (mut tile_logs, mut levels, mut indexes, mut hashes) = (vec![], vec![], vec![], vec![]);
        let (mut checkpoint_logs, mut sizes, mut notes) = (vec![], vec![], vec![]);
        for change in changes {
            for tile in &change.full_tiles {
                tile_logs.push(change.log.0);
                levels.push(i16::from(tile.id.level));
                indexes.push(to_i64(tile.id.index));
                hashes.push(attestlog_core::format_tile(&tile.hashes));
            }
            if let Some(note) = &change.checkpoint {
                checkpoint_logs.push(change.log.0);
                sizes.push(to_i64(change.edge.size().0));
                notes.push(note.as_slice());
            }
        }
        if tile_logs.is_empty() && checkpoint_logs.is_empty() {
            return Ok(());
        }
        within(
            sqlx::query(
                "with tiles as (
                     insert into attestlog.tile (log_id, level, index, hashes)
                         select * from unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::bytea[])
                 )
                 insert into attestlog.checkpoint (log_id, size, note)
                     select * from unnest($5::bigint[], $6::bigint[], $7::bytea[])",
            )
            .bind(tile_logs)
            .bind(levels)
            .bind(indexes)
            .bind(hashes)
            .bind(checkpoint_logs)
            .bind(sizes)
            .bind(notes)
            .execute(&mut *self.transaction),
        )
        .await?;
        Ok(())
    }
}

/// Reads rows of log, index, ticket, entry and leaf hash. The entries share one piece of memory.
async fn processed_entries(
    mut rows: impl Stream<Item = Result<PgRow, sqlx::Error>> + Send + Unpin,
) -> Result<Vec<ProcessedEntry>, StoreError> {
    let (mut data, mut entries) = (Vec::new(), Vec::new());
    while let Some(row) = within(rows.try_next()).await? {
        let (log, id, ticket): (i64, i64, i64) = (column(&row, 0)?, column(&row, 1)?, column(&row, 2)?);
        let begin = data.len();
        data.extend_from_slice(column(&row, 3)?);
        let leaf_hash = Hash::from_slice(column(&row, 4)?).ok_or_else(|| {
            StoreError::Damaged(format!("the leaf hash of entry {id} of log {log} is no hash"))
        })?;
        entries.push((LogId(log), LeafIndex(to_u64(id)?), Ticket(ticket), begin..data.len(), leaf_hash));
    }
    let data = Bytes::from(data);
    let entry = |(log, index, ticket, place, leaf_hash): (_, _, _, Range<usize>, _)| {
        let data = data.slice(place);
        ProcessedEntry { log, index, ticket, data, leaf_hash: Some(leaf_hash) }
    };
    Ok(entries.into_iter().map(entry).collect())
}

fn column<'r, T: Decode<'r, Postgres> + Type<Postgres>>(
    row: &'r PgRow,
    number: usize,
) -> Result<T, StoreError> {
    row.try_get(number).map_err(classify)
}

#[async_trait]
impl Batch for PostgresBatch {
    async fn entries_beyond_trees(&mut self, limit: u32) -> Result<Vec<ProcessedEntry>, StoreError> {
        let rows = sqlx::query(
            "select p.log_id, p.id, p.source_id, p.data, p.leaf_hash
                 from attestlog.tree t cross join lateral (
                     select * from attestlog.processed_log p
                     where p.log_id = t.log_id and p.id >= t.size order by p.id limit $1
                 ) p
                 order by p.log_id, p.id limit $1",
        )
        .bind(i64::from(limit))
        .fetch(&mut *self.transaction);
        processed_entries(rows).await
    }

    async fn process_next_batch(
        &mut self,
        max_rows: u32,
        look_at_everything: bool,
    ) -> Result<Vec<ProcessedEntry>, StoreError> {
        let rows = sqlx::query(
            "select log_id, id, source_id, data, leaf_hash from attestlog.process_next_batch($1, $2)",
        )
        .bind(to_i32(max_rows.max(1)))
        .bind(look_at_everything)
        .fetch(&mut *self.transaction);
        let mut entries = processed_entries(rows).await?;
        entries.sort_by_key(|entry| (entry.log, entry.index));
        Ok(entries)
    }

    async fn trees(&mut self, logs: &[LogId]) -> Result<Vec<Tree>, StoreError> {
        let logs: Vec<i64> = logs.iter().map(|log| log.0).collect();
        let rows: Vec<TreeRow> = within(
            sqlx::query_as(
                "select t.log_id, t.size, t.edge, t.signed_size
                 from unnest($1::bigint[]) wanted cross join lateral (
                     select * from attestlog.tree where log_id = wanted order by size desc limit 1
                 ) t
                 order by t.log_id",
            )
            .bind(logs)
            .fetch_all(&mut *self.transaction),
        )
        .await?;
        rows.into_iter().map(TreeRow::into_tree).collect()
    }

    async fn unsigned_trees(&mut self, limit: u32) -> Result<Vec<Tree>, StoreError> {
        let rows: Vec<TreeRow> = within(
            sqlx::query_as(
                "select log_id, size, edge, signed_size from attestlog.tree
                 where signed_size < size order by log_id limit $1",
            )
            .bind(i64::from(limit))
            .fetch_all(&mut *self.transaction),
        )
        .await?;
        rows.into_iter().map(TreeRow::into_tree).collect()
    }

    async fn write(&mut self, changes: &[TreeChange]) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        // First the condition: a tile that another server has written would be refused for its key.
        self.replace_edges(changes).await?;
        self.add_tiles_and_checkpoints(changes).await
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        within(self.transaction.commit()).await
    }
}
