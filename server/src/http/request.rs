//! Reads what all requests have in common: the log, numbers, the right to append, and bodies within their limits.

use std::sync::Arc;
use std::time::Duration;

use attestlog_core::decimal;
use axum::body::Body;
use axum::extract::{FromRequestParts, Query, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use futures_util::StreamExt;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error};
use tokio::sync::OwnedSemaphorePermit;

use super::App;
use super::problem::{Code, Problem};
use crate::keyring::is_log_name;
use crate::store::Log;

/// How long a body may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// The log that the path names.
#[derive(Debug)]
pub(super) struct OpenLog(pub(super) Arc<Log>);

impl FromRequestParts<Arc<App>> for OpenLog {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let path = PathParts::from_request_parts(parts, app).await?;
        let name = path.get("log")?;
        let log = if is_log_name(name) { app.service.log(name).await? } else { None };
        log.map(Self).ok_or_else(|| Problem::new(Code::UnknownLog, format!("there is no log \"{name}\"")))
    }
}

/// The parts of the path that its template names.
pub(super) struct PathParts(RawPathParams);

impl FromRequestParts<Arc<App>> for PathParts {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let path = RawPathParams::from_request_parts(parts, app).await;
        path.map(Self).map_err(|_| Problem::new(Code::NotFound, "the path is not UTF-8"))
    }
}

impl PathParts {
    pub(super) fn get(&self, name: &str) -> Result<&str, Problem> {
        let part = self.0.iter().find(|(key, _)| *key == name).map(|(_, part)| part);
        part.ok_or_else(|| Problem::new(Code::NotFound, "there is nothing here"))
    }

    pub(super) fn number(&self, name: &str) -> Result<u64, Problem> {
        decimal::parse(self.get(name)?.as_bytes())
            .map_err(|error| Problem::new(Code::InvalidParameter, format!("{name}: {error}")))
    }
}

/// A number of a query, in its one decimal spelling.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number(pub(super) u64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        decimal::parse(text.as_bytes()).map(Self).map_err(D::Error::custom)
    }
}

/// The query.
#[derive(Debug)]
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<App>> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(Problem::new(Code::InvalidParameter, rejection.body_text())),
        }
    }
}

/// The right to append and to make logs: the bearer token, or, where there is none, not being sent by a foreign page.
#[derive(Debug)]
pub(super) struct MayAppend;

impl FromRequestParts<Arc<App>> for MayAppend {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let Some(token) = &app.service.append_token else {
            return reject_foreign_pages(&parts.headers);
        };
        let presented = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let presented = presented.and_then(|value| value.split_once(' '));
        match presented {
            Some((scheme, presented))
                if scheme.eq_ignore_ascii_case("bearer") && token.is(presented.trim()) =>
            {
                Ok(Self)
            }
            _ => {
                Err(Problem::new(Code::Unauthorized, "this needs the append token: Authorization: Bearer …"))
            }
        }
    }
}

/// A server without a token listens on loopback, which every page in this machine's browsers can reach.
fn reject_foreign_pages(headers: &HeaderMap) -> Result<MayAppend, Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(MayAppend) };
    let uri = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    match uri.as_ref().and_then(Uri::host) {
        Some("localhost" | "127.0.0.1" | "[::1]") => Ok(MayAppend),
        _ => Err(Problem::new(
            Code::ForeignOrigin,
            "without an append token, pages of other hosts may not append",
        )),
    }
}

/// The type that the body is said to have, without its parameters, in lowercase.
pub(super) fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// A body that holds its part of the memory that all bodies share.
pub(super) struct ReadBody {
    pub(super) bytes: Vec<u8>,
    pub(super) _room: OwnedSemaphorePermit,
}

/// Reads a body of at most `limit` bytes; a longer one is refused with `too_large`.
pub(super) async fn read_body(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    too_large: Problem,
) -> Result<ReadBody, Problem> {
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| decimal::parse(value.as_bytes()).ok());
    let announced = announced.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large);
    }
    let reading = async {
        let room = room(app, announced.unwrap_or(limit)).await?;
        let bytes = collect(body, announced.unwrap_or(0), limit, too_large).await?;
        Ok(ReadBody { bytes, _room: room })
    };
    let timeout = || Problem::new(Code::RequestTimeout, "the body did not arrive in time");
    tokio::time::timeout(BODY_PATIENCE, reading).await.unwrap_or_else(|_| Err(timeout()))
}

async fn room(app: &App, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    let room = Arc::clone(&app.bodies).acquire_many_owned(bytes).await;
    room.map_err(|_| Problem::new(Code::ShuttingDown, "the server is shutting down; nothing was stored"))
}

async fn collect(body: Body, announced: usize, limit: usize, too_large: Problem) -> Result<Vec<u8>, Problem> {
    let (mut stream, mut bytes) = (body.into_data_stream(), Vec::with_capacity(announced));
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| Problem::new(Code::RequestTimeout, "the body broke off"))?;
        if bytes.len().saturating_add(chunk.len()) > limit {
            return Err(too_large);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The parameter of the path that names the log.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it documents the parameter that OpenLog reads")]
pub(super) struct LogPath {
    /// The name of the log.
    log: String,
}
