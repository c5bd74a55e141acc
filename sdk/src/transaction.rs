//! Appending inside the caller's transaction: what it is done through, and why it may fail.
//!
//! The SQL is in the files below, one for each database.

use std::borrow::Cow;

use attestlog_core::validate_entry_size;

use crate::event::{EventError, is_key};

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlite")]
mod strict;

/// What events are appended through: sqlx's `Transaction` or a connection, of PostgreSQL or SQLite.
///
/// `&mut tx` and `&mut *tx` are the same. Through a connection without an open transaction an append is a transaction
/// of its own. Nothing else implements this trait.
pub trait DatabaseConnection: sealed::DatabaseConnection {}

pub(crate) mod sealed {
    use super::{AppendError, NewEntry};

    /// What each database does.
    pub trait DatabaseConnection: Send {
        /// Appends all or none; the tickets, in order.
        fn append(
            &mut self,
            log: &str,
            entries: &[NewEntry<'_>],
        ) -> impl Future<Output = Result<Vec<i64>, AppendError>> + Send;

        /// The entries of a log that the transaction sees: those that have an index in its order, then the others.
        fn entries(&mut self, log: &str) -> impl Future<Output = Result<Vec<Vec<u8>>, sqlx::Error>> + Send;
    }
}

/// An entry to be appended.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(any(feature = "postgres", feature = "sqlite")),
    expect(dead_code, reason = "without a database there is nothing to append through")
)]
pub struct NewEntry<'a> {
    pub(crate) data: Cow<'a, [u8]>,
    pub(crate) idempotency_key: Option<&'a str>,
}

/// Why nothing was appended.
///
/// After an error the transaction should be rolled back. PostgreSQL does not let it go on anyway, except after a
/// savepoint; SQLite does, as if the append had not been tried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The database has no log of this name.
    #[error("the database has no log \"{0}\": make it with \"attestlog log create\"")]
    UnknownLog(String),
    /// The event lacks what an event must have, or is too long.
    #[error(transparent)]
    Event(#[from] EventError),
    /// An entry has 1 to 65,535 bytes.
    #[error("an entry has 1 to 65535 bytes, this one has {0}")]
    EntrySize(usize),
    /// The log takes audit events only, and these bytes are none.
    #[error("log \"{0}\" takes audit events only")]
    NotAnEvent(String),
    /// An idempotency key has 1 to 255 bytes and no U+0000; this one has so many bytes.
    #[error("an idempotency key has 1 to 255 bytes and no U+0000, unlike this one of {0} bytes")]
    KeySize(usize),
    /// The idempotency key belongs to another entry.
    #[error("idempotency key \"{0}\" was used for a different entry")]
    KeyReused(String),
    /// The database failed or refused. What it said is unchanged: the SQLSTATE `40001` of a serialisation failure, say,
    /// after which the whole transaction is to be tried again.
    #[error("the database did not take the entry: {0}")]
    Database(#[from] sqlx::Error),
}

impl AppendError {
    /// The error of the database, if it was that.
    #[must_use]
    pub const fn as_database(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Database(error) => Some(error),
            _ => None,
        }
    }
}

impl<'a> NewEntry<'a> {
    /// An entry of these bytes, with an idempotency key or without.
    pub(crate) fn new(
        data: impl Into<Cow<'a, [u8]>>,
        idempotency_key: Option<&'a str>,
    ) -> Result<Self, AppendError> {
        let data = data.into();
        validate_entry_size(data.len()).map_err(|_| AppendError::EntrySize(data.len()))?;
        match idempotency_key {
            Some(key) if !is_key(key) => Err(AppendError::KeySize(key.len())),
            _ => Ok(Self { data, idempotency_key }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_and_keys_have_their_sizes() {
        let size = |data: &[u8], key| NewEntry::new(data.to_vec(), key).map(|entry| entry.data.len());
        assert!(matches!(size(b"", None), Err(AppendError::EntrySize(0))));
        assert!(matches!(size(&[0; 65_536], None), Err(AppendError::EntrySize(65_536))));
        assert!(matches!(size(&[0; 65_535], Some("k")), Ok(65_535)));
        let long = "k".repeat(256);
        assert!(matches!(size(b"x", Some("")), Err(AppendError::KeySize(0))));
        assert!(matches!(size(b"x", Some(&long)), Err(AppendError::KeySize(256))));
        assert!(matches!(size(b"x", long.get(1..)), Ok(1)));
        let refused = size(b"x", Some("k\0")).unwrap_err();
        assert!(
            matches!(refused, AppendError::KeySize(2)) && refused.to_string().contains("U+0000"),
            "{refused}"
        );
    }
}
