//! Checks JSON, and the fields that an audit event must have, without touching the bytes: those are the leaf.
//!
//! Only a log made with `--events strict` asks for the fields: `action`, `occurred_at` (RFC 3339 §5.6), `actor.type`
//! and `actor.id`. Other fields are kept as they are and not looked at.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use attestlog_core::is_rfc3339;
use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The longest `id` that can be a key, in bytes.
const MAX_ID: usize = 255;

/// Why bytes are not an event that a log takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// They are not JSON.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// They are JSON, and not an event with the fields that this log asks for.
    #[error("not an event: {0}")]
    Invalid(String),
    /// They are JSON, and have no member `id` that can be an idempotency key.
    #[error("no `id` that can be a key, a string of 1 to 255 bytes without U+0000: {0}")]
    NoId(String),
}

/// The fields that an event must have. A field that stands there twice is refused: readers would differ about it.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    action: Cow<'a, str>,
    #[serde(borrow)]
    occurred_at: Cow<'a, str>,
    #[serde(borrow)]
    actor: Object<Actor<'a>>,
}

#[derive(Deserialize)]
struct Actor<'a> {
    #[serde(rename = "type", deserialize_with = "actor_type")]
    _type: ActorType,
    #[serde(borrow)]
    id: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ActorType {
    User,
    Service,
    ApiKey,
    System,
    Anonymous,
}

/// The type as a string: as an enum alone, `{"user":null}` would be taken, too.
fn actor_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ActorType, D::Error> {
    ActorType::deserialize(String::deserialize(deserializer)?.into_deserializer())
}

/// A JSON object: as a struct alone, an array of the fields' values would be taken, too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members)).map(Object)
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// Accepts one JSON text (RFC 8259), in UTF-8.
///
/// # Errors
/// [`EventError::NotJson`].
pub fn validate_json(data: &[u8]) -> Result<(), EventError> {
    let read = serde_json::from_str::<IgnoredAny>(text(data)?);
    read.map(|_| ()).map_err(|error| EventError::NotJson(error.to_string()))
}

/// Accepts JSON with the fields that an audit event must have.
///
/// # Errors
/// [`EventError`].
pub fn validate_event(data: &[u8]) -> Result<(), EventError> {
    let event: Event<'_> = read(data, EventError::Invalid)?;
    let empty = |field: &str| Err(EventError::Invalid(format!("`{field}` is empty")));
    if event.action.is_empty() {
        return empty("action");
    }
    if event.actor.0.id.is_empty() {
        return empty("actor.id");
    }
    if !is_rfc3339(&event.occurred_at) {
        let reason = "`occurred_at` is not a time of RFC 3339, such as 2026-11-22T08:00:00.123456Z";
        return Err(EventError::Invalid(reason.into()));
    }
    Ok(())
}

/// The member `id` of an event, which may be its idempotency key.
///
/// # Errors
/// [`EventError::NotJson`]; [`EventError::NoId`] if it is missing or there twice, no string, empty, longer than 255
/// bytes, or holds U+0000, which no database's text can.
pub fn event_id(data: &[u8]) -> Result<String, EventError> {
    #[derive(Deserialize)]
    struct Identified {
        id: String,
    }
    let event: Identified = read(data, EventError::NoId)?;
    match event.id.len() {
        0 => Err(EventError::NoId("it is empty".to_owned())),
        1..=MAX_ID if !event.id.contains('\0') => Ok(event.id),
        1..=MAX_ID => Err(EventError::NoId("it holds U+0000".to_owned())),
        length => Err(EventError::NoId(format!("it has {length} bytes"))),
    }
}

/// What skips a value does not check it for UTF-8: that is done here.
fn text(data: &[u8]) -> Result<&str, EventError> {
    std::str::from_utf8(data).map_err(|error| EventError::NotJson(error.to_string()))
}

/// The object in one pass. The reader stops at the first thing that is wrong with the fields, which is `reason` only if
/// everything after it is JSON.
fn read<'a, T: Deserialize<'a>>(data: &'a [u8], reason: fn(String) -> EventError) -> Result<T, EventError> {
    match serde_json::from_str(text(data)?) {
        Ok(Object(value)) => Ok(value),
        Err(error) => {
            validate_json(data)?;
            Err(reason(error.to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"action":"invoice.voided","occurred_at":"2026-11-22T08:00:00.123456Z","actor":{"type":"user","id":"usr_7","name":"Ada"},"more":[1]}"#;

    #[test]
    fn takes_an_event_with_unknown_fields() {
        assert_eq!(validate_event(EVENT.as_bytes()), Ok(()));
    }

    #[test]
    fn names_the_field_that_is_missing_or_wrong() {
        for (from, to, named) in [
            (r#""action":"invoice.voided","#, "", "`action`"),
            ("invoice.voided", "", "`action`"),
            (r#""action":"#, r#""action":"a","action":"#, "`action`"),
            (r#""invoice.voided""#, "7", "string"),
            (r#""occurred_at":"2026-11-22T08:00:00.123456Z","#, "", "`occurred_at`"),
            ("2026-11-22T", "2026-11-31T", "`occurred_at`"),
            (r#""type":"user","#, "", "`type`"),
            (r#""type":"user""#, r#""type":"root""#, "`root`"),
            (r#""type":"user""#, r#""type":{"user":null}"#, "expected a string"),
            (r#"{"type":"user","id":"usr_7","name":"Ada"}"#, r#"["user","usr_7"]"#, "expected an object"),
            (r#""id":"usr_7","#, "", "`id`"),
            ("usr_7", "", "`actor.id`"),
        ] {
            let changed = EVENT.replacen(from, to, 1);
            assert_ne!(changed, EVENT);
            let error = validate_event(changed.as_bytes()).unwrap_err();
            assert!(matches!(&error, EventError::Invalid(reason) if reason.contains(named)), "{error}");
        }
    }

    #[test]
    fn the_fields_of_an_event_are_no_event_in_an_array() {
        for array in [
            r#"["a","2026-11-22T08:00:00Z",["user","u"]]"#,
            r#"["a","2026-11-22T08:00:00Z",{"type":"user","id":"u"}]"#,
            " [\"a\",\"2026-11-22T08:00:00Z\",[{\"user\":null},\"u\"]]",
        ] {
            let error = validate_event(array.as_bytes()).unwrap_err();
            assert!(
                matches!(&error, EventError::Invalid(reason) if reason.contains("expected an object")),
                "{error}"
            );
        }
    }

    #[test]
    fn an_id_is_a_key_as_it_stands_there_and_nothing_else_is_one() {
        let longest = "é".repeat(127) + "x";
        for (id, expected) in [("a", "a"), ("\\u0061\\n", "a\n"), (&*longest, &*longest), (" ", " ")] {
            let event = format!(r#"{{"other":[{{"id":1}}],"id":"{id}"}}"#);
            assert_eq!(event_id(event.as_bytes()), Ok(expected.to_owned()));
        }
        let too_long = format!(r#"{{"id":"{longest}y"}}"#);
        for bad in [
            "{}",
            r#"{"id":""}"#,
            r#"{"id":1}"#,
            r#"{"id":null}"#,
            r#"{"id":"a","id":"a"}"#,
            r#"{"id":"a\u0000"}"#,
            r#"["id"]"#,
            r#""id""#,
            &*too_long,
        ] {
            assert!(matches!(event_id(bad.as_bytes()), Err(EventError::NoId(_))), "{bad}");
        }
        assert!(matches!(event_id(br#"{"id":"a""#), Err(EventError::NotJson(_))));
    }

    #[test]
    fn json_is_one_value_in_utf8() {
        for good in ["{}", " [1, 2]\r\n", "\"\\u00e9\"", "0", "null"] {
            assert_eq!(validate_json(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in [&b""[..], b"{", b"{} {}", b"{'a':1}", b"\xef\xbb\xbf{}", b"\"\xff\"", b"NaN", b"01"] {
            assert!(matches!(validate_json(bad), Err(EventError::NotJson(_))), "{bad:?}");
        }
        assert!(validate_json("[".repeat(60_000).as_bytes()).is_err());
    }
}
