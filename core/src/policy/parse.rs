//! Reads a policy line by line, for a line may use only names that one before it defines.
//!
//! Implements `tlog-policy` (syntax and structure, character set, implementation limits). What it has read it does
//! not apply to any checkpoint.

use alloc::vec::Vec;

use super::{Log, NONE, Policy, Threshold, Voter, VoterKind};
use crate::decimal;
use crate::error::ParseError;
use crate::key::{KeyType, VerifierKey};

/// The most logs, the most witnesses and the most groups; the specification asks for at least 32 of each.
const MAX_OF_EACH: usize = 256;

const NOT_A_KEY: &str = "not a verifier key of an Ed25519 log or witness";
pub(super) const NOT_A_LOG_KEY: &str = "not the key of a log: its type is not 0x01";
const NOT_A_WITNESS_KEY: &str = "not the key of a witness: its type is not 0x04";
const TOO_MANY: &str = "more than 256 of a kind";

/// The policy in `text`.
pub(super) fn policy(text: &[u8]) -> Result<Policy, ParseError> {
    let mut reader = Reader::default();
    let lines = text.split_inclusive(|&byte| byte == b'\n');
    for (line, bytes) in (1..).zip(lines) {
        reader.read(bytes).map_err(|reason| ParseError::Policy { line, reason })?;
    }
    let quorum = reader.quorum.ok_or(ParseError::Policy { line: 0, reason: "it has no quorum line" })?;
    Ok(Policy { logs: reader.logs, voters: reader.voters, quorum })
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

impl Reader {
    /// Reads one line with its line end.
    fn read(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let line = line.strip_suffix(b"\n").ok_or("the last line does not end in a line feed")?;
        if line.iter().any(|&byte| byte < b' ' && byte != b'\t' || byte == 0x7f) {
            return Err("a control character");
        }
        let items = line.split(|byte| b" \t".contains(byte)).filter(|item| !item.is_empty());
        let items: Vec<&[u8]> = items.collect();
        match items.as_slice() {
            [] | [[b'#', ..], ..] => Ok(()),
            [b"log", key, url @ ..] if url.len() <= 1 => self.log(key, url.first()),
            [b"witness", name, key, url @ ..] if url.len() <= 1 => self.witness(name, key, url.first()),
            [b"group", name, threshold, members @ ..] => self.group(name, threshold, members),
            [b"quorum", name] => self.quorum(name),
            [b"log" | b"witness" | b"group" | b"quorum", ..] => Err("too few or too many items"),
            _ => Err("a line begins with log, witness, group or quorum"),
        }
    }

    fn log(&mut self, key: &[u8], url: Option<&&[u8]>) -> Result<(), &'static str> {
        let key = self.new_key(key)?;
        if key.key_type() != KeyType::Log {
            return Err(NOT_A_LOG_KEY);
        }
        if self.logs.len() >= MAX_OF_EACH {
            return Err(TOO_MANY);
        }
        self.logs.push(Log { key, url: url.map(|url| url.to_vec()) });
        Ok(())
    }

    fn witness(&mut self, name: &[u8], key: &[u8], url: Option<&&[u8]>) -> Result<(), &'static str> {
        let key = self.new_key(key)?;
        if key.key_type() != KeyType::Witness {
            return Err(NOT_A_WITNESS_KEY);
        }
        self.define(name, VoterKind::Witness { key, url: url.map(|url| url.to_vec()) })
    }

    fn group(&mut self, name: &[u8], threshold: &[u8], members: &[&[u8]]) -> Result<(), &'static str> {
        let threshold = parse_threshold(threshold, members.len())?;
        if members.is_empty() {
            return Err("a group without members");
        }
        let mut places = Vec::with_capacity(members.len().min(2 * MAX_OF_EACH));
        for member in members {
            let place = self.place_of(member)?;
            // A vote that counted twice would make a quorum of fewer witnesses.
            if self.members.contains(&place) {
                return Err("a member of two groups, or twice of one");
            }
            self.members.push(place);
            places.push(place);
        }
        self.define(name, VoterKind::Group { threshold, members: places })
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), &'static str> {
        if self.quorum.is_some() {
            return Err("a second quorum line");
        }
        self.quorum = Some(if name == NONE { None } else { Some(self.place_of(name)?) });
        Ok(())
    }

    fn define(&mut self, name: &[u8], kind: VoterKind) -> Result<(), &'static str> {
        if name == NONE {
            return Err("the name none stands for no witness");
        }
        if self.place_of(name).is_ok() {
            return Err("a name defined twice");
        }
        let same_kind =
            |voter: &&Voter| core::mem::discriminant(&voter.kind) == core::mem::discriminant(&kind);
        if self.voters.iter().filter(same_kind).count() >= MAX_OF_EACH {
            return Err(TOO_MANY);
        }
        self.voters.push(Voter { name: name.to_vec(), kind });
        Ok(())
    }

    fn place_of(&self, name: &[u8]) -> Result<usize, &'static str> {
        self.voters.iter().position(|voter| voter.name == name).ok_or("a name that no line before defines")
    }

    /// A key whose public key is on no line before: nobody votes twice, and no log's signature over a text of its
    /// choice passes for a cosignature.
    fn new_key(&self, text: &[u8]) -> Result<VerifierKey, &'static str> {
        let key = VerifierKey::parse(text).map_err(|_| NOT_A_KEY)?;
        let witnesses = self.voters.iter().filter_map(Voter::key);
        let mut known = self.logs.iter().map(|log| &log.key).chain(witnesses);
        let repeated = |other: &VerifierKey| {
            other.public_key() == key.public_key()
                || other.key_id() == key.key_id() && other.name() == key.name()
        };
        if known.any(repeated) {
            Err("a public key that another line has, or its name and id")
        } else {
            Ok(key)
        }
    }
}

/// All, any, or how many of `members` must have cosigned.
fn parse_threshold(text: &[u8], members: usize) -> Result<Threshold, &'static str> {
    match text {
        b"all" => Ok(Threshold::All),
        b"any" => Ok(Threshold::Any),
        _ => decimal::parse(text)
            .ok()
            .and_then(|number| usize::try_from(number).ok())
            .filter(|number| (1..=members).contains(number))
            .map(Threshold::AtLeast)
            .ok_or("a group's threshold is all, any, or a number from 1 to that of its members"),
    }
}
