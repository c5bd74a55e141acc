//! Search: the events of a log, the newest first, by what they say.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{Code, Problem, ProblemBody};
use super::request::{LogPath, Number, OpenLog, Parameters};
use super::{App, FRESH};
use crate::search::{self, Answer, FilterText, PageError, PageQuery, SearchError};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(events))
}

/// What is searched for; all of it must hold.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    /// The actor, or on whose behalf it acted: `id`, `type:id`, or `type:*`
    actor: Option<String>,
    /// The action, or its beginning and `*`: `invoice.*`
    action: Option<String>,
    /// One of the targets: `id`, `type:id`, or `type:*`
    target: Option<String>,
    /// The outcome
    outcome: Option<String>,
    /// From this time on: RFC 3339, a date (its beginning, UTC), or an age such as 30m, 24h, 7d, 2w
    since: Option<String>,
    /// Before this time
    until: Option<String>,
    /// Words that the event has, all of them: word, "some words together", beginning*
    q: Option<String>,
    /// Where the page begins, from `next` or `previous` of another page of the same search
    cursor: Option<String>,
    /// The most events, 1 to 200; 50 if it is not given
    #[param(value_type = Option<u64>)]
    limit: Option<Number>,
}

/// Search, the newest first
///
/// For people; a machine that wants every event reads the feed. The index is a moment behind the log, and proves
/// nothing: a hit is proven by its entry and receipt. Events are ordered by their time, which is the writer's word, and
/// by their index.
#[utoipa::path(
    get, path = "/logs/{log}/events", tag = "entries", params(LogPath, EventsQuery),
    responses(
        (status = 200, description = "a page of events", body = Answer),
        (status = "default", description = "a problem", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn events(
    State(app): State<Arc<App>>,
    OpenLog(log): OpenLog,
    Parameters(query): Parameters<EventsQuery>,
) -> Result<impl IntoResponse, Problem> {
    if !app.service.search {
        return Err(Problem::new(Code::SearchOff, "this server was started with --no-search"));
    }
    let EventsQuery { actor, action, target, outcome, since, until, q, cursor, limit } = query;
    let filter = FilterText { actor, action, target, outcome, since, until, q };
    let query = PageQuery { filter, cursor, limit: limit.map(|limit| limit.0) };
    let published = app.service.publisher.checkpoint(&log).await?;
    let size = published.checkpoint.size();
    let answer = search::page(&*app.service.store, &log, size, &query).await?;
    Ok(([(header::CACHE_CONTROL, FRESH)], Json(answer)))
}

impl From<PageError> for Problem {
    fn from(error: PageError) -> Self {
        match error {
            PageError::Filter(_) | PageError::Limit => Self::new(Code::InvalidParameter, error.to_string()),
            PageError::Cursor(_) => Self::new(Code::InvalidCursor, error.to_string()),
            PageError::Search(SearchError::TooBroad) => Self::new(Code::QueryTooBroad, error.to_string()),
            PageError::Search(SearchError::Store(error)) => error.into(),
            PageError::Search(error) => Self::internal(&error),
        }
    }
}
