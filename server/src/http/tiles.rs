//! A log as static files: the checkpoint, tiles and entry bundles.
//!
//! Implements C2SP tlog-tiles. What is served lies within the published tree; nothing is pruned.

use std::sync::Arc;
use std::time::Instant;

use attestlog_core::{TILE_WIDTH, TileId, TilePath};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{Code, Problem, ProblemBody};
use super::request::{LogPath, OpenLog, PathParts};
use super::{App, FRESH, IMMUTABLE, Incompressible, TEXT};
use crate::publisher::PublishedCheckpoint;
use crate::store::StoreError;
use crate::tile_cache::{self, Coding};

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(checkpoint)).routes(routes!(tile))
}

/// The newest checkpoint
///
/// A signed note of C2SP tlog-checkpoint.
#[utoipa::path(
    get, path = "/logs/{log}/checkpoint", tag = "tiles", params(LogPath),
    responses(
        (status = 200, description = "the signed note", body = String, content_type = "text/plain; charset=utf-8"),
        (status = "default", description = "a problem", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn checkpoint(State(app): State<Arc<App>>, OpenLog(log): OpenLog) -> Result<Response, Problem> {
    let newest = app.service.publisher.recent_checkpoint(&log, Instant::now()).await?;
    Ok(respond_checkpoint(&newest))
}

/// The answer with a checkpoint.
pub(super) fn respond_checkpoint(newest: &PublishedCheckpoint) -> Response {
    ([(header::CONTENT_TYPE, TEXT), (header::CACHE_CONTROL, FRESH)], newest.note.clone()).into_response()
}

/// A tile, or an entry bundle
///
/// `{L}/{N}[.p/{W}]` and `entries/{N}[.p/{W}]` of C2SP tlog-tiles, such as `0/x001/234` and `entries/000.p/7`.
#[utoipa::path(
    get, path = "/logs/{log}/tile/{*path}", tag = "tiles",
    params(LogPath, ("path" = String, Path, description = "the path below tile/; it contains slashes")),
    responses(
        (status = 200, description = "the hashes, or the entries with their lengths", body = [u8],
         content_type = "application/octet-stream"),
        (status = "default", description = "a problem", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn tile(
    State(app): State<Arc<App>>,
    OpenLog(log): OpenLog,
    path: PathParts,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let path = TilePath::parse(&format!("tile/{}", path.get("path")?))
        .map_err(|error| Problem::new(Code::MalformedTilePath, error.to_string()))?;
    let (tile, width) = match path {
        TilePath::Hashes { tile, width } => (tile, width),
        TilePath::Entries { index, width } => (TileId { level: 0, index }, width),
    };
    let covers = |size| tile.width(size) >= width;
    let published = app.service.publisher.checkpoint_where(&log, covers).await?;
    if !covers(published.checkpoint.size()) {
        return Err(no_such_tile());
    }
    let coding = coding(path, &headers).unwrap_or(Coding::Identity);
    let (bytes, coding) = if width == TILE_WIDTH {
        (app.service.tiles.get(&*app.service.store, log.id, path, coding).await?, coding)
    } else {
        (tile_cache::read(&*app.service.store, log.id, path).await?.map(Bytes::from), Coding::Identity)
    };
    let missing = || StoreError::Damaged(format!("{path} of log \"{}\" is missing", log.name));
    let bytes = bytes.ok_or_else(missing)?;
    Ok(respond(path, bytes, coding))
}

/// The answer with what a path names.
pub(super) fn respond(path: TilePath, bytes: Bytes, coding: Coding) -> Response {
    let mut response = Response::new(Body::from(bytes));
    if matches!(path, TilePath::Hashes { .. }) {
        response.extensions_mut().insert(Incompressible);
    }
    let headers = response.headers_mut();
    headers.reserve(9);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(IMMUTABLE));
    if matches!(path, TilePath::Entries { .. }) {
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    let coding = match coding {
        Coding::Identity => return response,
        Coding::Gzip => "gzip",
        Coding::Zstd => "zstd",
    };
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
    response
}

/// The coding of the answer: for bundles the one that is asked for; `None` if that is asked for with weights, which the
/// layer weighs that compresses what is not at hand.
pub(super) fn coding(path: TilePath, headers: &HeaderMap) -> Option<Coding> {
    let mut asked = Coding::Identity;
    if matches!(path, TilePath::Hashes { .. }) {
        return Some(asked);
    }
    for value in headers.get_all(header::ACCEPT_ENCODING) {
        for name in value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if name.contains(&b';') || name == b"*" {
                return None;
            } else if name.eq_ignore_ascii_case(b"zstd") {
                asked = Coding::Zstd;
            } else if asked == Coding::Identity && name.eq_ignore_ascii_case(b"gzip") {
                asked = Coding::Gzip;
            }
        }
    }
    Some(asked)
}

fn no_such_tile() -> Problem {
    let detail = format!("the published tree has not that many of the {TILE_WIDTH} there");
    Problem::new(Code::NoSuchTile, detail)
}
