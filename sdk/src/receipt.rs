//! Proof that an entry is in the log; and how a ticket leads to it.

use std::time::Duration;

use attestlog_core::{Checkpoint, Hash};
use serde::Deserialize;

use crate::backoff::{Backoff, instant_after};
use crate::event::{Event, EventError};
use crate::log_client::{LogClient, LogEntry};
use crate::read_error::ReadError;
use crate::ticket::Ticket;

/// The pause before asking again: the first, and the longest that it grows to.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Proof that an entry is in the log: it was verified under the policy, and anyone can do so again, offline and for
/// ever, with the entry and [`text`](Self::text).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    entry: LogEntry,
    text: String,
}

impl Receipt {
    /// Of what was verified.
    pub(crate) const fn new(entry: LogEntry, text: String) -> Self {
        Self { entry, text }
    }

    /// The entry's index in the log.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.entry.index
    }

    /// The entry, byte for byte. Keep it beside the receipt, which does not contain it.
    #[must_use]
    pub fn entry(&self) -> &[u8] {
        &self.entry.data
    }

    /// The entry as an event.
    ///
    /// # Errors
    /// [`EventError::Json`] if it is none.
    pub fn event(&self) -> Result<Event, EventError> {
        self.entry.event()
    }

    /// The tlog-proof: the content of a `.tlog-proof` file.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signed head that the entry is proven by; [`size`](Checkpoint::size) is that of its tree.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.entry.checkpoint
    }
}

/// What the server says of a ticket.
#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
enum Status {
    Accepted,
    Processed { index: u64 },
}

/// Asks until there is a receipt, or an answer that will not change, or the time is over.
pub(crate) async fn wait_for(
    client: &LogClient,
    ticket: Ticket,
    timeout: Duration,
) -> Result<Receipt, ReadError> {
    let not_yet = || {
        let waited = timeout.as_millis();
        ReadError::unchecked(
            "not_covered_yet",
            format!("no signed head covers ticket {ticket} after {waited} ms"),
        )
    };
    let end = instant_after(timeout);
    let (mut backoff, mut last) = (Backoff::new(FIRST_PAUSE, LONGEST_PAUSE), None);
    loop {
        // What the last answer said is of more use than that the time was over while waiting for the next one.
        match tokio::time::timeout_at(end, attempt(client, ticket)).await {
            Ok(Ok(Some(receipt))) => return Ok(receipt),
            Ok(Ok(None)) => last = None,
            Ok(Err(error)) if may_change(&error) => last = Some(error),
            Ok(Err(error)) => return Err(error),
            Err(_) if last.is_none() => {
                last = Some(ReadError::unchecked("timed_out", format!("ticket {ticket}")))
            }
            Err(_) => {}
        }
        let pause = backoff.pause(None);
        if instant_after(pause) >= end {
            return Err(last.unwrap_or_else(not_yet));
        }
        tokio::time::sleep(pause).await;
    }
}

/// Whether the same question may be answered later. Of several servers one may not yet know the head that another has
/// published.
fn may_change(error: &ReadError) -> bool {
    match error {
        ReadError::Unchecked { code, status, .. } => match status {
            Some(status) => code == "index_beyond_tree" || matches!(status, 408 | 429 | 502..=504),
            None => matches!(&**code, "unreachable" | "timed_out"),
        },
        ReadError::Unreadable { .. } | ReadError::Tampering(_) => false,
    }
}

/// The receipt, unless no head covers the entry yet.
async fn attempt(client: &LogClient, ticket: Ticket) -> Result<Option<Receipt>, ReadError> {
    let status = client.ticket(ticket.id()).await?;
    let status = serde_json::from_slice(&status).map_err(|error| ReadError::Unreadable {
        code: "malformed_json",
        detail: format!("the answer about ticket {ticket}: {error}"),
    })?;
    let index = match status {
        Status::Accepted => return Ok(None),
        Status::Processed { index } => index,
    };
    let receipt = client.receipt(index).await?;
    // The entry that is there is proven; it must also be the one that was appended.
    if ticket.leaf_hash().is_some_and(|appended| appended != Hash::leaf(receipt.entry())) {
        let detail =
            format!("entry {index}, which the server shows for ticket {ticket}, is not what was appended");
        return Err(ReadError::tampering("root_mismatch", detail, Some(receipt.checkpoint())));
    }
    Ok(Some(receipt))
}
