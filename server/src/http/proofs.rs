//! Proofs as JSON, for people who do not want tiles.

use std::sync::Arc;

use attestlog_core::{Hash, LeafIndex, TreeSize};
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{Code, Problem, ProblemBody};
use super::request::{LogPath, Number, OpenLog, Parameters};
use super::{App, FRESH, IMMUTABLE};
use crate::prover;
use crate::store::Log;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(inclusion)).routes(routes!(consistency))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct InclusionQuery {
    /// The index of the entry.
    #[param(value_type = u64)]
    index: Number,
    /// The size of the tree; the published one's if it is not given.
    #[param(value_type = Option<u64>)]
    size: Option<Number>,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct ConsistencyQuery {
    /// The size of the older tree.
    #[param(value_type = u64)]
    old: Number,
    /// The size of the newer tree; the published one's if it is not given.
    #[param(value_type = Option<u64>)]
    new: Option<Number>,
}

/// That an entry is in a tree.
#[derive(Serialize, utoipa::ToSchema)]
struct Inclusion {
    /// The index of the entry.
    index: u64,
    /// The size of the tree.
    size: u64,
    /// The hashes in base64, from the leaf to the root.
    proof: Vec<String>,
}

/// That a tree extends another.
#[derive(Serialize, utoipa::ToSchema)]
struct Consistency {
    /// The size of the older tree.
    old: u64,
    /// The size of the newer tree.
    new: u64,
    /// The hashes in base64, as in RFC 6962 §2.1.2.
    proof: Vec<String>,
}

/// The proof that an entry is in a tree
#[utoipa::path(
    get, path = "/logs/{log}/proof/inclusion", tag = "proofs", params(LogPath, InclusionQuery),
    responses(
        (status = 200, description = "the proof", body = Inclusion),
        (status = "default", description = "a problem", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn inclusion(
    State(app): State<Arc<App>>,
    OpenLog(log): OpenLog,
    Parameters(query): Parameters<InclusionQuery>,
) -> Result<impl IntoResponse, Problem> {
    let (size, caching) = published_size(&app, &log, query.size).await?;
    let proof = prover::inclusion(&*app.service.store, log.id, LeafIndex(query.index.0), size).await?;
    let body = Inclusion { index: query.index.0, size: size.0, proof: base64_of(proof.hashes()) };
    Ok(([(header::CACHE_CONTROL, caching)], Json(body)))
}

/// The proof that a tree extends an older one
#[utoipa::path(
    get, path = "/logs/{log}/proof/consistency", tag = "proofs", params(LogPath, ConsistencyQuery),
    responses(
        (status = 200, description = "the proof", body = Consistency),
        (status = "default", description = "a problem", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn consistency(
    State(app): State<Arc<App>>,
    OpenLog(log): OpenLog,
    Parameters(query): Parameters<ConsistencyQuery>,
) -> Result<impl IntoResponse, Problem> {
    let (new, caching) = published_size(&app, &log, query.new).await?;
    let old = TreeSize(query.old.0);
    let in_order = old <= new;
    if !in_order {
        return Err(Problem::new(Code::InvalidParameter, "old is larger than new"));
    }
    let proof = prover::consistency(&*app.service.store, log.id, old, new).await?;
    let body = Consistency { old: old.0, new: new.0, proof: base64_of(proof.hashes()) };
    Ok(([(header::CACHE_CONTROL, caching)], Json(body)))
}

/// The size that is asked for, if it lies within the published tree, and how long the answer may be kept.
async fn published_size(
    app: &App,
    log: &Log,
    asked: Option<Number>,
) -> Result<(TreeSize, &'static str), Problem> {
    let Some(Number(asked)) = asked else {
        return Ok((app.service.publisher.checkpoint(log).await?.checkpoint.size(), FRESH));
    };
    let published = app.service.publisher.checkpoint_where(log, |size| size.0 >= asked).await?;
    let size = published.checkpoint.size();
    if size.0 < asked {
        return Err(Problem::new(Code::SizeBeyondTree, format!("the published tree has the size {size}")));
    }
    Ok((TreeSize(asked), IMMUTABLE))
}

fn base64_of(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(ToString::to_string).collect()
}
