//! What is read a row at a time: logs, tickets, trees, tiles and checkpoints. Entries are in `scan`.

use std::collections::HashMap;

use attestlog_core::{LeafIndex, RightEdge, TileId, TreeSize};
use sqlx::SqlitePool;
use sqlx::sqlite::SqliteRow;

use super::super::{Backlog, Events, Log, LogId, StoreError, StoredCheckpoint, Ticket, TicketState, Tree};
use super::connection::{column, failed, number, stored};

pub(super) async fn logs(readers: &SqlitePool) -> Result<Vec<(Log, TreeSize)>, StoreError> {
    let rows = sqlx::query(
        "select log_id, name, origin, vkey, events, signed_size from log join tree using (log_id) order by name",
    );
    let rows = rows.fetch_all(readers).await.map_err(failed)?;
    rows.iter().map(|row| Ok((parse_log(row)?, TreeSize(number(column(row, 5)?)?)))).collect()
}

pub(super) async fn log(readers: &SqlitePool, name: &str) -> Result<Option<Log>, StoreError> {
    let row = sqlx::query("select log_id, name, origin, vkey, events from log where name = ?").bind(name);
    row.fetch_optional(readers).await.map_err(failed)?.as_ref().map(parse_log).transpose()
}

fn parse_log(row: &SqliteRow) -> Result<Log, StoreError> {
    let events = match column(row, 4)? {
        "any" => Events::Any,
        "strict" => Events::Strict,
        other => return Err(StoreError::Damaged(format!("a log takes \"{other}\" events"))),
    };
    Ok(Log {
        id: LogId(column(row, 0)?),
        name: column(row, 1)?,
        origin: column(row, 2)?,
        vkey: column(row, 3)?,
        events,
    })
}

pub(super) async fn backlog(readers: &SqlitePool, most: u32) -> Result<Backlog, StoreError> {
    let row = sqlx::query(
        "select (select count(*) from (select 1 from append_only_log limit ?)),
                coalesce(unixepoch('subsec') - (select appended_at from append_only_log order by id limit 1) / 1000.0, 0.0)",
    );
    let row = row.bind(i64::from(most)).fetch_one(readers).await.map_err(failed)?;
    let seconds: f64 = column(&row, 1)?;
    // The clock may have been set back.
    Ok(Backlog { rows: number(column(&row, 0)?)?, oldest_seconds: seconds.max(0.0) })
}

pub(super) async fn tickets(
    readers: &SqlitePool,
    tickets: &[Ticket],
) -> Result<HashMap<Ticket, TicketState>, StoreError> {
    // One statement, one snapshot: a row that is moved meanwhile is seen in one of the two tables.
    let rows = sqlx::query(
        "with wanted (ticket) as (select value from json_each(?))
         select ticket, log_id, null from wanted join append_only_log on id = ticket
         union all
         select ticket, log_id, id from wanted join processed_log on source_id = ticket",
    );
    let wanted = json(tickets.iter().map(|ticket| ticket.0.to_string()));
    let rows = rows.bind(wanted).fetch_all(readers).await.map_err(failed)?;
    let mut states = HashMap::with_capacity(rows.len());
    for row in &rows {
        let log = LogId(column(row, 1)?);
        let state = match column::<Option<i64>>(row, 2)? {
            None => TicketState::Accepted(log),
            Some(index) => TicketState::Processed(log, LeafIndex(number(index)?)),
        };
        states.insert(Ticket(column(row, 0)?), state);
    }
    Ok(states)
}

pub(super) async fn processed(
    readers: &SqlitePool,
    tickets: &[Ticket],
) -> Result<HashMap<Ticket, (LogId, LeafIndex)>, StoreError> {
    let rows = sqlx::query(
        "select source_id, log_id, id from processed_log where source_id in (select value from json_each(?))",
    );
    let wanted = json(tickets.iter().map(|ticket| ticket.0.to_string()));
    let rows = rows.bind(wanted).fetch_all(readers).await.map_err(failed)?;
    let place =
        |row| Ok((Ticket(column(row, 0)?), (LogId(column(row, 1)?), LeafIndex(number(column(row, 2)?)?))));
    rows.iter().map(place).collect()
}

/// A JSON array, for `json_each`: one parameter, and one statement for any number of values.
pub(super) fn json(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(","))
}

pub(super) async fn checkpoint(
    readers: &SqlitePool,
    log: LogId,
) -> Result<Option<StoredCheckpoint>, StoreError> {
    let row = sqlx::query("select size, note from checkpoint where log_id = ? order by size desc limit 1");
    let row = row.bind(log.0).fetch_optional(readers).await.map_err(failed)?;
    row.as_ref().map(parse_checkpoint).transpose()
}

pub(super) async fn checkpoints(
    readers: &SqlitePool,
    log: LogId,
    from: TreeSize,
    limit: u32,
) -> Result<Vec<StoredCheckpoint>, StoreError> {
    let rows =
        sqlx::query("select size, note from checkpoint where log_id = ? and size >= ? order by size limit ?")
            .bind(log.0)
            .bind(stored(from.0))
            .bind(i64::from(limit));
    rows.fetch_all(readers).await.map_err(failed)?.iter().map(parse_checkpoint).collect()
}

fn parse_checkpoint(row: &SqliteRow) -> Result<StoredCheckpoint, StoreError> {
    Ok(StoredCheckpoint { size: TreeSize(number(column(row, 0)?)?), note: column(row, 1)? })
}

pub(super) async fn tree(readers: &SqlitePool, log: LogId) -> Result<Option<Tree>, StoreError> {
    let row = sqlx::query("select log_id, size, edge, signed_size from tree where log_id = ?");
    let row = row.bind(log.0).fetch_optional(readers).await.map_err(failed)?;
    row.as_ref().map(parse_tree).transpose()
}

/// A row of `log_id, size, edge, signed_size`.
pub(super) fn parse_tree(row: &SqliteRow) -> Result<Tree, StoreError> {
    let (log, size) = (LogId(column(row, 0)?), TreeSize(number(column(row, 1)?)?));
    let edge = RightEdge::parse(size, column(row, 2)?)
        .map_err(|_| StoreError::Damaged(format!("the edge of log {} is none of a tree of {size}", log.0)))?;
    Ok(Tree { log, edge, signed_size: TreeSize(number(column(row, 3)?)?) })
}

pub(super) async fn tiles(
    readers: &SqlitePool,
    log: LogId,
    tiles: &[TileId],
) -> Result<HashMap<TileId, Vec<u8>>, StoreError> {
    if let &[tile] = tiles {
        let row = sqlx::query("select hashes from tile where log_id = ? and level = ? and \"index\" = ?");
        let row = row.bind(log.0).bind(i64::from(tile.level)).bind(stored(tile.index));
        let row = row.fetch_optional(readers).await.map_err(failed)?;
        return row.iter().map(|row| Ok((tile, column(row, 0)?))).collect();
    }
    let rows = sqlx::query(
        "select t.level, t.\"index\", t.hashes
         from json_each(?) wanted cross join tile t on t.log_id = ?
             and t.level = wanted.value ->> 0 and t.\"index\" = wanted.value ->> 1",
    );
    let wanted = json(tiles.iter().map(|tile| format!("[{},{}]", tile.level, stored(tile.index))));
    let rows = rows.bind(wanted).bind(log.0).fetch_all(readers).await.map_err(failed)?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in &rows {
        let level = u8::try_from(column::<i64>(row, 0)?)
            .map_err(|_| StoreError::Damaged("a tile has a level above 255".to_owned()))?;
        found.insert(TileId { level, index: number(column(row, 1)?)? }, column(row, 2)?);
    }
    Ok(found)
}
