//! What was measured, as `--json` gives it: one object a call, figures a turn, and their spread over the rounds.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::follow::{Followed, LOOK_EVERY};
use super::load::Recorded;
use super::machine::Conditions;
use super::process::Usages;
use super::{Plan, Through, float};
use crate::store::postgres::bench::{PLAIN, Volume};

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What it was measured on.
    #[serde(flatten)]
    pub conditions: Conditions,
    /// The load.
    pub load: Load,
    /// Each turn, in order.
    pub turns: Vec<TurnReport>,
    /// The rounds together.
    pub summary: Summary,
    /// Whether it was ended early.
    pub interrupted: bool,
}

/// The load of each turn.
#[derive(Clone, Debug, Serialize)]
pub struct Load {
    /// As `--through` names it.
    pub through: &'static str,
    /// `closed` or `open`.
    pub r#loop: &'static str,
    /// Connections.
    pub connections: u32,
    /// Calls a second in an open loop.
    pub rate: Option<u32>,
    /// Entries of a call.
    pub batch: usize,
    /// Bytes of an entry.
    pub entry_size: usize,
    /// Of 100 entries, so many repeat an earlier one.
    pub duplicates: u8,
    /// Measured seconds.
    pub duration: f64,
    /// Seconds before.
    pub warm_up: f64,
    /// The most entries that wait for a head.
    pub backlog: u64,
    /// How often the head is looked at, in milliseconds: `covered` is late by up to so much.
    pub head_looked_at_every_ms: f64,
}

/// One turn.
#[derive(Clone, Debug, Serialize)]
pub struct TurnReport {
    /// From 1.
    pub round: u32,
    /// `attestlog`, or `plain` for the plain audit table.
    pub way: &'static str,
    /// Seconds that were measured.
    pub seconds: f64,
    /// Calls that succeeded within them, a second.
    pub calls_per_second: f64,
    /// The entries of those calls, a second; 0 for reads.
    pub acknowledged_per_second: f64,
    /// Leaves that published heads came to cover, a second.
    pub covered_per_second: Option<f64>,
    /// Entries that waited for a head when the measured time began, and when it ended.
    pub waiting: Option<[u64; 2]>,
    /// From when a call was due until its answer.
    pub acknowledged_ms: Latency,
    /// From when a call was due until a published head covered its last entry.
    pub covered_ms: Option<Latency>,
    /// Followed calls that no head covered in the end.
    pub uncovered: usize,
    /// Calls that succeeded in all, before and after the measured time too.
    pub calls: u64,
    /// Entries appended in all, before and after the measured time too.
    pub appended: u64,
    /// Calls that failed.
    pub failed: u64,
    /// How they failed, and how often.
    pub failures: BTreeMap<String, u64>,
    /// Calls that were due and not answered in the end.
    pub unfinished: u64,
    /// What programs took, from before the first call until all was covered.
    pub usage: Usages,
    /// Microseconds of processor time an entry, or a call that reads, of all those programs together.
    pub processor_us: Option<f64>,
    /// What was stored.
    pub stored: Option<Stored>,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// 9 of 10 are no longer.
    pub p90: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1,000.
    pub p99_9: f64,
    /// The longest.
    pub max: f64,
    /// How many were timed.
    pub count: u64,
}

/// Bytes an entry.
#[derive(Clone, Debug, Serialize)]
pub struct Stored {
    /// Of each table with its indexes, or file.
    pub tables: BTreeMap<String, f64>,
    /// Of the log: without staging, whose space is used again, and without the search index, which can be left out.
    pub total: f64,
    /// Of the write-ahead log.
    pub wal: Option<f64>,
}

/// The rounds together.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Calls a second.
    pub calls_per_second: Option<Spread>,
    /// Entries acknowledged a second.
    pub acknowledged_per_second: Option<Spread>,
    /// Leaves covered a second.
    pub covered_per_second: Option<Spread>,
    /// Entries acknowledged a second, divided by the plain table's in the same round.
    pub acknowledged_ratio: Option<Spread>,
    /// Leaves covered a second, divided by the plain table's rows.
    pub covered_ratio: Option<Spread>,
    /// The plain table's processor time an entry, divided by ours: the ratio of rates where only the processor bounds
    /// them, whatever the disk and other machines do meanwhile.
    pub processor_ratio: Option<Spread>,
    /// Bytes an entry, divided by the plain table's.
    pub stored_ratio: Option<Spread>,
}

/// The median of the rounds, and the ends.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

/// Tables that are no part of the log: what waits, and what a search finds.
const BESIDE: [&str; 3] = ["append_only_log", "search_block", "search_mark"];

impl Report {
    pub(super) fn new(
        plan: &Plan,
        conditions: Conditions,
        turns: Vec<TurnReport>,
        interrupted: bool,
    ) -> Self {
        let load = Load {
            through: plan.through.name(),
            r#loop: if plan.rate.is_some() { "open" } else { "closed" },
            connections: plan.connections,
            rate: plan.rate.map(std::num::NonZero::get),
            batch: plan.batch,
            entry_size: plan.entry_size,
            duplicates: plan.duplicates,
            duration: plan.duration.as_secs_f64(),
            warm_up: plan.warm_up.as_secs_f64(),
            backlog: plan.backlog,
            head_looked_at_every_ms: LOOK_EVERY.as_secs_f64() * 1000.0,
        };
        Self { conditions, load, summary: Summary::of(&turns), turns, interrupted }
    }
}

impl TurnReport {
    #[expect(clippy::too_many_arguments, reason = "it is where all that was looked at comes together")]
    pub(super) fn new(
        plan: &Plan,
        round: u32,
        plain: bool,
        load: &super::load::Load,
        (recorded, seconds): (Recorded, f64),
        followed: Option<Followed>,
        usage: Usages,
        stored: Option<Stored>,
    ) -> Self {
        let calls_per_second = if seconds > 0.0 { float(recorded.answered) / seconds } else { 0.0 };
        let writes = !matches!(plan.through, Through::Tiles | Through::Bundles | Through::Checkpoint);
        let appended = load.appended.load(std::sync::atomic::Ordering::Relaxed);
        let acknowledged = Latency::of(&recorded.acknowledged);
        let covered_ms = match plan.through {
            // It is answered once it is covered.
            Through::Add => Some(acknowledged),
            _ => followed.as_ref().map(|followed| Latency::of(&followed.covered)),
        };
        Self {
            round,
            way: if plain { "plain" } else { "attestlog" },
            seconds,
            calls_per_second,
            acknowledged_per_second: if writes { calls_per_second * float(plan.batch as u64) } else { 0.0 },
            covered_per_second: followed.as_ref().and_then(|followed| followed.rate(load)),
            waiting: followed.as_ref().map(|followed| followed.waiting),
            acknowledged_ms: acknowledged,
            covered_ms,
            uncovered: followed.as_ref().map_or(0, |followed| followed.uncovered),
            calls: recorded.succeeded,
            appended: if writes { appended } else { 0 },
            failed: recorded.failed,
            failures: recorded.failures,
            unfinished: recorded.unfinished,
            usage,
            processor_us: usage.each(if writes { appended } else { recorded.succeeded }),
            stored: stored.filter(|_| writes),
        }
    }
}

impl Through {
    /// As `--through` names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sql => "sql",
            Self::Add => "add",
            Self::Entries => "entries",
            Self::Tiles => "tiles",
            Self::Bundles => "bundles",
            Self::Checkpoint => "checkpoint",
        }
    }
}

impl Latency {
    fn of(times: &Histogram<u64>) -> Self {
        let at = |quantile| milliseconds(times.value_at_quantile(quantile));
        let (p50, p90, p99, p99_9) = (at(0.5), at(0.9), at(0.99), at(0.999));
        Self { p50, p90, p99, p99_9, max: milliseconds(times.max()), count: times.len() }
    }
}

/// Milliseconds of microseconds.
pub(super) fn milliseconds(microseconds: u64) -> f64 {
    float(microseconds) / 1000.0
}

impl Stored {
    /// What came between, for each of so many entries.
    pub(super) fn between(
        before: &Volume,
        after: &Volume,
        plain: bool,
        entries: u64,
        wal: Option<f64>,
    ) -> Self {
        let grown = |(table, bytes): (&String, &u64)| {
            let grown = float(*bytes) - float(before.tables.get(table).copied().unwrap_or(0));
            (table.clone(), grown / float(entries))
        };
        let mut tables: BTreeMap<String, f64> = after.tables.iter().map(grown).collect();
        tables.retain(|table, bytes| *bytes != 0.0 && (table == PLAIN) == plain);
        let total =
            tables.iter().filter(|(table, _)| !BESIDE.contains(&&***table)).map(|(_, bytes)| bytes).sum();
        Self { tables, total, wal }
    }
}

impl Summary {
    fn of(turns: &[TurnReport]) -> Self {
        let ours = || turns.iter().filter(|turn| turn.way == "attestlog");
        let ratio = |figure: &dyn Fn(&TurnReport) -> Option<f64>,
                     plain: &dyn Fn(&TurnReport) -> Option<f64>| {
            Spread::of(ours().filter_map(|turn| {
                let partner = turns.iter().find(|other| other.way == "plain" && other.round == turn.round)?;
                Some(figure(turn)? / plain(partner)?)
            }))
        };
        let acknowledged = |turn: &TurnReport| Some(turn.acknowledged_per_second);
        let bytes = |turn: &TurnReport| turn.stored.as_ref().map(|stored| stored.total);
        Self {
            calls_per_second: Spread::of(ours().map(|turn| turn.calls_per_second)),
            acknowledged_per_second: Spread::of(ours().map(|turn| turn.acknowledged_per_second)),
            covered_per_second: Spread::of(ours().filter_map(|turn| turn.covered_per_second)),
            acknowledged_ratio: ratio(&acknowledged, &acknowledged),
            covered_ratio: ratio(&|turn| turn.covered_per_second, &acknowledged),
            processor_ratio: ratio(&|turn| turn.processor_us.map(f64::recip), &|turn| {
                turn.processor_us.map(f64::recip)
            }),
            stored_ratio: ratio(&bytes, &bytes),
        }
    }
}

impl Spread {
    /// That of some values, if there are any.
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let median = *values.get(values.len() / 2)?;
        Some(Self { median, min: *values.first()?, max: *values.last()? })
    }
}
