//! The log as an application sees it: append in its transaction, and get the receipt afterwards.

use std::sync::Arc;
use std::time::Duration;

use crate::event::Event;
use crate::log_client::{BuildError, LogClient};
use crate::read_error::ReadError;
use crate::receipt::{self, Receipt};
use crate::ticket::Ticket;
use crate::transaction::{AppendError, DatabaseConnection, NewEntry};

/// How long [`Audit::receipt`] waits, unless another time is set.
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(60);

/// A log, and whom to trust for it. Cheap to clone; one serves a whole application.
#[derive(Clone, Debug)]
pub struct Audit {
    client: LogClient,
    log: Arc<str>,
    receipt_timeout: Duration,
}

impl Audit {
    /// The log at `http(s)://HOST/logs/NAME`, as trusted by a policy: the text of a tlog-policy, or one vkey, as
    /// `attestlog log policy NAME` and `attestlog log list` print them. Asks nobody yet.
    ///
    /// Have the policy from elsewhere than the log's server: what comes from there proves nothing.
    ///
    /// # Errors
    /// [`BuildError`], for a policy of several logs too: make a [`LogClient`] that says which, for [`of`](Self::of).
    pub fn new(address: impl Into<String>, policy: impl Into<String>) -> Result<Self, BuildError> {
        Self::of(LogClient::builder(address, policy).build()?)
    }

    /// The log that this client reads: one that keeps the last head in a file, say, or asks through another HTTP client.
    ///
    /// # Errors
    /// [`BuildError`] if its address does not end in `/logs/NAME`.
    pub fn of(client: LogClient) -> Result<Self, BuildError> {
        let name = client.log_name().ok_or_else(|| BuildError::no_name(client.origin()))?;
        Ok(Self { log: name.into(), client, receipt_timeout: RECEIPT_TIMEOUT })
    }

    /// With another time that [`receipt`](Self::receipt) waits at most; 60 seconds otherwise.
    #[must_use]
    pub const fn receipt_timeout(mut self, timeout: Duration) -> Self {
        self.receipt_timeout = timeout;
        self
    }

    /// The log's name, which is the last part of its address.
    #[must_use]
    pub fn log(&self) -> &str {
        &self.log
    }

    /// What reads the log, and verifies what it reads.
    #[must_use]
    pub const fn client(&self) -> &LogClient {
        &self.client
    }

    /// Appends an event in the caller's transaction: it is in the log if the transaction commits, and nowhere if it
    /// does not. Its `id` is the idempotency key: the same event again gives the first ticket again.
    ///
    /// **PostgreSQL**: one round trip, one INSERT, and no lock that another transaction waits for, unless that appends
    /// with the same key. The connection's role needs to be a member of `attestlog_writer`.
    ///
    /// **SQLite**: the log's tables are in the application's file, where `attestlog serve --database sqlite:PATH` puts
    /// them. There is one writer at a time, so begin with `begin_with("begin immediate")`, and set
    /// `busy_timeout` to a few seconds (sqlx's default is 5): a transaction that has read before it writes cannot wait
    /// for its turn, and fails as busy. Have `synchronous` at `full`, or a power failure may undo what was committed.
    /// `foreign_keys` is as you like. An append outside a transaction is one of its own.
    ///
    /// A call that is dropped before it returns may have appended or not: roll back.
    ///
    /// # Errors
    /// [`AppendError`], after which the transaction should be rolled back.
    pub async fn append<C>(&self, transaction: &mut C, event: &Event) -> Result<Ticket, AppendError>
    where
        C: DatabaseConnection + ?Sized,
    {
        self.append_one(transaction, NewEntry::new(event.to_entry()?, key_of(event))?).await
    }

    /// [Appends](Self::append) an event with another idempotency key than its `id`: 1 to 255 bytes without U+0000.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub async fn append_with_key<C>(
        &self,
        transaction: &mut C,
        event: &Event,
        idempotency_key: &str,
    ) -> Result<Ticket, AppendError>
    where
        C: DatabaseConnection + ?Sized,
    {
        self.append_one(transaction, NewEntry::new(event.to_entry()?, Some(idempotency_key))?).await
    }

    /// [Appends](Self::append) an entry of any 1 to 65,535 bytes, with an idempotency key or without.
    ///
    /// # Errors
    /// As [`append`](Self::append); [`AppendError::NotAnEvent`] if the log takes audit events only.
    pub async fn append_bytes<C>(
        &self,
        transaction: &mut C,
        entry: &[u8],
        idempotency_key: Option<&str>,
    ) -> Result<Ticket, AppendError>
    where
        C: DatabaseConnection + ?Sized,
    {
        self.append_one(transaction, NewEntry::new(entry, idempotency_key)?).await
    }

    /// [Appends](Self::append) events in their order, all or none; their tickets, in the same order. One round trip on
    /// PostgreSQL, however many there are.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub async fn append_all<C>(
        &self,
        transaction: &mut C,
        events: &[Event],
    ) -> Result<Vec<Ticket>, AppendError>
    where
        C: DatabaseConnection + ?Sized,
    {
        let entry = |event| NewEntry::new(Event::to_entry(event)?, key_of(event));
        let entries = events.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        self.append_entries(transaction, &entries).await
    }

    async fn append_entries<C>(
        &self,
        transaction: &mut C,
        entries: &[NewEntry<'_>],
    ) -> Result<Vec<Ticket>, AppendError>
    where
        C: DatabaseConnection + ?Sized,
    {
        let ids = transaction.append(self.log(), entries).await?;
        let tickets = ids.into_iter().zip(entries).map(|(id, entry)| Ticket::for_entry(id, &entry.data));
        Ok(tickets.collect())
    }

    async fn append_one<C>(&self, transaction: &mut C, entry: NewEntry<'_>) -> Result<Ticket, AppendError>
    where
        C: DatabaseConnection + ?Sized,
    {
        let ticket = self.append_entries(transaction, &[entry]).await?.pop();
        ticket.ok_or_else(|| sqlx::Error::RowNotFound.into())
    }

    /// The receipt of a ticket whose transaction has committed. Waits until a signed head covers the entry, and
    /// verifies the receipt under the policy before it is returned.
    ///
    /// A ticket that an append of this crate, or a [`Writer`](crate::Writer), returned knows its entry's hash: the receipt is for those very bytes. One
    /// that is only a number, from SQL, gets a receipt for the entry that the server shows for it.
    ///
    /// # Errors
    /// [`ReadError`], of which one kind is evidence of tampering: an answer that fails to verify is never returned, nor
    /// asked for again. `not_covered_yet`, `timed_out` and `unreachable` may be gone when you ask again; `unknown_ticket`
    /// is one of a transaction that was rolled back, or is still open.
    pub async fn receipt(&self, ticket: impl Into<Ticket>) -> Result<Receipt, ReadError> {
        receipt::wait_for(&self.client, ticket.into(), self.receipt_timeout).await
    }
}

fn key_of(event: &Event) -> Option<&str> {
    Some(&*event.id).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use attestlog_core::{KeyType, SigningKey};

    use super::*;

    const ADDRESS: &str = "http://127.0.0.1/logs/acme";

    fn vkey(origin: &str, seed: u8) -> String {
        SigningKey::new(origin, KeyType::Log, &[seed; 32]).unwrap().verifier_key().to_string()
    }

    #[test]
    fn a_policy_is_a_text_or_a_key() {
        let key = vkey("h.example/acme", 1);
        for policy in [key.clone(), format!("{key}\n"), format!("log {key}\nquorum none\n")] {
            let audit = Audit::new(ADDRESS, policy).unwrap();
            assert_eq!((audit.log(), audit.client().origin()), ("acme", "h.example/acme"));
        }
        assert!(Audit::new(ADDRESS, "no key").is_err());
        assert!(Audit::new(ADDRESS, format!("log {key}\n\n#\n")).is_err());
    }

    #[test]
    fn an_address_ends_in_logs_and_the_name() {
        let audit = |address: &str| Audit::new(address, vkey("h.example/acme", 1));
        for (address, name) in [
            (ADDRESS, "acme"),
            ("https://h.example/audit/logs/a.b_c-1/", "a.b_c-1"),
            ("https://h.example/logs/acme?key=1", "acme"),
        ] {
            assert_eq!(audit(address).unwrap().log(), name);
        }
        for address in [
            "",
            "acme",
            "ftp://h.example/logs/a",
            "http://h.example/",
            "http://h.example/logs",
            "http://h.example/logs/",
            "http://h.example/logs/a/b",
            "http://h.example/logs/A",
            "http://h.example/logs/a%2fb",
            "http://h.example/catalogs/a",
        ] {
            assert!(audit(address).is_err(), "{address}");
        }
    }

    #[test]
    fn of_several_logs_one_is_chosen() {
        let text = format!("log {}\nlog {}\nquorum none\n", vkey("h.example/a", 1), vkey("h.example/b", 2));
        assert!(Audit::new(ADDRESS, &text).unwrap_err().to_string().contains("origin()"));
        let chosen = |origin: &str| LogClient::builder(ADDRESS, &text).origin(origin).build();
        assert_eq!(Audit::of(chosen("h.example/b").unwrap()).unwrap().client().origin(), "h.example/b");
        assert!(chosen("h.example/c").is_err());
    }
}
