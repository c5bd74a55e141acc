//! The way round the router for what is in memory: full tiles and bundles that were asked for before.
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
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use axum::routing::future::RouteFuture;
use futures_util::future::Either;
use tower_service::Service as TowerService;

use super::{SHOWN_HEADERS, measures, observe, tiles};
use crate::service::Service;

/// The router's name of what is answered here.
const ROUTE: &str = "/logs/{log}/tile/{*path}";

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
        let (log, path) = path.split_once('/').filter(|(_, path)| path.starts_with("tile/"))?;
        let service = self.service.as_ref()?;
        let path = TilePath::parse(path).ok()?;
        let coding = tiles::coding(path, request.headers())?;
        let bytes = service.tiles.at_hand(service.known_log(log)?.id, path, coding)?;
        let mut response = tiles::respond(path, bytes, coding);
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(SHOWN_HEADERS));
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        observe::mark(headers, observe::request_id(request.headers()));
        measures::record("GET", ROUTE, StatusCode::OK, began.elapsed());
        tracing::debug!(path = request.uri().path(), status = 200, "answered from memory");
        Some(response)
    }
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
