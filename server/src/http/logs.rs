//! The logs: all of them, and a new one.

use std::sync::Arc;

use attestlog_core::TreeSize;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{Code, Problem, ProblemBody};
use super::request::{MayAppend, content_type, read_body};
use super::{App, FRESH};
use crate::keyring::create_log;
use crate::store::{Events, Log};

/// The most bytes of the description of a log.
const MAX_BODY: usize = 4096;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, create))
}

/// A log.
#[derive(Serialize, utoipa::ToSchema)]
struct LogBody {
    /// The last part of its address.
    name: String,
    /// Its identity for everyone who verifies it.
    origin: String,
    /// Its public key, as signed-note writes it.
    vkey: String,
    /// The size of its newest checkpoint.
    size: u64,
}

impl LogBody {
    fn new(log: Log, size: TreeSize) -> Self {
        Self { name: log.name, origin: log.origin, vkey: log.vkey, size: size.0 }
    }
}

/// A log to be made.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct NewLogBody {
    /// 1 to 63 of a-z, 0-9, `.`, `_` and `-`, the first a letter or a digit.
    name: String,
    /// 1 to 255 bytes without blanks, `+` or control characters; different from every other log's.
    origin: String,
    /// What it takes as an entry; `any` if it is not given.
    #[serde(default)]
    events: EventsBody,
}

/// What a log takes as an entry.
#[derive(Clone, Copy, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum EventsBody {
    /// Any bytes; JSON where the request says that it is JSON.
    #[default]
    Any,
    /// JSON with the fields that an audit event must have.
    Strict,
}

/// All logs
#[utoipa::path(
    get, path = "/logs", tag = "logs",
    responses(
        (status = 200, description = "in the order of their names", body = Vec<LogBody>),
        (status = "default", description = "a problem", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn list(State(app): State<Arc<App>>) -> Result<impl IntoResponse, Problem> {
    let logs = app.service.store.logs().await?;
    let logs: Vec<_> = logs.into_iter().map(|(log, size)| LogBody::new(log, size)).collect();
    Ok(([(header::CACHE_CONTROL, FRESH)], Json(logs)))
}

/// Make a log
#[utoipa::path(
    post, path = "/logs", tag = "logs", security(("append token" = [])), request_body = NewLogBody,
    responses(
        (status = 201, description = "the log, which is empty", body = LogBody),
        (status = "default", description = "a problem", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn create(
    State(app): State<Arc<App>>,
    _: MayAppend,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    if content_type(&headers) != "application/json" {
        return Err(Problem::new(Code::UnsupportedMediaType, "the Content-Type is application/json"));
    }
    let too_large = Problem::new(Code::BodyTooLarge, format!("the body has at most {MAX_BODY} bytes"));
    let body = read_body(&app, &headers, body, MAX_BODY, too_large).await?;
    let new: NewLogBody = serde_json::from_slice(&body.bytes)
        .map_err(|error| Problem::new(Code::MalformedJson, error.to_string()))?;
    let events = match new.events {
        EventsBody::Any => Events::Any,
        EventsBody::Strict => Events::Strict,
    };
    let service = &app.service;
    let log = create_log(&*service.store, &service.secret, &new.name, &new.origin, events).await?;
    let location = format!("/logs/{}", log.name);
    let body = Json(LogBody::new(log, TreeSize(0)));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], body))
}
