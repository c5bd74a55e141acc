//! The log as an application sees it: append in its transaction, and get the receipt afterwards.

use std::time::Duration;

use attestlog_core::{ParseError, Policy, PolicyError, VerifierKey};

use crate::event::Event;
use crate::receipt::{self, Receipt, ReceiptError};
use crate::remote::{AddressError, Remote};
use crate::ticket::Ticket;
use crate::transaction::{AppendError, DatabaseConnection, NewEntry};

/// How long [`Audit::receipt`] waits, unless another time is set.
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(60);

/// A log, and whom to trust for it. Cheap to clone; one serves a whole application.
#[derive(Clone, Debug)]
pub struct Audit {
    pub(crate) remote: Remote,
    pub(crate) policy: Policy,
    pub(crate) origin: String,
    pub(crate) receipt_timeout: Duration,
}

/// Why there is no log of this address and policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The address is not that of a log.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The policy cannot be used.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The policy is one line, and no verifier key of a log.
    #[error("the policy is neither a tlog-policy nor a vkey: {0}")]
    Key(#[source] ParseError),
    /// The policy names several logs, and nobody has said which.
    #[error("the policy names {0} logs: say which with Audit::for_origin")]
    Origins(usize),
    /// The policy does not name the log.
    #[error("the policy does not name a log \"{0}\"")]
    UnknownOrigin(String),
}

impl Audit {
    /// The log at `http(s)://HOST/logs/NAME`, as trusted by a policy: the text of a tlog-policy, or one vkey, as
    /// `attestlog log policy NAME` and `attestlog key show` print them. Asks nobody yet.
    ///
    /// Have the policy from elsewhere than the log's server: what comes from there proves nothing.
    ///
    /// # Errors
    /// [`AuditError`]; [`AuditError::Origins`] for a policy of several logs, which [`for_origin`](Self::for_origin)
    /// takes.
    pub fn new(address: &str, policy: impl AsRef<[u8]>) -> Result<Self, AuditError> {
        let policy = read_policy(policy.as_ref())?;
        let origins: Vec<String> = policy.logs().map(|key| key.name().to_owned()).collect();
        match &*origins {
            [origin] => Self::for_origin(address, policy, origin),
            origins => Err(AuditError::Origins(origins.len())),
        }
    }

    /// The log at this address, which must be the one of this origin, as trusted by a policy that may name more.
    ///
    /// # Errors
    /// [`AuditError::Address`]; [`AuditError::UnknownOrigin`].
    pub fn for_origin(address: &str, policy: Policy, origin: &str) -> Result<Self, AuditError> {
        if !policy.logs().any(|key| key.name() == origin) {
            return Err(AuditError::UnknownOrigin(origin.to_owned()));
        }
        let remote = Remote::new(address)?;
        Ok(Self { remote, policy, origin: origin.to_owned(), receipt_timeout: RECEIPT_TIMEOUT })
    }

    /// With another time that [`receipt`](Self::receipt) waits at most; 60 seconds otherwise.
    #[must_use]
    pub const fn receipt_timeout(mut self, timeout: Duration) -> Self {
        self.receipt_timeout = timeout;
        self
    }

    /// With another HTTP client: one with a header for your access control, other certificates, or a proxy.
    #[must_use]
    pub fn http_client(mut self, client: reqwest::Client) -> Self {
        self.remote.set_client(client);
        self
    }

    /// The log's name, which is the last part of its address.
    #[must_use]
    pub fn log(&self) -> &str {
        self.remote.log()
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
        self.append_with(transaction, event.to_entry()?, key_of(event)).await
    }

    /// [Appends](Self::append) an event with another idempotency key than its `id`: 1 to 255 bytes.
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
        self.append_with(transaction, event.to_entry()?, Some(idempotency_key)).await
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
        self.append_with(transaction, entry.to_vec(), idempotency_key).await
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
        let ids = transaction.append(self.log(), &entries).await?;
        let tickets = ids.into_iter().zip(&entries).map(|(id, entry)| Ticket::for_entry(id, &entry.data));
        Ok(tickets.collect())
    }

    async fn append_with<C>(
        &self,
        transaction: &mut C,
        entry: Vec<u8>,
        idempotency_key: Option<&str>,
    ) -> Result<Ticket, AppendError>
    where
        C: DatabaseConnection + ?Sized,
    {
        let entries = [NewEntry::new(entry, idempotency_key)?];
        let ids = transaction.append(self.log(), &entries).await?;
        let ticket = ids.first().zip(entries.first()).map(|(id, entry)| Ticket::for_entry(*id, &entry.data));
        ticket.ok_or_else(|| sqlx::Error::RowNotFound.into())
    }

    /// The receipt of a ticket whose transaction has committed. Waits until a signed head covers the entry, and
    /// verifies the receipt under the policy before it is returned.
    ///
    /// A ticket that an append of this crate returned knows its entry's hash: the receipt is for those very bytes. One
    /// that is only a number, from SQL, gets a receipt for the entry that the server shows for it.
    ///
    /// # Errors
    /// [`ReceiptError`], whose [`kind`](ReceiptError::kind) says what to do: an answer that fails to verify is never
    /// returned, nor asked for again.
    pub async fn receipt(&self, ticket: impl Into<Ticket>) -> Result<Receipt, ReceiptError> {
        receipt::wait_for(self, ticket.into()).await
    }
}

fn key_of(event: &Event) -> Option<&str> {
    Some(&*event.id).filter(|id| !id.is_empty())
}

/// A policy from its text, or from the one vkey that it trusts.
fn read_policy(text: &[u8]) -> Result<Policy, AuditError> {
    let line = text.trim_ascii_end();
    if line.contains(&b'\n') {
        return Ok(Policy::parse(text)?);
    }
    VerifierKey::parse(line).and_then(Policy::for_log).map_err(AuditError::Key)
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
            assert_eq!((audit.log(), &*audit.origin), ("acme", "h.example/acme"));
        }
        assert!(matches!(Audit::new(ADDRESS, "no key"), Err(AuditError::Key(_))));
        assert!(matches!(Audit::new(ADDRESS, format!("log {key}\n\n#\n")), Err(AuditError::Policy(_))));
        assert!(matches!(Audit::new("acme", key), Err(AuditError::Address(_))));
    }

    #[test]
    fn of_several_logs_one_is_chosen() {
        let text = format!("log {}\nlog {}\nquorum none\n", vkey("h.example/a", 1), vkey("h.example/b", 2));
        assert!(matches!(Audit::new(ADDRESS, &text), Err(AuditError::Origins(2))));
        let policy = Policy::parse(&text).unwrap();
        assert!(Audit::for_origin(ADDRESS, policy.clone(), "h.example/b").is_ok());
        let unknown = Audit::for_origin(ADDRESS, policy, "h.example/c");
        assert!(matches!(unknown, Err(AuditError::UnknownOrigin(_))));
    }
}
