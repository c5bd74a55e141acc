//! The options that say which events are meant.

use attestlog_server::search::{Filter, FilterText, now};
use clap::Args;

use super::failure::Failure;

/// All that is given must hold.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Filter (all that is given must hold)")]
pub(crate) struct FilterOptions {
    /// Words that the event has, all of them
    query: Vec<String>,
    /// The actor, or on whose behalf it acted: id, type:id, or type:*
    #[arg(long)]
    actor: Option<String>,
    /// The action, or its beginning and *
    #[arg(long)]
    action: Option<String>,
    /// One of the targets: id, type:id, or type:*
    #[arg(long)]
    target: Option<String>,
    /// The outcome: success, failure, denied, unknown
    #[arg(long)]
    outcome: Option<String>,
    /// From this time on: RFC 3339, a date (its beginning, UTC), or an age: 30m, 24h, 7d, 2w
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl FilterOptions {
    /// As it was written.
    pub(crate) fn text(&self) -> FilterText {
        let q = Some(self.query.join(" ")).filter(|query| !query.is_empty());
        FilterText {
            actor: self.actor.clone(),
            action: self.action.clone(),
            target: self.target.clone(),
            outcome: self.outcome.clone(),
            since: self.since.clone(),
            until: self.until.clone(),
            q,
        }
    }

    /// What it says now; `None` if nothing is given.
    pub(crate) fn parse(&self) -> Result<Option<(FilterText, Filter)>, Failure> {
        let text = self.text();
        if text.parameters().is_empty() {
            return Ok(None);
        }
        let filter = Filter::parse(&text, now()).map_err(|error| Failure::new(error.to_string()))?;
        Ok(Some((text, filter)))
    }
}
