//! Policies: which logs are trusted, which witnesses are known, and how many of them must have cosigned.
//!
//! Implements `tlog-policy` (draft of 2026-06) for Ed25519 keys, types 0x01 and 0x04. It decides about a checkpoint
//! whose signatures were verified; it neither verifies them nor uses the URLs.

mod parse;

use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

use crate::error::{ParseError, PolicyError};
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
            return Err(ParseError::Policy);
        }
        Ok(Self { logs: alloc::vec![Log { key, url: None }], voters: Vec::new(), quorum: None })
    }

    /// Reads a policy file. Its order, comments and blanks mean nothing, except that names are defined before use.
    ///
    /// # Errors
    /// [`PolicyError`] with the first line that is not as the specification has it. So are a public key on
    /// two lines, be it once as a log's and once as a witness's, and more than 256 logs, witnesses or groups.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, PolicyError> {
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

    /// The same without asking for cosignatures: for what was checked with them before.
    #[must_use]
    pub fn without_quorum(self) -> Self {
        Self { quorum: None, ..self }
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

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::*;
    use crate::key::SigningKey;

    fn vkey(name: &str, key_type: KeyType, seed: u8) -> VerifierKey {
        SigningKey::new(name, key_type, &[seed; 32]).unwrap().verifier_key().clone()
    }

    fn witness(seed: u8) -> VerifierKey {
        vkey(&format!("witness{seed}.example"), KeyType::Witness, seed)
    }

    /// A policy with the witnesses W1 to W6 on its first lines.
    fn with_witnesses(rest: &str) -> String {
        let lines = (1..=6).map(|seed| format!("witness W{seed} {}\n", witness(seed)));
        lines.collect::<String>() + rest
    }

    fn refused_at(text: impl AsRef<[u8]>) -> Option<u32> {
        match Policy::parse(text) {
            Err(PolicyError { line, .. }) => Some(line),
            _ => None,
        }
    }

    fn is_quorum(text: &str, signers: &[u8]) -> bool {
        let signers: Vec<VerifierKey> = signers.iter().map(|&seed| witness(seed)).collect();
        Policy::parse(text).unwrap().is_quorum(&signers.iter().collect::<Vec<_>>())
    }

    #[test]
    fn two_levels_of_groups_decide_as_in_the_example_of_the_specification() {
        let text = with_witnesses(
            "group X-witnesses 2 W1 W2 W3\ngroup Y-witnesses any W4 W5 W6\n\
             group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n",
        );
        for set in 0_u8..64 {
            let signers: Vec<u8> = (1..=6).filter(|seed| set >> (seed - 1) & 1 == 1).collect();
            let expected = (set & 0b111).count_ones() >= 2 && set >> 3 != 0;
            assert_eq!(is_quorum(&text, &signers), expected, "{signers:?}");
        }
    }

    #[test]
    fn one_witness_or_none_can_be_the_quorum() {
        assert!(is_quorum(&with_witnesses("quorum W2\n"), &[2]));
        assert!(!is_quorum(&with_witnesses("quorum W2\n"), &[1, 3]));
        assert!(is_quorum("quorum none\n", &[]));
    }

    #[test]
    fn a_log_key_makes_a_policy_and_a_witness_key_does_not() {
        let log = vkey("example.com/log", KeyType::Log, 9);
        let policy = Policy::for_log(log.clone()).unwrap();
        assert_eq!(policy.format(), format!("log {log}\nquorum none\n").as_bytes());
        assert_eq!(Policy::parse(policy.format()), Ok(policy));
        assert!(Policy::for_log(witness(1)).is_err());
    }

    #[test]
    fn comments_blanks_and_other_octets_do_not_disturb() {
        let log = vkey("example.com/log", KeyType::Log, 9);
        let text = format!(
            "# comment\n\n \t# comment\n\tlog  {log}\thttps://example.com/ \nwitness #W {}\n\
             group all all #W\nquorum all\n",
            witness(1)
        );
        let policy = Policy::parse([b"#\xff\n", text.as_bytes()].concat()).unwrap();
        assert_eq!(Policy::parse(policy.format()).as_ref(), Ok(&policy));
        assert!(policy.logs().eq([&log]));
        assert!(policy.witnesses().eq([&witness(1)]));
    }

    #[test]
    fn names_the_line_that_is_wrong() {
        for (line, rest) in [
            (0, ""),
            (7, "quorum W7\n"),
            (7, "quorum\n"),
            (7, "quorum none"),
            (7, "quorum none\r\n"),
            (7, "quorum none # said so\n"),
            (7, "quorums none\n"),
            (8, "quorum none\nquorum none\n"),
            (8, "quorum none\ngroup g any none\n"),
            (7, "group none any W1\n"),
            (7, "group W1 any W2\n"),
            (7, "group g any\n"),
            (7, "group g any g\n"),
            (7, "group g any W1 W1\n"),
            (7, "group g 0 W1\n"),
            (7, "group g 2 W1\n"),
            (7, "group g 01 W1\n"),
            (7, "group g most W1\n"),
            (8, "group g any W1\ngroup h any W1\n"),
            (8, "quorum none\nlog example.com\n"),
        ] {
            assert_eq!(refused_at(with_witnesses(rest)), Some(line), "{rest:?}");
        }
        assert_eq!(refused_at(""), Some(0));
        assert_eq!(refused_at(b"# \x7f\nquorum none\n"), Some(1));
    }

    #[test]
    fn no_public_key_stands_on_two_lines() {
        let same_key = vkey("other.example", KeyType::Witness, 1);
        assert_eq!(refused_at(with_witnesses(&format!("witness W7 {same_key}\nquorum none\n"))), Some(7));
        let as_log = vkey("example.com/log", KeyType::Log, 1);
        assert_eq!(refused_at(with_witnesses(&format!("log {as_log}\nquorum none\n"))), Some(7));
        let renamed = vkey("example.com/other", KeyType::Log, 1);
        assert_eq!(refused_at(format!("log {as_log}\nlog {renamed}\nquorum none\n")), Some(2));
    }

    #[test]
    fn a_key_of_the_other_type_is_refused() {
        assert_eq!(refused_at(format!("log {}\nquorum none\n", witness(1))), Some(1));
        let log = vkey("example.com/log", KeyType::Log, 1);
        assert_eq!(refused_at(format!("witness W {log}\nquorum none\n")), Some(1));
    }

    #[test]
    fn takes_as_many_of_each_as_it_says_and_no_more() {
        let line = |n: u32| {
            let mut seed = [0; 32];
            seed[..4].copy_from_slice(&n.to_be_bytes());
            let key = SigningKey::new("w.example", KeyType::Witness, &seed).unwrap();
            format!("witness W{n} {}\n", key.verifier_key())
        };
        let full: String = (0..256).map(line).chain(["quorum W255\n".to_string()]).collect();
        assert!(Policy::parse(&full).is_ok());
        assert_eq!(refused_at(full + &line(256)), Some(258));
    }
}
