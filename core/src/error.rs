//! The three things that can be wrong, which a caller acts on differently, each with a stable code.
//!
//! *I cannot read this* ([`ParseError`]): bad input. *I read it and it is not proven* ([`VerifyError`]): evidence
//! of tampering. *I could not check* ([`UncheckedError`]): a key or a cosignature is missing. The codes are the same
//! in Rust, in an HTTP problem document and in JavaScript; `docs/format.md` lists them.

use core::fmt;

/// Bad input: the bytes are not what they should be, so nothing can be said about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// Text that is not canonical base64, or not of the length that belongs there.
    Base64,
    /// A note's text that is not a checkpoint.
    Checkpoint,
    /// An entry of no bytes, or of more than 65,535.
    EntrySize,
    /// Bytes that are not an entry bundle of the number of entries that belongs there.
    EntryBundle,
    /// Text that is not a signed note.
    Note,
    /// Text that is not a decimal number within 64 bits, without sign or leading zero.
    Number,
    /// A policy that cannot be used; a [`PolicyError`] says why.
    Policy,
    /// Text that is not a tlog-proof.
    Receipt,
    /// Bytes that are not a tile of the number of hashes that belongs there.
    Tile,
    /// A path that names no tile and no entry bundle.
    TilePath,
    /// Text that is not a verifier key, or whose key id is not the key's.
    VerifierKey,
}

/// Why a policy cannot be used: [`ParseError::Policy`] with the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a place and a reason are all that there is to say")]
pub struct PolicyError {
    /// The 1-based number of the line; 0 is a fault of the policy as a whole.
    pub line: u32,
    /// What is wrong with it.
    pub fault: PolicyFault,
}

/// What can be wrong with a line of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyFault {
    /// A control character other than a tab.
    ControlCharacter,
    /// Too few or too many items.
    Items,
    /// What is not a vkey of an Ed25519 log or witness.
    Key,
    /// A public key that another line has, or its name and id.
    KeyTwice,
    /// A line that does not begin with log, witness, group or quorum.
    Keyword,
    /// A member of two groups, or twice of one.
    MemberTwice,
    /// A definition of the name `none`.
    NameNone,
    /// A name defined twice.
    NameTwice,
    /// A last line without a line feed.
    NoLineEnd,
    /// No quorum line in the whole policy.
    NoQuorum,
    /// The key of no log.
    NotALogKey,
    /// The key of no witness.
    NotAWitnessKey,
    /// A second quorum line.
    SecondQuorum,
    /// A threshold that the group's members cannot meet, or a group without members.
    Threshold,
    /// More than 256 logs, witnesses or groups.
    TooMany,
    /// A name that no line before defines.
    UnknownName,
}

/// Evidence of tampering: the input was read, and it does not prove what it claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifyError {
    /// A signature with a known key's name and id that the key did not make.
    BadSignature,
    /// A new tree that is proven, and that does not begin with the old one.
    HistoryRewritten,
    /// A leaf index that lies outside the tree.
    IndexBeyondTree,
    /// A signed checkpoint whose origin is not that of the key which signed it.
    OriginMismatch,
    /// A proof that is longer or shorter than the index and the sizes demand.
    ProofLength,
    /// The root that follows from the bytes and the proof is not the checkpoint's.
    RootMismatch,
    /// A newer tree that is smaller than the older one.
    TreeShrank,
}

/// Nothing was proven either way: what is needed to check is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UncheckedError {
    /// No signature of a log that the policy knows.
    NoTrustedSignature,
    /// The log's signature holds, but fewer witnesses have cosigned than the policy asks for.
    QuorumNotMet,
}

/// Any of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "there are three kinds of answers, and a caller must handle each"
)]
pub enum Error {
    /// I cannot read this.
    Parse(ParseError),
    /// I read it and it is not proven.
    Verify(VerifyError),
    /// I could not check.
    Unchecked(UncheckedError),
}

impl ParseError {
    /// The stable code: lowercase words joined by underscores.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Base64 => "malformed_base64",
            Self::Checkpoint => "malformed_checkpoint",
            Self::EntrySize => "entry_size",
            Self::EntryBundle => "malformed_entry_bundle",
            Self::Note => "malformed_note",
            Self::Number => "malformed_number",
            Self::Policy => "malformed_policy",
            Self::Receipt => "malformed_receipt",
            Self::Tile => "malformed_tile",
            Self::TilePath => "malformed_tile_path",
            Self::VerifierKey => "malformed_verifier_key",
        }
    }
}

impl VerifyError {
    /// The stable code: lowercase words joined by underscores.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BadSignature => "bad_signature",
            Self::HistoryRewritten => "history_rewritten",
            Self::IndexBeyondTree => "index_beyond_tree",
            Self::OriginMismatch => "origin_mismatch",
            Self::ProofLength => "proof_length",
            Self::RootMismatch => "root_mismatch",
            Self::TreeShrank => "tree_shrank",
        }
    }
}

impl UncheckedError {
    /// The stable code: lowercase words joined by underscores.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoTrustedSignature => "no_trusted_signature",
            Self::QuorumNotMet => "quorum_not_met",
        }
    }
}

impl Error {
    /// The stable code of what is inside.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Parse(error) => error.code(),
            Self::Verify(error) => error.code(),
            Self::Unchecked(error) => error.code(),
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy => f.write_str("not a policy that can be used"),
            Self::Base64 => f.write_str("not canonical base64 of the right length"),
            Self::Checkpoint => f.write_str("not a checkpoint: origin, size and root on three lines"),
            Self::EntrySize => f.write_str("an entry has 1 to 65535 bytes"),
            Self::EntryBundle => f.write_str("not an entry bundle of the expected number of entries"),
            Self::Note => f.write_str("not a signed note: text, a blank line, signature lines"),
            Self::Number => f.write_str("not a decimal number without sign or leading zero, within 64 bits"),
            Self::Receipt => {
                f.write_str("not a tlog-proof: header, index, hashes, a blank line, a checkpoint")
            }
            Self::Tile => f.write_str("not a tile of the expected number of hashes"),
            Self::TilePath => f.write_str("not the path of a tile or an entry bundle"),
            Self::VerifierKey => f.write_str("not a verifier key: NAME+KEYID+BASE64, with the key's own id"),
        }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { line: 0, fault } => write!(f, "the policy cannot be used: {fault}"),
            Self { line, fault } => write!(f, "line {line} of the policy: {fault}"),
        }
    }
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ControlCharacter => "a control character",
            Self::Items => "too few or too many items",
            Self::Key => "not a verifier key of an Ed25519 log or witness",
            Self::KeyTwice => "a public key that another line has, or its name and id",
            Self::Keyword => "a line begins with log, witness, group or quorum",
            Self::MemberTwice => "a member of two groups, or twice of one",
            Self::NameNone => "the name none stands for no witness",
            Self::NameTwice => "a name defined twice",
            Self::NoLineEnd => "the last line does not end in a line feed",
            Self::NoQuorum => "it has no quorum line",
            Self::NotALogKey => "not the key of a log: its type is not 0x01",
            Self::NotAWitnessKey => "not the key of a witness: its type is not 0x04",
            Self::SecondQuorum => "a second quorum line",
            Self::Threshold => {
                "a group has members, and its threshold is all, any, or a number from 1 to that of its members"
            }
            Self::TooMany => "more than 256 of a kind",
            Self::UnknownName => "a name that no line before defines",
        })
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadSignature => "a signature in a known key's name was not made by that key",
            Self::HistoryRewritten => "the new tree is proven, and it does not begin with the old one",
            Self::IndexBeyondTree => "the index lies outside the tree",
            Self::OriginMismatch => "the checkpoint's origin is not that of the key which signed it",
            Self::ProofLength => "the proof is longer or shorter than the index and the size demand",
            Self::RootMismatch => "the bytes and the proof do not lead to the checkpoint's root",
            Self::TreeShrank => "the newer tree is smaller than the older one",
        })
    }
}

impl fmt::Display for UncheckedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoTrustedSignature => "no signature of a log that the policy knows",
            Self::QuorumNotMet => "fewer witnesses have cosigned than the policy asks for",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parse(error) => error.fmt(f),
            Self::Verify(error) => error.fmt(f),
            Self::Unchecked(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ParseError {}
impl core::error::Error for PolicyError {}
impl core::error::Error for VerifyError {}
impl core::error::Error for UncheckedError {}
impl core::error::Error for Error {}

impl From<ParseError> for Error {
    fn from(error: ParseError) -> Self {
        Self::Parse(error)
    }
}

impl From<PolicyError> for ParseError {
    fn from(_: PolicyError) -> Self {
        Self::Policy
    }
}

impl From<PolicyError> for Error {
    fn from(error: PolicyError) -> Self {
        Self::Parse(error.into())
    }
}

impl From<VerifyError> for Error {
    fn from(error: VerifyError) -> Self {
        Self::Verify(error)
    }
}

impl From<UncheckedError> for Error {
    fn from(error: UncheckedError) -> Self {
        Self::Unchecked(error)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::*;

    /// The error after `error`: a new variant does not compile until it has its place here.
    fn after(error: Error) -> Option<Error> {
        use {ParseError as P, UncheckedError as U, VerifyError as V};
        Some(match error {
            Error::Parse(P::Base64) => P::Checkpoint.into(),
            Error::Parse(P::Checkpoint) => P::EntrySize.into(),
            Error::Parse(P::EntrySize) => P::EntryBundle.into(),
            Error::Parse(P::EntryBundle) => P::Note.into(),
            Error::Parse(P::Note) => P::Number.into(),
            Error::Parse(P::Number) => P::Policy.into(),
            Error::Parse(P::Policy) => P::Receipt.into(),
            Error::Parse(P::Receipt) => P::Tile.into(),
            Error::Parse(P::Tile) => P::TilePath.into(),
            Error::Parse(P::TilePath) => P::VerifierKey.into(),
            Error::Parse(P::VerifierKey) => V::BadSignature.into(),
            Error::Verify(V::BadSignature) => V::HistoryRewritten.into(),
            Error::Verify(V::HistoryRewritten) => V::IndexBeyondTree.into(),
            Error::Verify(V::IndexBeyondTree) => V::OriginMismatch.into(),
            Error::Verify(V::OriginMismatch) => V::ProofLength.into(),
            Error::Verify(V::ProofLength) => V::RootMismatch.into(),
            Error::Verify(V::RootMismatch) => V::TreeShrank.into(),
            Error::Verify(V::TreeShrank) => U::NoTrustedSignature.into(),
            Error::Unchecked(U::NoTrustedSignature) => U::QuorumNotMet.into(),
            Error::Unchecked(U::QuorumNotMet) => return None,
        })
    }

    fn all() -> Vec<Error> {
        core::iter::successors(Some(ParseError::Base64.into()), |&error| after(error)).collect()
    }

    /// The page's row for an error, up to its meaning.
    fn row(error: &Error) -> alloc::string::String {
        let kind = match error {
            Error::Parse(_) => "parse",
            Error::Verify(_) => "verify",
            Error::Unchecked(_) => "unchecked",
        };
        format!("| `{}` | {kind} | ", error.code())
    }

    #[test]
    fn the_page_lists_every_code_with_its_kind_and_no_other() {
        let page = include_str!("../../docs/format.md");
        let rows: Vec<_> = all().iter().map(row).collect();
        for row in &rows {
            assert_eq!(page.matches(&**row).count(), 1, "{row}");
        }
        let (_, section) = page.split_once("\n## Error codes\n").unwrap();
        let (section, _) = section.split_once("\n#").unwrap();
        let listed = section.lines().filter(|line| line.starts_with("| `"));
        for line in listed {
            assert!(rows.iter().any(|row| line.starts_with(&**row)), "{line}");
        }
    }

    #[test]
    fn every_code_is_unique_and_made_of_lowercase_words() {
        let codes: Vec<_> = all().iter().map(Error::code).collect();
        for (place, code) in codes.iter().enumerate() {
            assert!(!codes[..place].contains(code), "{code}");
            assert!(
                code.split('_')
                    .all(|word| !word.is_empty()
                        && word.bytes().all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9'))),
                "{code}"
            );
        }
    }

    #[test]
    fn every_message_begins_in_lowercase_and_ends_without_a_dot() {
        for error in all() {
            let message = error.to_string();
            assert!(message.starts_with(|first: char| first.is_ascii_lowercase()), "{message}");
            assert!(!message.ends_with('.'), "{message}");
        }
    }
}
