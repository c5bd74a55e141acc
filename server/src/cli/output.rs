//! Writes results to stdout, and shows progress on stderr when a person watches.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use attestlog_server::progress::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinHandle;

use super::failure::Failure;

/// Writes text to stdout as it is.
pub(crate) fn write(text: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_ref())
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::new(format!("stdout: {error}")))
}

/// Writes a line to stdout.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    write(format!("{text}\n"))
}

/// Writes a JSON value as one line to stdout.
pub(crate) fn json(value: &serde_json::Value) -> Result<(), Failure> {
    line(&value.to_string())
}

/// A bar towards `total`, or a count if that is not known; hidden unless stderr is a terminal.
pub(crate) fn progress(total: Option<u64>, unit: &str) -> ProgressBar {
    let target = if io::stderr().is_terminal() {
        ProgressDrawTarget::stderr_with_hz(8)
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(total, target);
    let template = match total {
        Some(_) => format!("{{prefix}} {{bar:40}} {{human_pos}}/{{human_len}} {unit} {{per_sec}} {{eta}}"),
        None => format!("{{prefix}} {{spinner}} {{human_pos}} {unit} {{per_sec}}"),
    };
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Shows on a bar how far a long task has come; ctrl-c asks the task to stop.
pub(crate) struct Watch {
    bar: ProgressBar,
    task: JoinHandle<()>,
}

impl Watch {
    pub(crate) fn start(progress: &Progress, name: &str) -> Self {
        Self::with_bar(self::progress(Some(0), "entries"), progress, name)
    }

    /// The same for a task that counts seconds.
    pub(crate) fn start_in_seconds(progress: &Progress, name: &str) -> Self {
        let bar = self::progress(Some(0), "s");
        if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:40} {pos}/{len} s") {
            bar.set_style(style);
        }
        Self::with_bar(bar, progress, name)
    }

    fn with_bar(bar: ProgressBar, progress: &Progress, name: &str) -> Self {
        bar.set_prefix(name.to_owned());
        let task = tokio::spawn(follow(progress.clone(), bar.clone()));
        Self { bar, task }
    }

    /// Removes the bar.
    pub(crate) fn end(self) {
        self.task.abort();
        self.bar.finish_and_clear();
    }
}

async fn follow(progress: Progress, bar: ProgressBar) {
    let mut ticks = tokio::time::interval(Duration::from_millis(120));
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                bar.set_length(progress.total());
                bar.set_position(progress.done());
            }
            _ = tokio::signal::ctrl_c() => progress.stop.cancel(),
        }
    }
}
