//! Entries in the formats that other programs read: NDJSON, CSV, CloudEvents 1.0, OCSF 1.6.
//!
//! These say what an entry says and prove nothing; what proves is a [`bundle`](crate::bundle). Every entry has a row,
//! also one that is no audit event, and `docs/export.md` says field by field what goes where.

use std::io::{self, Write};

use attestlog_core::{LeafIndex, base64};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

mod cloudevents;
mod csv;
mod ocsf;
mod select;

pub use select::{SelectError, find, write, write_file};

/// A format of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A line of JSON an entry: index, time, and the event as it was written.
    Ndjson,
    /// A line an entry under a line of names; no cell is a formula.
    Csv,
    /// A line an entry: a CloudEvents 1.0 event in its JSON format.
    CloudEvents,
    /// A line an entry: an OCSF 1.6 event, of the class API Activity where it has an action.
    Ocsf,
}

/// An entry and what is known about it.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The log's origin.
    pub origin: &'a str,
    /// Its index.
    pub index: LeafIndex,
    /// When the database took it.
    pub appended_at: Timestamp,
    /// Its bytes.
    pub data: &'a [u8],
}

/// Writes rows of one format.
#[derive(Debug)]
pub struct Rows<W: Write> {
    format: Format,
    out: W,
}

impl<W: Write> Rows<W> {
    /// Begins: CSV with its line of names.
    ///
    /// # Errors
    /// What the writer says.
    pub fn new(format: Format, mut out: W) -> io::Result<Self> {
        if format == Format::Csv {
            csv::write_names(&mut out)?;
        }
        Ok(Self { format, out })
    }

    /// Writes the row of an entry.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        match self.format {
            Format::Csv => csv::write(&mut self.out, entry),
            Format::Ndjson => self.write_line(&Line::new(entry)),
            Format::CloudEvents => self.write_line(&cloudevents::CloudEvent::new(entry)),
            Format::Ocsf => self.write_line(&ocsf::event(entry)),
        }
    }

    /// Ends: everything has gone to the writer, which is returned.
    ///
    /// # Errors
    /// What the writer says.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }

    fn write_line(&mut self, line: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, line)?;
        self.out.write_all(b"\n")
    }
}

/// A line of NDJSON.
#[derive(Serialize)]
struct Line {
    index: u64,
    appended_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

impl Line {
    fn new(entry: &Entry<'_>) -> Self {
        let (event, text, base64) = match Content::of(entry.data) {
            Content::Event(event) => (Some(event), None, None),
            Content::Text(text) => (None, Some(text), None),
            Content::Base64(base64) => (None, None, Some(base64)),
        };
        Self { index: entry.index.0, appended_at: time(entry.appended_at), event, text, base64 }
    }
}

/// An entry within a line of JSON, as exactly as a line can have it.
enum Content {
    /// JSON, character by character as it was written; line breaks between its members are blanks.
    Event(Box<RawValue>),
    /// UTF-8 that is no JSON.
    Text(String),
    /// Other bytes.
    Base64(String),
}

impl Content {
    fn of(data: &[u8]) -> Self {
        let Ok(text) = std::str::from_utf8(data) else { return Self::Base64(base64::format(data)) };
        // No string of JSON can have a line break in it, so none is changed.
        let line = text.replace(['\n', '\r'], " ");
        match RawValue::from_string(line) {
            Ok(event) => Self::Event(event),
            Err(_) => Self::Text(text.to_owned()),
        }
    }
}

/// A text at `pointer` (RFC 6901) that is not empty.
fn text<'a>(event: &'a Value, pointer: &str) -> Option<&'a str> {
    event.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// When it happened by its writer's clock, or else when the database took it.
fn occurred_at(event: Option<&Value>, entry: &Entry<'_>) -> Timestamp {
    let written = event.and_then(|event| text(event, "/occurred_at")).and_then(|text| text.parse().ok());
    written.unwrap_or(entry.appended_at)
}

/// RFC 3339 in UTC, to the microsecond.
fn time(time: Timestamp) -> String {
    format!("{time:.6}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = concat!(
        "{\"id\":\"0192\",\n \"action\":\"invoice.voided\",\"occurred_at\":\"2026-11-22T09:00:00.5+01:00\",",
        "\"actor\":{\"type\":\"user\",\"id\":\"usr_7\",\"name\":\"=cmd\",\"on_behalf_of\":{\"type\":\"user\",\"id\":\"c\"}},",
        "\"targets\":[{\"type\":\"invoice\",\"id\":\"inv_9\"},{\"type\":\"customer\",\"id\":\"c_1\",\"name\":\"A\"}],",
        "\"outcome\":\"denied\",\"context\":{\"ip\":\"192.0.2.1\",\"user_agent\":\"curl\",\"request_id\":\"r\",\"trace_id\":\"t\"},",
        "\"metadata\":{\"amount\":12345678901234567890123}}"
    );

    fn row(format: Format, data: &[u8]) -> String {
        let appended_at = Timestamp::from_millisecond(1_800_000_000_000).unwrap();
        let entry = Entry { origin: "audit.example.com/acme", index: LeafIndex(7), appended_at, data };
        let mut rows = Rows::new(format, Vec::new()).unwrap();
        rows.write(&entry).unwrap();
        String::from_utf8(rows.finish().unwrap()).unwrap()
    }

    fn json(format: Format, data: &[u8]) -> Value {
        let row = row(format, data);
        assert!(row.ends_with('\n') && !row.trim_end().contains('\n'), "one line");
        serde_json::from_str(&row).unwrap()
    }

    #[test]
    fn a_line_has_the_event_as_it_was_written() {
        let event = EVENT.replace('\n', " ");
        assert_eq!(
            row(Format::Ndjson, EVENT.as_bytes()),
            format!("{{\"index\":7,\"appended_at\":\"2027-01-15T08:00:00.000000Z\",\"event\":{event}}}\n")
        );
        assert_eq!(json(Format::Ndjson, b"no JSON\n\"")["text"], "no JSON\n\"");
        assert_eq!(json(Format::Ndjson, b"\xff\n")["base64"], "/wo=");
        assert_eq!(json(Format::Ndjson, b"null")["event"], Value::Null);
        assert!(row(Format::Ndjson, b"null").contains("\"event\":null"));
    }

    #[test]
    fn a_cloud_event_is_named_by_the_log_and_the_index() {
        let event = json(Format::CloudEvents, EVENT.as_bytes());
        for (name, value) in [
            ("specversion", "1.0"),
            ("id", "7"),
            ("source", "audit.example.com/acme"),
            ("type", "invoice.voided"),
            ("subject", "invoice/inv_9"),
            ("time", "2026-11-22T08:00:00.500000Z"),
            ("datacontenttype", "application/json"),
        ] {
            assert_eq!(event[name], value, "{name}");
        }
        assert_eq!(event["data"]["actor"]["id"], "usr_7");
        assert!(row(Format::CloudEvents, EVENT.as_bytes()).contains("12345678901234567890123"));
        let bytes = json(Format::CloudEvents, b"\xff");
        assert_eq!((&bytes["type"], &bytes["data_base64"]), (&"attestlog.entry".into(), &"/w==".into()));
        assert_eq!((bytes.get("data"), bytes.get("subject")), (None, None));
        assert_eq!(bytes["time"], "2027-01-15T08:00:00.000000Z");
    }

    #[test]
    fn an_event_of_ocsf_has_what_its_class_requires() {
        let event = json(Format::Ocsf, EVENT.as_bytes());
        for (pointer, value) in [
            ("/class_uid", Value::from(6003)),
            ("/category_uid", 6.into()),
            ("/activity_id", 99.into()),
            ("/activity_name", "invoice.voided".into()),
            ("/type_uid", 600_399.into()),
            ("/severity_id", 1.into()),
            ("/status_id", 2.into()),
            ("/status_detail", "denied".into()),
            ("/time", 1_795_334_400_500_i64.into()),
            ("/metadata/version", "1.6.0".into()),
            ("/metadata/uid", "0192".into()),
            ("/metadata/sequence", 7.into()),
            ("/metadata/log_name", "audit.example.com/acme".into()),
            ("/metadata/original_time", "2026-11-22T09:00:00.5+01:00".into()),
            ("/actor/user/uid", "usr_7".into()),
            ("/actor/user/type_id", 1.into()),
            ("/api/operation", "invoice.voided".into()),
            ("/api/request/uid", "r".into()),
            ("/src_endpoint/ip", "192.0.2.1".into()),
            ("/http_request/user_agent", "curl".into()),
            ("/resources/1/name", "A".into()),
            ("/unmapped/actor/on_behalf_of/id", "c".into()),
            ("/raw_data", EVENT.into()),
        ] {
            assert_eq!(event.pointer(pointer), Some(&value), "{pointer}");
        }
        for (action, activity) in [
            ("invoice.created", 1),
            ("report:download", 2),
            ("public.account.updated", 3),
            ("USER_DELETED", 4),
            ("key.revoke", 4),
            ("file upload", 1),
            ("user.disable", 3),
            ("public.account. ", 99),
        ] {
            let event = json(
                Format::Ocsf,
                format!("{{\"action\":\"{action}\",\"actor\":{{\"type\":\"service\",\"id\":\"s\"}}}}")
                    .as_bytes(),
            );
            assert_eq!(
                (&event["activity_id"], &event["type_uid"]),
                (&activity.into(), &(600_300 + activity).into())
            );
            assert_eq!(event["actor"], serde_json::json!({"app_uid": "s", "app_name": "s"}));
            assert_eq!(event["src_endpoint"]["name"], "unknown");
        }
        for other in [&b"\xff"[..], b"text", b"[]", b"{\"action\":7}", b"{\"action\":\"\"}"] {
            let event = json(Format::Ocsf, other);
            assert_eq!((&event["class_uid"], &event["type_uid"]), (&0.into(), &0.into()));
            assert_eq!(event["time"], 1_800_000_000_000_i64);
        }
    }

    #[test]
    fn a_row_of_csv_has_a_cell_for_each_name_and_no_formula() {
        let table = row(Format::Csv, EVENT.as_bytes());
        let (names, cells) = table.split_once("\r\n").unwrap();
        assert!(
            names.starts_with("\"index\",\"time\",")
                && cells.starts_with("\"7\",\"2026-11-22T08:00:00.500000Z\",")
        );
        assert!(cells.contains("\"'=cmd\",\"invoice:inv_9 customer:c_1\","));
        assert!(row(Format::Csv, b"=1").contains("\"'=1\""));
    }
}
