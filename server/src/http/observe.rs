//! What is done to every request: an id, a line in the log, a measurement, and an answer even after a panic.

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::Mutex;
use tracing::Instrument;

use super::measures;
use super::problem::{Code, Problem};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How long a read may take; appends have limits of their own.
const READ_PATIENCE: Duration = Duration::from_secs(30);

/// How much of a refused body is still taken, so that the refusal is heard.
const MAX_DRAINED: usize = 32 * 1024 * 1024;

/// How long to wait for the next piece of a refused body.
const DRAIN_PATIENCE: Duration = Duration::from_millis(500);

/// Gives the request an id, or keeps the caller's, and records how it was answered.
pub(super) async fn observe(request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let path = request.uri().path();
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default(), method, path);
    let began = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let (status, took) = (response.status(), began.elapsed());
    span.in_scope(|| log_answer(method, status, took));
    measures::record(method, route.as_ref().map_or("none", MatchedPath::as_str), status, took);
    mark(response.headers_mut(), id);
    response
}

/// What every answer has.
pub(super) fn mark(headers: &mut HeaderMap, id: HeaderValue) {
    headers.insert(REQUEST_ID, id);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// Reads that succeed are most of what a server does, and say the least.
fn log_answer(method: &str, status: StatusCode, took: Duration) {
    let (status_code, milliseconds) = (status.as_u16(), took.as_millis());
    if matches!(method, "GET" | "HEAD") && status.is_success() {
        tracing::debug!(status = status_code, milliseconds, "answered");
    } else {
        tracing::info!(status = status_code, milliseconds, "answered");
    }
}

/// Ends reads that the database does not answer, and hears out what it refuses to write.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    match *request.method() {
        Method::GET | Method::HEAD => limit_read(next.run(request)).await,
        // Whoever asks before sending hears the refusal instead.
        Method::POST if !request.headers().contains_key(header::EXPECT) => drain_refused(request, next).await,
        _ => next.run(request).await,
    }
}

async fn limit_read(answer: impl Future<Output = Response>) -> Response {
    let answer = tokio::time::timeout(READ_PATIENCE, answer).await;
    answer.unwrap_or_else(|_| {
        let detail = "the database did not answer in time; try again later";
        Problem::new(Code::DatabaseUnavailable, detail).into_response()
    })
}

/// Takes what is left of a body that was refused: most clients read no answer before they have sent everything, and
/// report a broken connection instead.
async fn drain_refused(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let body = Arc::new(Mutex::new(body.into_data_stream()));
    let pieces = futures_util::stream::unfold(Arc::clone(&body), async |body| {
        let piece = body.lock().await.next().await?;
        Some((piece, body))
    });
    let response = next.run(Request::from_parts(parts, Body::from_stream(pieces))).await;
    if response.status().is_client_error() || response.status().is_server_error() {
        let (mut body, mut left) = (body.lock().await, MAX_DRAINED);
        while let Ok(Some(Ok(piece))) = tokio::time::timeout(DRAIN_PATIENCE, body.next()).await {
            match left.checked_sub(piece.len()) {
                Some(less) => left = less,
                None => break,
            }
        }
    }
    response
}

/// The answer where the code has a defect.
#[expect(clippy::needless_pass_by_value, reason = "the layer that catches panics passes it so")]
pub(super) fn answer_panic(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text");
    tracing::error!("a request panicked: {text}");
    let detail = "the server failed; its log says why, under this request's id";
    Problem::new(Code::Internal, detail).into_response()
}

/// The caller's id if it is short and printable, or a new one.
pub(super) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let sent = headers
        .get(REQUEST_ID)
        .filter(|sent| (1..=128).contains(&sent.len()) && sent.as_bytes().iter().all(u8::is_ascii_graphic));
    sent.cloned().unwrap_or_else(new_request_id)
}

/// No two are equal: a number that no other process has, and one that counts.
fn new_request_id() -> HeaderValue {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| {
        let mut random = [0; 8];
        // Without randomness the ids of this process are still different.
        let _ = getrandom::fill(&mut random);
        u64::from_be_bytes(random)
    });
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let id = format!("{:016x}{:016x}", *PROCESS, COUNT.fetch_add(1, Ordering::Relaxed));
    HeaderValue::from_maybe_shared(Bytes::from(id)).unwrap_or_else(|_| HeaderValue::from_static("none"))
}

/// A caller may invent methods; a measurement may not have as many labels.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tracing::Level;

    use super::*;

    #[test]
    fn answers_a_panic_with_a_problem_that_does_not_repeat_it() {
        let response = answer_panic(Box::new("index out of bounds"));
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    }

    #[test]
    fn keeps_a_request_id_that_can_be_logged_and_makes_one_otherwise() {
        let id = |sent: &'static str| {
            request_id(&HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_static(sent))]))
        };
        assert_eq!(id("abc-123"), "abc-123");
        for bad in ["", "a b", "\t"] {
            assert_eq!(id(bad).len(), 32, "{bad:?}");
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }

    #[test]
    fn ids_of_requests_are_different_and_of_one_process() {
        let ids: Vec<HeaderValue> = (0..100).map(|_| new_request_id()).collect();
        let all: std::collections::HashSet<&[u8]> = ids.iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(all.len(), 100);
        assert!(ids.iter().all(|id| id.len() == 32 && id.as_bytes()[..16] == ids[0].as_bytes()[..16]));
    }

    #[test]
    fn only_reads_that_succeed_are_left_out_of_the_log() {
        for (method, status, level) in [
            ("GET", 200, Level::DEBUG),
            ("HEAD", 200, Level::DEBUG),
            ("GET", 404, Level::INFO),
            ("GET", 503, Level::INFO),
            ("POST", 202, Level::INFO),
            ("OPTIONS", 200, Level::INFO),
        ] {
            let lines = Lines::default();
            let subscriber =
                tracing_subscriber::fmt().with_max_level(level).with_writer(lines.clone()).finish();
            let status = StatusCode::from_u16(status).unwrap();
            tracing::subscriber::with_default(subscriber, || log_answer(method, status, Duration::ZERO));
            let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
            assert!(
                text.contains(level.as_str()) && text.contains(status.as_str()),
                "{method} {status}: {text}"
            );
        }
    }

    /// What was logged.
    #[derive(Clone, Default)]
    struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }
}
