//! Measures Attestlog and prints Markdown tables; `scripts/bench` calls it. Nothing here asserts anything.
//!
//! Each section measures what it compares in the same run, one after the other in turns, since a machine that others
//! use too gives ratios that can be compared and rates that can not.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on has failed")]

use std::path::PathBuf;

use rows::{ROWS, Row};
use sample::SampleLogs;

mod batches;
mod capture;
mod core_results;
mod costs;
mod fsck;
mod header;
mod load;
mod process;
mod rows;
mod sample;
mod search;
mod server;
mod table;

/// What all sections share.
#[derive(Debug)]
pub(crate) struct Bench {
    /// The release-built `attestlog`.
    program: PathBuf,
    /// Multiplies all sizes and times.
    scale: f64,
    /// More options of `attestlog serve`.
    serve: Vec<String>,
    /// The large logs that several sections read.
    logs: SampleLogs,
}

impl Bench {
    /// A size, scaled.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a size that a person chose")]
    fn scaled(&self, size: u32) -> u64 {
        ((f64::from(size) * self.scale) as u64).max(1)
    }

    /// A time, scaled, and not too short to measure in.
    fn seconds(&self, seconds: f64) -> std::time::Duration {
        std::time::Duration::from_secs_f64((seconds * self.scale).max(0.3))
    }
}

/// The sections beside those of [`ROWS`].
const SECTIONS: [&str; 8] = ["growth", "costs", "core", "fsck", "batches", "server", "capture", "search"];

#[tokio::main]
async fn main() {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let known = || ROWS.iter().map(|row| row.name).chain(SECTIONS);
    if let Some(unknown) = asked.iter().find(|asked| !known().any(|name| name == *asked)) {
        eprintln!("bench: no section \"{unknown}\"; there are {}", known().collect::<Vec<_>>().join(", "));
        std::process::exit(2);
    }
    let scale = std::env::var("ATTESTLOG_BENCH_SCALE").map_or(1.0, |scale| match scale.parse::<f64>() {
        Ok(scale) if scale > 0.0 && scale <= 100.0 => scale,
        _ => {
            eprintln!("bench: ATTESTLOG_BENCH_SCALE is \"{scale}\", not a number above 0 and at most 100");
            std::process::exit(2);
        }
    });
    let serve = std::env::var("ATTESTLOG_BENCH_SERVE").unwrap_or_default();
    let serve = serve.split_whitespace().map(str::to_owned).collect();
    let program = std::env::current_exe().expect("a path").with_file_name("attestlog");
    let mut bench = Bench { program, scale, serve, logs: SampleLogs::default() };
    header::print(&bench).await;
    let is_asked = |name: &str| asked.is_empty() || asked.iter().any(|asked| asked == name);
    // Growth compares all of them with themselves.
    let rows: Vec<Row> = ROWS.into_iter().filter(|row| is_asked(row.name) || is_asked("growth")).collect();
    if !rows.is_empty() {
        rows::run(&mut bench, &rows, is_asked("growth")).await;
    }
    for section in SECTIONS.into_iter().filter(|section| is_asked(section)) {
        match section {
            "costs" => costs::run(&bench).await,
            "core" => core_results::print(),
            "fsck" => fsck::run(&mut bench).await,
            "batches" => batches::run(&mut bench).await,
            "server" => server::run(&mut bench).await,
            "capture" => capture::run(&bench).await,
            "search" => search::run(&bench).await,
            // It was measured with the rows.
            _ => {}
        }
    }
}
