//! What a request is answered with when it cannot be done: RFC 9457 problem documents with a stable code.
//!
//! `docs/format.md` lists the codes. What the database says is logged, under the request's id, and never sent.

use attestlog_core::VerifyError;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::appender::AppendError;
use crate::event::EventError;
use crate::keyring::KeyringError;
use crate::prover::ProveError;
use crate::publisher::PublishError;
use crate::store::{StoreError, Ticket};
use crate::tile_cache::TileError;

/// Why a request is refused, or cannot be answered now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "`row` and docs/format.md explain each")]
#[non_exhaustive]
pub enum Code {
    BodyTooLarge,
    DatabaseUnavailable,
    EntrySize,
    ForeignOrigin,
    HistoryRefused,
    IndexBeyondTree,
    Internal,
    InvalidCursor,
    InvalidEvent,
    InvalidLog,
    InvalidParameter,
    KeyReused,
    LogExists,
    MalformedJson,
    MalformedTilePath,
    MethodNotAllowed,
    MissingId,
    NoSuchTile,
    NotCoveredYet,
    NotFound,
    Overloaded,
    QueryTooBroad,
    RequestTimeout,
    SearchOff,
    ShuttingDown,
    SizeBeyondTree,
    StorageFull,
    TooManyEntries,
    Unauthorized,
    UnknownLog,
    UnknownTicket,
    UnsupportedMediaType,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 32] = [
        Self::BodyTooLarge,
        Self::DatabaseUnavailable,
        Self::EntrySize,
        Self::ForeignOrigin,
        Self::HistoryRefused,
        Self::IndexBeyondTree,
        Self::Internal,
        Self::InvalidCursor,
        Self::InvalidEvent,
        Self::InvalidLog,
        Self::InvalidParameter,
        Self::KeyReused,
        Self::LogExists,
        Self::MalformedJson,
        Self::MalformedTilePath,
        Self::MethodNotAllowed,
        Self::MissingId,
        Self::NoSuchTile,
        Self::NotCoveredYet,
        Self::NotFound,
        Self::Overloaded,
        Self::QueryTooBroad,
        Self::RequestTimeout,
        Self::SearchOff,
        Self::ShuttingDown,
        Self::SizeBeyondTree,
        Self::StorageFull,
        Self::TooManyEntries,
        Self::Unauthorized,
        Self::UnknownLog,
        Self::UnknownTicket,
        Self::UnsupportedMediaType,
    ];

    /// The stable code: lowercase words joined by underscores.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The status that goes with it.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.row().1
    }

    const fn row(self) -> (&'static str, StatusCode) {
        match self {
            Self::BodyTooLarge => ("body_too_large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::DatabaseUnavailable => ("database_unavailable", StatusCode::SERVICE_UNAVAILABLE),
            Self::EntrySize => ("entry_size", StatusCode::BAD_REQUEST),
            Self::ForeignOrigin => ("foreign_origin", StatusCode::FORBIDDEN),
            Self::HistoryRefused => ("history_refused", StatusCode::INTERNAL_SERVER_ERROR),
            Self::IndexBeyondTree => ("index_beyond_tree", StatusCode::NOT_FOUND),
            Self::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR),
            Self::InvalidCursor => ("invalid_cursor", StatusCode::BAD_REQUEST),
            Self::InvalidEvent => ("invalid_event", StatusCode::BAD_REQUEST),
            Self::InvalidLog => ("invalid_log", StatusCode::BAD_REQUEST),
            Self::InvalidParameter => ("invalid_parameter", StatusCode::BAD_REQUEST),
            Self::KeyReused => ("key_reused", StatusCode::UNPROCESSABLE_ENTITY),
            Self::LogExists => ("log_exists", StatusCode::CONFLICT),
            Self::MalformedJson => ("malformed_json", StatusCode::BAD_REQUEST),
            Self::MalformedTilePath => ("malformed_tile_path", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed => ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED),
            Self::MissingId => ("missing_id", StatusCode::BAD_REQUEST),
            Self::NoSuchTile => ("no_such_tile", StatusCode::NOT_FOUND),
            Self::NotCoveredYet => ("not_covered_yet", StatusCode::GATEWAY_TIMEOUT),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND),
            Self::Overloaded => ("overloaded", StatusCode::SERVICE_UNAVAILABLE),
            Self::QueryTooBroad => ("query_too_broad", StatusCode::BAD_REQUEST),
            Self::RequestTimeout => ("request_timeout", StatusCode::REQUEST_TIMEOUT),
            Self::SearchOff => ("search_off", StatusCode::NOT_IMPLEMENTED),
            Self::ShuttingDown => ("shutting_down", StatusCode::SERVICE_UNAVAILABLE),
            Self::SizeBeyondTree => ("size_beyond_tree", StatusCode::NOT_FOUND),
            Self::StorageFull => ("storage_full", StatusCode::SERVICE_UNAVAILABLE),
            Self::TooManyEntries => ("too_many_entries", StatusCode::PAYLOAD_TOO_LARGE),
            Self::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED),
            Self::UnknownLog => ("unknown_log", StatusCode::NOT_FOUND),
            Self::UnknownTicket => ("unknown_ticket", StatusCode::NOT_FOUND),
            Self::UnsupportedMediaType => ("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        }
    }

    /// The seconds after which the same request may succeed.
    const fn retry_after(self) -> Option<u16> {
        match self {
            Self::DatabaseUnavailable | Self::Overloaded | Self::ShuttingDown => Some(2),
            Self::StorageFull => Some(30),
            _ => None,
        }
    }
}

/// A problem document.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    code: Code,
    status: StatusCode,
    detail: String,
    line: Option<usize>,
    tickets: Vec<Ticket>,
}

/// Its JSON.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody {
    /// Always `about:blank`: the code says which problem it is.
    r#type: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status.
    status: u16,
    /// What is wrong with this request, for people.
    detail: String,
    /// Which problem it is, for programs; `docs/format.md` lists the codes.
    code: &'static str,
    /// The 1-based line of an NDJSON body that is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// The tickets of what was appended nevertheless.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tickets: Vec<String>,
}

impl Problem {
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, status: code.status(), detail: detail.into(), line: None, tickets: Vec::new() }
    }

    /// An entry of more than 65,535 bytes.
    pub(super) fn entry_too_long() -> Self {
        let detail = "an entry has 1 to 65535 bytes, and this one has more";
        Self { status: StatusCode::PAYLOAD_TOO_LARGE, ..Self::new(Code::EntrySize, detail) }
    }

    /// The same about a line of the body.
    pub(super) fn at_line(mut self, line: usize) -> Self {
        self.detail = format!("line {line}: {}", self.detail);
        self.line = Some(line);
        self
    }

    /// The same with another status.
    pub(super) const fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The same with what was appended.
    pub(super) fn with_tickets(mut self, tickets: &[Ticket]) -> Self {
        self.tickets = tickets.to_vec();
        self
    }

    fn database_unavailable() -> Self {
        Self::new(Code::DatabaseUnavailable, "the database does not answer; try again later")
    }

    pub(super) fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!("{error}");
        Self::new(Code::Internal, "the server failed; its log says why, under this request's id")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            detail: self.detail,
            code: self.code.as_str(),
            line: self.line,
            tickets: self.tickets.iter().map(|ticket| ticket.0.to_string()).collect(),
        };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.code.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code == Code::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<&StoreError> for Problem {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Busy(_) | StoreError::TreeMoved(_) => {
                tracing::warn!("{error}");
                Self::database_unavailable()
            }
            StoreError::Full(_) => {
                tracing::error!("{error}");
                Self::new(Code::StorageFull, "the database has no room left; nothing was stored")
            }
            StoreError::LogExists { .. } => Self::new(Code::LogExists, error.to_string()),
            StoreError::Damaged(_) | StoreError::Refused(_) | StoreError::Migration(_) => {
                Self::internal(error)
            }
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::from(&error)
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Store(error) => error.into(),
            PublishError::Record(_) => {
                tracing::error!("{error}");
                Self::new(Code::StorageFull, "the record of published heads cannot be written")
            }
            error if error.is_conflict() => {
                tracing::error!("{error}");
                let detail = "this log is not shown: what the database holds contradicts what was published";
                Self::new(Code::HistoryRefused, detail)
            }
            error => Self::internal(&error),
        }
    }
}

impl From<ProveError> for Problem {
    fn from(error: ProveError) -> Self {
        match error {
            ProveError::NoSuchProof(VerifyError::IndexBeyondTree) => index_beyond_tree(),
            ProveError::NoSuchProof(error) => Self::new(Code::InvalidParameter, error.to_string()),
            ProveError::Store(error) => error.into(),
        }
    }
}

impl From<TileError> for Problem {
    fn from(error: TileError) -> Self {
        match error {
            TileError::Store(error) => error.into(),
            TileError::Compress(_) => Self::internal(&error),
        }
    }
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Overloaded(_) => Self::new(Code::Overloaded, error.to_string()),
            AppendError::ShuttingDown => Self::new(Code::ShuttingDown, error.to_string()),
            AppendError::Store(error) if !matches!(*error, StoreError::Unavailable(_)) => (&*error).into(),
            AppendError::Store(_) | AppendError::NoAnswer => {
                tracing::warn!("{error}");
                let detail = "the database did not confirm: the entries may or may not be stored; send them again \
                              with the same Idempotency-Key";
                Self::new(Code::DatabaseUnavailable, detail)
            }
        }
    }
}

impl From<KeyringError> for Problem {
    fn from(error: KeyringError) -> Self {
        match error {
            KeyringError::Store(error) => error.into(),
            KeyringError::BadName(_) | KeyringError::BadOrigin(_) => {
                Self::new(Code::InvalidLog, error.to_string())
            }
            KeyringError::WrongSecret { .. } => Self::internal(&error),
        }
    }
}

impl From<EventError> for Problem {
    fn from(error: EventError) -> Self {
        match error {
            EventError::NotJson(_) => Self::new(Code::MalformedJson, error.to_string()),
            EventError::NoId(_) => Self::new(Code::MissingId, error.to_string()),
            EventError::Invalid(_) => Self::new(Code::InvalidEvent, error.to_string()),
        }
    }
}

pub(super) fn index_beyond_tree() -> Problem {
    Problem::new(Code::IndexBeyondTree, "the index is not below the size of the published tree")
}
