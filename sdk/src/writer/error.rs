//! What an append is answered with, and why it may fail.

use std::io;
use std::path::PathBuf;

use crate::event::EventError;
use crate::ticket::Ticket;

/// That an event will not be lost any more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "an event is in the log, or on its way to it")]
pub enum Durable {
    /// The log's server has it.
    Acknowledged {
        /// It leads to the [receipt](crate::Audit::receipt), for these very bytes or none.
        ticket: Ticket,
    },
    /// It is on this machine's disk, and is sent from there.
    Spooled,
}

/// Why an event is not durable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// It is no event that can be logged.
    #[error(transparent)]
    Event(#[from] EventError),
    /// Its id cannot be an idempotency key. Without one it might be logged twice.
    #[error("an event's id has 1 to 255 bytes and no U+0000, and this one's is \"{0}\"")]
    Id(String),
    /// The log refuses this event for good: it is not in the log, and never will be as it is.
    #[error("the log refuses the event: {0}")]
    Refused(Refusal),
    /// The server does not take events from this writer, or at this address: a wrong token, no such log. Only without
    /// a spool; with one, the writer goes on trying.
    #[error("the server takes no events from this writer: {0}")]
    Denied(Refusal),
    /// The queue or the spool is full. Only [`try_append`](super::Writer::try_append) says so, others wait.
    #[error("the queue is full")]
    Full,
    /// The spool cannot be written: no room on the disk, say. The event may be sent nevertheless; appending the same
    /// event again is safe.
    #[error("the spool cannot be written: {0}")]
    Spool(io::Error),
    /// The writer has been shut down. The event may be in the log nevertheless; appending the same event to another
    /// writer is safe.
    #[error("the writer has been shut down")]
    Closed,
}

/// What a server says against an event, or against all of a writer's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The stable code of the problem document, such as `invalid_event` or `key_reused`; empty where there is none.
    pub code: String,
    /// What is wrong, for people.
    pub detail: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self { status, code, detail } if code.is_empty() => write!(f, "status {status}: {detail}"),
            Self { code, detail, .. } => write!(f, "{code}: {detail}"),
        }
    }
}

/// An event that the log refused for good.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RefusedEvent {
    /// The event as it was sent: JSON.
    pub entry: Vec<u8>,
    /// Why.
    pub refusal: Refusal,
}

/// Why a writer cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address, a limit or a client that cannot be used.
    #[error("{0}")]
    Settings(String),
    /// Another writer, of this process or of another one, uses this spool.
    #[error("another writer uses the spool {0}")]
    SpoolInUse(PathBuf),
    /// The spool has events that wait for another log.
    #[error(
        "the spool {path} has events for the log \"{log}\": start a writer for that log, or choose another directory"
    )]
    SpoolOfOtherLog {
        /// Where it is.
        path: PathBuf,
        /// The name of that log.
        log: String,
    },
    /// The spool cannot be opened.
    #[error("the spool {path} cannot be opened: {error}")]
    Spool {
        /// Where it is.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// That the deadline came before everything was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the writer was shut down before everything was sent; what a spool holds is sent by its next writer")]
pub struct Unsent;
