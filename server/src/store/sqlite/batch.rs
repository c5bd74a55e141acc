//! The transaction that processes a batch.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use async_trait::async_trait;
use attestlog_core::{Hash, LeafIndex, format_tile};
use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::OwnedMutexGuard;

use super::super::{Batch, LogId, MAX_READ_BYTES, ProcessedEntry, StoreError, Ticket, Tree, TreeChange};
use super::connection::{WriteTransaction, column, failed, number, portions, stored, with_rows};
use super::read::{json, parse_tree};

#[derive(Debug)]
pub(super) struct SqliteBatch {
    transaction: WriteTransaction,
    _only: OwnedMutexGuard<()>,
}

impl SqliteBatch {
    pub(super) const fn new(transaction: WriteTransaction, only: OwnedMutexGuard<()>) -> Self {
        Self { transaction, _only: only }
    }
}

#[async_trait]
impl Batch for SqliteBatch {
    async fn entries_beyond_trees(&mut self, limit: u32) -> Result<Vec<ProcessedEntry>, StoreError> {
        entries_in_no_tree(self.transaction.connection()?, limit).await
    }

    async fn process_next_batch(
        &mut self,
        max_rows: u32,
        _look_at_everything: bool,
    ) -> Result<Vec<ProcessedEntry>, StoreError> {
        let connection = self.transaction.connection()?;
        let waiting = next_waiting(connection, max_rows).await?;
        let moves = give_indexes(connection, waiting).await?;
        move_rows(connection, &moves).await?;
        Ok(moves)
    }

    async fn trees(&mut self, logs: &[LogId]) -> Result<Vec<Tree>, StoreError> {
        let rows = sqlx::query(
            "select log_id, size, edge, signed_size from tree where log_id in (select value from json_each(?))
             order by log_id",
        );
        let rows = rows.bind(json(logs.iter().map(|log| log.0.to_string())));
        let rows = rows.fetch_all(self.transaction.connection()?).await.map_err(failed)?;
        rows.iter().map(parse_tree).collect()
    }

    async fn unsigned_trees(&mut self, limit: u32) -> Result<Vec<Tree>, StoreError> {
        let rows = sqlx::query(
            "select log_id, size, edge, signed_size from tree where signed_size < size order by log_id limit ?",
        );
        let rows = rows.bind(i64::from(limit)).fetch_all(self.transaction.connection()?);
        rows.await.map_err(failed)?.iter().map(parse_tree).collect()
    }

    async fn write(&mut self, changes: &[TreeChange]) -> Result<(), StoreError> {
        let connection = self.transaction.connection()?;
        for portion in portions(changes) {
            update_trees(connection, portion).await?;
        }
        insert_tiles(connection, changes).await?;
        insert_checkpoints(connection, changes).await
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.transaction.commit().await
    }
}

/// Rows that an earlier batch moved and no tree has: there are none unless someone moved them by hand.
async fn entries_in_no_tree(
    connection: &mut SqliteConnection,
    limit: u32,
) -> Result<Vec<ProcessedEntry>, StoreError> {
    let rows = sqlx::query(
        "select p.log_id, p.id, p.source_id, p.data, p.leaf_hash
         from tree t cross join processed_log p on p.log_id = t.log_id and p.id >= t.size
         order by p.log_id, p.id limit ?",
    );
    let rows = rows.bind(i64::from(limit)).fetch_all(connection).await.map_err(failed)?;
    let entry = |row| {
        let leaf_hash = Hash::from_slice(column(row, 4)?)
            .ok_or_else(|| StoreError::Damaged("a leaf hash has not 32 bytes".to_owned()))?;
        Ok(ProcessedEntry {
            log: LogId(column(row, 0)?),
            index: LeafIndex(number(column(row, 1)?)?),
            ticket: Ticket(column(row, 2)?),
            data: column::<Vec<u8>>(row, 3)?.into(),
            leaf_hash: Some(leaf_hash),
        })
    };
    rows.iter().map(entry).collect()
}

/// A row of `append_only_log`.
struct Waiting {
    ticket: Ticket,
    log: LogId,
    data: Vec<u8>,
}

/// The next rows in their order, at most `max_rows` and, but for the first, [`MAX_READ_BYTES`].
async fn next_waiting(connection: &mut SqliteConnection, max_rows: u32) -> Result<Vec<Waiting>, StoreError> {
    let rows = sqlx::query("select id, log_id, data from append_only_log order by id limit ?");
    let mut rows = rows.bind(i64::from(max_rows)).fetch(connection);
    let (mut waiting, mut bytes) = (Vec::new(), 0_usize);
    while let Some(row) = rows.try_next().await.map_err(failed)? {
        let data: Vec<u8> = column(&row, 2)?;
        bytes = bytes.saturating_add(data.len());
        if bytes > MAX_READ_BYTES && !waiting.is_empty() {
            break;
        }
        waiting.push(Waiting { ticket: Ticket(column(&row, 0)?), log: LogId(column(&row, 1)?), data });
    }
    Ok(waiting)
}

/// Gives each row the next index of its log, and orders them by log and index.
async fn give_indexes(
    connection: &mut SqliteConnection,
    mut waiting: Vec<Waiting>,
) -> Result<Vec<ProcessedEntry>, StoreError> {
    let logs: HashSet<LogId> = waiting.iter().map(|row| row.log).collect();
    let rows = sqlx::query(
        "select value, coalesce((select max(id) from processed_log where log_id = value) + 1, 0) from json_each(?)",
    );
    let rows = rows.bind(json(logs.iter().map(|log| log.0.to_string())));
    let mut next = HashMap::with_capacity(logs.len());
    for row in rows.fetch_all(connection).await.map_err(failed)? {
        next.insert(LogId(column(&row, 0)?), number(column(&row, 1)?)?);
    }
    waiting.sort_unstable_by_key(|row| (row.log, row.ticket));
    let leaf_hashes = Hash::leaves(waiting.iter().map(|row| row.data.as_slice()));
    let moves = waiting.into_iter().zip(leaf_hashes).map(|(Waiting { ticket, log, data }, leaf_hash)| {
        let next = next.entry(log).or_default();
        let index = LeafIndex(*next);
        *next = next.saturating_add(1);
        ProcessedEntry { log, index, ticket, leaf_hash: Some(leaf_hash), data: data.into() }
    });
    Ok(moves.collect())
}

/// Moves the rows, a run of consecutive tickets with a statement. What it needs to know of a row beside the row itself
/// is in two pieces of bytes, of fixed length a row: binding each value by itself takes longer than the move.
async fn move_rows(connection: &mut SqliteConnection, moves: &[ProcessedEntry]) -> Result<(), StoreError> {
    let mut by_ticket: Vec<&ProcessedEntry> = moves.iter().collect();
    by_ticket.sort_unstable_by_key(|entry| entry.ticket);
    let Some(last) = by_ticket.last().map(|entry| entry.ticket.0) else { return Ok(()) };
    let mut moved = 0;
    for run in by_ticket.chunk_by(|one, next| one.ticket.0 + 1 == next.ticket.0) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
        let (mut indexes, mut leaf_hashes) = (String::new(), Vec::with_capacity(run.len() * 32));
        for entry in run {
            let _ = write!(indexes, "{:020}", entry.index.0);
            leaf_hashes.extend_from_slice(entry.leaf_hash.as_ref().map_or(&[0; 32], |hash| &hash.0));
        }
        let query = sqlx::query(
            "insert into processed_log (log_id, id, source_id, appended_at, leaf_hash, data)
             select log_id, cast(substr(?3, (id - ?1) * 20 + 1, 20) as integer), id, appended_at,
                    substr(?4, (id - ?1) * 32 + 1, 32), data
             from append_only_log where id between ?1 and ?2",
        );
        let query = query.bind(first.ticket.0).bind(last.ticket.0);
        let query = query.bind(indexes.into_bytes()).bind(leaf_hashes);
        moved += query.execute(&mut *connection).await.map_err(failed)?.rows_affected();
    }
    // These are the rows up to the last id, all of them: nobody else has written since they were read.
    let deleted = sqlx::query("delete from append_only_log where id <= ?").bind(last).execute(connection);
    let deleted = deleted.await.map_err(failed)?.rows_affected();
    if moved == deleted {
        return Ok(());
    }
    Err(StoreError::Damaged(format!("{moved} rows were moved to processed_log and {deleted} deleted")))
}

async fn update_trees(connection: &mut SqliteConnection, changes: &[TreeChange]) -> Result<(), StoreError> {
    let sql = with_rows(
        "with changed (log_id, old_size, size, edge, is_signed) as (",
        5,
        changes.len(),
        ") update tree set size = changed.size, edge = changed.edge,
                           signed_size = iif(is_signed, changed.size, signed_size)
           from changed where tree.log_id = changed.log_id and tree.size = old_size
           returning log_id",
    );
    let mut query = sqlx::query(sql);
    for change in changes {
        query = query
            .bind(change.log.0)
            .bind(stored(change.old_size.0))
            .bind(stored(change.edge.size().0))
            .bind(change.edge.format())
            .bind(change.checkpoint.is_some());
    }
    let mut written = HashSet::with_capacity(changes.len());
    for row in query.fetch_all(connection).await.map_err(failed)? {
        written.insert(LogId(column(&row, 0)?));
    }
    let moved = changes.iter().find(|change| !written.contains(&change.log));
    moved.map_or(Ok(()), |change| Err(StoreError::TreeMoved(change.log)))
}

async fn insert_tiles(connection: &mut SqliteConnection, changes: &[TreeChange]) -> Result<(), StoreError> {
    let tiles = changes.iter().flat_map(|change| change.full_tiles.iter().map(|tile| (change.log, tile)));
    let tiles: Vec<_> = tiles.collect();
    for portion in portions(&tiles) {
        let sql = with_rows("insert into tile (log_id, level, \"index\", hashes)", 4, portion.len(), "");
        let mut query = sqlx::query(sql);
        for (log, tile) in portion {
            query = query
                .bind(log.0)
                .bind(i64::from(tile.id.level))
                .bind(stored(tile.id.index))
                .bind(format_tile(&tile.hashes));
        }
        query.execute(&mut *connection).await.map_err(failed)?;
    }
    Ok(())
}

async fn insert_checkpoints(
    connection: &mut SqliteConnection,
    changes: &[TreeChange],
) -> Result<(), StoreError> {
    let signed = changes.iter().filter_map(|change| Some((change, change.checkpoint.as_deref()?)));
    let signed: Vec<_> = signed.collect();
    for portion in portions(&signed) {
        let sql = with_rows("insert into checkpoint (log_id, size, note)", 3, portion.len(), "");
        let mut query = sqlx::query(sql);
        for (change, note) in portion {
            query = query.bind(change.log.0).bind(stored(change.edge.size().0)).bind(*note);
        }
        query.execute(&mut *connection).await.map_err(failed)?;
    }
    Ok(())
}
