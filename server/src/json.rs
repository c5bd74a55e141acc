//! Reads an entry's JSON for its fields, whatever is in it: one odd value hides no other.
//!
//! RFC 8259 lets a writer use what no string or number of ours can hold: half a surrogate pair, `1e999`, nesting without
//! end. `serde_json` refuses the whole text for one of them; here that value alone becomes a string, as it was written.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::event::validate_json;

/// What is nested deeper is a string, as it was written.
const MAX_DEPTH: usize = 100;

/// The value of an entry; `None` if it is no JSON.
#[must_use]
pub(crate) fn read(data: &[u8]) -> Option<Value> {
    if let Ok(value) = serde_json::from_slice(data) {
        return Some(value);
    }
    validate_json(data).ok()?;
    let raw: &RawValue = serde_json::from_slice(data).ok()?;
    Some(read_raw(raw, 0))
}

fn read_raw(raw: &RawValue, depth: usize) -> Value {
    let text = raw.get();
    let value = match text.as_bytes().first() {
        Some(b'{' | b'[') if depth >= MAX_DEPTH => None,
        Some(b'{') => serde_json::from_str(text).ok().map(|Members(members)| {
            members.into_iter().map(|(name, value)| (name, read_raw(value, depth + 1))).collect()
        }),
        Some(b'[') => serde_json::from_str(text).ok().map(|values: Vec<&RawValue>| {
            values.into_iter().map(|value| read_raw(value, depth + 1)).collect()
        }),
        _ => serde_json::from_str(text).ok(),
    };
    value.unwrap_or_else(|| Value::String(text.trim_matches('"').to_owned()))
}

/// The members of an object, none of them read.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((Name(name), value)) = map.next_entry()? {
            members.push((name, value));
        }
        Ok(Members(members))
    }
}

/// A member's name; half a surrogate pair in it is U+FFFD.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Bytes are what may have half a pair.
        deserializer.deserialize_bytes(NameVisitor)
    }
}

struct NameVisitor;

impl Visitor<'_> for NameVisitor {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_bytes<E>(self, name: &[u8]) -> Result<Name, E> {
        Ok(Name(String::from_utf8_lossy(name).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_usual_is_read_as_it_is() {
        assert_eq!(read(br#" {"a": [1, "b\u0000", null]} "#), Some(json!({"a": [1, "b\0", null]})));
        for none in [&b""[..], b"\xff", b"{", b"{\"a\":\"\xff\"}", b"1 2"] {
            assert_eq!(read(none), None, "{none:?}");
        }
    }

    #[test]
    fn an_odd_value_is_as_it_was_written_and_hides_no_other() {
        for (odd, read_as) in [
            (r#""\ud800""#, json!(r"\ud800")),
            ("1e999", json!("1e999")),
            (r#"["\udfff x", -1e999, {"b": 1}]"#, json!([r"\udfff x", "-1e999", {"b": 1}])),
            (r#"{"\ud800": 1, "c": "\ud800"}"#, json!({"\u{fffd}\u{fffd}\u{fffd}": 1, "c": r"\ud800"})),
            (r#"{"$serde_json::private::RawValue": "no"}"#, json!({"$serde_json::private::RawValue": "no"})),
        ] {
            for event in [
                format!(r#"{{"action": "a.b", "odd": {odd}, "actor": {{"id": "u"}}}}"#),
                format!(r#"{{"odd": {odd}, "action": "a.b", "actor": {{"id": "u"}}}}"#),
            ] {
                let expected = json!({"action": "a.b", "odd": read_as, "actor": {"id": "u"}});
                assert_eq!(read(event.as_bytes()), Some(expected), "{event}");
            }
        }
    }

    #[test]
    fn what_is_nested_too_deeply_is_as_it_was_written() {
        let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
        let value = read(format!(r#"{{"action": "a.b", "deep": {deep}}}"#).as_bytes()).unwrap();
        assert_eq!(value["action"], "a.b");
        let mut inner = &value["deep"];
        while let Value::Array(values) = inner {
            inner = &values[0];
        }
        assert!(inner.as_str().unwrap().starts_with("[["));
    }
}
