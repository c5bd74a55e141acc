//! Whether bytes are an audit event, for the logs that take nothing else.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::event::ActorType;

/// The fields that a strict log asks for, as `attestlog.is_event` does on PostgreSQL.
#[derive(Deserialize)]
struct Required {
    action: String,
    #[serde(rename = "occurred_at")]
    _occurred_at: String,
    actor: Object<RequiredActor>,
}

#[derive(Deserialize)]
struct RequiredActor {
    #[serde(rename = "type", deserialize_with = "actor_type")]
    _kind: ActorType,
    id: String,
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

pub(super) fn is_event(entry: &[u8]) -> bool {
    let text = std::str::from_utf8(entry).ok();
    let read = text.and_then(|text| serde_json::from_str::<Object<Required>>(text).ok());
    read.is_some_and(|Object(event)| !event.action.is_empty() && !event.actor.0.id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strict_log_s_events_are_those_of_postgresql() {
        let good = r#"{"action":"a","occurred_at":"x","actor":{"type":"user","id":"u"},"more":[1]}"#;
        assert!(is_event(good.as_bytes()));
        for (from, to) in [
            ("\"a\"", "\"\""),
            ("\"a\"", "7"),
            ("user", "robot"),
            ("\"u\"", "9"),
            ("\"u\"", "\"\""),
            ("\"x\"", "5"),
            ("actor", "actress"),
            ("\"user\"", "{\"user\":null}"),
            (r#"{"type":"user","id":"u"}"#, r#"["user","u"]"#),
            ("}", "}}"),
        ] {
            assert!(!is_event(good.replacen(from, to, 1).as_bytes()), "{to}");
        }
        for array in [r#"["a","x",["user","u"]]"#, r#"["a","x",{"type":"user","id":"u"}]"#, "[]", "null"] {
            assert!(!is_event(array.as_bytes()), "{array}");
        }
        // These, PostgreSQL reads otherwise: it takes the last of two members, and no U+0000 anywhere.
        assert!(!is_event(good.replacen('{', "{\"action\":\"b\",", 1).as_bytes()));
        assert!(is_event(good.replacen("[1]", "[1e999,\"\\u0000\"]", 1).as_bytes()));
        assert!(!is_event(b"\xff"));
        assert!(!is_event("[".repeat(60_000).as_bytes()));
    }
}
