//! Markdown tables, and the load of the machine beside each.

use std::fmt::Write as _;
use std::time::Duration;

pub(crate) use attestlog_server::bench::number;
use attestlog_server::bench::{ProcessorTime, stolen};

/// A table that is printed when it is complete.
#[derive(Debug)]
pub(crate) struct Table {
    text: String,
    load_before: String,
    processor_before: ProcessorTime,
}

impl Table {
    /// An empty table: its title, one sentence on what is measured, its columns.
    pub(crate) fn new(title: &str, measured: &str, columns: &[&str]) -> Self {
        let mut text = format!("\n### {title}\n\n{measured}\n\n");
        let _ = writeln!(text, "| {} |", columns.join(" | "));
        let _ = writeln!(text, "|{}", "---|".repeat(columns.len()));
        eprintln!("bench: {title}");
        Self { text, load_before: load_average(), processor_before: ProcessorTime::now() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: &[String]) {
        let _ = writeln!(self.text, "| {} |", cells.join(" | "));
    }

    /// Prints it with the load average from its beginning to its end.
    pub(crate) fn print(self) {
        print!("{}", self.text);
        let stolen = stolen(self.processor_before);
        println!("\nLoad average {} before, {} after; {stolen}.", self.load_before, load_average());
    }
}

/// The load average of the last minute.
pub(crate) fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
}

/// A time in milliseconds.
pub(crate) fn milliseconds(time: Duration) -> String {
    number(time.as_secs_f64() * 1000.0)
}

/// A ratio.
pub(crate) fn ratio(value: f64) -> String {
    format!("{value:.2}")
}
