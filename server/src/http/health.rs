//! Whether the server lives, whether it can work, what it measures, and what it can be asked.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use metrics::gauge;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{Code, Problem, ProblemBody};
use super::{App, TEXT};
use crate::deployment::DEFAULT_LOG;
use crate::measurements::render;

/// How long the database may take to answer before this server counts as not ready.
const READY_PATIENCE: Duration = Duration::from_secs(3);

const NO_STORE: (header::HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .routes(routes!(metrics))
        .routes(routes!(openapi))
}

/// Whether the process lives
#[utoipa::path(
    get, path = "/healthz", tag = "operation",
    responses((status = 200, description = "it does", body = String, content_type = "text/plain; charset=utf-8"))
)]
pub(super) async fn healthz() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, TEXT), NO_STORE], "alive\n")
}

/// Whether requests can be served
///
/// The database answers, and a head can be published.
#[utoipa::path(
    get, path = "/readyz", tag = "operation",
    responses(
        (status = 200, description = "they can", body = String, content_type = "text/plain; charset=utf-8"),
        (status = 503, description = "they cannot", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn readyz(State(app): State<Arc<App>>) -> Result<impl IntoResponse, Problem> {
    let ready = tokio::time::timeout(READY_PATIENCE, is_ready(&app)).await;
    ready.unwrap_or_else(|_| {
        Err(Problem::new(Code::DatabaseUnavailable, "the database does not answer in time"))
    })?;
    Ok(([(header::CONTENT_TYPE, TEXT), NO_STORE], "ready\n"))
}

async fn is_ready(app: &App) -> Result<(), Problem> {
    app.service.store.backlog(1).await?;
    if let Some(log) = app.service.log(DEFAULT_LOG).await? {
        match app.service.publisher.checkpoint(&log).await {
            // One log's damage is no reason to take the others off the network.
            Err(error) if error.is_conflict() => {}
            checkpoint => drop(checkpoint?),
        }
    }
    Ok(())
}

/// What the server measures
///
/// In Prometheus' text format; docs/operations.md explains it.
#[utoipa::path(
    get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "the measures", body = String, content_type = "text/plain; version=0.0.4"))
)]
async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let age = app.service.publisher.since_last_head();
    gauge!("attestlog_last_published_head_age_seconds").set(age.as_secs_f64());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"), NO_STORE], render(&app.metrics))
}

/// This description
#[utoipa::path(
    get, path = "/openapi.json", tag = "operation",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value))
)]
async fn openapi(State(app): State<Arc<App>>) -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "max-age=300")];
    (headers, app.openapi.clone())
}
