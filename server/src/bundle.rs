//! Bundles: entries of a log in one archive that proves them, offline and without this program's database.
//!
//! A bundle is a tar archive, of regular files in this order:
//!
//! | name | what |
//! |---|---|
//! | `manifest.json` | what the bundle is about: [`Manifest`]. Nothing signs it |
//! | `checkpoint` | the signed note that everything is proven by |
//! | `entries.ndjson` | a line an entry, `{"index":N,"text":"…"}`, or `"base64"` if its bytes are not UTF-8 |
//! | `receipts/{index}.tlog-proof` | a receipt for each entry, if `proof` is `receipts` |
//!
//! A complete log needs no receipts: its root follows from its entries. [`export`] writes a bundle, [`verify_bundle`] reads it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use attestlog_core::{ParseError, base64, validate_entry_size};
use serde::{Deserialize, Serialize};

mod export;
mod verify;

pub use export::{Entries, ExportError, Selection, export};
pub use verify::{BundleError, BundleReport, verify_bundle};

/// The name and version of the format.
pub const FORMAT: &str = "attestlog-bundle/1";

const MANIFEST: &str = "manifest.json";
const CHECKPOINT: &str = "checkpoint";
const ENTRIES: &str = "entries.ndjson";
const RECEIPTS: &str = "receipts/";

/// What a bundle is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// The log's origin.
    pub origin: String,
    /// The log's public key: to recognise it by, and not to trust because it is here.
    pub vkey: String,
    /// The size of the checkpoint's tree.
    pub tree_size: u64,
    /// The index of the first entry.
    pub first_index: u64,
    /// The number of entries.
    pub count: u64,
    /// What the entries were searched by. Without it their indexes have no gap; with it they increase, and nothing says
    /// that an entry that matches was not left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<BTreeMap<String, String>>,
    /// What proves them.
    pub proof: Proof,
    /// The files beside this one; a name with `/` at its end is a folder of one file an entry.
    pub files: Vec<String>,
}

/// What proves the entries of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// All entries of the log are there, and lead to the checkpoint's root.
    Complete,
    /// Each entry has a receipt.
    Receipts,
}

impl Proof {
    fn files(self) -> Vec<String> {
        let files: &[&str] = match self {
            Self::Complete => &[CHECKPOINT, ENTRIES],
            Self::Receipts => &[CHECKPOINT, ENTRIES, RECEIPTS],
        };
        files.iter().map(|&name| name.to_owned()).collect()
    }
}

fn is_compressed(name: &str) -> bool {
    [".gz", ".tgz"].iter().any(|ending| name.to_ascii_lowercase().ends_with(ending))
}

fn receipt_name(index: u64) -> String {
    format!("{RECEIPTS}{index}.tlog-proof")
}

/// A line of `entries.ndjson`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryLine<'a> {
    index: u64,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    base64: Option<Cow<'a, str>>,
}

impl<'a> EntryLine<'a> {
    fn new(index: u64, entry: &'a [u8]) -> Self {
        match std::str::from_utf8(entry) {
            Ok(text) => Self { index, text: Some(text.into()), base64: None },
            Err(_) => Self { index, text: None, base64: Some(base64::format(entry).into()) },
        }
    }

    /// The entry's bytes.
    fn into_entry(self) -> Result<Vec<u8>, ParseError> {
        let entry = match (self.text, self.base64) {
            (Some(text), None) => text.into_owned().into_bytes(),
            (None, Some(text)) => base64::parse(text.as_bytes())?,
            _ => return Err(ParseError::EntrySize),
        };
        validate_entry_size(entry.len())?;
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gives_back_the_exact_bytes() {
        for entry in
            [&b"{\"a\":\"\\u0000\"}"[..], b"\0", b"\xff\xfe", "\u{2028}\r\n\"".as_bytes(), b"\xed\xa0\x80"]
        {
            let line = serde_json::to_string(&EntryLine::new(7, entry)).unwrap();
            assert!(!line.contains('\n'));
            let parsed: EntryLine<'_> = serde_json::from_str(&line).unwrap();
            assert_eq!((parsed.index, parsed.into_entry().unwrap()), (7, entry.to_vec()));
        }
    }

    #[test]
    fn a_line_has_an_index_and_one_spelling_of_an_entry() {
        for line in [
            r#"{"index":7}"#,
            r#"{"index":7,"text":""}"#,
            r#"{"index":7,"text":"a","base64":"YQ=="}"#,
            r#"{"index":7,"base64":"YQ"}"#,
            r#"{"index":-7,"text":"a"}"#,
            r#"{"index":7.0,"text":"a"}"#,
            r#"{"index":7,"index":8,"text":"a"}"#,
            r#"{"index":7,"text":"a","more":1}"#,
            r#"{"index":7,"text":"\ud800"}"#,
            r#"{"text":"a"}"#,
        ] {
            let parsed = serde_json::from_str(line).map(EntryLine::into_entry);
            assert!(!matches!(parsed, Ok(Ok(_))), "{line}");
        }
    }
}
