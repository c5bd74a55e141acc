//! CloudEvents 1.0, JSON format: one event an entry.
//!
//! `source` and `id` together name an entry for ever, since they are the log's origin and the index.

use attestlog_core::base64;
use percent_encoding::{AsciiSet, utf8_percent_encode};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Content, Entry, occurred_at, text, time};
use crate::json;
use crate::search::RESERVED;

/// What a URI-reference (RFC 3986) cannot have, or not before its first slash: a colon would end a scheme there.
const IN_A_PATH: &AsciiSet = &RESERVED.remove(b'/');

/// The type of an entry that has no action.
const ENTRY: &str = "attestlog.entry";

#[derive(Serialize)]
pub(super) struct CloudEvent {
    specversion: &'static str,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    time: String,
    datacontenttype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

impl CloudEvent {
    pub(super) fn new(entry: &Entry<'_>) -> Self {
        let event = json::read(entry.data);
        let field = |pointer| event.as_ref().and_then(|event| text(event, pointer));
        let subject = field("/targets/0/type").zip(field("/targets/0/id"));
        let (datacontenttype, data, data_base64) = match Content::of(entry.data) {
            Content::Event(event) => ("application/json", Some(event), None),
            Content::Text(_) => ("text/plain; charset=utf-8", None, Some(base64::format(entry.data))),
            Content::Base64(data) => ("application/octet-stream", None, Some(data)),
        };
        Self {
            specversion: "1.0",
            id: entry.index.to_string(),
            source: utf8_percent_encode(entry.origin, IN_A_PATH).to_string(),
            kind: field("/action").unwrap_or(ENTRY).to_owned(),
            subject: subject.map(|(kind, id)| format!("{kind}/{id}")),
            time: time(occurred_at(event.as_ref(), entry)),
            datacontenttype,
            data,
            data_base64,
        }
    }
}
