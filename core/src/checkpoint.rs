//! Checkpoints: a log's signed statement that its tree of so many leaves has this root.
//!
//! Implements `tlog-checkpoint` (note text, signatures) with Ed25519. It does not compare two checkpoints; that is a
//! consistency proof's work. A [`SignedCheckpoint`] has been read and not verified, and gives nothing away; the only
//! way to a [`Checkpoint`] is to open one with trusted keys, or to sign it.

use alloc::string::{String, ToString};

use crate::decimal;
use crate::error::{Error, ParseError, UncheckedError, VerifyError};
use crate::hash::Hash;
use crate::key::{KeyType, SigningKey, VerifierKey};
use crate::line::first_line;
use crate::note::{NoteSignature, SignedNote};
use crate::policy::Policy;
use crate::tree::TreeSize;

/// The longest origin in bytes.
const MAX_ORIGIN_BYTES: usize = 255;

/// A checkpoint that was read, and that nobody has vouched for yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    note: SignedNote,
    head: Head,
}

/// A checkpoint whose signatures hold under the keys it was opened with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint(SignedCheckpoint);

/// The first three lines of a checkpoint's text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Head {
    origin: String,
    size: TreeSize,
    root: Hash,
}

impl SignedCheckpoint {
    /// Reads a signed note whose text is a checkpoint. Extension lines are kept and mean nothing.
    ///
    /// # Errors
    /// What [`SignedNote::parse`] refuses; [`ParseError::Checkpoint`] for fewer than three lines, an empty line, or
    /// an origin that is longer than 255 bytes or holds a control character; [`ParseError::Number`] for the size;
    /// [`ParseError::Base64`] for the root.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let note = SignedNote::parse(bytes)?;
        let head = Head::parse(note.text())?;
        Ok(Self { note, head })
    }

    /// The checkpoint's bytes; for one that was parsed, exactly those.
    #[must_use]
    pub fn format(&self) -> String {
        self.note.format()
    }

    /// The checkpoint, if `log` has signed it and its origin is that key's name.
    ///
    /// # Errors
    /// [`VerifyError::BadSignature`], [`VerifyError::OriginMismatch`], [`VerifyError::RootMismatch`] for an empty
    /// tree with a root that no empty tree has; [`UncheckedError::NoTrustedSignature`] when `log` has not signed or
    /// is not a log's key.
    pub fn open(self, log: &VerifierKey) -> Result<Checkpoint, Error> {
        let signers = self.note.verify([log])?;
        self.check_log(&signers)?;
        Ok(Checkpoint(self))
    }

    /// The checkpoint, if any one log of `policy` has signed it and enough witnesses have cosigned.
    ///
    /// # Errors
    /// As [`SignedCheckpoint::open`], where a bad signature by any log or witness of the policy counts, and
    /// [`UncheckedError::QuorumNotMet`].
    pub fn open_with(self, policy: &Policy) -> Result<Checkpoint, Error> {
        let signers = self.note.verify(policy.logs().chain(policy.witnesses()))?;
        self.check_log(&signers)?;
        if policy.is_quorum(&signers) {
            Ok(Checkpoint(self))
        } else {
            Err(UncheckedError::QuorumNotMet.into())
        }
    }

    /// Whether one of `signers` is the key of the log that the origin names.
    fn check_log(&self, signers: &[&VerifierKey]) -> Result<(), Error> {
        let is_log = |key: &&VerifierKey| key.key_type() == KeyType::Log;
        if !signers.iter().any(is_log) {
            return Err(UncheckedError::NoTrustedSignature.into());
        }
        if !signers.iter().any(|key| is_log(key) && key.name() == self.head.origin) {
            return Err(VerifyError::OriginMismatch.into());
        }
        if self.head.is_possible() { Ok(()) } else { Err(VerifyError::RootMismatch.into()) }
    }

    /// The number of leaves that the log is said to have signed.
    pub(crate) const fn unverified_size(&self) -> TreeSize {
        self.head.size
    }
}

impl Checkpoint {
    /// Signs the head of the log whose name is `log`'s; three lines, no extensions.
    ///
    /// Whoever calls this promises that the tree extends every tree that the log has signed before.
    ///
    /// # Errors
    /// [`ParseError::VerifierKey`] when `log` is not a log's key; [`ParseError::Checkpoint`] for an empty tree with
    /// a root that no empty tree has.
    pub fn sign(log: &SigningKey, size: TreeSize, root: Hash) -> Result<Self, ParseError> {
        if log.verifier_key().key_type() != KeyType::Log {
            return Err(ParseError::VerifierKey);
        }
        let head = Head { origin: log.verifier_key().name().to_string(), size, root };
        if !head.is_possible() {
            return Err(ParseError::Checkpoint);
        }
        let text = alloc::format!("{}\n{size}\n{root}\n", head.origin);
        let signature = NoteSignature::by(log, log.sign(text.as_bytes()).to_vec());
        Ok(Self(SignedCheckpoint { note: SignedNote::new(&text, signature), head }))
    }

    /// The log's unique name.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.0.head.origin
    }

    /// The number of leaves.
    #[must_use]
    pub const fn size(&self) -> TreeSize {
        self.0.head.size
    }

    /// The root of the tree of that many leaves.
    #[must_use]
    pub const fn root(&self) -> Hash {
        self.0.head.root
    }

    /// The note with all its signatures, those by unknown keys too.
    #[must_use]
    pub const fn signed_note(&self) -> &SignedNote {
        &self.0.note
    }

    /// What was opened.
    pub(crate) const fn as_signed(&self) -> &SignedCheckpoint {
        &self.0
    }

    /// The note, to add a verified cosignature to.
    pub(crate) const fn signed_note_mut(&mut self) -> &mut SignedNote {
        &mut self.0.note
    }

    /// The checkpoint's bytes, which anyone may [parse](SignedCheckpoint::parse) and open again.
    #[must_use]
    pub fn format(&self) -> String {
        self.0.format()
    }
}

impl From<Checkpoint> for SignedCheckpoint {
    fn from(checkpoint: Checkpoint) -> Self {
        checkpoint.0
    }
}

impl Head {
    fn parse(text: &str) -> Result<Self, ParseError> {
        let text = text.as_bytes();
        let (origin, rest) = first_line(text).ok_or(ParseError::Checkpoint)?;
        let (size, rest) = first_line(rest).ok_or(ParseError::Checkpoint)?;
        let (root, extensions) = first_line(rest).ok_or(ParseError::Checkpoint)?;
        let has_empty_line = text.starts_with(b"\n") || text.windows(2).any(|pair| pair == b"\n\n");
        let ends = extensions.is_empty() || extensions.ends_with(b"\n");
        let origin = core::str::from_utf8(origin).map_err(|_| ParseError::Checkpoint)?;
        if has_empty_line || !ends || origin.len() > MAX_ORIGIN_BYTES || origin.chars().any(char::is_control)
        {
            return Err(ParseError::Checkpoint);
        }
        let (size, root) = (decimal::parse(size)?, Hash::parse_base64(root)?);
        Ok(Self { origin: origin.into(), size: TreeSize(size), root })
    }

    /// Whether there can be such a tree: that of no leaves has but one root (RFC 6962 §2.1).
    fn is_possible(&self) -> bool {
        self.size != TreeSize(0) || self.root == Hash::EMPTY_ROOT
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    /// Of sigsum's test data: Ed25519 seed 0x11 and 31 zeros.
    const ORIGIN: &str =
        "sigsum.org/v1/tree/e796172b92befd62d9dc67e41c2f5bc9d3100a3023b20b1ca40288dd1c679e69";
    const ROOT: &str = "HA5HAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const BLOB: &str =
        "gJ2ho0n8F8olcerUF1FFdv235A/5as/coWrpLrtE7ovMeP5whgwouYExowG/lTznxu6OUGjjt5yJQ6bXtTcf718MqAQ=";

    fn root() -> Hash {
        Hash::parse_base64(ROOT.as_bytes()).unwrap()
    }

    fn sigsum_key() -> SigningKey {
        let mut seed = [0; 32];
        seed[0] = 0x11;
        SigningKey::new(ORIGIN, KeyType::Log, &seed).unwrap()
    }

    fn key(name: &str, key_type: KeyType) -> SigningKey {
        SigningKey::new(name, key_type, &[1; 32]).unwrap()
    }

    /// A note of any text with a valid signature.
    fn signed(text: &str, key: &SigningKey) -> Result<SignedCheckpoint, ParseError> {
        let line = NoteSignature::by(key, key.sign(text.as_bytes()).to_vec());
        SignedCheckpoint::parse(SignedNote::new(text, line).format().as_bytes())
    }

    #[test]
    fn signs_what_sigsum_signs() {
        let key = sigsum_key();
        let checkpoint = Checkpoint::sign(&key, TreeSize(10), root()).unwrap();
        let text = format!("{ORIGIN}\n10\n{ROOT}\n\n\u{2014} {ORIGIN} {BLOB}\n");
        assert_eq!(checkpoint.format(), text);

        let opened = SignedCheckpoint::parse(text.as_bytes()).unwrap().open(key.verifier_key()).unwrap();
        assert_eq!(opened, checkpoint);
        assert_eq!((opened.origin(), opened.size(), opened.root()), (ORIGIN, TreeSize(10), root()));
    }

    #[test]
    fn opens_only_for_the_key_that_signed_it() {
        let signed = SignedCheckpoint::from(Checkpoint::sign(&sigsum_key(), TreeSize(10), root()).unwrap());
        for key_type in [KeyType::Log, KeyType::Witness] {
            let other = key(ORIGIN, key_type);
            let refused = signed.clone().open(other.verifier_key());
            assert_eq!(refused, Err(UncheckedError::NoTrustedSignature.into()));
        }
    }

    #[test]
    fn a_changed_line_is_a_bad_signature() {
        let key = sigsum_key();
        let text = Checkpoint::sign(&key, TreeSize(10), root()).unwrap().format();
        for changed in [text.replacen("\n10\n", "\n11\n", 1), text.replacen("HA5H", "HA5I", 1)] {
            let signed = SignedCheckpoint::parse(changed.as_bytes()).unwrap();
            assert_eq!(signed.open(key.verifier_key()), Err(VerifyError::BadSignature.into()));
        }
    }

    #[test]
    fn a_key_signs_for_its_own_origin_only() {
        let key = key("example.com/a", KeyType::Log);
        let signed = signed(&format!("example.com/b\n10\n{ROOT}\n"), &key).unwrap();
        assert_eq!(signed.open(key.verifier_key()), Err(VerifyError::OriginMismatch.into()));
    }

    #[test]
    fn an_empty_tree_has_one_root() {
        let key = key("example.com/a", KeyType::Log);
        let checkpoint = Checkpoint::sign(&key, TreeSize(0), Hash::EMPTY_ROOT).unwrap();
        assert!(SignedCheckpoint::from(checkpoint).open(key.verifier_key()).is_ok());
        assert_eq!(Checkpoint::sign(&key, TreeSize(0), root()), Err(ParseError::Checkpoint));
        let signed = signed(&format!("example.com/a\n0\n{ROOT}\n"), &key).unwrap();
        assert_eq!(signed.open(key.verifier_key()), Err(VerifyError::RootMismatch.into()));
    }

    #[test]
    fn a_witness_key_signs_no_checkpoint() {
        let witness = key("example.com/a", KeyType::Witness);
        assert_eq!(Checkpoint::sign(&witness, TreeSize(10), root()), Err(ParseError::VerifierKey));
    }

    #[test]
    fn extension_lines_are_kept() {
        let key = key("example.com/a", KeyType::Log);
        let text = format!("example.com/a\n10\n{ROOT}\nextension 1\n2\n");
        let opened = signed(&text, &key).unwrap().open(key.verifier_key()).unwrap();
        assert_eq!(opened.signed_note().text(), text);
    }

    #[test]
    fn rejects_texts_that_are_no_checkpoints() {
        let key = key("example.com/a", KeyType::Log);
        let long = "o".repeat(256);
        for (text, error) in [
            (String::new(), ParseError::Checkpoint),
            ("origin".to_string(), ParseError::Checkpoint),
            ("origin\n10".to_string(), ParseError::Checkpoint),
            (format!("\n10\n{ROOT}"), ParseError::Checkpoint),
            (format!("{long}\n10\n{ROOT}"), ParseError::Checkpoint),
            (format!("a\u{7f}\n10\n{ROOT}"), ParseError::Checkpoint),
            (format!("origin\n10\n{ROOT}\n"), ParseError::Checkpoint),
            (format!("origin\n10\n{ROOT}\n\nextension"), ParseError::Checkpoint),
            (format!("origin\n010\n{ROOT}"), ParseError::Number),
            (format!("origin\n18446744073709551616\n{ROOT}"), ParseError::Number),
            (format!("origin\n10\n{ROOT} "), ParseError::Base64),
            ("origin\n10\nAAAA".to_string(), ParseError::Base64),
        ] {
            assert_eq!(signed(&format!("{text}\n"), &key), Err(error), "{text:?}");
        }
        assert!(signed(&format!("{}\n18446744073709551615\n{ROOT}\n", &long[1..]), &key).is_ok());
    }
}
