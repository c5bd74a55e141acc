//! What can go wrong with reading a log, in the three kinds that a caller treats differently.
//!
//! The codes are those of `docs/format.md`, the same in every language.

use std::borrow::Cow;
use std::fmt;

use attestlog_core::{Checkpoint, Error, VerifyError};

/// Why what was asked for is not returned.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "there are three kinds of answers, and a caller must handle each"
)]
pub enum ReadError {
    /// It could not be checked: no network, not enough cosignatures, not yet covered. It says nothing about the log.
    Unchecked {
        /// `answer_too_large`, `heads_unavailable`, `no_trusted_signature`, `not_covered_yet`, `older_checkpoint`,
        /// `quorum_not_met`, `timed_out` or `unreachable`; or the code that the server refused with.
        code: Cow<'static, str>,
        /// For people.
        detail: String,
        /// The HTTP status, if there was an answer and it was not 200.
        status: Option<u16>,
    },
    /// It cannot be read, which says nothing about the log either.
    Unreadable {
        /// Which of the formats it is not in.
        code: &'static str,
        /// For people.
        detail: String,
    },
    /// It was read, and it is proven false: evidence of tampering, on the way or by the log.
    Tampering(Box<Tampering>),
}

/// What is proven false, and by which signed notes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Tampering {
    /// `history_rewritten`: the log has signed two histories. `root_mismatch`: what was served is not in the tree that
    /// the log has signed. `bad_signature`, `origin_mismatch`, `index_mismatch` and others: see `docs/format.md`.
    pub code: &'static str,
    /// For people.
    pub detail: String,
    /// With `history_rewritten`: the checkpoint that was kept before, a signed note that contradicts
    /// [`shown`](Self::shown).
    pub kept: Option<String>,
    /// The checkpoint that was shown, or that what was served contradicts, as a signed note.
    pub shown: Option<String>,
}

impl ReadError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Unchecked { code, .. } => code,
            Self::Unreadable { code, .. } => code,
            Self::Tampering(tampering) => tampering.code,
        }
    }

    /// Whether the log is proven to have signed two histories; a server that refuses with this code proves nothing.
    pub(crate) fn is_rewritten(&self) -> bool {
        matches!(self, Self::Tampering(tampering) if tampering.code == VerifyError::HistoryRewritten.code())
    }

    /// Whether no complete answer came in time; one that says so came.
    pub(crate) fn is_late(&self) -> bool {
        matches!(self, Self::Unchecked { code, status: None, .. } if code == "timed_out")
    }

    /// An error of the verifier about `what`, and about `shown` if that was opened.
    pub(crate) fn of(error: Error, what: &str, shown: Option<&Checkpoint>) -> Self {
        let detail = format!("{what}: {error}");
        match error {
            Error::Parse(error) => Self::Unreadable { code: error.code(), detail },
            Error::Unchecked(error) => Self::unchecked(error.code(), detail),
            Error::Verify(error) => Self::tampering(error.code(), detail, shown),
        }
    }

    /// What was served is not what was asked for, or not what the log has signed in `shown`.
    pub(crate) fn tampering(code: &'static str, detail: String, shown: Option<&Checkpoint>) -> Self {
        Self::Tampering(Box::new(Tampering {
            code,
            detail,
            kept: None,
            shown: shown.map(Checkpoint::format),
        }))
    }

    /// The two notes that contradict each other.
    pub(crate) fn rewritten(kept: String, shown: String) -> Self {
        let error = VerifyError::HistoryRewritten;
        let (code, detail) = (error.code(), error.to_string());
        Self::Tampering(Box::new(Tampering { code, detail, kept: Some(kept), shown: Some(shown) }))
    }

    pub(crate) fn unchecked(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Unchecked { code: code.into(), detail: detail.into(), status: None }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchecked { detail, .. } | Self::Unreadable { detail, .. } => {
                write!(f, "{detail} ({})", self.code())
            }
            Self::Tampering(tampering) => tampering.fmt(f),
        }
    }
}

impl fmt::Display for Tampering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.detail, self.code)
    }
}

impl std::error::Error for ReadError {}
impl std::error::Error for Tampering {}
