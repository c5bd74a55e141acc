//! The entries: the feed of all of them in order, one of them, and its receipt.

use std::sync::Arc;

use attestlog_core::{LeafIndex, Receipt, TreeSize, base64};
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{Code, Problem, ProblemBody, index_beyond_tree};
use super::request::{LogPath, Number, OpenLog, Parameters, PathParts};
use super::{App, FRESH, IMMUTABLE, TEXT};
use crate::event::validate_json;
use crate::prover;
use crate::store::{Log, StoreError};

/// The entries of a page, unless it asks for another number.
const DEFAULT_LIMIT: u64 = 256;

/// The most entries of a page; about 16 MB is the other limit.
const MAX_LIMIT: u64 = 1000;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(feed)).routes(routes!(entry)).routes(routes!(receipt))
}

/// Which part of the feed.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct FeedQuery {
    /// The index of the first entry; 0 if it is not given.
    #[param(value_type = Option<u64>)]
    from: Option<Number>,
    /// The most entries, 1 to 1000; 256 if it is not given. There may be fewer, for their size.
    #[param(value_type = Option<u64>)]
    limit: Option<Number>,
}

/// A part of the feed.
#[derive(Serialize, utoipa::ToSchema)]
struct Page {
    /// In the order of their indexes; none if the feed ends here for now.
    entries: Vec<FeedEntry>,
    /// The size of the published tree.
    size: u64,
    /// Where the feed goes on, now or later.
    next: String,
}

/// An entry of the feed.
#[derive(Serialize, utoipa::ToSchema)]
struct FeedEntry {
    /// Its index.
    index: u64,
    /// Its exact bytes in base64.
    data: String,
}

/// All entries in their order
///
/// A machine follows `next` without end, and waits a little where a page is empty.
#[utoipa::path(
    get, path = "/logs/{log}/entries", tag = "entries", params(LogPath, FeedQuery),
    responses(
        (status = 200, description = "a part of the feed", body = Page),
        (status = "default", description = "a problem", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn feed(
    State(app): State<Arc<App>>,
    OpenLog(log): OpenLog,
    Parameters(query): Parameters<FeedQuery>,
) -> Result<impl IntoResponse, Problem> {
    let from = query.from.map_or(0, |from| from.0);
    let limit = query.limit.map_or(DEFAULT_LIMIT, |limit| limit.0);
    if limit == 0 || limit > MAX_LIMIT {
        return Err(Problem::new(Code::InvalidParameter, format!("limit is 1 to {MAX_LIMIT}")));
    }
    let published = app.service.publisher.checkpoint_where(&log, |size| size.0 > from).await?;
    let size = published.checkpoint.size();
    if from > size.0 {
        return Err(index_beyond_tree());
    }
    let wanted = u32::try_from(limit.min(size.0.saturating_sub(from))).unwrap_or(u32::MAX);
    let read = match wanted {
        0 => Vec::new(),
        wanted => app.service.store.entries(log.id, LeafIndex(from), wanted).await?,
    };
    let next = format!("/logs/{}/entries?from={}&limit={limit}", log.name, from + read.len() as u64);
    let entries = (from..).zip(read).map(|(index, data)| FeedEntry { index, data: base64::format(&data) });
    let page = Page { entries: entries.collect(), size: size.0, next };
    Ok(([(header::CACHE_CONTROL, FRESH)], Json(page)))
}

/// The bytes of an entry
#[utoipa::path(
    get, path = "/logs/{log}/entries/{index}", tag = "entries",
    params(LogPath, ("index" = u64, Path, description = "the index of the entry")),
    responses(
        (status = 200, description = "the exact bytes", content(
            (serde_json::Value = "application/json"), ([u8] = "application/octet-stream"),
        )),
        (status = "default", description = "a problem", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn entry(
    State(app): State<Arc<App>>,
    OpenLog(log): OpenLog,
    path: PathParts,
) -> Result<Response, Problem> {
    let index = LeafIndex(path.number("index")?);
    let published = app.service.publisher.checkpoint_where(&log, |size| size.0 > index.0).await?;
    if index.0 >= published.checkpoint.size().0 {
        return Err(index_beyond_tree());
    }
    let data = read_entry(&app, &log, index).await?;
    let json = validate_json(&data).is_ok();
    let kind = if json { "application/json" } else { "application/octet-stream" };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, IMMUTABLE),
        // An entry is whatever someone wrote: a browser shall not run it as a page of ours.
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
    ];
    Ok((headers, data).into_response())
}

async fn read_entry(app: &App, log: &Log, index: LeafIndex) -> Result<Vec<u8>, Problem> {
    let read = app.service.store.entries(log.id, index, 1).await?;
    let missing = || StoreError::Damaged(format!("entry {index} of log \"{}\" is missing", log.name));
    Ok(read.into_iter().next().ok_or_else(missing)?)
}

/// The receipt of an entry
///
/// A tlog-proof against the newest checkpoint. It proves the bytes of the entry, and holds for good.
#[utoipa::path(
    get, path = "/logs/{log}/entries/{index}/receipt", tag = "entries",
    params(LogPath, ("index" = u64, Path, description = "the index of the entry")),
    responses(
        (status = 200, description = "the tlog-proof", body = String, content_type = "text/plain; charset=utf-8"),
        (status = "default", description = "a problem", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn receipt(
    State(app): State<Arc<App>>,
    OpenLog(log): OpenLog,
    path: PathParts,
) -> Result<Response, Problem> {
    let index = LeafIndex(path.number("index")?);
    let newest = app.service.publisher.checkpoint(&log).await?;
    let size: TreeSize = newest.checkpoint.size();
    let proof = prover::inclusion(&*app.service.store, log.id, index, size).await?;
    let receipt = Receipt::new(index, proof, newest.checkpoint.clone().into(), None)
        .map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
    let headers = [(header::CONTENT_TYPE, TEXT), (header::CACHE_CONTROL, FRESH)];
    Ok((headers, receipt.format()).into_response())
}
