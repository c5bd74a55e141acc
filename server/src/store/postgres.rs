//! The store on PostgreSQL 14 or later.
//!
//! What is atomic is one statement or one transaction; what must happen once is guarded by a condition or a key in the
//! database. No connection holds state beyond a transaction, so a pooler in between changes nothing, as long as it
//! passes prepared statements through. The functions that it calls are in `migrations/postgres`.

use std::collections::HashMap;
use std::future::Future;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use attestlog_core::{LeafIndex, RightEdge, TileId, TreeSize};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection, FromRow, Postgres, Transaction};

use super::{
    Appended, Backlog, Batch, EntrySink, Events, Log, LogId, NewEntry, NewLog, SearchStore, Store,
    StoreError, StoredCheckpoint, Ticket, TicketState, Tree,
};

mod batch;
pub mod bench;
mod failure;
mod read;
mod scan;
mod schema;
mod search;

use failure::classify;

/// How long a call waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection that has answered is taken to be alive: to ask each time is a round trip more a statement.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// How long a statement may take until the database counts as gone: long enough for any that is asked here.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// How long an append waits, in milliseconds, for an application's open transaction with the same idempotency key.
/// Others may be in the same call.
const LONGEST_KEY_WAIT: i32 = 1_000;

/// Logs in a PostgreSQL database.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    pool: PgPool,
}

impl PostgresStore {
    /// The store in the database that a `postgres://` URL names, with at most `max_connections` to it. Connects with
    /// the first call, and again whenever that is needed. Call it within a tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the URL cannot be read.
    pub fn connect(url: &str, max_connections: u32) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(StoreError::Refused)?
            // A pooler may not know this parameter; no text of a float is ever read.
            .extra_float_digits(None);
        let options = match options.get_application_name() {
            Some(_) => options,
            None => options.application_name("attestlog"),
        };
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .before_acquire(|connection, idle| {
                Box::pin(async move {
                    // It is asked before it goes into the pool, too.
                    if idle.idle_for > TRUSTED_IDLE {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            // A connection whose other end is gone must not be asked without end whether it still works.
            .after_release(|connection, _| {
                Box::pin(async move {
                    let answer = tokio::time::timeout(ACQUIRE_TIMEOUT, connection.ping()).await;
                    answer.unwrap_or_else(|_| Err(timed_out())).map(|()| true)
                })
            })
            .connect_lazy_with(options);
        Ok(Self { pool })
    }

    /// Makes one connection, and gives it up again: what keeps the pool from connecting is only told this way.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if there is no server, with its reason; [`StoreError::Refused`] if it refuses.
    pub async fn reach(&self) -> Result<(), StoreError> {
        let connect =
            async { sqlx::PgConnection::connect_with(&self.pool.connect_options()).await?.close().await };
        let connected = tokio::time::timeout(ACQUIRE_TIMEOUT, connect).await;
        connected.unwrap_or_else(|_| Err(timed_out())).map_err(classify)
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        schema::migrate(&self.pool).await
    }

    async fn is_migrated(&self) -> Result<bool, StoreError> {
        schema::is_migrated(&self.pool).await
    }

    async fn durability_warnings(&self) -> Result<Vec<String>, StoreError> {
        let (settings, unlogged): (Vec<String>, Vec<String>) = within(
            sqlx::query_as(
                "select array(select s from unnest(array['fsync', 'full_page_writes', 'synchronous_commit']) s
                              where current_setting(s) = 'off'),
                        array(select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
                              where n.nspname = 'attestlog' and c.relkind = 'r' and c.relpersistence = 'u'
                              order by c.relname)",
            )
            .fetch_one(&self.pool),
        )
        .await?;
        let settings = settings.iter().map(|setting| match setting.as_str() {
            "synchronous_commit" => {
                "synchronous_commit is off: a crash of PostgreSQL loses what applications \
                                     committed within the last moments (the server's own appends are safe)"
                    .to_owned()
            }
            _ => format!("{setting} is off: a crash of the machine may destroy the database"),
        });
        let unlogged = unlogged.iter().map(|table| {
            format!("the table attestlog.{table} is unlogged: a crash of PostgreSQL empties it")
        });
        Ok(settings.chain(unlogged).collect())
    }

    async fn create_log(&self, new: &NewLog) -> Result<Log, StoreError> {
        let events = match new.events {
            Events::Any => "any",
            Events::Strict => "strict",
        };
        let made = within(async {
            let mut transaction = self.pool.begin().await?;
            sqlx::query(DURABLE).execute(&mut *transaction).await?;
            let id = sqlx::query_scalar(
                "with made as (
                     insert into attestlog.log (name, origin, vkey, events) values ($1, $2, $3, $4) returning log_id
                 ), tree as (
                     insert into attestlog.tree (log_id) select log_id from made
                 ), checkpoint as (
                     insert into attestlog.checkpoint (log_id, size, note) select log_id, 0, $5 from made
                 )
                 select log_id from made",
            )
            .bind(&new.name)
            .bind(&new.origin)
            .bind(&new.vkey)
            .bind(events)
            .bind(&new.checkpoint)
            .fetch_one(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(id)
        })
        .await;
        match made {
            Ok(id) => Ok(Log {
                id: LogId(id),
                name: new.name.clone(),
                origin: new.origin.clone(),
                vkey: new.vkey.clone(),
                events: new.events,
            }),
            Err(StoreError::Refused(error))
                if failure::violates(&error, &["log_name_unique", "log_origin_unique"]) =>
            {
                Err(StoreError::LogExists { name: new.name.clone(), origin: new.origin.clone() })
            }
            Err(error) => Err(error),
        }
    }

    async fn logs(&self) -> Result<Vec<(Log, TreeSize)>, StoreError> {
        let rows: Vec<LogAndSize> = within(
            sqlx::query_as(
                "select l.log_id, l.name, l.origin, l.vkey, l.events, t.signed_size
                 from attestlog.log l join attestlog.tree t on t.log_id = l.log_id order by l.name collate \"C\"",
            )
            .fetch_all(&self.pool),
        )
        .await?;
        rows.into_iter().map(|row| Ok((row.log.into_log()?, TreeSize(to_u64(row.signed_size)?)))).collect()
    }

    async fn log(&self, name: &str) -> Result<Option<Log>, StoreError> {
        let row: Option<LogRow> = within(
            sqlx::query_as("select log_id, name, origin, vkey, events from attestlog.log where name = $1")
                .bind(name)
                .fetch_optional(&self.pool),
        )
        .await?;
        row.map(LogRow::into_log).transpose()
    }

    async fn append(&self, entries: &[NewEntry]) -> Result<Vec<Appended>, StoreError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let logs: Vec<i64> = entries.iter().map(|entry| entry.log.0).collect();
        let data: Vec<&[u8]> = entries.iter().map(|entry| entry.data.as_slice()).collect();
        let keys: Vec<Option<&str>> = entries.iter().map(|entry| entry.idempotency_key.as_deref()).collect();
        let keys = keys.iter().any(Option::is_some).then_some(keys);
        let rows: Vec<(i64, bool)> = within(
            sqlx::query_as("select ticket, key_reused from attestlog.append_rows($1, $2, $3, $4)")
                .bind(logs)
                .bind(data)
                .bind(keys)
                .bind(LONGEST_KEY_WAIT)
                .fetch_all(&self.pool),
        )
        .await?;
        let answer = |(ticket, key_reused)| {
            if key_reused { Appended::KeyReused } else { Appended::Ticket(Ticket(ticket)) }
        };
        Ok(rows.into_iter().map(answer).collect())
    }

    async fn backlog(&self, most: u32) -> Result<Backlog, StoreError> {
        let (rows, oldest_seconds) = within(
            sqlx::query_as::<_, (i64, f64)>("select waiting, oldest_seconds from attestlog.backlog($1)")
                .bind(to_i32(most))
                .fetch_one(&self.pool),
        )
        .await?;
        Ok(Backlog { rows: to_u64(rows)?, oldest_seconds: oldest_seconds.max(0.0) })
    }

    async fn begin_batch(&self) -> Result<Option<Box<dyn Batch>>, StoreError> {
        let batch = batch::PostgresBatch::begin(&self.pool).await?;
        Ok(batch.map(|batch| Box::new(batch) as Box<dyn Batch>))
    }

    async fn tickets(&self, tickets: &[Ticket]) -> Result<HashMap<Ticket, TicketState>, StoreError> {
        let tickets: Vec<i64> = tickets.iter().map(|ticket| ticket.0).collect();
        let rows: Vec<(i64, i64, Option<i64>)> = within(
            sqlx::query_as("select ticket, log_id, id from attestlog.find_tickets($1)")
                .bind(tickets)
                .fetch_all(&self.pool),
        )
        .await?;
        let mut states = HashMap::with_capacity(rows.len());
        for (ticket, log, id) in rows {
            let state = match id {
                Some(id) => TicketState::Processed(LogId(log), LeafIndex(to_u64(id)?)),
                None => TicketState::Accepted(LogId(log)),
            };
            states.insert(Ticket(ticket), state);
        }
        Ok(states)
    }

    async fn processed(&self, tickets: &[Ticket]) -> Result<HashMap<Ticket, (LogId, LeafIndex)>, StoreError> {
        let tickets: Vec<i64> = tickets.iter().map(|ticket| ticket.0).collect();
        let rows: Vec<(i64, i64, i64)> = within(
            sqlx::query_as(
                "select source_id, log_id, id from attestlog.processed_log where source_id = any ($1)",
            )
            .bind(tickets)
            .fetch_all(&self.pool),
        )
        .await?;
        let place = |(ticket, log, id)| Ok((Ticket(ticket), (LogId(log), LeafIndex(to_u64(id)?))));
        rows.into_iter().map(place).collect()
    }

    async fn checkpoint(&self, log: LogId) -> Result<Option<StoredCheckpoint>, StoreError> {
        let row: Option<(i64, Vec<u8>)> = within(
            sqlx::query_as(
                "select size, note from attestlog.checkpoint where log_id = $1 order by size desc limit 1",
            )
            .bind(log.0)
            .fetch_optional(&self.pool),
        )
        .await?;
        row.map(stored_checkpoint).transpose()
    }

    async fn checkpoints(
        &self,
        log: LogId,
        from: TreeSize,
        limit: u32,
    ) -> Result<Vec<StoredCheckpoint>, StoreError> {
        let rows: Vec<(i64, Vec<u8>)> = within(
            sqlx::query_as(
                "select size, note from attestlog.checkpoint
                 where log_id = $1 and size >= $2 order by size limit $3",
            )
            .bind(log.0)
            .bind(to_i64(from.0))
            .bind(i64::from(limit))
            .fetch_all(&self.pool),
        )
        .await?;
        rows.into_iter().map(stored_checkpoint).collect()
    }

    async fn tree(&self, log: LogId) -> Result<Option<Tree>, StoreError> {
        let row: Option<TreeRow> = within(
            sqlx::query_as(
                "select log_id, size, edge, signed_size from attestlog.tree
                 where log_id = $1 order by size desc limit 1",
            )
            .bind(log.0)
            .fetch_optional(&self.pool),
        )
        .await?;
        row.map(TreeRow::into_tree).transpose()
    }

    async fn tiles(&self, log: LogId, tiles: &[TileId]) -> Result<HashMap<TileId, Vec<u8>>, StoreError> {
        read::tiles(&self.pool, log, tiles).await
    }

    async fn entries(&self, log: LogId, from: LeafIndex, limit: u32) -> Result<Vec<Vec<u8>>, StoreError> {
        read::entries(&self.pool, log, from, limit).await
    }

    async fn entry_bundle(&self, log: LogId, range: Range<u64>) -> Result<Option<Vec<u8>>, StoreError> {
        read::entry_bundle(&self.pool, log, range).await
    }

    async fn scan(&self, log: LogId, range: Range<u64>, sink: EntrySink<'_>) -> Result<(), StoreError> {
        scan::scan(&self.pool, log, range, sink).await
    }

    fn search(&self) -> &dyn SearchStore {
        self
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}

/// Makes the commit of the transaction durable where the database's default is not.
const DURABLE: &str = "select set_config('synchronous_commit', 'on', true)
                       where current_setting('synchronous_commit') in ('off', 'local')";

/// A log as `attestlog.log` has it.
#[derive(FromRow)]
struct LogRow {
    log_id: i64,
    name: String,
    origin: String,
    vkey: String,
    events: String,
}

#[derive(FromRow)]
struct LogAndSize {
    #[sqlx(flatten)]
    log: LogRow,
    signed_size: i64,
}

impl LogRow {
    fn into_log(self) -> Result<Log, StoreError> {
        let events = match self.events.as_str() {
            "any" => Events::Any,
            "strict" => Events::Strict,
            other => {
                return Err(StoreError::Damaged(format!(
                    "log {} takes events of kind {other:?}",
                    self.log_id
                )));
            }
        };
        Ok(Log { id: LogId(self.log_id), name: self.name, origin: self.origin, vkey: self.vkey, events })
    }
}

/// A tree as `attestlog.tree` has it.
#[derive(FromRow)]
struct TreeRow {
    log_id: i64,
    size: i64,
    edge: Vec<u8>,
    signed_size: i64,
}

impl TreeRow {
    fn into_tree(self) -> Result<Tree, StoreError> {
        let size = TreeSize(to_u64(self.size)?);
        let edge = RightEdge::parse(size, &self.edge).map_err(|_| {
            StoreError::Damaged(format!("the edge of the tree of log {} does not fit its size", self.log_id))
        })?;
        Ok(Tree { log: LogId(self.log_id), edge, signed_size: TreeSize(to_u64(self.signed_size)?) })
    }
}

fn stored_checkpoint((size, note): (i64, Vec<u8>)) -> Result<StoredCheckpoint, StoreError> {
    Ok(StoredCheckpoint { size: TreeSize(to_u64(size)?), note })
}

/// Waits for what the database answers, but not for one that never will, and says what kind a failure is.
async fn within<T>(work: impl Future<Output = Result<T, sqlx::Error>> + Send) -> Result<T, StoreError> {
    let answer = tokio::time::timeout(STATEMENT_TIMEOUT, work).await;
    answer.unwrap_or_else(|_| Err(timed_out())).map_err(classify)
}

/// Begins a transaction whose first statement, `take_lock`, says whether it got its lock; `None` if it did not.
async fn begin_locked(
    pool: &PgPool,
    take_lock: &'static str,
) -> Result<Option<Transaction<'static, Postgres>>, StoreError> {
    within(async {
        let mut transaction = pool.begin_with("begin isolation level read committed read write").await?;
        if sqlx::query_scalar(take_lock).fetch_one(&mut *transaction).await? {
            return Ok(Some(transaction));
        }
        transaction.rollback().await?;
        Ok(None)
    })
    .await
}

fn timed_out() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "the database does not answer"))
}

/// A number that the schema keeps from being negative.
fn to_u64(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Damaged(format!("{number} where no number is negative")))
}

/// A size or an index to look for; one beyond the column's type is larger than all there are.
fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A limit; one beyond the type is as good as none.
fn to_i32(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
