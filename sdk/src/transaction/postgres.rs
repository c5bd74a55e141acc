//! Appending on PostgreSQL: one call of one function, which is all that the role `attestlog_writer` may do.

use sqlx::postgres::{PgConnection, PgDatabaseError, Postgres};
use sqlx::{Error, Transaction};

use super::{AppendError, DatabaseConnection, NewEntry, sealed};

impl DatabaseConnection for PgConnection {}
impl DatabaseConnection for Transaction<'_, Postgres> {}

impl sealed::DatabaseConnection for PgConnection {
    async fn append(&mut self, log: &str, entries: &[NewEntry<'_>]) -> Result<Vec<i64>, AppendError> {
        let appended = match entries {
            [] => return Ok(Vec::new()),
            [entry] => append_one(self, log, entry).await.map(|ticket| vec![ticket]),
            entries => append_all(self, log, entries).await,
        };
        let tickets = appended.map_err(|error| refused(error, log))?;
        if tickets.len() == entries.len() { Ok(tickets) } else { Err(Error::RowNotFound.into()) }
    }

    async fn entries(&mut self, log: &str) -> Result<Vec<Vec<u8>>, Error> {
        sqlx::query_scalar(
            "with target as (select log_id from attestlog.log where name = $1)
             select data from (
                 select 0 as part, null as xid, p.id, p.data
                 from attestlog.processed_log p join target using (log_id)
                 union all
                 select 1, s.xid, s.id, s.data from attestlog.append_only_log s join target using (log_id)
             ) entry order by part, xid, id",
        )
        .bind(log)
        .fetch_all(self)
        .await
    }
}

impl sealed::DatabaseConnection for Transaction<'_, Postgres> {
    async fn append(&mut self, log: &str, entries: &[NewEntry<'_>]) -> Result<Vec<i64>, AppendError> {
        sealed::DatabaseConnection::append(&mut **self, log, entries).await
    }

    async fn entries(&mut self, log: &str) -> Result<Vec<Vec<u8>>, Error> {
        sealed::DatabaseConnection::entries(&mut **self, log).await
    }
}

async fn append_one(connection: &mut PgConnection, log: &str, entry: &NewEntry<'_>) -> Result<i64, Error> {
    sqlx::query_scalar("select attestlog.append($1, $2::bytea, $3)")
        .bind(log)
        .bind(&*entry.data)
        .bind(entry.idempotency_key)
        .fetch_one(connection)
        .await
}

async fn append_all(
    connection: &mut PgConnection,
    log: &str,
    entries: &[NewEntry<'_>],
) -> Result<Vec<i64>, Error> {
    let data: Vec<&[u8]> = entries.iter().map(|entry| &*entry.data).collect();
    let keys: Vec<Option<&str>> = entries.iter().map(|entry| entry.idempotency_key).collect();
    let keys = keys.iter().any(Option::is_some).then_some(keys);
    sqlx::query_scalar("select attestlog.append_all($1, $2, $3)")
        .bind(log)
        .bind(data)
        .bind(keys)
        .fetch_one(connection)
        .await
}

/// What the functions raise, by its SQLSTATE and the beginning of its message, which is part of `migrations/postgres`.
fn refused(error: Error, log: &str) -> AppendError {
    let raised = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    let Some(raised) = raised else { return error.into() };
    match (raised.code(), raised.message()) {
        ("42704", message) if message.starts_with("log \"") => AppendError::UnknownLog(log.to_owned()),
        ("23514", message) if message.ends_with("takes audit events only") => {
            AppendError::NotAnEvent(log.to_owned())
        }
        ("23505", message) => match reused_key(message) {
            Some(key) => AppendError::KeyReused(key.to_owned()),
            None => error.into(),
        },
        _ => error.into(),
    }
}

fn reused_key(message: &str) -> Option<&str> {
    message.strip_prefix("idempotency key \"")?.strip_suffix("\" was used for a different entry")
}
