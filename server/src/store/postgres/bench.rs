//! What a load generator asks of PostgreSQL: one connection that appends as an application does, and looks.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, Executor, FromRow, PgConnection};

use super::{classify, to_u64};
use crate::store::{LogId, StoreError, Ticket};

/// One connection, as an application has it: autocommit, prepared statements.
#[derive(Debug)]
pub struct BenchConnection(PgConnection);

/// The server of the database.
#[derive(Clone, Debug, Serialize, FromRow)]
pub struct DatabaseFacts {
    /// PostgreSQL's version.
    pub version: String,
    /// The settings that decide what a commit costs, `name = value`.
    pub settings: Vec<String>,
}

/// What is stored and was written.
#[derive(Clone, Debug, Default)]
pub struct Volume {
    /// The write-ahead log so far, in bytes.
    pub wal: u64,
    /// The bytes of each table with its indexes: those of the schema `attestlog` and the plain one.
    pub tables: HashMap<String, u64>,
}

const FACTS: &str = "select current_setting('server_version') as version,
    array(select name || ' = ' || current_setting(name) from pg_settings
          where name in ('fsync', 'synchronous_commit', 'full_page_writes', 'wal_sync_method', 'shared_buffers',
                         'max_wal_size', 'checkpoint_timeout', 'autovacuum_naptime', 'wal_compression', 'commit_delay')
          order by name) as settings";

const TABLES: &str = "select c.relname::text, pg_total_relation_size(c.oid)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind = 'r' and n.nspname in ('attestlog', 'attestlog_bench')";

/// The name of the plain table.
pub const PLAIN: &str = "audit";

/// An ordinary audit table, in a schema that nothing else uses.
const MAKE_PLAIN: &str = "drop schema if exists attestlog_bench cascade;
    create schema attestlog_bench;
    create table attestlog_bench.audit (
        id bigserial primary key, created_at timestamptz not null default now(), data jsonb not null)";

impl BenchConnection {
    /// Connects.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the URL cannot be read or the database refuses; [`StoreError::Unavailable`].
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let options: PgConnectOptions = url.parse().map_err(StoreError::Refused)?;
        let options = options.extra_float_digits(None).application_name("attestlog bench");
        PgConnection::connect_with(&options).await.map(Self).map_err(classify)
    }

    /// The log of this name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn log(&mut self, name: &str) -> Result<Option<LogId>, StoreError> {
        let query = sqlx::query_scalar("select log_id from attestlog.log where name = $1").bind(name);
        Ok(query.fetch_optional(&mut self.0).await.map_err(classify)?.map(LogId))
    }

    /// `attestlog.append` for one entry, `attestlog.append_all` for more, in a transaction of its own; the last ticket.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn append(&mut self, log: &str, entries: &[&[u8]]) -> Result<Ticket, StoreError> {
        let ticket = match entries {
            [one] => {
                let query = sqlx::query_scalar("select attestlog.append($1, $2::bytea)");
                query.bind(log).bind(*one).fetch_one(&mut self.0).await
            }
            many => {
                let query = sqlx::query_scalar("select (attestlog.append_all($1, $2))[cardinality($2)]");
                query.bind(log).bind(many).fetch_one(&mut self.0).await
            }
        };
        ticket.map(Ticket).map_err(classify)
    }

    /// Puts the events into the plain table, in a transaction of its own.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn insert_plain(&mut self, events: &[&str]) -> Result<(), StoreError> {
        let done = match events {
            [one] => {
                let sql = "insert into attestlog_bench.audit (data) values ($1::text::jsonb)";
                sqlx::query(sql).bind(*one).execute(&mut self.0).await
            }
            many => {
                let sql =
                    "insert into attestlog_bench.audit (data) select d::jsonb from unnest($1::text[]) d";
                sqlx::query(sql).bind(many).execute(&mut self.0).await
            }
        };
        done.map(drop).map_err(classify)
    }

    /// The size of the log's newest head.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn head(&mut self, log: LogId) -> Result<u64, StoreError> {
        let sql = "select size from attestlog.checkpoint where log_id = $1 order by size desc limit 1";
        let size = sqlx::query_scalar(sql).bind(log.0).fetch_one(&mut self.0).await.map_err(classify)?;
        to_u64(size)
    }

    /// The indexes of those of the tickets that have one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn indexes(&mut self, tickets: &[Ticket]) -> Result<HashMap<Ticket, u64>, StoreError> {
        let tickets: Vec<i64> = tickets.iter().map(|ticket| ticket.0).collect();
        let sql = "select source_id, id from attestlog.processed_log where source_id = any ($1)";
        let rows: Vec<(i64, i64)> =
            sqlx::query_as(sql).bind(tickets).fetch_all(&mut self.0).await.map_err(classify)?;
        rows.into_iter().map(|(ticket, index)| Ok((Ticket(ticket), to_u64(index)?))).collect()
    }

    /// The database's server.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn facts(&mut self) -> Result<DatabaseFacts, StoreError> {
        sqlx::query_as(FACTS).fetch_one(&mut self.0).await.map_err(classify)
    }

    /// The process that serves this connection, on the database's machine.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn backend(&mut self) -> Result<i32, StoreError> {
        sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut self.0).await.map_err(classify)
    }

    /// What is stored now, and was written until now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn volume(&mut self) -> Result<Volume, StoreError> {
        let wal = "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint";
        let wal: i64 = sqlx::query_scalar(wal).fetch_one(&mut self.0).await.map_err(classify)?;
        let rows: Vec<(String, i64)> =
            sqlx::query_as(TABLES).fetch_all(&mut self.0).await.map_err(classify)?;
        let tables = rows.into_iter().map(|(table, bytes)| Ok((table, to_u64(bytes)?)));
        Ok(Volume { wal: to_u64(wal)?, tables: tables.collect::<Result<_, StoreError>>()? })
    }

    /// Gives the space of staged rows that are gone back, if this user may.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn vacuum_staging(&mut self) -> Result<(), StoreError> {
        self.0.execute("vacuum (truncate) attestlog.append_only_log").await.map(drop).map_err(classify)
    }

    /// Makes the plain table, empty.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn make_plain_table(&mut self) -> Result<(), StoreError> {
        sqlx::raw_sql(MAKE_PLAIN).execute(&mut self.0).await.map(drop).map_err(classify)
    }

    /// Removes the plain table with its schema.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn drop_plain_table(&mut self) -> Result<(), StoreError> {
        let sql = "drop schema if exists attestlog_bench cascade";
        self.0.execute(sql).await.map(drop).map_err(classify)
    }
}
