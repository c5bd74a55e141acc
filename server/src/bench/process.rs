//! The processor time and the memory of the server, of the database and of this process.

use std::fs;
use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::http::HttpConnection;

/// How often memory is looked at; a shorter peak may be missed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Linux counts processor time in hundredths of a second.
const TICKS: f64 = 100.0;

/// What a program has taken.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Usage {
    /// Seconds of processor time.
    pub cpu_seconds: f64,
    /// The most bytes of memory that were seen.
    pub memory: f64,
}

/// What each program has taken; `None` where that cannot be seen.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Usages {
    /// The server, as its /metrics say.
    pub server: Option<Usage>,
    /// The database's server with all its processes, if it is on this machine.
    pub database: Option<Usage>,
    /// The load generator: this process.
    pub generator: Option<Usage>,
}

impl Usages {
    /// Microseconds of processor time of all of them for each of so many; `None` if nothing was done or seen.
    pub(super) fn each(&self, done: u64) -> Option<f64> {
        let seconds =
            [self.server, self.database, self.generator].into_iter().flatten().map(|usage| usage.cpu_seconds);
        let seconds: f64 = seconds.sum();
        (done > 0 && seconds > 0.0).then(|| seconds * 1e6 / super::float(done))
    }
}

/// Where to look.
#[derive(Debug)]
pub(super) struct Processes {
    pub(super) server: Option<HttpConnection>,
    /// The process whose children serve connections.
    pub(super) postmaster: Option<u32>,
}

impl Processes {
    /// Looks until `ended`; what was taken meanwhile.
    pub(super) async fn watch(mut self, ended: CancellationToken) -> Usages {
        let first = self.look().await;
        let mut last = first;
        while ended.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            last = self.look().await.with_peaks_of(last);
        }
        last = self.look().await.with_peaks_of(last);
        last.since(first)
    }

    async fn look(&mut self) -> Usages {
        let server = match &mut self.server {
            Some(connection) => look_at_server(connection).await,
            None => None,
        };
        let generator = usage("self");
        Usages { server, database: self.postmaster.and_then(look_at_database), generator }
    }
}

impl Usages {
    fn zip(self, other: Self, with: impl Fn(Usage, Usage) -> Usage) -> Self {
        let both = |one: Option<Usage>, other: Option<Usage>| Some(with(one?, other?));
        Self {
            server: both(self.server, other.server),
            database: both(self.database, other.database),
            generator: both(self.generator, other.generator),
        }
    }

    fn with_peaks_of(self, earlier: Self) -> Self {
        self.zip(earlier, |usage, earlier| Usage { memory: usage.memory.max(earlier.memory), ..usage })
    }

    fn since(self, first: Self) -> Self {
        self.zip(first, |usage, first| Usage { cpu_seconds: usage.cpu_seconds - first.cpu_seconds, ..usage })
    }
}

async fn look_at_server(connection: &mut HttpConnection) -> Option<Usage> {
    let answer = connection.get("/metrics", true).await.ok()?;
    let text = String::from_utf8(answer.body).ok()?;
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line?.parse::<f64>().ok()
    };
    Some(Usage {
        cpu_seconds: value("process_cpu_seconds_total")?,
        memory: value("process_resident_memory_bytes")?,
    })
}

/// The server that a backend belongs to, if both run on this machine.
pub(super) fn postmaster_of(backend: i32) -> Option<u32> {
    let is_postgres = |process: &str| name(process).is_some_and(|name| name.starts_with("postgres"));
    let backend = backend.to_string();
    let command = fs::read_to_string(format!("/proc/{backend}/cmdline")).ok()?;
    // A process of this number may run here while the database runs elsewhere.
    if !is_postgres(&backend) || !command.contains("postgres:") {
        return None;
    }
    let parent = parent(&backend)?;
    is_postgres(&parent).then(|| parent.parse().ok())?
}

/// All its processes together. What they share is counted once, and what those took that have ended is not lost: it is
/// added to their parent's.
fn look_at_database(postmaster: u32) -> Option<Usage> {
    let parent_text = postmaster.to_string();
    let processes =
        fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let children = processes.filter(|process| parent(process).as_deref() == Some(&*parent_text));
    let (mut ticks, mut own, mut shared) = (ticks(&parent_text, 4)?, 0.0, 0.0_f64);
    for process in children.chain([parent_text.clone()]) {
        ticks += if process == parent_text { 0.0 } else { self::ticks(&process, 2).unwrap_or(0.0) };
        own += memory(&process, "RssAnon").unwrap_or(0.0);
        shared = shared.max(memory(&process, "RssShmem").unwrap_or(0.0));
    }
    Some(Usage { cpu_seconds: ticks / TICKS, memory: own + shared })
}

fn usage(process: &str) -> Option<Usage> {
    Some(Usage { cpu_seconds: ticks(process, 2)? / TICKS, memory: memory(process, "VmRSS")? })
}

/// The fields of proc_pid_stat(5) behind the name, which may hold blanks: the first is the state.
fn stat(process: &str) -> Option<Vec<String>> {
    if !process.starts_with(|first: char| first.is_ascii_digit()) && process != "self" {
        return None;
    }
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

fn parent(process: &str) -> Option<String> {
    stat(process)?.get(1).cloned()
}

fn name(process: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{process}/comm")).ok()
}

/// User and system time; with four fields, that of ended children too.
fn ticks(process: &str, fields: usize) -> Option<f64> {
    let stat = stat(process)?;
    stat.get(11..11 + fields)?.iter().map(|field| field.parse::<f64>().ok()).sum()
}

/// The bytes in a line of /proc/PID/status.
fn memory(process: &str, line: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let value = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'))?;
    Some(value.split_whitespace().next()?.parse::<f64>().ok()? * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_takes_time_and_memory() {
        let seconds = || usage("self").map(|usage| usage.cpu_seconds);
        let (before, mut sum) = (seconds(), 0_u64);
        assert!(before.is_some());
        while seconds() == before {
            sum = (0..1_000_000).fold(sum, |sum, number| std::hint::black_box(sum ^ number));
        }
        assert!(usage("self").is_some_and(|usage| usage.memory > 1e6), "{sum}");
    }

    #[test]
    fn a_process_that_is_no_backend_has_no_postmaster() {
        assert_eq!(postmaster_of(i32::try_from(std::process::id()).unwrap_or(0)), None);
        assert_eq!(postmaster_of(-1), None);
    }
}
