//! Search: an index from what events say to where they are, kept behind the trees, and what finds events with it.
//!
//! The index has for each term (an actor, an action, a target, an outcome, a word) the places of the events that have
//! it, ordered by time and index, in blocks. [`Search`] merges these lists: a page costs what it shows, at any depth.
//! The index is derived data and need not be trusted: each hit is checked against the bytes of its entry.

mod block;
mod cursor;
mod fields;
mod filter;
mod find;
mod indexer;
mod lists;
mod page;
mod query;
mod term;
mod words;

pub use block::{BLOCK_POSTINGS, BadBlock, Block, Place};
pub use cursor::{BadCursor, Count, Cursor};
pub use fields::{Fields, MAX_TARGETS, MAX_WORDS, Party};
pub use filter::{Condition, Filter, FilterError, FilterText, MAX_FILTER};
pub use find::{Found, Hit, MAX_EXPANSION, Search, SearchError};
pub use indexer::{CatchUpError, IndexStep, Indexer};
pub(crate) use page::RESERVED;
pub use page::{
    Answer, DEFAULT_LIMIT, FoundEvent, MAX_COUNT, MAX_LIMIT, PageError, PageQuery, TimeFrom, page,
};
pub use query::{MAX_QUERY_WORDS, Query};
pub use term::{Term, TermKind};
pub use words::words;

/// The moment, in microseconds since 1970.
#[must_use]
pub fn now() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
