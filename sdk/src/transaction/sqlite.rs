//! Appending on SQLite, to the tables that the server keeps in the application's file.
//!
//! It does what the server's own append does. The application's connection may have any pragmas: what its foreign keys
//! would refuse is looked up here, and what is half done is undone, be there a transaction or not.

use std::collections::HashMap;

use sqlx::sqlite::{Sqlite, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Error, Transaction};

use super::strict::is_event;
use super::{AppendError, DatabaseConnection, NewEntry, sealed};

impl DatabaseConnection for SqliteConnection {}
impl DatabaseConnection for Transaction<'_, Sqlite> {}

impl sealed::DatabaseConnection for SqliteConnection {
    async fn append(&mut self, log: &str, entries: &[NewEntry<'_>]) -> Result<Vec<i64>, AppendError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let error = {
            let begun = if self.is_in_transaction() {
                // A savepoint, so that an error leaves nothing of this append behind.
                self.begin().await
            } else {
                self.begin_with("begin immediate").await
            };
            match begun {
                Ok(mut own) => {
                    let appended = append_all(&mut own, log, entries).await;
                    // Whatever a rollback may fail with, the reason for it says more.
                    match appended {
                        Ok(_) => own.commit().await?,
                        Err(_) => own.rollback().await.unwrap_or_default(),
                    }
                    return appended;
                }
                Err(error) => error,
            }
        };
        if !error.to_string().contains("within a transaction") {
            return Err(error.into());
        }
        // The caller has said BEGIN by itself, and sqlx does not know it.
        sqlx::query("savepoint attestlog_append").execute(&mut *self).await?;
        let appended = append_all(self, log, entries).await;
        if appended.is_err() {
            sqlx::query("rollback to attestlog_append").execute(&mut *self).await?;
        }
        sqlx::query("release attestlog_append").execute(&mut *self).await?;
        appended
    }

    async fn entries(&mut self, log: &str) -> Result<Vec<Vec<u8>>, Error> {
        sqlx::query_scalar(
            "with target as (select log_id from log where name = ?)
             select data from (
                 select 0 as part, p.id, p.data from processed_log p join target using (log_id)
                 union all
                 select 1, s.id, s.data from append_only_log s join target using (log_id)
             ) order by part, id",
        )
        .bind(log)
        .fetch_all(self)
        .await
    }
}

impl sealed::DatabaseConnection for Transaction<'_, Sqlite> {
    async fn append(&mut self, log: &str, entries: &[NewEntry<'_>]) -> Result<Vec<i64>, AppendError> {
        sealed::DatabaseConnection::append(&mut **self, log, entries).await
    }

    async fn entries(&mut self, log: &str) -> Result<Vec<Vec<u8>>, Error> {
        sealed::DatabaseConnection::entries(&mut **self, log).await
    }
}

/// Where an entry of a call gets its ticket from.
#[derive(Clone, Copy)]
enum Answer {
    /// It is the entry of this number among those that are inserted.
    Inserted(usize),
    /// Its idempotency key belongs to the entry of this ticket.
    Earlier(i64),
}

async fn append_all(
    connection: &mut SqliteConnection,
    log: &str,
    entries: &[NewEntry<'_>],
) -> Result<Vec<i64>, AppendError> {
    // Takes the turn to write before anything is read: SQLite waits for it then (busy_timeout), and not later.
    sqlx::query("delete from append_only_log where false").execute(&mut *connection).await?;
    let id = find_log(connection, log, entries).await?;
    let earlier = earlier_tickets(connection, id, entries).await?;

    let (mut inserted, mut answers, mut first) = (Vec::new(), Vec::new(), HashMap::new());
    for entry in entries {
        let known = entry.idempotency_key.and_then(|key| {
            let ticket = earlier.get(key).copied().map(Answer::Earlier);
            ticket.or_else(|| first.get(key).copied().map(Answer::Inserted))
        });
        answers.push(known.unwrap_or_else(|| {
            inserted.push(entry);
            if let Some(key) = entry.idempotency_key {
                first.insert(key, inserted.len() - 1);
            }
            Answer::Inserted(inserted.len() - 1)
        }));
    }

    let tickets = insert_entries(connection, id, &inserted).await?;
    insert_keys(connection, id, &inserted, &tickets).await?;
    let stored = data_of(connection, &earlier.into_values().collect::<Vec<_>>()).await?;
    let ticket = |(entry, answer): (&NewEntry<'_>, &Answer)| {
        let (ticket, data) = match answer {
            Answer::Inserted(number) => {
                (tickets.get(*number).copied(), inserted.get(*number).map(|entry| &*entry.data))
            }
            Answer::Earlier(ticket) => (Some(*ticket), stored.get(ticket).map(Vec::as_slice)),
        };
        let reused = || AppendError::KeyReused(entry.idempotency_key.unwrap_or_default().to_owned());
        ticket.filter(|_| data == Some(&*entry.data)).ok_or_else(reused)
    };
    entries.iter().zip(&answers).map(ticket).collect()
}

/// The number of the log, if it takes these entries.
async fn find_log(
    connection: &mut SqliteConnection,
    log: &str,
    entries: &[NewEntry<'_>],
) -> Result<i64, AppendError> {
    let found: Option<(i64, String)> = sqlx::query_as("select log_id, events from log where name = ?")
        .bind(log)
        .fetch_optional(connection)
        .await?;
    let (id, events) = found.ok_or_else(|| AppendError::UnknownLog(log.to_owned()))?;
    if events == "strict" && !entries.iter().all(|entry| is_event(&entry.data)) {
        return Err(AppendError::NotAnEvent(log.to_owned()));
    }
    Ok(id)
}

/// The tickets of those idempotency keys that earlier calls have used.
async fn earlier_tickets<'a>(
    connection: &mut SqliteConnection,
    log: i64,
    entries: &'a [NewEntry<'_>],
) -> Result<HashMap<&'a str, i64>, Error> {
    let keys: Vec<&str> = entries.iter().filter_map(|entry| entry.idempotency_key).collect();
    let mut tickets = HashMap::new();
    for portion in portions(&keys) {
        let head = "with wanted (log_id, key) as (";
        let tail = ") select key, ticket from wanted join idempotency_key using (log_id, key)";
        let mut query = sqlx::query_as(with_rows(head, 2, portion.len(), tail));
        for key in portion {
            query = query.bind(log).bind(*key);
        }
        let found: Vec<(String, i64)> = query.fetch_all(&mut *connection).await?;
        let found: HashMap<String, i64> = found.into_iter().collect();
        tickets.extend(portion.iter().filter_map(|key| Some((*key, *found.get(*key)?))));
    }
    Ok(tickets)
}

async fn insert_entries(
    connection: &mut SqliteConnection,
    log: i64,
    entries: &[&NewEntry<'_>],
) -> Result<Vec<i64>, Error> {
    let mut tickets = Vec::with_capacity(entries.len());
    for portion in portions(entries) {
        let sql = with_rows("insert into append_only_log (log_id, data)", 2, portion.len(), "");
        let mut query = sqlx::query(sql);
        for entry in portion {
            query = query.bind(log).bind(&*entry.data);
        }
        let last = query.execute(&mut *connection).await?.last_insert_rowid();
        // Nobody else writes meanwhile, and each id is the one after the largest ever given: they are consecutive.
        let ids: Vec<i64> = (0..).zip(portion).map(|(before, _)| last - before).collect();
        tickets.extend(ids.into_iter().rev());
    }
    Ok(tickets)
}

async fn insert_keys(
    connection: &mut SqliteConnection,
    log: i64,
    entries: &[&NewEntry<'_>],
    tickets: &[i64],
) -> Result<(), Error> {
    let keyed = entries.iter().zip(tickets);
    let keyed: Vec<_> = keyed.filter_map(|(entry, ticket)| Some((entry.idempotency_key?, *ticket))).collect();
    for portion in portions(&keyed) {
        let sql = with_rows("insert into idempotency_key (log_id, key, ticket)", 3, portion.len(), "");
        let mut query = sqlx::query(sql);
        for (key, ticket) in portion {
            query = query.bind(log).bind(*key).bind(*ticket);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// The entries of these tickets, processed or not.
async fn data_of(connection: &mut SqliteConnection, tickets: &[i64]) -> Result<HashMap<i64, Vec<u8>>, Error> {
    let mut data = HashMap::with_capacity(tickets.len());
    for portion in portions(tickets) {
        let head = "with wanted (ticket) as (";
        let tail = ") select ticket, data from wanted join append_only_log on id = ticket \
                    union all select ticket, data from wanted join processed_log on source_id = ticket";
        let mut query = sqlx::query_as(with_rows(head, 1, portion.len(), tail));
        for ticket in portion {
            query = query.bind(*ticket);
        }
        let found: Vec<(i64, Vec<u8>)> = query.fetch_all(&mut *connection).await?;
        data.extend(found);
    }
    Ok(data)
}

/// Splits rows into few lengths, so that few statements need be prepared.
fn portions<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let length = [256, 32, 4, 1].into_iter().find(|&length| length <= rows.len())?;
        let (portion, rest) = rows.split_at_checked(length)?;
        rows = rest;
        Some(portion)
    })
}

/// `head`, then `(?, ?), (?, ?)…` for `rows` rows of `columns`, then `tail`.
fn with_rows(head: &str, columns: usize, rows: usize, tail: &str) -> AssertSqlSafe<String> {
    let row = format!("({})", vec!["?"; columns].join(","));
    AssertSqlSafe(format!("{head} values {} {tail}", vec![row.as_str(); rows].join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_are_all_of_it_in_order() {
        let rows: Vec<u32> = (0..1000).collect();
        let lengths: Vec<usize> = portions(&rows).map(<[u32]>::len).collect();
        assert_eq!(lengths, [256, 256, 256, 32, 32, 32, 32, 32, 32, 32, 4, 4]);
        assert_eq!(portions(&rows).flatten().copied().collect::<Vec<_>>(), rows);
    }
}
