//! What is written outside batches: logs and new entries.

use std::collections::HashMap;

use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnection;

use super::super::{Appended, Events, Log, LogId, NewEntry, NewLog, StoreError, Ticket};
use super::WRITE_PATIENCE;
use super::connection::{begin, column, failed, portions, with_rows};

pub(super) async fn create_log(writer: &SqlitePool, new: &NewLog) -> Result<Log, StoreError> {
    let mut transaction = begin(writer, WRITE_PATIENCE).await?;
    let connection = transaction.connection()?;
    let taken = sqlx::query("select 1 from log where name = ? or origin = ?")
        .bind(&new.name)
        .bind(&new.origin)
        .fetch_optional(&mut *connection);
    if taken.await.map_err(failed)?.is_some() {
        return Err(StoreError::LogExists { name: new.name.clone(), origin: new.origin.clone() });
    }
    let events = match new.events {
        Events::Any => "any",
        Events::Strict => "strict",
    };
    let log = sqlx::query("insert into log (name, origin, vkey, events) values (?, ?, ?, ?)")
        .bind(&new.name)
        .bind(&new.origin)
        .bind(&new.vkey)
        .bind(events)
        .execute(&mut *connection)
        .await
        .map_err(failed)?
        .last_insert_rowid();
    sqlx::query("insert into tree (log_id) values (?)")
        .bind(log)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    sqlx::query("insert into checkpoint (log_id, size, note) values (?, 0, ?)")
        .bind(log)
        .bind(&new.checkpoint)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    transaction.commit().await?;
    Ok(Log {
        id: LogId(log),
        name: new.name.clone(),
        origin: new.origin.clone(),
        vkey: new.vkey.clone(),
        events: new.events,
    })
}

/// Where an entry of a call gets its answer from.
enum Answer {
    /// It is the entry of this number among those that are inserted.
    Inserted(usize),
    /// Its idempotency key belongs to the entry of this ticket.
    Earlier(Ticket),
}

pub(super) async fn append(writer: &SqlitePool, entries: &[NewEntry]) -> Result<Vec<Appended>, StoreError> {
    let mut transaction = begin(writer, WRITE_PATIENCE).await?;
    let connection = transaction.connection()?;

    let earlier = earlier_tickets(connection, entries).await?;
    let (mut inserted, mut answers, mut first) =
        (Vec::new(), Vec::with_capacity(entries.len()), HashMap::new());
    for entry in entries {
        let key = entry.idempotency_key.as_deref().map(|key| (entry.log, key));
        let answer = match key {
            Some(key) if earlier.contains_key(&key) => earlier.get(&key).copied().map(Answer::Earlier),
            Some(key) => first.get(&key).copied().map(Answer::Inserted),
            None => None,
        };
        answers.push(answer.unwrap_or_else(|| {
            inserted.push(entry);
            if let Some(key) = key {
                first.insert(key, inserted.len() - 1);
            }
            Answer::Inserted(inserted.len() - 1)
        }));
    }

    let tickets = insert_entries(connection, &inserted).await?;
    insert_keys(connection, &inserted, &tickets).await?;
    let stored = data_of(connection, earlier.into_values().collect()).await?;
    transaction.commit().await?;

    let answer = |(entry, answer): (&NewEntry, &Answer)| {
        let (ticket, data) = match answer {
            Answer::Inserted(number) => {
                (tickets.get(*number).copied(), inserted.get(*number).map(|first| first.data.as_slice()))
            }
            Answer::Earlier(ticket) => (Some(*ticket), stored.get(ticket).map(Vec::as_slice)),
        };
        match ticket {
            Some(ticket) if data == Some(&entry.data) => Appended::Ticket(ticket),
            _ => Appended::KeyReused,
        }
    };
    Ok(entries.iter().zip(&answers).map(answer).collect())
}

/// The tickets of those idempotency keys that earlier calls have used.
async fn earlier_tickets<'a>(
    connection: &mut SqliteConnection,
    entries: &'a [NewEntry],
) -> Result<HashMap<(LogId, &'a str), Ticket>, StoreError> {
    let keys = entries.iter().filter_map(|entry| Some((entry.log, entry.idempotency_key.as_deref()?)));
    let keys: Vec<_> = keys.collect();
    let mut tickets = HashMap::new();
    for portion in portions(&keys) {
        let sql = with_rows(
            "with wanted (log_id, key) as (",
            2,
            portion.len(),
            ") select ticket, log_id, key from wanted join idempotency_key using (log_id, key)",
        );
        let mut query = sqlx::query(sql);
        for (log, key) in portion {
            query = query.bind(log.0).bind(*key);
        }
        for row in query.fetch_all(&mut *connection).await.map_err(failed)? {
            let found = (LogId(column(&row, 1)?), column::<&str>(&row, 2)?);
            for key in portion.iter().filter(|key| **key == found) {
                tickets.insert(*key, Ticket(column(&row, 0)?));
            }
        }
    }
    Ok(tickets)
}

async fn insert_entries(
    connection: &mut SqliteConnection,
    entries: &[&NewEntry],
) -> Result<Vec<Ticket>, StoreError> {
    let mut tickets = Vec::with_capacity(entries.len());
    for portion in portions(entries) {
        let sql = with_rows("insert into append_only_log (log_id, data)", 2, portion.len(), "");
        let mut query = sqlx::query(sql);
        for entry in portion {
            query = query.bind(entry.log.0).bind(entry.data.as_slice());
        }
        let last = query.execute(&mut *connection).await.map_err(failed)?.last_insert_rowid();
        // Nobody else writes meanwhile, and each id is the one after the largest ever given: they are consecutive.
        tickets.extend((0..).zip(portion).map(|(after, _)| Ticket(last - after)));
        let of_portion = tickets.len() - portion.len();
        if let Some(tickets) = tickets.get_mut(of_portion..) {
            tickets.reverse();
        }
    }
    Ok(tickets)
}

async fn insert_keys(
    connection: &mut SqliteConnection,
    entries: &[&NewEntry],
    tickets: &[Ticket],
) -> Result<(), StoreError> {
    let keyed = entries.iter().zip(tickets);
    let keyed: Vec<_> = keyed
        .filter_map(|(entry, ticket)| Some((entry.log.0, entry.idempotency_key.as_deref()?, ticket.0)))
        .collect();
    for portion in portions(&keyed) {
        let sql = with_rows("insert into idempotency_key (log_id, key, ticket)", 3, portion.len(), "");
        let mut query = sqlx::query(sql);
        for (log, key, ticket) in portion {
            query = query.bind(log).bind(*key).bind(ticket);
        }
        query.execute(&mut *connection).await.map_err(failed)?;
    }
    Ok(())
}

/// The entries of these tickets, processed or not.
async fn data_of(
    connection: &mut SqliteConnection,
    tickets: Vec<Ticket>,
) -> Result<HashMap<Ticket, Vec<u8>>, StoreError> {
    let mut data = HashMap::with_capacity(tickets.len());
    for portion in portions(&tickets) {
        let sql = with_rows(
            "with wanted (ticket) as (",
            1,
            portion.len(),
            ") select ticket, coalesce((select data from append_only_log where id = ticket), \
               (select data from processed_log where source_id = ticket)) from wanted",
        );
        let mut query = sqlx::query(sql);
        for ticket in portion {
            query = query.bind(ticket.0);
        }
        for row in query.fetch_all(&mut *connection).await.map_err(failed)? {
            let entry: Option<Vec<u8>> = column(&row, 1)?;
            data.insert(Ticket(column(&row, 0)?), entry.unwrap_or_default());
        }
    }
    Ok(data)
}
