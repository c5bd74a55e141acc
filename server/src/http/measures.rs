//! Counts requests and their time by method, route and status, with handles that are made once.

use std::collections::HashMap;
use std::sync::{LazyLock, PoisonError, RwLock};
use std::time::Duration;

use axum::http::StatusCode;
use metrics::{Counter, Histogram, counter, histogram};

/// The handles of one method, route and status.
struct Measures {
    method: &'static str,
    status: StatusCode,
    requests: Counter,
    seconds: Histogram,
}

/// By route; the router has few, each answers to few methods, with few statuses.
static MEASURES: LazyLock<RwLock<HashMap<String, Vec<Measures>>>> = LazyLock::new(RwLock::default);

pub(super) fn record(method: &'static str, route: &str, status: StatusCode, took: Duration) {
    let known = MEASURES.read().unwrap_or_else(PoisonError::into_inner);
    let of_route = known.get(route).map_or(&[][..], Vec::as_slice);
    if let Some(measures) =
        of_route.iter().find(|measures| measures.method == method && measures.status == status)
    {
        return measures.record(took);
    }
    drop(known);
    let measures = Measures::new(method, route, status);
    measures.record(took);
    let mut known = MEASURES.write().unwrap_or_else(PoisonError::into_inner);
    // Two may have made it at once; both count in the same place.
    known.entry(route.to_owned()).or_default().push(measures);
}

impl Measures {
    fn new(method: &'static str, route: &str, status: StatusCode) -> Self {
        let labels = [
            ("method", method.to_owned()),
            ("route", route.to_owned()),
            ("status", status.as_u16().to_string()),
        ];
        let requests = counter!("attestlog_http_requests_total", &labels);
        Self { method, status, requests, seconds: histogram!("attestlog_http_request_seconds", &labels) }
    }

    fn record(&self, took: Duration) {
        self.requests.increment(1);
        self.seconds.record(took.as_secs_f64());
    }
}
