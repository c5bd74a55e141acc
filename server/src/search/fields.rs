//! What is searched of an event, read from its bytes: leniently, since what was appended is logged in any case.
//!
//! A field that is missing, or of another type than expected, is not there. Bytes that are not JSON have words only.
//! Limits, for the index and for the check of a hit alike: 512 different words and 256 targets of an event count.

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::term::{Term, TermKind};
use super::words::words;
use crate::json;

/// The most different words of an event that are found.
pub const MAX_WORDS: usize = 512;

/// The most targets of an event that are found.
pub const MAX_TARGETS: usize = 256;

/// Field names of the event's schema: nobody searches for what every event has.
const SCHEMA: [&str; 18] = [
    "id",
    "action",
    "occurred_at",
    "actor",
    "type",
    "name",
    "on_behalf_of",
    "targets",
    "outcome",
    "context",
    "ip",
    "user_agent",
    "request_id",
    "trace_id",
    "changes",
    "before",
    "after",
    "metadata",
];

/// Who did something, or to what it was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Party {
    /// `type`.
    pub kind: Option<String>,
    /// `id`.
    pub id: Option<String>,
}

/// The searchable part of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// Whether the bytes are JSON.
    pub is_json: bool,
    /// `occurred_at` in microseconds since 1970, if it is a time of RFC 3339.
    pub occurred_at: Option<i64>,
    /// `action`.
    pub action: Option<String>,
    /// `actor`, and on whose behalf it acted, and so on.
    pub actors: Vec<Party>,
    /// `targets`.
    pub targets: Vec<Party>,
    /// `outcome`.
    pub outcome: Option<String>,
    /// The words of each text in the event, and of field names that are not the schema's.
    pub texts: Vec<Vec<String>>,
}

impl Fields {
    /// Reads the fields of an entry, whatever it is.
    #[must_use]
    pub fn read(data: &[u8]) -> Self {
        let mut texts = Texts::default();
        let Some(value) = json::read(data) else {
            texts.add(&String::from_utf8_lossy(data));
            return Self { texts: texts.texts, ..Self::default() };
        };
        texts.add_value(&value, true);
        let mut fields = Self { is_json: true, texts: texts.texts, ..Self::default() };
        if let Value::Object(event) = &value {
            fields.read_event(event);
        }
        fields
    }

    fn read_event(&mut self, event: &Map<String, Value>) {
        self.occurred_at = event.get("occurred_at").and_then(Value::as_str).and_then(parse_time);
        self.action = scalar(event.get("action"));
        self.outcome = scalar(event.get("outcome"));
        let mut actor = event.get("actor");
        while let Some(value) = actor {
            self.actors.extend(party(value));
            actor = value.get("on_behalf_of");
        }
        self.targets = match event.get("targets") {
            Some(Value::Array(targets)) => targets.iter().take(MAX_TARGETS).filter_map(party).collect(),
            Some(target) => party(target).into_iter().collect(),
            None => Vec::new(),
        };
    }

    /// The terms under which the index has the event.
    #[must_use]
    pub fn terms(&self) -> BTreeSet<Term> {
        let mut terms = BTreeSet::from([Term::every_event()]);
        terms.extend(self.action.iter().map(|action| Term::new(TermKind::Action, action)));
        terms.extend(self.outcome.iter().map(|outcome| Term::new(TermKind::Outcome, outcome)));
        for (kind, parties) in [(TermKind::Actor, &self.actors), (TermKind::Target, &self.targets)] {
            let names = parties.iter().flat_map(Party::names);
            terms.extend(names.map(|name| Term::new(kind, &name)));
        }
        terms.extend(self.texts.iter().flatten().map(|word| Term::new(TermKind::Word, word)));
        terms
    }
}

impl Party {
    /// What finds it: `id`, `type:id` and `type:*`.
    pub fn names(&self) -> impl Iterator<Item = String> + use<> {
        let both = self.kind.as_ref().zip(self.id.as_ref()).map(|(kind, id)| format!("{kind}:{id}"));
        let any = self.kind.as_ref().map(|kind| format!("{kind}:*"));
        [self.id.clone(), both, any].into_iter().flatten()
    }
}

/// A time of RFC 3339, with its offset, in microseconds since 1970.
#[must_use]
pub(super) fn parse_time(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_microsecond)
}

/// An object with a type or an id, or an id alone.
fn party(value: &Value) -> Option<Party> {
    let party = match value {
        Value::Object(party) => Party { kind: scalar(party.get("type")), id: scalar(party.get("id")) },
        value => Party { kind: None, id: scalar(Some(value)) },
    };
    Some(party).filter(|party| party.kind.is_some() || party.id.is_some())
}

fn scalar(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Collects texts until they have enough different words.
#[derive(Default)]
struct Texts {
    texts: Vec<Vec<String>>,
    seen: HashSet<String>,
}

impl Texts {
    fn add(&mut self, text: &str) {
        let mut found = Vec::new();
        for word in words(text) {
            if !self.seen.contains(&word) {
                if self.seen.len() >= MAX_WORDS {
                    // What follows the last word that counts follows no phrase.
                    break;
                }
                self.seen.insert(word.clone());
            }
            found.push(word);
        }
        if !found.is_empty() {
            self.texts.push(found);
        }
    }

    fn add_value(&mut self, value: &Value, is_event: bool) {
        match value {
            Value::String(text) => self.add(text),
            Value::Number(number) => self.add(&number.to_string()),
            Value::Bool(flag) => self.add(if *flag { "true" } else { "false" }),
            Value::Null => {}
            Value::Array(values) => values.iter().for_each(|value| self.add_value(value, false)),
            Value::Object(fields) => {
                for (name, value) in fields {
                    if !SCHEMA.contains(&name.as_str()) {
                        self.add(name);
                    }
                    // It has a filter of its own, and its parts would be words of every event.
                    let is_time =
                        is_event && name == "occurred_at" && value.as_str().and_then(parse_time).is_some();
                    if !is_time {
                        self.add_value(value, false);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party(kind: &str, id: &str) -> Party {
        Party { kind: Some(kind.into()), id: Some(id.into()) }
    }

    #[test]
    fn reads_what_a_typed_event_says() {
        let fields = Fields::read(
            br#"{"id":"x","action":"invoice.voided","occurred_at":"2026-11-22T09:00:00.000001+01:00","outcome":"denied",
                "actor":{"type":"service","id":"s1","on_behalf_of":{"type":"user","id":"usr_7","name":"Ada B"}},
                "targets":[{"type":"invoice","id":"inv_9"},{"id":4}],"metadata":{"Amount":30,"paid":true}}"#,
        );
        assert!(fields.is_json);
        assert_eq!(fields.occurred_at, Some(1_795_334_400_000_001));
        assert_eq!(fields.action.as_deref(), Some("invoice.voided"));
        assert_eq!(fields.outcome.as_deref(), Some("denied"));
        assert_eq!(fields.actors, [party("service", "s1"), party("user", "usr_7")]);
        assert_eq!(fields.targets, [party("invoice", "inv_9"), Party { kind: None, id: Some("4".into()) }]);
        let words: Vec<&str> = fields.texts.iter().flatten().map(String::as_str).collect();
        for word in ["x", "invoice", "voided", "ada", "b", "amount", "30", "paid", "true"] {
            assert!(words.contains(&word), "{word} in {words:?}");
        }
        for word in ["2026", "occurred_at", "metadata"] {
            assert!(!words.contains(&word), "{word}");
        }
    }

    #[test]
    fn an_unusual_event_has_what_it_has() {
        for (data, is_json, words) in [
            (&b"\xff\xfe\0plain text"[..], false, &["plain", "text"][..]),
            (b"[1,null,\"a\\u0000b\"]", true, &["1", "a", "b"]),
            (
                br#"{"actor":null,"action":{},"targets":"inv_9","occurred_at":"never"}"#,
                true,
                &["never", "inv_9"],
            ),
            (br#""\ud800 lone""#, true, &["ud800", "lone"]),
            (b"1e999", true, &["1e999"]),
            (b"{}", true, &[]),
        ] {
            let fields = Fields::read(data);
            assert_eq!(fields.is_json, is_json, "{data:?}");
            assert_eq!(
                (fields.occurred_at, &fields.action, &fields.actors),
                (None, &None, &vec![]),
                "{data:?}"
            );
            let found: Vec<&str> = fields.texts.iter().flatten().map(String::as_str).collect();
            assert_eq!(found, words, "{data:?}");
        }
    }

    #[test]
    fn so_many_words_count_and_no_more() {
        let text: Vec<String> = (0..2000).map(|n| format!("w{n} w0")).collect();
        let fields = Fields::read(text.join(" ").as_bytes());
        let different: HashSet<&String> = fields.texts.iter().flatten().collect();
        assert_eq!(different.len(), MAX_WORDS);
        assert_eq!(fields.terms().len(), MAX_WORDS + 1);
    }

    #[test]
    fn times_need_their_offset() {
        assert_eq!(parse_time("1970-01-01T00:00:01Z"), Some(1_000_000));
        for no_time in ["", "1970-01-01", "1970-01-01T00:00:01", "yesterday"] {
            assert_eq!(parse_time(no_time), None, "{no_time}");
        }
    }
}
