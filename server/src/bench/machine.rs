//! What the figures were measured on: the machine, what a sync costs there, and how busy it was.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use super::load::{histogram, record};
use super::report::milliseconds;
use super::{BenchError, connect, joined};
use crate::store::postgres::bench::DatabaseFacts;

/// How many syncs are timed.
const SYNCS: u64 = 200;

/// What figures depend on: the machine, and the database's server.
#[derive(Clone, Debug, Serialize)]
pub struct Conditions {
    /// What it is measured on.
    pub machine: Machine,
    /// The database's server, if there is one.
    pub database: Option<DatabaseFacts>,
}

impl Conditions {
    /// Looks at them; syncs are timed in the directory.
    ///
    /// # Errors
    /// [`BenchError::Store`] if the database cannot be asked.
    pub async fn look(database: Option<&str>, directory: PathBuf) -> Result<Self, BenchError> {
        let database = match connect(database).await? {
            Some(mut connection) => Some(connection.facts().await?),
            None => None,
        };
        let machine = tokio::task::spawn_blocking(move || Machine::look(&directory));
        Ok(Self { machine: joined(machine.await), database })
    }
}

/// The machine.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The cores that this process may use.
    pub cores: usize,
    /// The model of the processor.
    pub cpu: Option<String>,
    /// Bytes.
    pub memory: Option<u64>,
    /// The load averages of 1, 5 and 15 minutes before.
    pub load_average: Option<String>,
    /// Processor time until then.
    #[serde(skip)]
    pub processor: ProcessorTime,
    /// Where syncs were timed.
    pub sync_directory: PathBuf,
    /// Milliseconds of an fdatasync after a write of 8 KiB: the median.
    pub sync_p50_ms: Option<f64>,
    /// The same at p99.
    pub sync_p99_ms: Option<f64>,
}

impl Machine {
    /// Looks at it. Blocks while it syncs a file in the directory.
    fn look(directory: &Path) -> Self {
        let cpu = read_value("/proc/cpuinfo", "model name");
        let memory = read_value("/proc/meminfo", "MemTotal");
        let kibibytes = memory.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        let syncs = time_syncs(directory).ok();
        Self {
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            cpu,
            memory: kibibytes.map(|kibibytes| kibibytes * 1024),
            load_average: load_average(),
            processor: ProcessorTime::now(),
            sync_directory: directory.to_owned(),
            sync_p50_ms: syncs.as_ref().map(|syncs| milliseconds(syncs.value_at_quantile(0.5))),
            sync_p99_ms: syncs.as_ref().map(|syncs| milliseconds(syncs.value_at_quantile(0.99))),
        }
    }
}

/// Processor time of the whole machine since it began, in ticks.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessorTime {
    /// What its programs asked for.
    asked: u64,
    /// What the hypervisor gave to other machines instead ("steal").
    stolen: u64,
}

impl ProcessorTime {
    /// Until now; none where `/proc/stat` does not say.
    #[must_use]
    pub fn now() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let ticks = text.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1);
        let ticks: Vec<u64> = ticks.map_while(|tick| tick.parse().ok()).collect();
        match *ticks.as_slice() {
            [user, nice, system, _idle, _iowait, irq, softirq, stolen, ..] => {
                Self { asked: user + nice + system + irq + softirq + stolen, stolen }
            }
            _ => Self::default(),
        }
    }

    /// The hundredths of what was asked for since then that other machines got; none if nothing was asked for.
    #[must_use]
    pub fn stolen_since(self) -> Option<u64> {
        let now = Self::now();
        let stolen = now.stolen.saturating_sub(self.stolen);
        (stolen * 100).checked_div(now.asked.saturating_sub(self.asked))
    }
}

/// The load averages of 1, 5 and 15 minutes.
pub(super) fn load_average() -> Option<String> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    Some(text.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

/// The value of the first line of this name.
fn read_value(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// What a commit cannot be faster than.
fn time_syncs(directory: &Path) -> std::io::Result<hdrhistogram::Histogram<u64>> {
    let mut file: File = tempfile::tempfile_in(directory)?;
    file.write_all(&[0; 1 << 20])?;
    file.sync_all()?;
    let mut times = histogram();
    for round in 0..SYNCS {
        let began = Instant::now();
        file.write_all_at(&[1; 8192], round % 128 * 8192)?;
        file.sync_data()?;
        record(&mut times, began.elapsed());
    }
    Ok(times)
}
