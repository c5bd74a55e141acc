//! The search index on PostgreSQL; the functions that read it are in `migrations/postgres/0008_search.sql`.

use async_trait::async_trait;
use attestlog_core::{LeafIndex, TreeSize};
use sqlx::{Postgres, Transaction};

use super::{PostgresStore, begin_locked, to_i32, to_i64, to_u64, within};
use crate::search::{Block, Place, Term};
use crate::store::search::{
    Direction, Indexing, SearchLag, SearchStore, Seek, StoredEvent, TermBlock, Unindexed,
};
use crate::store::{LogId, StoreError};

/// Takes the lock, and has the database give it up soon if this server vanishes. A commit that a crash loses is made
/// again, so none is waited for.
const BEGIN: &str = "select pg_try_advisory_xact_lock(6962, 2)
    from (select set_config('synchronous_commit', 'off', true),
                 set_config('idle_in_transaction_session_timeout', '30s', true),
                 set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
                 set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
                 set_config('jit', 'off', true)
          offset 0) settings";

/// The number of a seek, from 1 on, and a block of its term.
type FoundRow = (i64, i64, i64, Vec<u8>);

/// A term and a block of it.
type TermRow = (Vec<u8>, i64, i64, Vec<u8>);

#[async_trait]
impl SearchStore for PostgresStore {
    async fn events(&self, log: LogId, indexes: &[u64]) -> Result<Vec<StoredEvent>, StoreError> {
        let ids: Vec<i64> = indexes.iter().map(|index| to_i64(*index)).collect();
        let rows: Vec<(i64, i64, Vec<u8>)> = within(
            sqlx::query_as(
                "select p.id, (extract(epoch from p.appended_at) * 1000000)::bigint, p.data
                 from unnest($2::bigint[]) wanted cross join lateral (
                     select * from attestlog.processed_log where log_id = $1 and id = wanted limit 1
                 ) p",
            )
            .bind(log.0)
            .bind(ids)
            .fetch_all(&self.pool),
        )
        .await?;
        let event =
            |(id, appended_at, data)| Ok(StoredEvent { index: LeafIndex(to_u64(id)?), appended_at, data });
        let mut events = rows.into_iter().map(event).collect::<Result<Vec<_>, StoreError>>()?;
        events.sort_unstable_by_key(|event| event.index);
        Ok(events)
    }

    async fn indexed_size(&self, log: LogId) -> Result<TreeSize, StoreError> {
        let next: Option<i64> = within(
            sqlx::query_scalar("select next from attestlog.search_mark where log_id = $1")
                .bind(log.0)
                .fetch_optional(&self.pool),
        )
        .await?;
        Ok(TreeSize(to_u64(next.unwrap_or_default())?))
    }

    async fn search_lag(&self) -> Result<SearchLag, StoreError> {
        let (entries, seconds): (i64, f64) = within(
            sqlx::query_as(
                "select coalesce(sum(behind.entries), 0)::bigint,
                        coalesce(extract(epoch from clock_timestamp() - min(p.appended_at)), 0)::double precision
                 from (select t.log_id, coalesce(m.next, 0) as next, t.size - coalesce(m.next, 0) as entries
                       from attestlog.tree t left join attestlog.search_mark m on m.log_id = t.log_id
                       where t.size > coalesce(m.next, 0)) behind
                 left join lateral (
                     select appended_at from attestlog.processed_log
                     where log_id = behind.log_id and id = behind.next limit 1
                 ) p on true",
            )
            .fetch_one(&self.pool),
        )
        .await?;
        Ok(SearchLag { entries: to_u64(entries)?, seconds: seconds.max(0.0) })
    }

    async fn blocks(
        &self,
        log: LogId,
        seeks: &[Seek],
        direction: Direction,
        end: Place,
        most: u32,
    ) -> Result<Vec<Vec<Block>>, StoreError> {
        let sql = match direction {
            Direction::Older => "select * from attestlog.search_before($1, $2, $3, $4, $5, $6, $7)",
            Direction::Newer => "select * from attestlog.search_after($1, $2, $3, $4, $5, $6, $7)",
        };
        let terms: Vec<&[u8]> = seeks.iter().map(|seek| seek.term.0.as_slice()).collect();
        let (times, ids) = columns(seeks.iter().map(|seek| seek.from));
        let rows: Vec<FoundRow> = within(
            sqlx::query_as(sql)
                .bind(log.0)
                .bind(terms)
                .bind(times)
                .bind(ids)
                .bind(end.time)
                .bind(to_i64(end.index))
                .bind(to_i32(most))
                .fetch_all(&self.pool),
        )
        .await?;
        let mut found = vec![Vec::new(); seeks.len()];
        for (number, time, id, rest) in rows {
            let number = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
            if let Some(blocks) = number.and_then(|number| found.get_mut(number)) {
                blocks.push(block(time, id, rest)?);
            }
        }
        for blocks in &mut found {
            blocks.sort_unstable_by(|a, b| direction.order(a.first, b.first));
        }
        Ok(found)
    }

    async fn blocks_at(&self, log: LogId, term: &Term, places: &[Place]) -> Result<Vec<Block>, StoreError> {
        let terms = vec![term.0.as_slice(); places.len()];
        let (times, ids) = columns(places.iter().copied());
        let rows: Vec<TermRow> = within(at(log, &terms, &times, &ids).fetch_all(&self.pool)).await?;
        rows.into_iter().map(|(_, time, id, rest)| block(time, id, rest)).collect()
    }

    async fn terms(&self, log: LogId, low: &Term, high: &Term, most: u32) -> Result<Vec<Term>, StoreError> {
        let terms: Vec<Vec<u8>> = within(
            sqlx::query_scalar("select attestlog.search_terms($1, $2, $3, $4)")
                .bind(log.0)
                .bind(&low.0)
                .bind(&high.0)
                .bind(to_i32(most))
                .fetch_all(&self.pool),
        )
        .await?;
        Ok(terms.into_iter().map(Term).collect())
    }

    fn entries_a_step(&self) -> u64 {
        4000
    }

    async fn begin_indexing(&self) -> Result<Option<Box<dyn Indexing>>, StoreError> {
        let begun = begin_locked(&self.pool, BEGIN).await?;
        Ok(begun.map(|transaction| Box::new(PostgresIndexing { transaction }) as Box<dyn Indexing>))
    }
}

/// A transaction that holds the index's lock.
struct PostgresIndexing {
    transaction: Transaction<'static, Postgres>,
}

#[async_trait]
impl Indexing for PostgresIndexing {
    async fn unindexed(&mut self, limit: u32) -> Result<Vec<Unindexed>, StoreError> {
        let rows: Vec<(i64, i64, i64)> = within(
            sqlx::query_as(
                "select t.log_id, coalesce(m.next, 0), t.size
                 from attestlog.tree t left join attestlog.search_mark m on m.log_id = t.log_id
                 where t.size > coalesce(m.next, 0) limit $1",
            )
            .bind(i64::from(limit))
            .fetch_all(&mut *self.transaction),
        )
        .await?;
        let unindexed = |(log, next, size)| {
            Ok(Unindexed { log: LogId(log), next: to_u64(next)?, size: TreeSize(to_u64(size)?) })
        };
        rows.into_iter().map(unindexed).collect()
    }

    async fn blocks_at(
        &mut self,
        log: LogId,
        places: &[(&Term, Place)],
    ) -> Result<Vec<TermBlock>, StoreError> {
        let terms: Vec<&[u8]> = places.iter().map(|(term, _)| term.0.as_slice()).collect();
        let (times, ids) = columns(places.iter().map(|(_, place)| *place));
        let rows: Vec<TermRow> =
            within(at(log, &terms, &times, &ids).fetch_all(&mut *self.transaction)).await?;
        rows.into_iter().map(|(term, time, id, rest)| Ok((Term(term), block(time, id, rest)?))).collect()
    }

    async fn write(
        &mut self,
        log: LogId,
        new: &[TermBlock],
        changed: &[TermBlock],
        next: u64,
    ) -> Result<(), StoreError> {
        let (new_terms, new_times, new_ids, new_postings) = block_columns(new);
        let (terms, times, ids, postings) = block_columns(changed);
        within(
            sqlx::query(
                "with mark as (
                     insert into attestlog.search_mark (log_id, next) values ($1, $2)
                     on conflict on constraint search_mark_pk do update set next = excluded.next
                 ), changed as (
                     update attestlog.search_block b set postings = c.postings
                     from unnest($7::bytea[], $8::bigint[], $9::bigint[], $10::bytea[]) as c (term, time, id, postings)
                     where b.log_id = $1 and b.term = c.term and b.first_time = c.time and b.first_id = c.id
                 )
                 insert into attestlog.search_block (log_id, term, first_time, first_id, postings)
                     select $1, * from unnest($3::bytea[], $4::bigint[], $5::bigint[], $6::bytea[])",
            )
            .bind(log.0)
            .bind(to_i64(next))
            .bind(new_terms)
            .bind(new_times)
            .bind(new_ids)
            .bind(new_postings)
            .bind(terms)
            .bind(times)
            .bind(ids)
            .bind(postings)
            .execute(&mut *self.transaction),
        )
        .await?;
        Ok(())
    }

    async fn clear(&mut self, log: LogId) -> Result<(), StoreError> {
        for sql in [
            "delete from attestlog.search_mark where log_id = $1",
            // It may be large: it takes what it takes.
            "delete from attestlog.search_block where log_id = $1",
        ] {
            let deleted = sqlx::query(sql).bind(log.0).execute(&mut *self.transaction).await;
            deleted.map_err(super::failure::classify)?;
        }
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        within(self.transaction.commit()).await
    }
}

fn at<'q>(
    log: LogId,
    terms: &'q [&'q [u8]],
    times: &'q [i64],
    ids: &'q [i64],
) -> sqlx::query::QueryAs<'q, Postgres, TermRow, sqlx::postgres::PgArguments> {
    sqlx::query_as("select * from attestlog.search_at($1, $2, $3, $4)")
        .bind(log.0)
        .bind(terms)
        .bind(times)
        .bind(ids)
}

type BlockColumns<'b> = (Vec<&'b [u8]>, Vec<i64>, Vec<i64>, Vec<&'b [u8]>);

fn block_columns(blocks: &[TermBlock]) -> BlockColumns<'_> {
    let (times, ids) = columns(blocks.iter().map(|(_, block)| block.first));
    let terms = blocks.iter().map(|(term, _)| term.0.as_slice());
    (terms.collect(), times, ids, blocks.iter().map(|(_, block)| block.rest.as_slice()).collect())
}

fn block(time: i64, id: i64, rest: Vec<u8>) -> Result<Block, StoreError> {
    Ok(Block { first: Place { time, index: to_u64(id)? }, rest })
}

fn columns(places: impl Iterator<Item = Place>) -> (Vec<i64>, Vec<i64>) {
    places.map(|place| (place.time, to_i64(place.index))).unzip()
}
