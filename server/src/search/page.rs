//! A page of hits as it is answered, with cursors to the pages before and after it.

use attestlog_core::{TreeSize, base64};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::block::Place;
use super::cursor::{BadCursor, Count, Cursor};
use super::filter::{Filter, FilterError, FilterText};
use super::find::{Hit, Search, SearchError};
use crate::store::search::Direction;
use crate::store::{Log, Store, StoreError};

/// The hits of a page, unless it asks for another number.
pub const DEFAULT_LIMIT: u64 = 50;

/// The most hits of a page.
pub const MAX_LIMIT: u64 = 200;

/// Hits are counted up to this number.
pub const MAX_COUNT: u32 = 1000;

/// An event that is nested deeper is given as its bytes, so that the answer around it can be read by any parser.
const MAX_DEPTH: usize = 100;

/// All but what RFC 3986 §2.3 calls unreserved.
pub(crate) const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a page is asked for.
#[derive(Clone, Debug, Default)]
pub struct PageQuery {
    /// The filter as it was written.
    pub filter: FilterText,
    /// Where the page begins; the newest hit if it is not given.
    pub cursor: Option<String>,
    /// The most hits; 1 to [`MAX_LIMIT`].
    pub limit: Option<u64>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// The filter cannot be used.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// No page has so many hits.
    #[error("limit is 1 to {MAX_LIMIT}")]
    Limit,
    /// The cursor is not one of this search.
    #[error(transparent)]
    Cursor(#[from] BadCursor),
    /// The search could not be made.
    #[error(transparent)]
    Search(#[from] SearchError),
}

impl From<StoreError> for PageError {
    fn from(error: StoreError) -> Self {
        Self::Search(error.into())
    }
}

/// Some of the events that were searched for, the newest first.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Answer {
    /// The events; there may be fewer than asked for, even none, and a next page.
    pub events: Vec<FoundEvent>,
    /// Where older ones are; null if there are none.
    pub next: Option<String>,
    /// Where newer ones are; null if there are none that this search has found already.
    pub previous: Option<String>,
    /// How many there are.
    pub count: Count,
    /// The entries below this index can be found; the index is a moment behind the log.
    pub indexed_size: u64,
    /// The size of the published tree.
    pub tree_size: u64,
}

/// An event that was found.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FoundEvent {
    /// Its index.
    pub index: u64,
    /// The time that it is found and ordered by, RFC 3339, in UTC.
    pub time: String,
    /// Whose word the time is.
    pub time_from: TimeFrom,
    /// The exact text of the entry, if it is JSON.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub event: Option<Box<RawValue>>,
    /// The exact bytes in base64, if they are not JSON, or nested too deeply to be shown within this answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Where the entry is.
    pub entry: String,
    /// Where its receipt is.
    pub receipt: String,
}

/// Where the time of an event comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeFrom {
    /// The event says so.
    OccurredAt,
    /// The event says nothing that is a time: this is when it was appended, as the database says.
    AppendedAt,
}

impl PageQuery {
    /// The path and query that ask a server for this page.
    #[must_use]
    pub fn link(&self, log: &str) -> String {
        let limit = self.limit.map(|limit| limit.to_string());
        let mut parameters = self.filter.parameters();
        parameters.extend(limit.as_deref().map(|limit| ("limit", limit)));
        parameters.extend(self.cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let text: Vec<String> = parameters
            .iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, RESERVED)))
            .collect();
        format!("/logs/{log}/events?{}", text.join("&"))
    }

    fn at(&self, cursor: String) -> Self {
        Self { cursor: Some(cursor), ..self.clone() }
    }
}

/// Searches a log whose published tree has `size` entries.
///
/// # Errors
/// [`PageError`].
pub async fn page(
    store: &dyn Store,
    log: &Log,
    size: TreeSize,
    query: &PageQuery,
) -> Result<Answer, PageError> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    let shown =
        usize::try_from(limit).ok().filter(|_| (1..=MAX_LIMIT).contains(&limit)).ok_or(PageError::Limit)?;
    let begin = match query.cursor.as_deref().filter(|cursor| !cursor.is_empty()) {
        Some(cursor) => Some(Cursor::parse(cursor, &log.name, &query.filter)?),
        None => None,
    };
    let now = begin.map_or_else(super::now, |cursor| cursor.now);
    let filter = Filter::parse(&query.filter, now)?;
    let indexed_size = store.search().indexed_size(log.id).await?.0.min(size.0);
    let search = Search { store, log: log.id, size, filter: &filter };
    let (direction, from) =
        begin.map_or((Direction::Older, Place::LAST), |cursor| (cursor.direction, cursor.from));
    let counted = if begin.is_none() { usize::try_from(MAX_COUNT).unwrap_or_default() } else { 0 };
    let mut found = search.find(direction, from, shown, counted).await?;
    let count = begin.map_or_else(
        || Count { value: u32::try_from(found.counted).unwrap_or(MAX_COUNT), capped: found.more },
        |cursor| cursor.count,
    );
    if direction == Direction::Newer {
        found.hits.reverse();
    }
    let place = |hit: &Hit| Place { time: hit.time, index: hit.index.0 };
    let (newest, oldest) = (found.hits.first().map(place), found.hits.last().map(place));
    let (older, newer) = match direction {
        Direction::Older => (found.rest, begin.map(|_| newest.unwrap_or(from.predecessor()))),
        Direction::Newer => (Some(oldest.unwrap_or(from.successor())), found.rest),
    };
    let to = |direction, from: Option<Place>| {
        let cursor = |from| Cursor { direction, now, from, count }.format(&log.name, &query.filter);
        from.map(|from| query.at(cursor(from)).link(&log.name))
    };
    Ok(Answer {
        next: to(Direction::Older, older),
        previous: to(Direction::Newer, newer),
        count,
        indexed_size,
        tree_size: size.0,
        events: found.hits.into_iter().map(|hit| found_event(&log.name, hit)).collect(),
    })
}

/// An event that is given, `null` too: JSON's null is an entry like another.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

fn found_event(log: &str, hit: Hit) -> FoundEvent {
    let entry = format!("/logs/{log}/entries/{}", hit.index);
    let event = if hit.fields.is_json && is_shallow(&hit.data) { raw(&hit.data) } else { None };
    FoundEvent {
        index: hit.index.0,
        time: Timestamp::from_microsecond(hit.time).map(|time| time.to_string()).unwrap_or_default(),
        time_from: if hit.fields.occurred_at.is_some() { TimeFrom::OccurredAt } else { TimeFrom::AppendedAt },
        data: if event.is_none() { Some(base64::format(&hit.data)) } else { None },
        event,
        receipt: format!("{entry}/receipt"),
        entry,
    }
}

fn raw(data: &[u8]) -> Option<Box<RawValue>> {
    RawValue::from_string(std::str::from_utf8(data).ok()?.to_owned()).ok()
}

/// Whether JSON is nested no deeper than is shown.
fn is_shallow(json: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_shown_as_it_is_unless_it_is_nested_too_deeply() {
        for (depth, shown) in [(1, true), (MAX_DEPTH, true), (MAX_DEPTH + 1, false), (20_000, false)] {
            let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            assert_eq!(is_shallow(text.as_bytes()), shown, "{depth}");
        }
        assert!(is_shallow(format!("[{}]", ["{}"; 500].join(",")).as_bytes()));
        assert!(is_shallow(format!("\"\\\"{}\"", "[".repeat(500)).as_bytes()));
        let text = "{ \"a\" : 1.50 }";
        assert_eq!(raw(text.as_bytes()).unwrap().get(), text);
    }
}
