//! The HTTP interface: requests become calls on the [`Service`], and their answers get headers.
//!
//! One module a resource. Implements C2SP tlog-tiles and RFC 9457; `/openapi.json` lists the paths. It decides nothing
//! about the log.

use std::sync::Arc;

use axum::http::{HeaderName, Method, Response, header};
use axum::middleware::from_fn;
use axum::routing::get;
use axum::{Router, body::HttpBody};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::{CompressionLayer, Predicate, predicate::SizeAbove};
use tower_http::cors::{Any, CorsLayer, Vary};
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

use crate::service::Service;
use problem::Problem;

mod append;
mod entries;
mod events;
mod health;
mod home;
mod logs;
mod measures;
mod observe;
mod problem;
mod proofs;
mod request;
mod shortcut;
mod tickets;
mod tiles;

pub use problem::Code;
pub use shortcut::Interface;

/// What never changes may be kept for a year.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// What grows with the log may be kept for a second.
const FRESH: &str = "public, max-age=1";

const TEXT: &str = "text/plain; charset=utf-8";

/// The headers of answers that pages may read.
const SHOWN_HEADERS: &str = "location,retry-after,x-request-id";

/// Below this many bytes compression saves nothing.
const MIN_COMPRESSED: u64 = 512;

/// The bytes of bodies that are in memory at the same time; further requests wait.
const BODY_BYTES: usize = 64 * 1024 * 1024;

/// What the handlers share.
struct App {
    service: Arc<Service>,
    metrics: PrometheusHandle,
    bodies: Arc<Semaphore>,
    openapi: String,
}

/// Marks an answer that compression does not shrink: hashes.
#[derive(Clone, Copy)]
struct Incompressible;

#[derive(OpenApi)]
#[openapi(info(
    title = "Attestlog",
    description = "A verifiable audit log. Errors are RFC 9457 problem documents with a stable `code`."
))]
struct Description;

/// The interface of a server; `metrics` renders what it measures.
pub fn app(service: Arc<Service>, metrics: PrometheusHandle) -> Interface {
    let (router, openapi) = OpenApiRouter::with_openapi(Description::openapi())
        .merge(home::router())
        .merge(logs::router())
        .merge(tiles::router())
        .merge(append::router())
        .merge(tickets::router())
        .merge(entries::router())
        .merge(events::router())
        .merge(proofs::router())
        .merge(health::router())
        .split_for_parts();
    let bodies = Arc::new(Semaphore::new(BODY_BYTES));
    let app = App { service: Arc::clone(&service), metrics, bodies, openapi: openapi_text(openapi) };
    let nothing = async || Problem::new(Code::NotFound, "there is nothing here");
    let no_method = async || Problem::new(Code::MethodNotAllowed, "this cannot be done here");
    let router = router
        .fallback(nothing)
        .method_not_allowed_fallback(no_method)
        .with_state(Arc::new(app))
        .layer(from_fn(observe::guard))
        .layer(CompressionLayer::new().no_br().no_deflate().compress_when(WorthCompressing))
        .layer(cors())
        .layer(CatchPanicLayer::custom(observe::answer_panic))
        .layer(from_fn(observe::observe));
    Interface::new(router, Some(service))
}

/// The interface of a server whose store is not open yet: it lives, and serves nothing.
pub fn app_without_store() -> Interface {
    let detail = "the server waits for its database; nothing was stored; try again later";
    let not_yet = async move || Problem::new(Code::DatabaseUnavailable, detail);
    let router = Router::new()
        .route("/healthz", get(health::healthz))
        .fallback(not_yet)
        .method_not_allowed_fallback(not_yet)
        .layer(from_fn(observe::guard))
        .layer(cors())
        .layer(from_fn(observe::observe));
    Interface::new(router, None)
}

/// Reads are for every page. Appends need the token, which a page must have been given.
fn cors() -> CorsLayer {
    let sent = [
        header::ACCEPT,
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        HeaderName::from_static("idempotency-key"),
        HeaderName::from_static("x-request-id"),
    ];
    let shown: Vec<HeaderName> = SHOWN_HEADERS.split(',').map(HeaderName::from_static).collect();
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        .allow_headers(sent)
        .expose_headers(shown)
        // The answer is the same for every origin, so caches need not tell them apart.
        .vary(Vary::list([]))
        .max_age(std::time::Duration::from_secs(3600))
}

/// Answers of some length that are not hashes.
#[derive(Clone, Copy)]
struct WorthCompressing;

impl Predicate for WorthCompressing {
    fn should_compress<B: HttpBody>(&self, response: &Response<B>) -> bool {
        response.extensions().get::<Incompressible>().is_none()
            && SizeAbove::new(MIN_COMPRESSED).should_compress(response)
    }
}

/// The description as it is served. OpenAPI has no parameters with slashes, so `{*path}` is written as `{path}`.
fn openapi_text(mut openapi: utoipa::openapi::OpenApi) -> String {
    let paths = std::mem::take(&mut openapi.paths.paths);
    openapi.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    let components = openapi.components.get_or_insert_default();
    components.add_security_scheme("append token", bearer);
    openapi.to_json().unwrap_or_default()
}
