//! The search index on SQLite: a statement for each term, since a call costs no way over a network.

use async_trait::async_trait;
use attestlog_core::{LeafIndex, TreeSize};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use tokio::sync::OwnedMutexGuard;

use super::SqliteStore;
use super::connection::{WriteTransaction, column, failed, number, portions, stored, with_rows};
use super::read::json;
use crate::search::{Block, Place, Term};
use crate::store::search::{
    Direction, Indexing, SearchLag, SearchStore, Seek, StoredEvent, TermBlock, Unindexed,
};
use crate::store::{LogId, StoreError};

#[async_trait]
impl SearchStore for SqliteStore {
    async fn events(&self, log: LogId, indexes: &[u64]) -> Result<Vec<StoredEvent>, StoreError> {
        let rows = sqlx::query(
            "select id, appended_at * 1000, data from processed_log
             where log_id = ? and id in (select value from json_each(?)) order by id",
        );
        let rows = rows.bind(log.0).bind(json(indexes.iter().map(|index| stored(*index).to_string())));
        let rows = rows.fetch_all(&self.readers).await.map_err(failed)?;
        let event = |row: &SqliteRow| {
            let index = LeafIndex(number(column(row, 0)?)?);
            Ok(StoredEvent { index, appended_at: column(row, 1)?, data: column(row, 2)? })
        };
        rows.iter().map(event).collect()
    }

    async fn indexed_size(&self, log: LogId) -> Result<TreeSize, StoreError> {
        let row = sqlx::query("select next from search_mark where log_id = ?").bind(log.0);
        let row = row.fetch_optional(&self.readers).await.map_err(failed)?;
        Ok(TreeSize(row.map_or(Ok(0), |row| number(column(&row, 0)?))?))
    }

    async fn search_lag(&self) -> Result<SearchLag, StoreError> {
        let row = sqlx::query(
            "select coalesce(sum(size - next), 0), coalesce(unixepoch('subsec') - min(appended_at) / 1000.0, 0.0)
             from (select size, coalesce(m.next, 0) as next,
                          (select appended_at from processed_log p
                           where p.log_id = t.log_id and p.id = coalesce(m.next, 0)) as appended_at
                   from tree t left join search_mark m on m.log_id = t.log_id where size > coalesce(m.next, 0))",
        );
        let row = row.fetch_one(&self.readers).await.map_err(failed)?;
        let seconds: f64 = column(&row, 1)?;
        Ok(SearchLag { entries: number(column(&row, 0)?)?, seconds: seconds.max(0.0) })
    }

    async fn blocks(
        &self,
        log: LogId,
        seeks: &[Seek],
        direction: Direction,
        end: Place,
        most: u32,
    ) -> Result<Vec<Vec<Block>>, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(failed)?;
        let mut found = Vec::with_capacity(seeks.len());
        for seek in seeks {
            found.push(match direction {
                Direction::Older => blocks_before(&mut connection, log, seek, end, most).await?,
                Direction::Newer => blocks_after(&mut connection, log, seek, end, most).await?,
            });
        }
        Ok(found)
    }

    async fn blocks_at(&self, log: LogId, term: &Term, places: &[Place]) -> Result<Vec<Block>, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(failed)?;
        let places: Vec<(&Term, Place)> = places.iter().map(|place| (term, *place)).collect();
        let blocks = blocks_at(&mut connection, log, &places).await?;
        Ok(blocks.into_iter().map(|(_, block)| block).collect())
    }

    async fn terms(&self, log: LogId, low: &Term, high: &Term, most: u32) -> Result<Vec<Term>, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(failed)?;
        let mut terms: Vec<Term> = Vec::new();
        while terms.len() < usize::try_from(most).unwrap_or(usize::MAX) {
            // The least bytes after a term are the term and a zero.
            let from = terms.last().map_or_else(|| low.0.clone(), |last| [&last.0[..], &[0]].concat());
            let row = sqlx::query(
                "select term from search_block where log_id = ? and term >= ? and term < ? order by term limit 1",
            );
            let row = row.bind(log.0).bind(from).bind(&high.0).fetch_optional(&mut *connection);
            let Some(row) = row.await.map_err(failed)? else { break };
            terms.push(Term(column(&row, 0)?));
        }
        Ok(terms)
    }

    fn entries_a_step(&self) -> u64 {
        500
    }

    async fn begin_indexing(&self) -> Result<Option<Box<dyn Indexing>>, StoreError> {
        let begun = self.begin_alone(&self.indexing).await?;
        let indexing = |(transaction, only)| Box::new(SqliteIndexing { transaction, _only: only });
        Ok(begun.map(|begun| indexing(begun) as Box<dyn Indexing>))
    }
}

/// The writing transaction is the lock: no other process has one meanwhile.
#[derive(Debug)]
struct SqliteIndexing {
    transaction: WriteTransaction,
    _only: OwnedMutexGuard<()>,
}

#[async_trait]
impl Indexing for SqliteIndexing {
    async fn unindexed(&mut self, limit: u32) -> Result<Vec<Unindexed>, StoreError> {
        let rows = sqlx::query(
            "select t.log_id, coalesce(m.next, 0), t.size from tree t left join search_mark m on m.log_id = t.log_id
             where t.size > coalesce(m.next, 0) limit ?",
        );
        let rows = rows.bind(i64::from(limit)).fetch_all(self.transaction.connection()?);
        let unindexed = |row: &SqliteRow| {
            let (next, size) = (number(column(row, 1)?)?, TreeSize(number(column(row, 2)?)?));
            Ok(Unindexed { log: LogId(column(row, 0)?), next, size })
        };
        rows.await.map_err(failed)?.iter().map(unindexed).collect()
    }

    async fn blocks_at(
        &mut self,
        log: LogId,
        places: &[(&Term, Place)],
    ) -> Result<Vec<TermBlock>, StoreError> {
        blocks_at(self.transaction.connection()?, log, places).await
    }

    async fn write(
        &mut self,
        log: LogId,
        new: &[TermBlock],
        changed: &[TermBlock],
        next: u64,
    ) -> Result<(), StoreError> {
        let connection = self.transaction.connection()?;
        for portion in portions(new).chain(portions(changed)) {
            let sql = with_rows(
                "insert into search_block (log_id, term, first_time, first_id, postings)",
                5,
                portion.len(),
                "on conflict (log_id, term, first_time, first_id) do update set postings = excluded.postings",
            );
            let mut query = sqlx::query(sql);
            for (term, block) in portion {
                query = query
                    .bind(log.0)
                    .bind(&term.0[..])
                    .bind(block.first.time)
                    .bind(stored(block.first.index));
                query = query.bind(&block.rest[..]);
            }
            query.execute(&mut *connection).await.map_err(failed)?;
        }
        let mark = sqlx::query(
            "insert into search_mark (log_id, next) values (?, ?) on conflict (log_id) do update set next = excluded.next",
        );
        mark.bind(log.0).bind(stored(next)).execute(connection).await.map_err(failed)?;
        Ok(())
    }

    async fn clear(&mut self, log: LogId) -> Result<(), StoreError> {
        let connection = self.transaction.connection()?;
        for sql in ["delete from search_mark where log_id = ?", "delete from search_block where log_id = ?"] {
            sqlx::query(sql).bind(log.0).execute(&mut *connection).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.transaction.commit().await
    }
}

/// The blocks that have these places, which come in order: neighbours are often in one block.
async fn blocks_at(
    connection: &mut SqliteConnection,
    log: LogId,
    places: &[(&Term, Place)],
) -> Result<Vec<TermBlock>, StoreError> {
    let mut blocks: Vec<TermBlock> = Vec::new();
    for (term, place) in places {
        if let Some(block) = block_at(connection, log, term, *place).await?
            && blocks.last().is_none_or(|(last, of)| last != *term || of.first != block.first)
        {
            blocks.push(((*term).clone(), block));
        }
    }
    Ok(blocks)
}

/// The last block of the term that begins at this place or before it.
async fn block_at(
    connection: &mut SqliteConnection,
    log: LogId,
    term: &Term,
    place: Place,
) -> Result<Option<Block>, StoreError> {
    let row = sqlx::query(
        "select first_time, first_id, postings from search_block
         where log_id = ? and term = ? and (first_time, first_id) <= (?, ?)
         order by first_time desc, first_id desc limit 1",
    );
    let row = row.bind(log.0).bind(&term.0[..]).bind(place.time).bind(stored(place.index));
    row.fetch_optional(connection).await.map_err(failed)?.as_ref().map(block).transpose()
}

/// The blocks with postings before `seek.from`, the newest first, down to the one that has `end`.
async fn blocks_before(
    connection: &mut SqliteConnection,
    log: LogId,
    seek: &Seek,
    end: Place,
    most: u32,
) -> Result<Vec<Block>, StoreError> {
    let last = block_at(connection, log, &seek.term, end).await?.map_or(end, |block| block.first);
    let rows = sqlx::query(
        "select first_time, first_id, postings from search_block
         where log_id = ? and term = ? and (first_time, first_id) < (?, ?) and (first_time, first_id) >= (?, ?)
         order by first_time desc, first_id desc limit ?",
    );
    let rows = rows.bind(log.0).bind(&seek.term.0[..]).bind(seek.from.time).bind(stored(seek.from.index));
    let rows = rows.bind(last.time).bind(stored(last.index)).bind(i64::from(most));
    rows.fetch_all(connection).await.map_err(failed)?.iter().map(block).collect()
}

/// The blocks with postings after `seek.from`, the oldest first, up to the one that has `end`.
async fn blocks_after(
    connection: &mut SqliteConnection,
    log: LogId,
    seek: &Seek,
    end: Place,
    most: u32,
) -> Result<Vec<Block>, StoreError> {
    let begin =
        block_at(connection, log, &seek.term, seek.from).await?.map_or(seek.from, |block| block.first);
    let rows = sqlx::query(
        "select first_time, first_id, postings from search_block
         where log_id = ? and term = ? and (first_time, first_id) >= (?, ?) and (first_time, first_id) <= (?, ?)
         order by first_time, first_id limit ?",
    );
    let rows = rows.bind(log.0).bind(&seek.term.0[..]).bind(begin.time).bind(stored(begin.index));
    let rows = rows.bind(end.time).bind(stored(end.index)).bind(i64::from(most));
    rows.fetch_all(connection).await.map_err(failed)?.iter().map(block).collect()
}

fn block(row: &SqliteRow) -> Result<Block, StoreError> {
    let first = Place { time: column(row, 0)?, index: number(column(row, 1)?)? };
    Ok(Block { first, rest: column(row, 2)? })
}
