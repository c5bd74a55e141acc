//! Where a page begins, as text that a client passes back: opaque, and of use only for the same search.
//!
//! It holds a place, the direction, the moment that ages count back from and what was counted, so that all pages of a
//! search are of one search. Its checksum, over the log and the filter too, is against mistakes: there is nothing to be
//! gained by forging one.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::block::Place;
use super::filter::FilterText;
use crate::store::search::Direction;

/// The bytes of a cursor: direction, moment, place, count, checksum.
const LENGTH: usize = 1 + 8 + 8 + 8 + 5 + 8;

/// How many events a search finds, counted by its first page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Count {
    /// So many were counted, at most 1000.
    pub value: u32,
    /// There are, or may be, more.
    pub capped: bool,
}

/// Where a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Which way the page lies.
    pub direction: Direction,
    /// The moment that ages count back from.
    pub now: i64,
    /// The place that the page is beyond.
    pub from: Place,
    /// What the first page has counted.
    pub count: Count,
}

/// A text that is no cursor of this search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor of this search: begin again without one")]
pub struct BadCursor;

impl Cursor {
    /// Writes it, for a search of this filter in this log.
    #[must_use]
    pub fn format(&self, log: &str, filter: &FilterText) -> String {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.push(match self.direction {
            Direction::Older => 1,
            Direction::Newer => 2,
        });
        bytes.extend(self.now.to_be_bytes());
        bytes.extend(self.from.time.to_be_bytes());
        bytes.extend(self.from.index.to_be_bytes());
        bytes.extend(self.count.value.to_be_bytes());
        bytes.push(self.count.capped.into());
        let checksum = checksum(&bytes, log, filter);
        bytes.extend(checksum);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`BadCursor`]
    pub fn parse(text: &str, log: &str, filter: &FilterText) -> Result<Self, BadCursor> {
        let bytes = from_hex(text).ok_or(BadCursor)?;
        let (content, sum) = bytes.split_at_checked(LENGTH - 8).ok_or(BadCursor)?;
        if sum != checksum(content, log, filter) {
            return Err(BadCursor);
        }
        let mut rest = content;
        let [direction] = take(&mut rest)?;
        let now = i64::from_be_bytes(take(&mut rest)?);
        let (time, index) = (i64::from_be_bytes(take(&mut rest)?), u64::from_be_bytes(take(&mut rest)?));
        let value = u32::from_be_bytes(take(&mut rest)?);
        let [capped] = take(&mut rest)?;
        let direction = match direction {
            1 => Direction::Older,
            2 => Direction::Newer,
            _ => return Err(BadCursor),
        };
        let count = Count { value, capped: capped == 1 };
        Ok(Self { direction, now, from: Place { time, index }, count })
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], BadCursor> {
    let (taken, rest) = bytes.split_first_chunk::<N>().ok_or(BadCursor)?;
    *bytes = rest;
    Ok(*taken)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).filter(|_| !byte.is_ascii_uppercase());
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    };
    if text.len() != 2 * LENGTH {
        return None;
    }
    text.as_bytes().chunks(2).map(byte).collect()
}

fn checksum(content: &[u8], log: &str, filter: &FilterText) -> [u8; 8] {
    let mut hash = Sha256::new();
    hash.update(content);
    let mut part = |text: &str| {
        hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(text);
    };
    part(log);
    for (name, value) in filter.parameters() {
        part(name);
        part(value);
    }
    let hash = hash.finalize();
    hash.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CURSOR: Cursor = Cursor {
        direction: Direction::Newer,
        now: -7,
        from: Place { time: i64::MIN, index: 9 },
        count: Count { value: 1000, capped: true },
    };

    fn filter(actor: &str) -> FilterText {
        FilterText { actor: Some(actor.into()), ..FilterText::default() }
    }

    #[test]
    fn what_is_written_is_read() {
        let text = CURSOR.format("a", &filter("b"));
        assert_eq!(Cursor::parse(&text, "a", &filter("b")), Ok(CURSOR));
    }

    #[test]
    fn another_search_or_a_changed_text_is_refused() {
        let text = CURSOR.format("a", &filter("b"));
        assert_eq!(Cursor::parse(&text, "b", &filter("b")), Err(BadCursor));
        assert_eq!(Cursor::parse(&text, "a", &filter("c")), Err(BadCursor));
        assert_eq!(Cursor::parse(&text, "a", &FilterText::default()), Err(BadCursor));
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(Cursor::parse(&changed, "a", &filter("b")), Err(BadCursor), "{at}");
        }
        for wrong in ["", "0", &text[1..], &text.to_uppercase(), &"é".repeat(LENGTH), &format!("{text}00")] {
            assert_eq!(Cursor::parse(wrong, "a", &filter("b")), Err(BadCursor), "{wrong}");
        }
    }
}
