//! Policies: which logs are trusted, which witnesses are known, and how many of them must have cosigned.
//!
//! Implements `tlog-policy` (draft of 2026-06) for Ed25519 keys, types 0x01 and 0x04. It decides about a checkpoint
//! whose signatures were verified; it neither verifies them nor uses the URLs.

mod parse;

use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

use crate::error::ParseError;
use crate::key::{KeyType, VerifierKey};

/// The name that stands for no witness at all.
const NONE: &[u8] = b"none";

/// What a caller trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<Log>,
    /// Witnesses and groups, which share their names, in the order of their lines. A group's members are places
    /// before its own, so there are no circles.
    voters: Vec<Voter>,
    /// The place of the voter that decides; `None` asks for no cosignature.
    quorum: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Log {
    key: VerifierKey,
    url: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Voter {
    /// Octets, which need not be UTF-8, without blanks.
    name: Vec<u8>,
    kind: VoterKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a policy has a few of them, and most are witnesses")]
enum VoterKind {
    Witness { key: VerifierKey, url: Option<Vec<u8>> },
    Group { threshold: Threshold, members: Vec<usize> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Threshold {
    All,
    Any,
    AtLeast(usize),
}

impl Policy {
    /// Trusts one log and asks for no witness.
    ///
    /// # Errors
    /// [`ParseError::Policy`] when the key is not a log's.
    pub fn for_log(key: VerifierKey) -> Result<Self, ParseError> {
        if key.key_type() != KeyType::Log {
            return Err(ParseError::Policy { line: 0, reason: parse::NOT_A_LOG_KEY });
        }
        Ok(Self { logs: alloc::vec![Log { key, url: None }], voters: Vec::new(), quorum: None })
    }

    /// Reads a policy file. Its order, comments and blanks mean nothing, except that names are defined before use.
    ///
    /// # Errors
    /// [`ParseError::Policy`] with the first line that is not as the specification has it. So are a public key on
    /// two lines, be it once as a log's and once as a witness's, and more than 256 logs, witnesses or groups.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, ParseError> {
        parse::policy(text.as_ref())
    }

    /// The policy as a file: logs, then witnesses and groups as they were defined, then the quorum.
    #[must_use]
    pub fn format(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for log in &self.logs {
            put_line(&mut text, [&b"log"[..], log.key.to_string().as_bytes()], log.url.as_deref());
        }
        for voter in &self.voters {
            self.put_voter(&mut text, voter);
        }
        put_line(&mut text, [b"quorum", self.name_at(self.quorum)], None);
        text
    }

    /// The logs that are trusted.
    pub fn logs(&self) -> impl Iterator<Item = &VerifierKey> {
        self.logs.iter().map(|log| &log.key)
    }

    /// The witnesses that are known, be they part of the quorum or not.
    pub fn witnesses(&self) -> impl Iterator<Item = &VerifierKey> {
        self.voters.iter().filter_map(Voter::key)
    }

    /// Whether cosignatures by `signers` are enough.
    pub(crate) fn is_quorum(&self, signers: &[&VerifierKey]) -> bool {
        let mut votes: Vec<bool> = Vec::with_capacity(self.voters.len());
        for voter in &self.voters {
            let vote = match &voter.kind {
                VoterKind::Witness { key, .. } => signers.contains(&key),
                VoterKind::Group { threshold, members } => {
                    // Members stand before their group: their votes are known.
                    let yes = members.iter().filter(|&&member| votes.get(member) == Some(&true)).count();
                    yes >= threshold.of(members.len())
                }
            };
            votes.push(vote);
        }
        self.quorum.is_none_or(|place| votes.get(place) == Some(&true))
    }

    fn name_at(&self, place: Option<usize>) -> &[u8] {
        place.and_then(|place| self.voters.get(place)).map_or(NONE, |voter| &voter.name)
    }

    fn put_voter(&self, text: &mut Vec<u8>, voter: &Voter) {
        match &voter.kind {
            VoterKind::Witness { key, url } => {
                put_line(text, [&b"witness"[..], &voter.name, key.to_string().as_bytes()], url.as_deref());
            }
            VoterKind::Group { threshold, members } => {
                let members = members.iter().map(|&member| self.name_at(Some(member)));
                let threshold = threshold.to_string();
                put_line(
                    text,
                    [&b"group"[..], &voter.name, threshold.as_bytes()].into_iter().chain(members),
                    None,
                );
            }
        }
    }
}

impl Voter {
    const fn key(&self) -> Option<&VerifierKey> {
        match &self.kind {
            VoterKind::Witness { key, .. } => Some(key),
            VoterKind::Group { .. } => None,
        }
    }
}

impl Threshold {
    /// The number of members, of `members`, that must have cosigned.
    const fn of(self, members: usize) -> usize {
        match self {
            Self::All => members,
            Self::Any => 1,
            Self::AtLeast(number) => number,
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Any => f.write_str("any"),
            Self::AtLeast(number) => number.fmt(f),
        }
    }
}

/// Adds one line of items, and the URL if there is one.
fn put_line<'a>(text: &mut Vec<u8>, items: impl IntoIterator<Item = &'a [u8]>, url: Option<&'a [u8]>) {
    let items: Vec<&[u8]> = items.into_iter().chain(url).collect();
    text.extend(items.join(&b' '));
    text.push(b'\n');
}
