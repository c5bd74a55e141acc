//! CSV (RFC 4180), for spreadsheets: every cell in quotes, and none that a spreadsheet would run as a formula.

use std::io::{self, Write};

use attestlog_core::base64;
use serde_json::Value;

use super::{Entry, occurred_at, text, time};
use crate::json;

const NAMES: [&str; 14] = [
    "index",
    "time",
    "appended_at",
    "id",
    "action",
    "outcome",
    "actor_type",
    "actor_id",
    "actor_name",
    "targets",
    "ip",
    "user_agent",
    "request_id",
    "entry",
];

pub(super) fn write_names(out: &mut impl Write) -> io::Result<()> {
    write_row(out, NAMES.map(str::to_owned))
}

pub(super) fn write(out: &mut impl Write, entry: &Entry<'_>) -> io::Result<()> {
    let event = json::read(entry.data);
    let field =
        |pointer| event.as_ref().and_then(|event| text(event, pointer)).unwrap_or_default().to_owned();
    // What is no text has no other place in a table.
    let whole = std::str::from_utf8(entry.data).map_or_else(|_| base64::format(entry.data), str::to_owned);
    write_row(
        out,
        [
            entry.index.to_string(),
            time(occurred_at(event.as_ref(), entry)),
            time(entry.appended_at),
            field("/id"),
            field("/action"),
            field("/outcome"),
            field("/actor/type"),
            field("/actor/id"),
            field("/actor/name"),
            event.as_ref().map(targets).unwrap_or_default(),
            field("/context/ip"),
            field("/context/user_agent"),
            field("/context/request_id"),
            whole,
        ],
    )
}

/// `type:id`, joined by blanks.
fn targets(event: &Value) -> String {
    let targets = event.get("targets").and_then(Value::as_array);
    let name = |target: &Value| Some(format!("{}:{}", text(target, "/type")?, text(target, "/id")?));
    let names: Vec<String> = targets.into_iter().flatten().filter_map(name).collect();
    names.join(" ")
}

fn write_row<const N: usize>(out: &mut impl Write, cells: [String; N]) -> io::Result<()> {
    let cells = cells.map(|cell| format!("\"{}\"", safe(&cell).replace('"', "\"\"")));
    write!(out, "{}\r\n", cells.join(","))
}

/// Spreadsheets run a cell that begins with one of these, in quotes or not; behind an apostrophe it is text. A NUL
/// ends a cell in some of them.
fn safe(cell: &str) -> String {
    const BEGINS_A_FORMULA: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－'];
    let cell = cell.replace('\0', "\u{fffd}");
    let begins = cell.starts_with(BEGINS_A_FORMULA) || cell.starts_with('＠') || cell.starts_with('\'');
    if begins { format!("'{cell}") } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_begins_a_formula() {
        for (cell, written) in [
            ("=HYPERLINK(\"http://evil\")", "'=HYPERLINK(\"http://evil\")"),
            ("+1", "'+1"),
            ("-1+cmd|' /C calc'!A0", "'-1+cmd|' /C calc'!A0"),
            ("@SUM(1)", "'@SUM(1)"),
            ("\t=1", "'\t=1"),
            ("\r=1", "'\r=1"),
            ("\n=1", "'\n=1"),
            ("＝1", "'＝1"),
            ("'=1", "''=1"),
            ("a=1", "a=1"),
            ("", ""),
            ("\0=1", "\u{fffd}=1"),
        ] {
            assert_eq!(safe(cell), written);
        }
    }

    #[test]
    fn a_cell_can_have_quotes_commas_and_line_breaks() {
        let mut out = Vec::new();
        write_row(&mut out, ["a\"b".to_owned(), "c,d".to_owned(), "e\r\nf".to_owned()]).unwrap();
        assert_eq!(out, b"\"a\"\"b\",\"c,d\",\"e\r\nf\"\r\n");
    }
}
