//! What an append returns, a writer's too, before its entry has an index: it leads to the receipt.
//!
//! As text it is the number, and after a colon the leaf hash in base64 where that is known: `42:uFPYbt…=`. It fits a
//! column of the business row, as text or as JSON.

use std::fmt;
use std::str::FromStr;

use attestlog_core::{Hash, ParseError, decimal};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The ticket of one entry.
///
/// It is worth something once the transaction has committed: a ticket of a transaction that rolled back leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    id: i64,
    leaf_hash: Option<Hash>,
}

impl Ticket {
    /// The ticket of `entry`, these very bytes, with the number that an append returned.
    #[must_use]
    pub fn for_entry(id: i64, entry: &[u8]) -> Self {
        Self { id, leaf_hash: Some(Hash::leaf(entry)) }
    }

    /// The number, as `attestlog.append` returns it in SQL.
    #[must_use]
    pub const fn id(&self) -> i64 {
        self.id
    }

    /// What the entry was hashed to when it was appended. A ticket that has it gets a receipt for these bytes or none.
    #[must_use]
    pub const fn leaf_hash(&self) -> Option<Hash> {
        self.leaf_hash
    }
}

/// The ticket that `attestlog.append` returned in SQL. It does not know the bytes: the receipt proves the entry that
/// the server shows for it.
impl From<i64> for Ticket {
    fn from(id: i64) -> Self {
        Self { id, leaf_hash: None }
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.leaf_hash {
            Some(hash) => write!(f, "{}:{hash}", self.id),
            None => write!(f, "{}", self.id),
        }
    }
}

impl FromStr for Ticket {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (id, hash) = match text.split_once(':') {
            Some((id, hash)) => (id, Some(Hash::parse_base64(hash.as_bytes())?)),
            None => (text, None),
        };
        let id = i64::try_from(decimal::parse(id.as_bytes())?).map_err(|_| ParseError::Number)?;
        Ok(Self { id, leaf_hash: hash })
    }
}

impl Serialize for Ticket {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ticket {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_the_same_after_it_was_kept_as_text_or_json() {
        for ticket in [Ticket::from(0), Ticket::from(i64::MAX), Ticket::for_entry(42, b"entry")] {
            assert_eq!(ticket.to_string().parse::<Ticket>().unwrap(), ticket);
            let json = serde_json::to_string(&ticket).unwrap();
            assert_eq!(json, format!("\"{ticket}\""));
            assert_eq!(serde_json::from_str::<Ticket>(&json).unwrap(), ticket);
        }
        assert_eq!(Ticket::from(42).to_string(), "42");
    }

    #[test]
    fn what_is_not_a_ticket_is_refused() {
        let hash = Hash::leaf(b"entry").to_string();
        for text in ["", "-1", "042", "9223372036854775808", "42:", ":", "x", " 42", "42 "] {
            assert!(text.parse::<Ticket>().is_err(), "{text}");
        }
        for text in [format!("42:{hash}:"), format!("42:{hash}A"), format!(":{hash}"), format!("42{hash}")] {
            assert!(text.parse::<Ticket>().is_err(), "{text}");
        }
        assert!(serde_json::from_str::<Ticket>("42").is_err());
    }
}
