//! From a ticket to a receipt that was verified: asks the log's server until a signed head covers the entry.
//!
//! The bytes of the entry and its proof come from the same server, and so does nothing that they are checked with: the
//! keys are the policy's, and a ticket of this crate has the leaf hash of what was appended.

use std::time::Duration;

use attestlog_core::{Checkpoint, Error, Hash, LeafIndex, MAX_ENTRY_SIZE, VerifyError};
use serde::Deserialize;
use tokio::time::Instant;

use crate::audit::Audit;
use crate::event::{Event, EventError};
use crate::remote::{Kind, RemoteError};
use crate::ticket::Ticket;

/// The pause before asking again: the first, and the longest that it grows to.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long to wait for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of an answer about a ticket, and of a receipt: a note of a million, 63 hashes, and a line.
const MAX_STATUS_BYTES: usize = 4096;
const MAX_RECEIPT_BYTES: usize = 1_100_000;

/// Proof that an entry is in the log: it was verified under the policy, and anyone can do so again, offline and for
/// ever, with the entry and [`text`](Self::text).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    index: LeafIndex,
    entry: Vec<u8>,
    text: String,
    checkpoint: Checkpoint,
}

impl Receipt {
    /// The entry's index in the log.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index.0
    }

    /// The entry, byte for byte. Keep it beside the receipt, which does not contain it.
    #[must_use]
    pub fn entry(&self) -> &[u8] {
        &self.entry
    }

    /// The entry as an event.
    ///
    /// # Errors
    /// [`EventError::Json`] if it is none.
    pub fn event(&self) -> Result<Event, EventError> {
        Event::parse(&self.entry)
    }

    /// The tlog-proof: the content of a `.tlog-proof` file.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signed head that the entry is proven by; [`size`](Checkpoint::size) is that of its tree.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }
}

/// Why there is no receipt. [`kind`](Self::kind) tells what could not be checked from what is proven not to hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// The server has no such answer: it cannot be reached, or it does not know the ticket, whose transaction was
    /// rolled back or is still open.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The entry is waiting still.
    #[error("no signed head covers ticket {ticket} after {} ms", waited.as_millis())]
    NotCoveredYet {
        /// The ticket.
        ticket: Ticket,
        /// How long it was waited for.
        waited: Duration,
    },
    /// What the server says of the ticket cannot be read.
    #[error("the server's answer about the ticket cannot be read")]
    Status(#[source] serde_json::Error),
    /// The receipt is that of another entry.
    #[error("the server sent the receipt of entry {sent} for entry {asked}")]
    IndexMismatch {
        /// Where the entry is, by the server's word.
        asked: u64,
        /// The index in the receipt.
        sent: u64,
    },
    /// The receipt cannot be read, or does not verify.
    #[error("the receipt of entry {index}: {error}")]
    Receipt {
        /// The index of the entry.
        index: u64,
        /// What is wrong.
        #[source]
        error: Error,
    },
}

impl ReceiptError {
    /// What it calls for. [`Kind::Verify`] is evidence of tampering, on the way or in the log: keep what you have, and
    /// look into it. After [`Kind::Unchecked`] the same call may succeed later.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Remote(_) | Self::NotCoveredYet { .. } => Kind::Unchecked,
            Self::Status(_) => Kind::Parse,
            Self::IndexMismatch { .. } => Kind::Verify,
            Self::Receipt { error: Error::Parse(_), .. } => Kind::Parse,
            Self::Receipt { error: Error::Verify(_), .. } => Kind::Verify,
            Self::Receipt { error: Error::Unchecked(_), .. } => Kind::Unchecked,
        }
    }

    /// The stable code, as in `docs/format.md`.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Remote(error) => error.code(),
            Self::NotCoveredYet { .. } => "not_covered_yet",
            Self::Status(_) => "malformed_json",
            Self::IndexMismatch { .. } => "index_mismatch",
            Self::Receipt { error, .. } => error.code(),
        }
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
pub(crate) async fn wait_for(audit: &Audit, ticket: Ticket) -> Result<Receipt, ReceiptError> {
    let began = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let left = audit.receipt_timeout.saturating_sub(began.elapsed());
        let waiting = match attempt(audit, ticket, began).await {
            Ok(Some(receipt)) => return Ok(receipt),
            Ok(None) => ReceiptError::NotCoveredYet { ticket, waited: audit.receipt_timeout },
            Err(ReceiptError::Remote(error)) if may_change(&error) => error.into(),
            Err(error) => return Err(error),
        };
        if left <= pause {
            return Err(waiting);
        }
        tokio::time::sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Of several servers one may not yet know the head that another has published.
fn may_change(error: &RemoteError) -> bool {
    error.is_passing() || error.code() == "index_beyond_tree"
}

/// The receipt, unless no head covers the entry yet.
async fn attempt(audit: &Audit, ticket: Ticket, began: Instant) -> Result<Option<Receipt>, ReceiptError> {
    let get = async |path: &str, at_most| {
        let left = audit.receipt_timeout.saturating_sub(began.elapsed());
        audit.remote.get(path, at_most, left.min(ANSWER_TIMEOUT)).await
    };
    let status = get(&format!("tickets/{}", ticket.id()), MAX_STATUS_BYTES).await?;
    let index = match serde_json::from_slice(&status).map_err(ReceiptError::Status)? {
        Status::Accepted => return Ok(None),
        Status::Processed { index } => index,
    };
    let entry = get(&format!("entries/{index}"), MAX_ENTRY_SIZE).await?;
    let text = get(&format!("entries/{index}/receipt"), MAX_RECEIPT_BYTES).await?;
    verify(audit, ticket, index, entry, &text).map(Some)
}

fn verify(
    audit: &Audit,
    ticket: Ticket,
    index: u64,
    entry: Vec<u8>,
    text: &[u8],
) -> Result<Receipt, ReceiptError> {
    let failed = |error| ReceiptError::Receipt { index, error };
    let receipt = attestlog_core::Receipt::parse(text).map_err(|error| failed(error.into()))?;
    if receipt.index() != LeafIndex(index) {
        return Err(ReceiptError::IndexMismatch { asked: index, sent: receipt.index().0 });
    }
    let text = receipt.format();
    let (index, checkpoint) = receipt.open(&entry, &audit.policy).map_err(failed)?;
    if checkpoint.origin() != audit.origin {
        return Err(failed(VerifyError::OriginMismatch.into()));
    }
    // The entry that is there is proven; it is not the one that was appended.
    if ticket.leaf_hash().is_some_and(|appended| appended != Hash::leaf(&entry)) {
        return Err(failed(VerifyError::RootMismatch.into()));
    }
    Ok(Receipt { index, entry, text, checkpoint })
}
