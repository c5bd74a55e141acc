//! Reads a policy line by line, for a line may use only names that one before it defines.
//!
//! Implements `tlog-policy` (syntax and structure, character set, implementation limits). What it has read it does
//! not apply to any checkpoint.

use alloc::vec::Vec;

use super::{Log, NONE, Policy, Threshold, Voter, VoterKind};
use crate::decimal;
use crate::error::{PolicyError, PolicyFault};
use crate::key::{KeyType, VerifierKey};
use crate::line::first_line;

/// The most logs, the most witnesses and the most groups; the specification asks for at least 32 of each.
const MAX_OF_EACH: usize = 256;

/// The policy in `text`.
pub(super) fn policy(text: &[u8]) -> Result<Policy, PolicyError> {
    let mut reader = Reader::default();
    let (mut rest, mut line) = (text, 0_u32);
    while !rest.is_empty() {
        line = line.saturating_add(1);
        let result = match first_line(rest) {
            Some((items, after)) => {
                rest = after;
                reader.read(items)
            }
            None => Err(PolicyFault::NoLineEnd),
        };
        result.map_err(|fault| PolicyError { line, fault })?;
    }
    let no_quorum = PolicyError { line: 0, fault: PolicyFault::NoQuorum };
    Ok(Policy { quorum: reader.quorum.ok_or(no_quorum)?, logs: reader.logs, voters: reader.voters })
}

/// A policy up to some line.
#[derive(Default)]
struct Reader {
    logs: Vec<Log>,
    voters: Vec<Voter>,
    /// The places of the voters that are members of a group already.
    members: Vec<usize>,
    /// `None` before the quorum line.
    quorum: Option<Option<usize>>,
}

/// What is left of a line: items between blanks.
struct Items<'a>(&'a [u8]);

impl<'a> Items<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let is_blank = |&byte: &u8| byte == b' ' || byte == b'\t';
        let start = self.0.iter().position(|byte| !is_blank(byte))?;
        let rest = self.0.get(start..)?;
        let (item, after) = rest.split_at_checked(rest.iter().position(is_blank).unwrap_or(rest.len()))?;
        self.0 = after;
        Some(item)
    }

    fn required(&mut self) -> Result<&'a [u8], PolicyFault> {
        self.next().ok_or(PolicyFault::Items)
    }
}

impl Reader {
    /// Reads one line without its line end.
    fn read(&mut self, line: &[u8]) -> Result<(), PolicyFault> {
        if line.iter().any(|&byte| byte < b' ' && byte != b'\t' || byte == 0x7f) {
            return Err(PolicyFault::ControlCharacter);
        }
        let mut items = Items(line);
        match items.next() {
            None | Some([b'#', ..]) => return Ok(()),
            Some(b"log") => self.log(&mut items)?,
            Some(b"witness") => self.witness(&mut items)?,
            Some(b"group") => self.group(&mut items)?,
            Some(b"quorum") => self.quorum(&mut items)?,
            Some(_) => return Err(PolicyFault::Keyword),
        }
        if items.next().is_some() { Err(PolicyFault::Items) } else { Ok(()) }
    }

    fn log(&mut self, items: &mut Items<'_>) -> Result<(), PolicyFault> {
        let key = self.new_key(items.required()?, KeyType::Log, PolicyFault::NotALogKey)?;
        if self.logs.len() >= MAX_OF_EACH {
            return Err(PolicyFault::TooMany);
        }
        self.logs.push(Log { key, url: items.next().map(<[u8]>::to_vec) });
        Ok(())
    }

    fn witness(&mut self, items: &mut Items<'_>) -> Result<(), PolicyFault> {
        let name = items.required()?;
        let key = self.new_key(items.required()?, KeyType::Witness, PolicyFault::NotAWitnessKey)?;
        self.define(name, VoterKind::Witness { key, url: items.next().map(<[u8]>::to_vec) })
    }

    fn group(&mut self, items: &mut Items<'_>) -> Result<(), PolicyFault> {
        let (name, threshold) = (items.required()?, items.required()?);
        let mut members = Vec::new();
        while let Some(member) = items.next() {
            let place = self.place_of(member)?;
            // A vote that counted twice would make a quorum of fewer witnesses.
            if self.members.contains(&place) {
                return Err(PolicyFault::MemberTwice);
            }
            self.members.push(place);
            members.push(place);
        }
        let threshold = parse_threshold(threshold, members.len()).ok_or(PolicyFault::Threshold)?;
        self.define(name, VoterKind::Group { threshold, members })
    }

    fn quorum(&mut self, items: &mut Items<'_>) -> Result<(), PolicyFault> {
        let name = items.required()?;
        if self.quorum.is_some() {
            return Err(PolicyFault::SecondQuorum);
        }
        self.quorum = Some(if name == NONE { None } else { Some(self.place_of(name)?) });
        Ok(())
    }

    fn define(&mut self, name: &[u8], kind: VoterKind) -> Result<(), PolicyFault> {
        if name == NONE {
            return Err(PolicyFault::NameNone);
        }
        if self.place_of(name).is_ok() {
            return Err(PolicyFault::NameTwice);
        }
        let same_kind =
            |voter: &&Voter| core::mem::discriminant(&voter.kind) == core::mem::discriminant(&kind);
        if self.voters.iter().filter(same_kind).count() >= MAX_OF_EACH {
            return Err(PolicyFault::TooMany);
        }
        self.voters.push(Voter { name: name.to_vec(), kind });
        Ok(())
    }

    fn place_of(&self, name: &[u8]) -> Result<usize, PolicyFault> {
        self.voters.iter().position(|voter| voter.name == name).ok_or(PolicyFault::UnknownName)
    }

    /// A key whose public key is on no line before: nobody votes twice, and no log's signature over a text of its
    /// choice passes for a cosignature.
    fn new_key(
        &self,
        text: &[u8],
        key_type: KeyType,
        other_type: PolicyFault,
    ) -> Result<VerifierKey, PolicyFault> {
        let key = VerifierKey::parse(text).map_err(|_| PolicyFault::Key)?;
        let witnesses = self.voters.iter().filter_map(Voter::key);
        let mut known = self.logs.iter().map(|log| &log.key).chain(witnesses);
        let repeated = |other: &VerifierKey| {
            other.public_key() == key.public_key()
                || other.key_id() == key.key_id() && other.name() == key.name()
        };
        if key.key_type() != key_type {
            Err(other_type)
        } else if known.any(repeated) {
            Err(PolicyFault::KeyTwice)
        } else {
            Ok(key)
        }
    }
}

/// All, any, or how many of `members`, at least one, must have cosigned.
fn parse_threshold(text: &[u8], members: usize) -> Option<Threshold> {
    match text {
        _ if members == 0 => None,
        b"all" => Some(Threshold::All),
        b"any" => Some(Threshold::Any),
        _ => {
            let number = usize::try_from(decimal::parse(text).ok()?).ok()?;
            (1..=members).contains(&number).then_some(Threshold::AtLeast(number))
        }
    }
}
