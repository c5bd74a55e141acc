//! The report as text: Markdown tables, which can be read as they are and put into a page.

use std::fmt::{self, Display, Formatter};

use super::machine::{Conditions, ProcessorTime, load_average};
use super::report::{Latency, Report, Spread, TurnReport};

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.conditions.fmt(f)?;
        let after = load_average().unwrap_or_else(|| "–".to_owned());
        writeln!(f, "- load average {after} after; {}", stolen(self.conditions.machine.processor))?;
        let load = &self.load;
        let calls = match load.rate {
            Some(rate) => {
                format!("open loop, {} calls a second, {} connections", number(rate.into()), load.connections)
            }
            None => format!("closed loop, {} connections", load.connections),
        };
        let through = load.through;
        write!(f, "\n### Through {through}: {calls}, ")?;
        if self.writes() {
            let duplicates = match load.duplicates {
                0 => String::new(),
                percent => format!(", {percent} % of them repeated"),
            };
            let plural = if load.batch == 1 { "entry" } else { "entries" };
            write!(f, "{} {plural} of {} bytes a call{duplicates}, ", load.batch, load.entry_size)?;
        }
        writeln!(f, "{} s after {} s\n", load.duration, load.warm_up)?;
        self.write_rates(f)?;
        self.write_latencies(f)?;
        self.write_usage(f)?;
        self.write_stored(f)?;
        self.write_notes(f)
    }
}

/// What the hypervisor has taken away since then: rates are lower by it, and latencies higher.
#[must_use]
pub fn stolen(before: ProcessorTime) -> String {
    let share = before.stolen_since().map_or_else(|| "–".to_owned(), |share| format!("{share} %"));
    format!("{share} of the processor time that was asked for went to other virtual machines")
}

impl Display for Conditions {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let machine = &self.machine;
        let cpu = machine.cpu.as_deref().unwrap_or("unknown processor");
        let memory = machine.memory.map_or_else(|| "–".to_owned(), |bytes| number(super::float(bytes) / 1e9));
        let before = machine.load_average.as_deref().unwrap_or("–");
        writeln!(
            f,
            "- {} cores ({cpu}), {memory} GB of memory; load average {before} before",
            machine.cores
        )?;
        writeln!(
            f,
            "- fdatasync of 8 KiB in {}: {} ms at the median, {} ms at p99",
            machine.sync_directory.display(),
            or_dash(machine.sync_p50_ms),
            or_dash(machine.sync_p99_ms)
        )?;
        if let Some(database) = &self.database {
            writeln!(f, "- PostgreSQL {}: {}", database.version, database.settings.join(", "))?;
        }
        Ok(())
    }
}

impl Report {
    fn writes(&self) -> bool {
        matches!(self.load.through, "sql" | "add" | "entries")
    }

    fn write_rates(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.writes() {
            let rows = self.turns.iter().map(|turn| {
                vec![
                    turn.round.to_string(),
                    number(turn.calls_per_second),
                    turn.failed.to_string(),
                    turn.unfinished.to_string(),
                ]
            });
            return table(f, &["round", "calls/s", "failed", "unfinished"], rows);
        }
        let rows = self.turns.iter().map(|turn| {
            let waiting = |at: usize| {
                let waiting = turn.waiting.and_then(|waiting| waiting.get(at).copied());
                waiting.map_or_else(|| "–".to_owned(), |entries| number(super::float(entries)))
            };
            vec![
                turn.round.to_string(),
                turn.way.to_owned(),
                number(turn.calls_per_second),
                number(turn.acknowledged_per_second),
                or_dash(turn.covered_per_second),
                format!("{} → {}", waiting(0), waiting(1)),
                number(super::float(turn.appended)),
                turn.failed.to_string(),
                turn.unfinished.to_string(),
            ]
        });
        let columns = [
            "round",
            "way",
            "calls/s",
            "entries/s acknowledged",
            "leaves/s covered",
            "waiting, begin → end",
            "appended in all",
            "failed",
            "unfinished",
        ];
        table(f, &columns, rows)?;
        let summary = &self.summary;
        for (what, spread) in [
            ("entries/s acknowledged to the plain table's", summary.acknowledged_ratio),
            ("leaves/s covered to the plain table's rows/s", summary.covered_ratio),
            ("the plain table's processor time an entry to ours", summary.processor_ratio),
            ("bytes stored an entry to the plain table's", summary.stored_ratio),
        ] {
            if let Some(Spread { median, min, max }) = spread {
                writeln!(f, "\n**{median:.2}** ({min:.2} to {max:.2}): {what}, in the same round")?;
            }
        }
        Ok(())
    }

    fn write_latencies(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        let row = |turn: &TurnReport, what: &str, latency: Latency| {
            let Latency { p50, p90, p99, p99_9, max, count } = latency;
            let mut cells = vec![turn.round.to_string(), turn.way.to_owned(), what.to_owned()];
            cells.extend([p50, p90, p99, p99_9, max].map(number));
            cells.push(number(super::float(count)));
            cells
        };
        let rows = self.turns.iter().flat_map(|turn| {
            let what = if self.writes() { "acknowledged" } else { "answered" };
            let covered = turn.covered_ms.map(|covered| row(turn, "covered by a published head", covered));
            [Some(row(turn, what, turn.acknowledged_ms)), covered].into_iter().flatten()
        });
        table(f, &["round", "way", "ms until", "p50", "p90", "p99", "p99.9", "max", "calls timed"], rows)
    }

    fn write_usage(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        let rows = self.turns.iter().flat_map(|turn| {
            let done = super::float(if self.writes() { turn.appended } else { turn.calls });
            let usage = [
                ("server", turn.usage.server),
                ("database", turn.usage.database),
                ("generator", turn.usage.generator),
            ];
            usage.map(move |(program, usage)| {
                vec![
                    turn.round.to_string(),
                    turn.way.to_owned(),
                    program.to_owned(),
                    or_dash(usage.map(|usage| usage.cpu_seconds)),
                    or_dash(usage.filter(|_| done > 0.0).map(|usage| usage.cpu_seconds * 1e6 / done)),
                    or_dash(usage.map(|usage| usage.memory / 1e6)),
                ]
            })
        });
        let each = if self.writes() { "µs an entry" } else { "µs a call" };
        table(f, &["round", "way", "program", "processor s", each, "most memory, MB"], rows)
    }

    fn write_stored(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let rows: Vec<Vec<String>> = self
            .turns
            .iter()
            .filter_map(|turn| {
                let stored = turn.stored.as_ref()?;
                let tables: Vec<String> = stored
                    .tables
                    .iter()
                    .map(|(table, bytes)| format!("{table} {}", number(*bytes)))
                    .collect();
                let wal = or_dash(stored.wal);
                Some(vec![
                    turn.round.to_string(),
                    turn.way.to_owned(),
                    number(stored.total),
                    wal,
                    tables.join(", "),
                ])
            })
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        writeln!(f)?;
        table(
            f,
            &["round", "way", "bytes an entry", "WAL, bytes an entry", "of them, and beside them"],
            rows.into_iter(),
        )
    }

    fn write_notes(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for turn in &self.turns {
            for (said, times) in &turn.failures {
                writeln!(f, "\nround {}, {}: failed {times} times: {said}", turn.round, turn.way)?;
            }
            if turn.uncovered > 0 {
                let entries = turn.uncovered;
                writeln!(
                    f,
                    "\nround {}: no head covers {entries} of the followed calls: does a server run?",
                    turn.round
                )?;
            }
        }
        let followed = self.turns.iter().any(|turn| turn.covered_ms.is_some());
        if followed && self.load.through != "add" {
            let every = self.load.head_looked_at_every_ms;
            writeln!(
                f,
                "\nCovered: the last entry of a sample of the calls; the head was looked at every {every} ms, and a time \
                 is late by up to that."
            )?;
        }
        if self.interrupted {
            writeln!(f, "\nEnded early: what was measured until then.")?;
        }
        Ok(())
    }
}

fn table(f: &mut Formatter<'_>, columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> fmt::Result {
    writeln!(f, "| {} |", columns.join(" | "))?;
    writeln!(f, "|{}", "---|".repeat(columns.len()))?;
    for row in rows {
        writeln!(f, "| {} |", row.join(" | "))?;
    }
    Ok(())
}

fn or_dash(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), number)
}

/// A number with thousands separators, or with decimals if it is small; a dash for what was not measured.
#[must_use]
pub fn number(value: f64) -> String {
    if value.is_nan() {
        return "–".to_owned();
    }
    if value.abs() < 10.0 {
        return format!("{value:.2}");
    }
    if value.abs() < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_grouped_by_three() {
        let shown = [0.0, 1.234, 12.34, 123.4, 1234.5, 1_234_567.0, -123.0, f64::NAN].map(number);
        assert_eq!(shown, ["0.00", "1.23", "12.3", "123", "1,234", "1,234,567", "-123", "–"]);
    }
}
