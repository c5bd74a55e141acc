//! The audit event: what `docs/event.md` describes, as a type.
//!
//! An event is built, formatted once, and those bytes are the entry; fields that this type does not know are kept when
//! an event is read. Nothing here reads a clock but [`Event::new`].

use std::time::SystemTime;

use attestlog_core::{MAX_ENTRY_SIZE, is_rfc3339};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

/// The most bytes of an idempotency key.
const MAX_KEY_SIZE: usize = 255;

/// What happened: who did what to what, when, and how it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// A UUIDv7 unless the writer chose another; the idempotency key unless another is given. Empty where the event
    /// has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// What was done, as `noun.verb` in the past: `invoice.voided`.
    pub action: String,
    /// When, by the writer's clock: RFC 3339.
    pub occurred_at: String,
    /// Who did it.
    pub actor: Actor,
    /// What it was done to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Where the request came from: `ip`, `user_agent`, `request_id`, `trace_id`, and what else the writer likes.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub context: Map<String, Value>,
    /// What was changed, from what to what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Changes>,
    /// What belongs to this action only.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// Fields of other names, kept as they are.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// What kind of actor.
    #[serde(rename = "type")]
    pub kind: ActorType,
    /// Its identifier; not a name, which changes.
    pub id: String,
    /// Its name at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// For whom it acted: the customer for whom support did it, say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<Box<Self>>,
    /// Fields of other names, kept as they are.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The kinds of actors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum ActorType {
    User,
    Service,
    ApiKey,
    System,
    Anonymous,
}

/// What it was done to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// What kind of thing: `invoice`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its identifier.
    pub id: String,
    /// Its name at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Fields of other names, kept as they are.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Success,
    /// It was tried and went wrong.
    Failure,
    /// The actor was not allowed to.
    Denied,
    /// The writer cannot say.
    Unknown,
}

/// What was changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    /// The fields that changed, as they were.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub before: Value,
    /// The same fields as they are now.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub after: Value,
}

/// Why something is no event that can be appended, or cannot be read as one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// A field that every event must have is missing.
    #[error("the event has no {0}")]
    Missing(&'static str),
    /// `occurred_at` is no time.
    #[error("occurred_at is \"{0}\", which is no time of RFC 3339 such as 2026-11-22T08:00:00.123456Z")]
    Time(String),
    /// The event is longer than an entry can be.
    #[error(
        "the event has {0} bytes as JSON, and an entry at most 65535: log a digest or a link in place of large values"
    )]
    TooLong(usize),
    /// The bytes are no event, or a value of the event cannot be written as JSON.
    #[error("not an audit event: {0}")]
    Json(#[from] serde_json::Error),
}

/// A person who has signed in.
pub fn user(id: impl Into<String>) -> Actor {
    Actor::new(ActorType::User, id)
}

/// A program that acts in its own name.
pub fn service(id: impl Into<String>) -> Actor {
    Actor::new(ActorType::Service, id)
}

/// Whoever holds an API key: its identifier, never the key.
pub fn api_key(id: impl Into<String>) -> Actor {
    Actor::new(ActorType::ApiKey, id)
}

/// A part of the system itself, a scheduled job say.
pub fn system(id: impl Into<String>) -> Actor {
    Actor::new(ActorType::System, id)
}

/// Someone who has not signed in; the identifier may be a session's.
pub fn anonymous(id: impl Into<String>) -> Actor {
    Actor::new(ActorType::Anonymous, id)
}

impl Actor {
    /// An actor of this kind.
    pub fn new(kind: ActorType, id: impl Into<String>) -> Self {
        Self { kind, id: id.into(), name: None, on_behalf_of: None, other: Map::new() }
    }

    /// With its name at this time.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Acting for `other`.
    #[must_use]
    pub fn on_behalf_of(mut self, other: Self) -> Self {
        self.on_behalf_of = Some(Box::new(other));
        self
    }
}

impl Target {
    /// A target of this kind.
    pub fn new(kind: impl Into<String>, id: impl Into<String>) -> Self {
        Self { kind: kind.into(), id: id.into(), name: None, other: Map::new() }
    }

    /// With its name at this time.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

impl Event {
    /// An event that happens now, with an identifier of its own. It needs an [`actor`](Self::actor) before it can be
    /// appended.
    pub fn new(action: impl Into<String>) -> Self {
        Self {
            id: Uuid::now_v7().to_string(),
            action: action.into(),
            occurred_at: format_time(Timestamp::now()),
            actor: Actor::new(ActorType::System, ""),
            targets: Vec::new(),
            outcome: None,
            context: Map::new(),
            changes: None,
            metadata: Map::new(),
            other: Map::new(),
        }
    }

    /// Who did it.
    #[must_use]
    pub fn actor(mut self, actor: Actor) -> Self {
        self.actor = actor;
        self
    }

    /// One more thing that it was done to.
    #[must_use]
    pub fn target(self, kind: impl Into<String>, id: impl Into<String>) -> Self {
        self.with_target(Target::new(kind, id))
    }

    /// One more thing that it was done to, with a name, say.
    #[must_use]
    pub fn with_target(mut self, target: Target) -> Self {
        self.targets.push(target);
        self
    }

    /// How it ended.
    #[must_use]
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = Some(outcome);
        self
    }

    /// The address that the request came from.
    #[must_use]
    pub fn ip(self, address: impl ToString) -> Self {
        self.context("ip", address.to_string())
    }

    /// Another member of `context`: `user_agent`, `request_id`, `trace_id` and so on.
    #[must_use]
    pub fn context(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.context.insert(name.into(), value.into());
        self
    }

    /// What was changed: the fields that differ, as they were and as they are.
    #[must_use]
    pub fn changes(mut self, before: impl Into<Value>, after: impl Into<Value>) -> Self {
        self.changes = Some(Changes { before: before.into(), after: after.into() });
        self
    }

    /// Something that belongs to this action only.
    #[must_use]
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }

    /// When it happened, if that is not now. Times before the year -9999 and after 9999 are their nearest. An event from
    /// before the year 0, for which RFC 3339 has no form, cannot be appended.
    #[must_use]
    pub fn occurred_at(mut self, time: impl Into<SystemTime>) -> Self {
        let time: SystemTime = time.into();
        let nearest = if time < SystemTime::UNIX_EPOCH { Timestamp::MIN } else { Timestamp::MAX };
        self.occurred_at = format_time(Timestamp::try_from(time).unwrap_or(nearest));
        self
    }

    /// Another identifier than the one that [`new`](Self::new) made: the same for each try to log the same thing.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// The entry: these bytes are what is stored, hashed and proven. 1 to 65,535 of them.
    ///
    /// # Errors
    /// [`EventError`] if a field that an event must have is missing, or the event is too long.
    pub fn to_entry(&self) -> Result<Vec<u8>, EventError> {
        for (missing, field) in [
            (self.action.is_empty(), "action"),
            (self.actor.id.is_empty(), "actor.id: name who did it with .actor(user(\"…\"))"),
            (self.occurred_at.is_empty(), "occurred_at"),
        ] {
            if missing {
                return Err(EventError::Missing(field));
            }
        }
        // The first is what a log asks for; the second, that it is a time of this calendar.
        if !is_rfc3339(&self.occurred_at) || self.occurred_at.parse::<Timestamp>().is_err() {
            return Err(EventError::Time(self.occurred_at.clone()));
        }
        let entry = serde_json::to_vec(self)?;
        if entry.len() > MAX_ENTRY_SIZE {
            return Err(EventError::TooLong(entry.len()));
        }
        Ok(entry)
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// [`EventError::Json`] if it is no JSON, or lacks a field that an event must have.
    pub fn parse(entry: &[u8]) -> Result<Self, EventError> {
        Ok(serde_json::from_slice(entry)?)
    }
}

/// Whether a text can be an idempotency key: 1 to 255 bytes without U+0000, which no database's text can hold.
pub(crate) fn is_key(text: &str) -> bool {
    (1..=MAX_KEY_SIZE).contains(&text.len()) && !text.contains('\0')
}

/// RFC 3339, in UTC, to the microsecond: what PostgreSQL keeps of a time.
fn format_time(time: Timestamp) -> String {
    format!("{time:.6}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn full() -> Event {
        Event::new("invoice.voided")
            .id("0192")
            .occurred_at(SystemTime::UNIX_EPOCH + Duration::from_nanos(1_500_000_000_123_456_789))
            .actor(user("usr_7").name("Ada").on_behalf_of(service("billing")))
            .target("invoice", "inv_9")
            .with_target(Target::new("customer", "c_1").name("ACME"))
            .outcome(Outcome::Success)
            .ip("192.0.2.1")
            .context("request_id", "r1")
            .changes(json!({"state": "open"}), json!({"state": "void"}))
            .metadata("amount", 30)
    }

    #[test]
    fn an_event_has_one_form_and_its_fields_are_in_the_order_of_the_documentation() {
        let entry = String::from_utf8(full().to_entry().unwrap()).unwrap();
        assert_eq!(
            entry,
            concat!(
                r#"{"id":"0192","action":"invoice.voided","occurred_at":"2017-07-14T02:40:00.123456Z","#,
                r#""actor":{"type":"user","id":"usr_7","name":"Ada","on_behalf_of":{"type":"service","id":"billing"}},"#,
                r#""targets":[{"type":"invoice","id":"inv_9"},{"type":"customer","id":"c_1","name":"ACME"}],"#,
                r#""outcome":"success","context":{"ip":"192.0.2.1","request_id":"r1"},"#,
                r#""changes":{"before":{"state":"open"},"after":{"state":"void"}},"metadata":{"amount":30}}"#
            )
        );
        assert_eq!(Event::parse(entry.as_bytes()).unwrap(), full());
    }

    #[test]
    fn fields_that_are_not_known_are_kept() {
        let entry = br#"{"action":"a","occurred_at":"2026-11-22T08:00:00+01:00","actor":{"type":"api_key","id":"k","x":1},"targets":[{"type":"t","id":"i","y":[2]}],"z":{"deep":null}}"#;
        let event = Event::parse(entry).unwrap();
        let again: Value = serde_json::from_slice(&event.to_entry().unwrap()).unwrap();
        assert_eq!(again, serde_json::from_slice::<Value>(entry).unwrap());
    }

    #[test]
    fn identifiers_are_new_and_sort_by_time() {
        let ids: Vec<_> = (0..100).map(|_| Event::new("a").id).collect();
        assert!(ids.is_sorted());
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(ids.iter().all(|id| id.parse::<Uuid>().unwrap().get_version_num() == 7));
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = |event: Event| event.to_entry().unwrap_err().to_string();
        assert!(missing(Event::new("a")).contains("actor.id"));
        assert!(missing(Event::new("").actor(user("u"))).contains("action"));
        let mut event = Event::new("a").actor(user("u"));
        for time in ["yesterday", "2026-11-22 08:00:00Z", "20261122T080000Z", "9999-12-31T23:59:59Z"] {
            event.occurred_at = time.to_owned();
            assert!(missing(event.clone()).contains(time));
        }
        let before_christ = SystemTime::UNIX_EPOCH - Duration::from_secs(1 << 36);
        assert!(missing(event.occurred_at(before_christ)).contains("RFC 3339"));
    }

    #[test]
    fn an_event_has_at_most_as_many_bytes_as_an_entry() {
        let event = |length: usize| Event::new("a").actor(user("u")).metadata("note", "x".repeat(length));
        let overhead = event(0).to_entry().unwrap().len();
        assert_eq!(event(MAX_ENTRY_SIZE - overhead).to_entry().unwrap().len(), MAX_ENTRY_SIZE);
        assert!(matches!(event(MAX_ENTRY_SIZE - overhead + 1).to_entry(), Err(EventError::TooLong(65536))));
    }

    #[test]
    fn times_beyond_the_calendar_are_its_ends() {
        let late = Event::new("a").occurred_at(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 60));
        assert_eq!(late.occurred_at, "9999-12-30T22:00:00.999999Z");
    }
}
