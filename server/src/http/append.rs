//! The ways in: one entry that waits for its index, and one or many that get tickets.
//!
//! An answer 200 or 202 means durable. The leaf is the bytes as they were sent: a JSON body whole, with the blanks
//! around it; a line of NDJSON without its `\n`, and with everything else, a `\r` too, which JSON counts as a blank.

use std::sync::Arc;

use attestlog_core::{MAX_ENTRY_SIZE, Receipt, TreeSize};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize, Serializer};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{Code, Problem, ProblemBody};
use super::request::{LogPath, MayAppend, OpenLog, Parameters, content_type, read_body};
use super::{App, TEXT};
use crate::event::{event_id, validate_event, validate_json};
use crate::prover;
use crate::store::{Appended, Events, Log, NewEntry, Ticket};
use crate::waiter::Covered;

/// The most bytes of an NDJSON body.
pub(super) const MAX_NDJSON_BYTES: usize = 16 * 1024 * 1024;

/// The most lines of an NDJSON body.
const MAX_LINES: usize = 20_000;

/// The most entries that one request may wait for.
const MAX_RECEIPTS: usize = 1000;

/// The longest Idempotency-Key: what is left for `#` and the number of a line makes 255.
const MAX_KEY: usize = 240;

pub(super) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(add)).routes(routes!(append))
}

/// How an append is answered.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct AppendQuery {
    /// `receipt` waits until a published checkpoint covers the entries, and answers with their receipts.
    #[param(inline)]
    wait: Option<Wait>,
    /// `id` makes the member `id` of each event its idempotency key: a string of 1 to 255 bytes. There is no
    /// Idempotency-Key then, and the same event is the same append in whatever body it comes.
    #[param(inline)]
    key: Option<KeyMember>,
}

#[derive(Clone, Copy, Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Wait {
    Receipt,
}

#[derive(Clone, Copy, Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum KeyMember {
    Id,
}

/// Where the idempotency keys of a body come from.
enum Keys {
    /// The header, if there is one: the key of the one entry, and with `#` and its number that of a line.
    Header(Option<String>),
    /// The member `id` of each event.
    Id,
}

/// What durable entries are answered with.
#[derive(Serialize, utoipa::ToSchema)]
struct Tickets {
    /// A ticket for each entry, in their order: decimal numbers of up to 63 bits, as strings.
    #[schema(value_type = Vec<String>)]
    tickets: Vec<TicketText>,
}

/// A ticket as JSON has it.
struct TicketText(Ticket);

impl Serialize for TicketText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.0)
    }
}

/// What published entries are answered with.
#[derive(Serialize, utoipa::ToSchema)]
struct Receipts {
    /// One for each entry, in their order.
    receipts: Vec<EntryReceipt>,
}

/// The receipt of one entry.
#[derive(Serialize, utoipa::ToSchema)]
struct EntryReceipt {
    /// The entry's index.
    index: u64,
    /// The entry's ticket.
    ticket: String,
    /// The tlog-proof, as text.
    receipt: String,
}

/// Append an entry and wait for its index
///
/// The body is one entry, whatever it is; answers its index in decimal text once a published checkpoint covers it.
#[utoipa::path(
    post, path = "/logs/{log}/add", tag = "append", security(("append token" = [])),
    params(LogPath, ("Idempotency-Key" = Option<String>, Header, description = "makes a retry the same append")),
    request_body(content = [u8], content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "the index", body = String, content_type = "text/plain; charset=utf-8"),
        (status = 504, description = "durable, and no checkpoint covers it yet", body = ProblemBody,
         content_type = "application/problem+json"),
        (status = "default", description = "a problem", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn add(
    State(app): State<Arc<App>>,
    _: MayAppend,
    OpenLog(log): OpenLog,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let keys = Keys::of(None, &headers)?;
    let tickets = {
        let body = read_body(&app, &headers, body, MAX_ENTRY_SIZE, Problem::entry_too_long()).await?;
        let entry = keys.give(None, entry(&log, &body.bytes, false)?)?;
        append_durably(&app, vec![entry], false).await?
    };
    let covered = wait(&app, &log, &tickets).await?;
    let index = covered.first().map(|covered| covered.index.to_string());
    let index = index.ok_or_else(|| Problem::new(Code::Internal, "the entry has no index"))?;
    Ok(([(header::CONTENT_TYPE, TEXT), (header::CACHE_CONTROL, "no-store")], index).into_response())
}

/// Append entries
///
/// `application/json`: one event. `application/x-ndjson`: one event a line, all or none. `application/octet-stream`:
/// one entry, whatever it is. With an Idempotency-Key, a retry of the same body is the same append; line N of an
/// NDJSON body has the key `KEY#N`. With `key=id`, each event's own `id` is its key, so that events may be sent again
/// in other groups than before.
#[utoipa::path(
    post, path = "/logs/{log}/entries", tag = "append", security(("append token" = [])),
    params(LogPath, AppendQuery,
           ("Idempotency-Key" = Option<String>, Header, description = "makes a retry the same append")),
    request_body(content(
        (serde_json::Value = "application/json"), (String = "application/x-ndjson"), ([u8] = "application/octet-stream"),
    )),
    responses(
        (status = 200, description = "published, with wait=receipt", body = Receipts),
        (status = 202, description = "durable", body = Tickets),
        (status = 504, description = "durable, and no checkpoint covers it yet", body = ProblemBody,
         content_type = "application/problem+json"),
        (status = "default", description = "a problem", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn append(
    State(app): State<Arc<App>>,
    _: MayAppend,
    OpenLog(log): OpenLog,
    Parameters(query): Parameters<AppendQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let tickets = {
        let (entries, lines, _room) = read_entries(&app, &log, query.key, &headers, body).await?;
        if query.wait.is_some() && entries.len() > MAX_RECEIPTS {
            let detail = format!("wait=receipt takes at most {MAX_RECEIPTS} entries a request");
            return Err(Problem::new(Code::TooManyEntries, detail));
        }
        append_durably(&app, entries, lines).await?
    };
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    match query.wait {
        None => {
            let tickets = Tickets { tickets: tickets.into_iter().map(TicketText).collect() };
            Ok((StatusCode::ACCEPTED, no_store, Json(tickets)).into_response())
        }
        Some(Wait::Receipt) => {
            let covered = wait(&app, &log, &tickets).await?;
            let receipts = receipts(&app, &log, &tickets, &covered).await;
            let receipts = receipts.map_err(|problem| problem.with_tickets(&tickets))?;
            Ok((no_store, Json(Receipts { receipts })).into_response())
        }
    }
}

/// The entries of a body, whether they are lines, and their part of the memory that bodies share.
async fn read_entries(
    app: &App,
    log: &Log,
    key: Option<KeyMember>,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Vec<NewEntry>, bool, impl Sized + use<>), Problem> {
    let keys = Keys::of(key, headers)?;
    let kind = content_type(headers);
    if kind == "application/x-ndjson" {
        let detail = format!("an NDJSON body has at most {MAX_NDJSON_BYTES} bytes");
        let too_large = Problem::new(Code::BodyTooLarge, detail);
        let body = read_body(app, headers, body, MAX_NDJSON_BYTES, too_large).await?;
        return Ok((ndjson_entries(log, &body.bytes, &keys)?, true, body));
    }
    if !matches!(&*kind, "application/json" | "application/octet-stream") {
        let detail = "the Content-Type is application/json, application/x-ndjson or application/octet-stream";
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    let body = read_body(app, headers, body, MAX_ENTRY_SIZE, Problem::entry_too_long()).await?;
    let json = kind == "application/json";
    let entry = entry(log, &body.bytes, json).and_then(|entry| keys.give(None, entry))?;
    Ok((vec![entry], false, body))
}

/// The lines of a body; the last may end in a newline or not. A bad one is named, and nothing is appended.
fn ndjson_entries(log: &Log, body: &[u8], keys: &Keys) -> Result<Vec<NewEntry>, Problem> {
    let lines = body.strip_suffix(b"\n").unwrap_or(body);
    let mut entries = Vec::new();
    for (number, line) in (1..).zip(lines.split(|&byte| byte == b'\n')) {
        if number > MAX_LINES {
            let detail = format!("an NDJSON body has at most {MAX_LINES} lines");
            return Err(Problem::new(Code::TooManyEntries, detail));
        }
        let entry = entry(log, line, true).and_then(|entry| keys.give(Some(number), entry));
        // Whatever is wrong with a line is wrong with the body: 400, also for a line that is too long.
        entries.push(entry.map_err(|problem| problem.with_status(StatusCode::BAD_REQUEST).at_line(number))?);
    }
    Ok(entries)
}

/// An entry of these bytes, if the log takes it.
fn entry(log: &Log, data: &[u8], json: bool) -> Result<NewEntry, Problem> {
    if data.is_empty() {
        return Err(Problem::new(Code::EntrySize, "an entry has 1 to 65535 bytes, and this one has none"));
    }
    if data.len() > MAX_ENTRY_SIZE {
        return Err(Problem::entry_too_long());
    }
    match log.events {
        Events::Strict => validate_event(data)?,
        Events::Any if json => validate_json(data)?,
        Events::Any => {}
    }
    Ok(NewEntry { log: log.id, data: data.to_vec(), idempotency_key: None })
}

impl Keys {
    fn of(member: Option<KeyMember>, headers: &HeaderMap) -> Result<Self, Problem> {
        match (member, idempotency_key(headers)?) {
            (None, key) => Ok(Self::Header(key)),
            (Some(KeyMember::Id), None) => Ok(Self::Id),
            (Some(KeyMember::Id), Some(_)) => {
                let detail = "an Idempotency-Key and key=id contradict each other: send one of them";
                Err(Problem::new(Code::InvalidParameter, detail))
            }
        }
    }

    /// The entry with its key; `line` is its number in a body of lines.
    fn give(&self, line: Option<usize>, mut entry: NewEntry) -> Result<NewEntry, Problem> {
        entry.idempotency_key = match (self, line) {
            (Self::Header(Some(key)), Some(line)) => Some(format!("{key}#{line}")),
            (Self::Header(key), _) => key.clone(),
            (Self::Id, _) => Some(event_id(&entry.data)?),
        };
        Ok(entry)
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=MAX_KEY).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => {
            let detail = format!("an Idempotency-Key has 1 to {MAX_KEY} characters of ASCII");
            Err(Problem::new(Code::InvalidParameter, detail))
        }
    }
}

async fn append_durably(app: &App, entries: Vec<NewEntry>, lines: bool) -> Result<Vec<Ticket>, Problem> {
    let appended = app.service.appender.append(entries).await?;
    let reused = |number: usize| {
        let problem = Problem::new(Code::KeyReused, "this Idempotency-Key belongs to another entry");
        if lines { problem.at_line(number) } else { problem }
    };
    let ticket = |(number, appended)| match appended {
        Appended::Ticket(ticket) => Ok(ticket),
        Appended::KeyReused => Err(reused(number)),
    };
    (1..).zip(appended).map(ticket).collect()
}

/// Waits until published checkpoints cover the entries, which are durable whatever happens here.
async fn wait(app: &App, log: &Arc<Log>, tickets: &[Ticket]) -> Result<Vec<Covered>, Problem> {
    let waiter = &app.service.waiter;
    let all = join_all(tickets.iter().map(|&ticket| waiter.covered(log, ticket)));
    let Ok(covered) = tokio::time::timeout(app.service.wait, all).await else {
        let detail = "durable, but no published checkpoint covers it yet; ask for its ticket later";
        return Err(Problem::new(Code::NotCoveredYet, detail).with_tickets(tickets));
    };
    covered.into_iter().collect::<Option<_>>().ok_or_else(|| {
        let detail = "durable, but the server is shutting down before a checkpoint covers it";
        Problem::new(Code::ShuttingDown, detail).with_tickets(tickets)
    })
}

/// The receipts, all against the newest of the checkpoints.
async fn receipts(
    app: &App,
    log: &Log,
    tickets: &[Ticket],
    covered: &[Covered],
) -> Result<Vec<EntryReceipt>, Problem> {
    let checkpoints = covered.iter().map(|covered| &covered.checkpoint.checkpoint);
    let Some(newest) = checkpoints.max_by_key(|checkpoint| checkpoint.size()) else { return Ok(Vec::new()) };
    let indexes: Vec<_> = covered.iter().map(|covered| covered.index).collect();
    let size: TreeSize = newest.size();
    let proofs = prover::inclusions(&*app.service.store, log.id, &indexes, size).await?;
    let mut receipts = Vec::with_capacity(tickets.len());
    for ((&index, proof), ticket) in indexes.iter().zip(proofs).zip(tickets) {
        let receipt = Receipt::new(index, proof, newest.clone().into(), None)
            .map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
        receipts.push(EntryReceipt {
            index: index.0,
            ticket: ticket.0.to_string(),
            receipt: receipt.format(),
        });
    }
    Ok(receipts)
}
