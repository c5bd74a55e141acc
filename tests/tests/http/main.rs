//! The HTTP interface, asked by clients that know only its documentation.

#![expect(clippy::unwrap_used, reason = "what cannot be unwrapped fails the test")]

mod append;
mod errors;
mod events;
mod memory;
mod operation;
mod outage;
mod reads;
mod tiles;

use attestlog_tests::deadline::until;
use attestlog_tests::server::TestServer;
use reqwest::Response;
use serde_json::Value;

/// The header's text; empty if there is none.
fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// The first answer to a GET of the checkpoint that is none: until then the last one is shown for being recent.
async fn no_checkpoint(server: &TestServer) -> Response {
    let refused = async || {
        let answer = server.get("/logs/default/checkpoint").await;
        (answer.status() != 200).then_some(answer)
    };
    until("no checkpoint is shown", refused).await
}

/// Checks that the answer is a problem document with this status and code, and returns it.
async fn problem(answer: Response, status: u16, code: &str) -> Value {
    assert_eq!(header(&answer, "content-type"), "application/problem+json", "{code}");
    assert_eq!(header(&answer, "cache-control"), "no-store", "{code}");
    assert!(!header(&answer, "x-request-id").is_empty(), "{code}");
    assert_eq!(status == 503, !header(&answer, "retry-after").is_empty(), "{code}");
    assert_eq!(answer.status(), status, "{code}");
    let body: Value = answer.json().await.unwrap();
    assert_eq!((&body["code"], &body["status"]), (&code.into(), &status.into()));
    assert_eq!(body["type"], "about:blank");
    assert!(body["title"].is_string() && !body["detail"].as_str().unwrap().is_empty(), "{code}");
    body
}
