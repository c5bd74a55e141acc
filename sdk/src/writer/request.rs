//! One request with some entries, and what its answer means for them.

use std::time::Duration;

use serde::Deserialize;

use super::error::Refusal;
use super::source::Item;
use crate::backoff;
use crate::http::{Problem, Remote};
use crate::ticket::Ticket;

/// The most bytes of an answer: the tickets of a batch.
const MAX_ANSWER: usize = 4 << 20;

/// The codes that say that an event, as it is, never gets into the log. Any other answer may change.
const FOR_GOOD: [&str; 5] = ["entry_size", "invalid_event", "key_reused", "malformed_json", "missing_id"];

/// What became of the entries.
pub(super) enum Outcome {
    /// They are durable; their tickets as the server wrote them, in order.
    Acknowledged(Vec<Ticket>),
    /// One of them is refused for good, this one if its place is known; nothing is known of the others.
    Refused(Option<usize>, Refusal),
    /// They are too many or too long for one request.
    TooLarge(Refusal),
    /// The server takes none from this writer.
    Denied(Refusal),
    /// It may work later, after this time at the earliest. They may be durable or not.
    Later(Option<Duration>, String),
}

#[derive(Deserialize)]
struct Tickets {
    tickets: Vec<Ticket>,
}

/// Sends the entries, in their order.
pub(super) async fn send(remote: &Remote, items: &[Item]) -> Outcome {
    let mut url = remote.url("entries");
    url.query_pairs_mut().append_pair("key", "id");
    let length = items.iter().map(|item| item.entry.len() + 1).sum();
    let mut body = Vec::with_capacity(length);
    for item in items {
        body.extend_from_slice(&item.entry);
        body.push(b'\n');
    }
    let request = remote.post(url).header("content-type", "application/x-ndjson").body(body);
    let answer = match remote.answer(request, MAX_ANSWER).await {
        Ok(answer) => answer,
        Err(broken) => return Outcome::Later(None, broken.to_string()),
    };
    if answer.status == 202 {
        return match serde_json::from_slice::<Tickets>(&answer.body) {
            Ok(Tickets { tickets }) if tickets.len() == items.len() => Outcome::Acknowledged(tickets),
            _ => Outcome::Later(None, "status 202 without the tickets".to_owned()),
        };
    }
    refused(answer.status, Problem::parse(&answer.body), items.len(), backoff::retry_after(&answer.headers))
}

fn refused(status: u16, problem: Problem, entries: usize, retry_after: Option<Duration>) -> Outcome {
    let Problem { code, detail, line } = problem;
    let for_good = FOR_GOOD.contains(&&*code);
    let refusal = Refusal { status, code, detail };
    let place = line.and_then(|line| line.checked_sub(1)).filter(|&place| place < entries);
    match status {
        408 | 425 | 429 | 500..=599 => Outcome::Later(retry_after, refusal.to_string()),
        400 | 413 | 422 if for_good => Outcome::Refused(place.or((entries == 1).then_some(0)), refusal),
        413 => Outcome::TooLarge(refusal),
        _ => Outcome::Denied(refusal),
    }
}
