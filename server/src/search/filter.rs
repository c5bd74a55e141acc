//! What is searched for: parsed from what a person wrote, checked against an event, and turned into terms of the index.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::fields::{Fields, Party, parse_time};
use super::query::Query;
use super::term::{Term, TermKind};

/// The most bytes of one filter.
pub const MAX_FILTER: usize = 1024;

/// A filter as it was written; `None` takes every event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterText {
    /// `id`, `type:id` or `type:*`, of the actor or of whom it acted for.
    pub actor: Option<String>,
    /// An action, or the beginning of one and `*`.
    pub action: Option<String>,
    /// `id`, `type:id` or `type:*`, of one of the targets.
    pub target: Option<String>,
    /// An outcome.
    pub outcome: Option<String>,
    /// From this time on: RFC 3339, a date (its beginning, UTC), or an age: `30m`, `24h`, `7d`, `2w`.
    pub since: Option<String>,
    /// Before this time.
    pub until: Option<String>,
    /// Words that the event must have, all of them; see [`Query`].
    pub q: Option<String>,
}

/// Why a filter cannot be used: the parameter and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{parameter}: {reason}")]
pub struct FilterError {
    /// The parameter's name.
    pub parameter: &'static str,
    /// What is wrong.
    pub reason: String,
}

/// What an event must be to be found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    actor: Option<String>,
    action: Option<Action>,
    target: Option<String>,
    outcome: Option<String>,
    since: Option<i64>,
    until: Option<i64>,
    query: Query,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    Is(String),
    BeginsWith(String),
}

/// One condition of the index: an event has this term, or one of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It has the term.
    Has(Term),
    /// It has a term from the first on and below the second.
    HasOneOf(Term, Term),
}

impl FilterText {
    /// The parameters that were given, in one order.
    #[must_use]
    pub fn parameters(&self) -> Vec<(&'static str, &str)> {
        let all = [
            ("actor", &self.actor),
            ("action", &self.action),
            ("target", &self.target),
            ("outcome", &self.outcome),
            ("since", &self.since),
            ("until", &self.until),
            ("q", &self.q),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect()
    }
}

impl Filter {
    /// Reads a filter; ages count back from `now`, in microseconds since 1970. An empty one is none.
    ///
    /// # Errors
    /// [`FilterError`] for a time that cannot be read, words that are none, and what is too long.
    pub fn parse(text: &FilterText, now: i64) -> Result<Self, FilterError> {
        for (parameter, value) in text.parameters() {
            if value.len() > MAX_FILTER {
                return Err(FilterError {
                    parameter,
                    reason: format!("it has more than {MAX_FILTER} bytes"),
                });
            }
        }
        let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        let time = |parameter, value: &Option<String>| {
            given(value)
                .map(|value| parse_when(&value, now).map_err(|reason| FilterError { parameter, reason }))
                .transpose()
        };
        let action = given(&text.action).map(|action| match action.strip_suffix('*') {
            Some(beginning) => Action::BeginsWith(beginning.to_owned()),
            None => Action::Is(action),
        });
        let query = Query::parse(text.q.as_deref().unwrap_or_default());
        Ok(Self {
            actor: given(&text.actor),
            action,
            target: given(&text.target),
            outcome: given(&text.outcome),
            since: time("since", &text.since)?,
            until: time("until", &text.until)?,
            query: query.map_err(|reason| FilterError { parameter: "q", reason })?,
        })
    }

    /// Whether an event with these fields, at this time, is searched for.
    #[must_use]
    pub fn matches(&self, fields: &Fields, time: i64) -> bool {
        let of = |parties: &[Party], name: &Option<String>| {
            name.as_ref().is_none_or(|name| parties.iter().flat_map(Party::names).any(|own| own == *name))
        };
        let action = match &self.action {
            None => true,
            Some(Action::Is(action)) => fields.action.as_ref() == Some(action),
            Some(Action::BeginsWith(beginning)) => {
                fields.action.as_ref().is_some_and(|own| own.starts_with(beginning))
            }
        };
        action
            && of(&fields.actors, &self.actor)
            && of(&fields.targets, &self.target)
            && self.outcome.as_ref().is_none_or(|outcome| fields.outcome.as_ref() == Some(outcome))
            && self.since.is_none_or(|since| since <= time)
            && self.until.is_none_or(|until| time < until)
            && self.query.matches(&fields.texts)
    }

    /// The time from which on events are searched, and the time before which.
    #[must_use]
    pub const fn times(&self) -> (Option<i64>, Option<i64>) {
        (self.since, self.until)
    }

    /// What the index must say of an event; at least one condition.
    #[must_use]
    pub fn conditions(&self) -> Vec<Condition> {
        let has =
            |kind, text: &Option<String>| text.as_ref().map(|text| Condition::Has(Term::new(kind, text)));
        let action = self.action.as_ref().map(|action| match action {
            Action::Is(action) => Condition::Has(Term::new(TermKind::Action, action)),
            Action::BeginsWith(beginning) => one_of(TermKind::Action, beginning),
        });
        let simple = [
            has(TermKind::Actor, &self.actor),
            action,
            has(TermKind::Target, &self.target),
            has(TermKind::Outcome, &self.outcome),
        ];
        let mut conditions: Vec<Condition> = simple.into_iter().flatten().collect();
        for condition in self.query.words().map(|(word, is_prefix)| match is_prefix {
            true => one_of(TermKind::Word, word),
            false => Condition::Has(Term::new(TermKind::Word, word)),
        }) {
            if !conditions.contains(&condition) {
                conditions.push(condition);
            }
        }
        if conditions.is_empty() {
            conditions.push(Condition::Has(Term::every_event()));
        }
        conditions
    }

    /// Whether what meets the conditions may still not match: words that must stand together.
    #[must_use]
    pub fn is_more_than_conditions(&self) -> bool {
        self.query.has_phrase()
    }
}

fn one_of(kind: TermKind, beginning: &str) -> Condition {
    let (low, high) = Term::beginning_with(kind, beginning);
    Condition::HasOneOf(low, high)
}

/// Reads a time, a date or an age.
fn parse_when(text: &str, now: i64) -> Result<i64, String> {
    if let Some(age) = parse_age(text) {
        return now.checked_sub(age).ok_or_else(|| format!("\"{text}\" is too long ago"));
    }
    let at_midnight = |date: Date| date.to_datetime(jiff::civil::Time::midnight());
    let in_utc = |moment: DateTime| TimeZone::UTC.to_timestamp(moment).ok().map(Timestamp::as_microsecond);
    let time = match text.len() {
        10 => text.parse().ok().map(at_midnight).and_then(in_utc),
        _ => parse_time(text),
    };
    time.ok_or_else(|| {
        format!("\"{text}\" is no time: write an age (30m, 24h, 7d, 2w), a date, or 2026-11-22T08:00:00Z")
    })
}

/// Microseconds, of a number and one of s, m, h, d, w.
fn parse_age(text: &str) -> Option<i64> {
    let unit = text.chars().next_back()?;
    let number = text.strip_suffix(unit)?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return None,
    };
    let age = number.parse::<i64>().ok()?.checked_mul(seconds)?;
    i64::try_from(SignedDuration::from_secs(age).as_micros()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_334_400_000_000;

    fn when(text: &str) -> Result<i64, String> {
        parse_when(text, NOW)
    }

    #[test]
    fn a_time_is_an_age_a_date_or_an_instant() {
        for (text, seconds) in
            [("0s", 0), ("30m", 1_800), ("24h", 86_400), ("7d", 604_800), ("2w", 1_209_600)]
        {
            assert_eq!(when(text), Ok(NOW - seconds * 1_000_000), "{text}");
        }
        assert_eq!(when("2026-11-22"), Ok(1_795_305_600_000_000));
        assert_eq!(when("2026-11-22T09:00:00+01:00"), Ok(NOW));
        for wrong in [
            "",
            "d",
            "7",
            "-7d",
            "1.5h",
            "7y",
            "2026-13-01",
            "2026-11-22T08:00:00",
            "99999999999999999999d",
            "9223372036854775807w",
        ] {
            assert!(when(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_empty_filter_is_none() {
        let empty = Some(String::new());
        let text = FilterText {
            actor: empty.clone(),
            action: empty.clone(),
            target: empty.clone(),
            outcome: empty.clone(),
            since: empty.clone(),
            until: empty.clone(),
            q: empty,
        };
        assert_eq!(Filter::parse(&text, NOW), Ok(Filter::default()));
        assert_eq!(Filter::default().conditions(), [Condition::Has(Term::every_event())]);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let long = Some("x".repeat(MAX_FILTER + 1));
        for (text, parameter) in [
            (FilterText { since: Some("soon".into()), ..FilterText::default() }, "since"),
            (FilterText { until: Some("later".into()), ..FilterText::default() }, "until"),
            (FilterText { q: Some("!?".into()), ..FilterText::default() }, "q"),
            (FilterText { actor: long, ..FilterText::default() }, "actor"),
        ] {
            assert_eq!(Filter::parse(&text, NOW).unwrap_err().parameter, parameter);
        }
    }
}
