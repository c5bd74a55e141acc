//! Measures Attestlog and prints Markdown tables; `scripts/bench` calls it. Nothing here asserts anything.
//!
//! Each section measures what it compares in the same run, one after the other in turns, since a machine that others
//! use too gives ratios that can be compared and rates that can not.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on has failed")]

use std::path::PathBuf;

use sample::SampleLogs;

mod capture;
mod core_results;
mod embedded;
mod fsck;
mod header;
mod http;
mod latency;
mod load;
mod million;
mod process;
mod sample;
mod search;
mod table;
mod write;

/// What all sections share.
#[derive(Debug)]
pub(crate) struct Bench {
    /// The release-built `attestlog`.
    program: PathBuf,
    /// Multiplies all sizes and times.
    scale: f64,
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

const SECTIONS: [&str; 8] = ["core", "write", "capture", "million", "embedded", "fsck", "http", "search"];

#[tokio::main]
async fn main() {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = asked.iter().find(|asked| !SECTIONS.contains(&asked.as_str())) {
        eprintln!("bench: no section \"{unknown}\"; there are {}", SECTIONS.join(", "));
        std::process::exit(2);
    }
    let scale = std::env::var("ATTESTLOG_BENCH_SCALE").map_or(1.0, |scale| match scale.parse::<f64>() {
        Ok(scale) if scale > 0.0 && scale <= 100.0 => scale,
        _ => {
            eprintln!("bench: ATTESTLOG_BENCH_SCALE is \"{scale}\", not a number above 0 and at most 100");
            std::process::exit(2);
        }
    });
    let program = std::env::current_exe().expect("a path").with_file_name("attestlog");
    let mut bench = Bench { program, scale, logs: SampleLogs::default() };
    header::print(&bench).await;
    for section in SECTIONS {
        if !asked.is_empty() && !asked.iter().any(|asked| asked == section) {
            continue;
        }
        match section {
            "core" => core_results::print(),
            "write" => {
                write::run(&bench).await;
                latency::run(&bench).await;
            }
            "capture" => capture::run(&bench).await,
            "million" => million::run(&mut bench).await,
            "embedded" => embedded::run(&mut bench).await,
            "fsck" => fsck::run(&mut bench).await,
            "http" => http::run(&mut bench).await,
            _ => search::run(&bench).await,
        }
    }
}
