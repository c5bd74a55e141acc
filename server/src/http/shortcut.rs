//! The way round the router for what is in memory: recent checkpoints, and full tiles and bundles that were asked for
//! before.
//!
//! The answer is that of the router, header for header, at a fraction of its cost.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use attestlog_core::TilePath;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use axum::routing::future::RouteFuture;
use futures_util::future::Either;
use tower_service::Service as TowerService;

use super::{MIN_COMPRESSED, SHOWN_HEADERS, measures, observe, tiles};
use crate::service::Service;

/// The router's names of what is answered here.
const CHECKPOINT: &str = "/logs/{log}/checkpoint";
const TILE: &str = "/logs/{log}/tile/{*path}";

/// The HTTP interface of a server.
#[derive(Clone, Debug)]
pub struct Interface {
    router: Router,
    service: Option<Arc<Service>>,
}

impl Interface {
    pub(super) const fn new(router: Router, service: Option<Arc<Service>>) -> Self {
        Self { router, service }
    }

    fn at_hand<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let began = Instant::now();
        let path =
            request.uri().path().strip_prefix("/logs/").filter(|_| *request.method() == Method::GET)?;
        let ((log, path), service) = (path.split_once('/')?, self.service.as_ref()?);
        let (route, mut response) = match path {
            "checkpoint" => (CHECKPOINT, recent_checkpoint(service, log, began)?),
            _ => (TILE, tile(service, log, path, request.headers())?),
        };
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(SHOWN_HEADERS));
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        observe::mark(headers, observe::request_id(request.headers()));
        measures::record("GET", route, StatusCode::OK, began.elapsed());
        tracing::debug!(path = request.uri().path(), status = 200, "answered from memory");
        Some(response)
    }
}

fn recent_checkpoint(service: &Service, log: &str, now: Instant) -> Option<Response<Body>> {
    let recent = service.publisher.recent_at_hand(service.known_log(log)?.id, now)?;
    // A longer one may be compressed.
    let is_short = (recent.note.len() as u64) < MIN_COMPRESSED;
    is_short.then(|| tiles::respond_checkpoint(&recent))
}

fn tile(service: &Service, log: &str, path: &str, headers: &HeaderMap) -> Option<Response<Body>> {
    let path = path.starts_with("tile/").then(|| TilePath::parse(path).ok())??;
    let coding = tiles::coding(path, headers)?;
    let bytes = service.tiles.at_hand(service.known_log(log)?.id, path, coding)?;
    Some(tiles::respond(path, bytes, coding))
}

impl<B> TowerService<Request<B>> for Interface
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Ready<Result<Self::Response, Infallible>>, RouteFuture<Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        TowerService::<Request<B>>::poll_ready(&mut self.router, context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.at_hand(&request) {
            Some(response) => Either::Left(ready(Ok(response))),
            None => Either::Right(self.router.call(request)),
        }
    }
}
