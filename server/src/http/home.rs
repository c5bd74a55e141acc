//! The page at `/`: the logs with their keys and heads, and where everything is. Plain HTML, without scripts.

use std::fmt::Write;
use std::sync::Arc;

use attestlog_core::base64;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use sha2::{Digest, Sha256};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{Problem, ProblemBody};
use super::{App, FRESH};
use crate::publisher::PublishedCheckpoint;
use crate::store::Log;

const STYLE: &str = include_str!("home.css");

/// The logs that the page shows; `/logs` has all of them.
const SHOWN: usize = 100;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(home))
}

/// The logs, for people
#[utoipa::path(
    get, path = "/", tag = "logs",
    responses(
        (status = 200, description = "a page", body = String, content_type = "text/html; charset=utf-8"),
        (status = "default", description = "a problem", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn home(State(app): State<Arc<App>>) -> Result<impl IntoResponse, Problem> {
    let logs = app.service.store.logs().await?;
    let mut sections = String::new();
    for (log, _) in logs.iter().take(SHOWN) {
        let head = app.service.publisher.checkpoint(log).await;
        let head = head.inspect_err(|error| tracing::error!("{error}")).ok();
        section(&mut sections, log, head.as_deref());
    }
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CACHE_CONTROL, FRESH.to_owned()),
        (header::CONTENT_SECURITY_POLICY, content_security_policy()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
    ];
    Ok((headers, page(logs.len(), &sections)))
}

/// Nothing is loaded and nothing runs; the one style is named by its hash.
fn content_security_policy() -> String {
    let style = base64::format(&Sha256::digest(STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

fn page(logs: usize, sections: &str) -> String {
    let more = match logs.saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("<p>And {more} more: <a href=\"/logs\">all logs as JSON</a>.</p>\n"),
    };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Attestlog</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<h1>Attestlog</h1>\n\
         <p>A verifiable audit log. Each log below is a Merkle tree under a signed head: with its key you can check \
         that an entry is in it, that the entry is unchanged, and that the log was never rewritten. Do not take the \
         key from this page: ask whoever runs the log for it.</p>\n</header>\n\
         <main>\n<h2>Logs</h2>\n{sections}{more}\
         <h2>How to read a log</h2>\n<ul>\n\
         <li><a href=\"/openapi.json\">/openapi.json</a> describes every path.</li>\n\
         <li>A <b>receipt</b> is at <code>/logs/LOG/entries/INDEX/receipt</code>: a tlog-proof, which proves one entry \
         offline, with <code>attestlog verify</code>.</li>\n\
         <li>The <b>feed</b> at <code>/logs/LOG/entries?from=INDEX</code> has all entries in order; the bytes of one \
         are at <code>/logs/LOG/entries/INDEX</code>.</li>\n\
         <li><code>/logs/LOG</code> is a prefix of <a href=\"https://c2sp.org/tlog-tiles\">tlog-tiles</a>: any client, \
         witness or mirror reads it.</li>\n</ul>\n</main>\n</body>\n</html>\n"
    )
}

fn section(page: &mut String, log: &Log, head: Option<&PublishedCheckpoint>) {
    let (name, origin, vkey) = (escape(&log.name), escape(&log.origin), escape(&log.vkey));
    let (size, root, newest) = head.map_or_else(
        || ("not shown: see the server's log".to_owned(), "–".to_owned(), String::new()),
        |head| {
            let size = head.checkpoint.size();
            let last = size.0.checked_sub(1);
            let newest = last.map(|last| {
                format!(
                    " · <a href=\"/logs/{name}/entries/{last}\">newest entry</a> · \
                     <a href=\"/logs/{name}/entries/{last}/receipt\">its receipt</a>"
                )
            });
            (size.to_string(), head.checkpoint.root().to_string(), newest.unwrap_or_default())
        },
    );
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "<section aria-labelledby=\"log-{name}\">\n<h3 id=\"log-{name}\">{name}</h3>\n<dl>\n\
         <dt>Origin</dt><dd><code>{origin}</code></dd>\n<dt>Key</dt><dd><code>{vkey}</code></dd>\n\
         <dt>Entries</dt><dd>{size}</dd>\n<dt>Root</dt><dd><code>{root}</code></dd>\n</dl>\n\
         <p><a href=\"/logs/{name}/checkpoint\">checkpoint</a> · \
         <a href=\"/logs/{name}/entries?from=0\">feed</a>{newest}</p>\n</section>\n"
    );
}

/// The text for HTML, in elements and in quoted attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_html_would_read() {
        assert_eq!(escape("<a href=\"x\">'&"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
    }
}
