//! What became of an append: accepted, or processed and covered by a published checkpoint.

use std::sync::Arc;

use attestlog_core::TreeSize;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::problem::{Code, Problem, ProblemBody};
use super::request::{LogPath, OpenLog, PathParts};
use crate::store::{Ticket, TicketState};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(ticket))
}

/// Where a ticket's entry is.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
enum Status {
    /// It is durable, and no published checkpoint covers it yet.
    Accepted,
    /// A published checkpoint covers it.
    Processed {
        /// Its index.
        index: u64,
        /// Where its receipt is.
        receipt: String,
    },
}

/// What became of an append
#[utoipa::path(
    get, path = "/logs/{log}/tickets/{ticket}", tag = "append",
    params(LogPath, ("ticket" = String, Path, description = "what the append returned")),
    responses(
        (status = 200, description = "where the entry is", body = Status),
        (status = "default", description = "a problem", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn ticket(
    State(app): State<Arc<App>>,
    OpenLog(log): OpenLog,
    path: PathParts,
) -> Result<impl IntoResponse, Problem> {
    let unknown = || Problem::new(Code::UnknownTicket, "this log has not given that ticket");
    let ticket = Ticket(i64::try_from(path.number("ticket")?).map_err(|_| unknown())?);
    let state = app.service.store.tickets(&[ticket]).await?.remove(&ticket);
    let status = match state {
        Some(TicketState::Accepted(id)) if id == log.id => Status::Accepted,
        Some(TicketState::Processed(id, index)) if id == log.id => {
            let covers = |size: TreeSize| size.0 > index.0;
            let published = app.service.publisher.checkpoint_where(&log, covers).await?;
            if covers(published.checkpoint.size()) {
                let receipt = format!("/logs/{}/entries/{index}/receipt", log.name);
                Status::Processed { index: index.0, receipt }
            } else {
                Status::Accepted
            }
        }
        _ => return Err(unknown()),
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(status)))
}
