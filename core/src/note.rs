//! Signed notes: a text, a blank line, and lines with signatures over the text.
//!
//! Implements `signed-note` (format, signatures). It does not know what the text says: checkpoints do. A parsed note
//! is not verified; until [`SignedNote::verify`] has found a trusted key, its text means nothing.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::base64;
use crate::cosignature;
use crate::error::{ParseError, VerifyError};
use crate::key::{KeyType, SigningKey, VerifierKey, is_key_name};
use crate::line::{first_line, split_once};

/// The largest note in bytes.
const MAX_BYTES: usize = 1_000_000;

/// The most signature lines of a note; the specification asks for at least 16.
const MAX_SIGNATURES: usize = 64;

/// An em dash (U+2014), no other dash, and a blank begin a signature line.
const LINE_START: &str = "\u{2014} ";

/// One signature line, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    name: String,
    key_id: [u8; 4],
    signature: Vec<u8>,
}

impl NoteSignature {
    /// Reads one line without its line end: `— NAME BASE64(key id || signature)`.
    ///
    /// # Errors
    /// [`ParseError::Note`], or [`ParseError::Base64`] for what follows the name.
    pub fn parse(line: impl AsRef<[u8]>) -> Result<Self, ParseError> {
        let line = line.as_ref().strip_prefix(LINE_START.as_bytes()).ok_or(ParseError::Note)?;
        let (name, blob) = split_once(line, b' ').ok_or(ParseError::Note)?;
        let name = core::str::from_utf8(name).map_err(|_| ParseError::Note)?;
        if !is_note_text(name) || !is_key_name(name) {
            return Err(ParseError::Note);
        }
        let blob = base64::parse(blob)?;
        let (&key_id, signature) = blob
            .split_first_chunk()
            .filter(|(_, signature)| !signature.is_empty())
            .ok_or(ParseError::Note)?;
        Ok(Self { name: name.to_string(), key_id, signature: signature.to_vec() })
    }

    /// What `key` says with these bytes after its key id.
    pub(crate) fn by(key: &SigningKey, signature: Vec<u8>) -> Self {
        let key = key.verifier_key();
        Self { name: key.name().to_string(), key_id: key.key_id(), signature }
    }

    /// The line without its line end.
    #[must_use]
    pub fn format(&self) -> String {
        let blob = [&self.key_id[..], &self.signature].concat();
        [LINE_START, &self.name, " ", &base64::format(&blob)].concat()
    }

    /// The name of the key that is said to have signed.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of the key that is said to have signed.
    #[must_use]
    pub const fn key_id(&self) -> [u8; 4] {
        self.key_id
    }

    /// The bytes after the key id.
    pub(crate) fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Whether the line claims to be by `key`: name and id together tell, neither does alone.
    pub(crate) fn claims(&self, key: &VerifierKey) -> bool {
        self.key_id == key.key_id() && self.name == key.name()
    }

    fn is_by_the_key_of(&self, other: &Self) -> bool {
        self.key_id == other.key_id && self.name == other.name
    }

    /// Whether `key` has signed the note whose text is `text` with this line.
    pub(crate) fn verify(&self, key: &VerifierKey, text: &str) -> Result<(), VerifyError> {
        match key.key_type() {
            KeyType::Log => key.verify(text.as_bytes(), &self.signature),
            KeyType::Witness => cosignature::verify(key, text, self).map(|_time| ()),
        }
    }
}

/// The line without its line end.
impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format())
    }
}

/// A note with its signatures, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    note: String,
    /// How much of the note is the text, with its last `\n`, in bytes.
    text_length: usize,
    signatures: Vec<NoteSignature>,
}

impl SignedNote {
    /// Reads a whole note.
    ///
    /// # Errors
    /// [`ParseError::Note`] for a note that is not UTF-8, holds a control character other than `\n`, does not end in
    /// `\n`, has no blank line, no signature line, more than 64 of them, two by the same name and key id, or more
    /// than 1,000,000 bytes; [`ParseError::Base64`] for a signature that is not canonical base64.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        if bytes.len() > MAX_BYTES {
            return Err(ParseError::Note);
        }
        let note =
            core::str::from_utf8(bytes).ok().filter(|note| is_note_text(note)).ok_or(ParseError::Note)?;
        // The text may hold blank lines: the last one ends it.
        let end = bytes.windows(2).rposition(|pair| pair == b"\n\n").ok_or(ParseError::Note)?;
        let mut lines = bytes.get(end + 2..).ok_or(ParseError::Note)?;
        let mut signatures = Vec::new();
        while !lines.is_empty() {
            let (line, rest) = first_line(lines).ok_or(ParseError::Note)?;
            let signature = NoteSignature::parse(line)?;
            if signatures.len() >= MAX_SIGNATURES
                || signatures.iter().any(|line| signature.is_by_the_key_of(line))
            {
                return Err(ParseError::Note);
            }
            signatures.push(signature);
            lines = rest;
        }
        if signatures.is_empty() {
            return Err(ParseError::Note);
        }
        Ok(Self { note: note.into(), text_length: end + 1, signatures })
    }

    /// A note of that text, which ends in `\n`, with one signature.
    pub(crate) fn new(text: &str, signature: NoteSignature) -> Self {
        Self::of(text, alloc::vec![signature])
    }

    fn of(text: &str, signatures: Vec<NoteSignature>) -> Self {
        let mut note = [text, "\n"].concat();
        for signature in &signatures {
            note.push_str(&signature.format());
            note.push('\n');
        }
        Self { note, text_length: text.len(), signatures }
    }

    /// The note's bytes; for a note that was parsed, exactly those.
    #[must_use]
    pub fn format(&self) -> String {
        self.note.clone()
    }

    /// What [`SignedNote::format`] gives a copy of.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.note
    }

    /// What is signed: the text with its last `\n`, without the blank line.
    #[must_use]
    pub fn text(&self) -> &str {
        self.note.get(..self.text_length).unwrap_or_default()
    }

    /// The signature lines in their order, at least one.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Those of `keys` that have signed the text. Lines by other keys are ignored, as the specification demands.
    ///
    /// # Errors
    /// [`VerifyError::BadSignature`] when a line has the name and the id of one of `keys` and that key did not sign:
    /// someone forged it, so nothing in the note is to be believed.
    pub fn verify<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k VerifierKey>,
    ) -> Result<Vec<&'k VerifierKey>, VerifyError> {
        let mut signers = Vec::new();
        for key in keys {
            if let Some(signature) = self.signature_by(key) {
                signature.verify(key, self.text())?;
                signers.push(key);
            }
        }
        Ok(signers)
    }

    /// The line that claims to be by `key`; there is at most one.
    pub(crate) fn signature_by(&self, key: &VerifierKey) -> Option<&NoteSignature> {
        self.signatures.iter().find(|signature| signature.claims(key))
    }

    /// Adds a line, in place of the one by the same name and key id if there is one.
    ///
    /// # Errors
    /// [`ParseError::Note`] when the note would have more lines or bytes than a note may have.
    pub(crate) fn put(&mut self, signature: NoteSignature) -> Result<(), ParseError> {
        let mut signatures = self.signatures.clone();
        signatures.retain(|line| !line.is_by_the_key_of(&signature));
        signatures.push(signature);
        let note = Self::of(self.text(), signatures);
        if note.signatures.len() > MAX_SIGNATURES || note.note.len() > MAX_BYTES {
            return Err(ParseError::Note);
        }
        *self = note;
        Ok(())
    }
}

/// Whether there is no ASCII control character but `\n`; the specification leaves U+007F to U+009F alone.
fn is_note_text(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'\n' || byte >= b' ')
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;

    use super::*;

    /// The example of `signed-note`.
    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const BLOB: &str =
        "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=";

    fn key() -> VerifierKey {
        VerifierKey::parse(VKEY).unwrap()
    }

    fn example() -> String {
        format!("This is an example message.\n\n\u{2014} example.com/foo {BLOB}\n")
    }

    /// A line by a key that nobody knows.
    fn line(n: u8) -> String {
        format!("\u{2014} unknown.example {}\n", base64::format(&[0, 0, 0, n, 1]))
    }

    #[test]
    fn the_example_of_the_specification_verifies_and_round_trips() {
        let note = SignedNote::parse(example().as_bytes()).unwrap();
        assert_eq!(note.text(), "This is an example message.\n");
        assert_eq!(note.format(), example());
        assert_eq!(note.verify([&key()]), Ok(vec![&key()]));
    }

    #[test]
    fn a_bad_signature_by_a_known_key_rejects_the_note() {
        for forged in [example().replace("This", "That"), example().replace(BLOB, "Uw2QOgA=")] {
            let note = SignedNote::parse(forged.as_bytes()).unwrap();
            assert_eq!(note.verify([&key()]), Err(VerifyError::BadSignature));
        }
    }

    #[test]
    fn a_line_that_shares_only_the_name_or_only_the_id_is_ignored() {
        for line in ["\u{2014} example.com/foo AAAAAAA=", "\u{2014} example.com/bar Uw2QOgA="] {
            let note = SignedNote::parse(format!("{}{line}\n", example()).as_bytes()).unwrap();
            assert_eq!(note.verify([&key()]), Ok(vec![&key()]));
        }
    }

    #[test]
    fn the_last_blank_line_ends_the_text() {
        for text in ["\n", "a\n", "a\n\nb\n", "a\n\n", "\n\n\n", "\u{2014} a AAAAAAA=\n"] {
            let note = format!("{text}\n{}", line(1));
            assert_eq!(SignedNote::parse(note.as_bytes()).unwrap().text(), text);
        }
    }

    #[test]
    fn sixty_four_signatures_are_read_and_one_more_is_not() {
        let note = |lines| format!("text\n\n{}", (0..lines).map(line).collect::<String>());
        for (lines, expected) in [(1, true), (16, true), (64, true), (65, false), (0, false)] {
            assert_eq!(SignedNote::parse(note(lines).as_bytes()).is_ok(), expected, "{lines}");
        }
    }

    #[test]
    fn a_million_bytes_are_read_and_one_more_is_not() {
        let tail = format!("\n\n{}", line(1));
        let note = |bytes: usize| "t".repeat(bytes - tail.len()) + &tail;
        assert!(SignedNote::parse(note(1_000_000).as_bytes()).is_ok());
        assert_eq!(SignedNote::parse(note(1_000_001).as_bytes()), Err(ParseError::Note));
    }

    #[test]
    fn a_full_note_takes_no_more_lines_but_a_newer_one() {
        let note = format!("text\n\n{}", (0..64).map(line).collect::<String>());
        let mut note = SignedNote::parse(note.as_bytes()).unwrap();
        let full = note.clone();
        let signature = |n| NoteSignature::parse(line(n).trim_end()).unwrap();
        assert_eq!(note.put(signature(64)), Err(ParseError::Note));
        assert_eq!(note, full);
        assert_eq!(note.put(signature(63)), Ok(()));
        assert_eq!(note, full);
    }

    #[test]
    fn rejects_what_is_not_a_note() {
        let signed = |line: &str| format!("text\n\n{line}");
        for note in [
            String::new(),
            "\n".to_string(),
            "text\n".to_string(),
            "text\n\n".to_string(),
            format!("text\n{}", line(1)),
            format!("\n{}", line(1)),
            format!("text\r\n\n{}", line(1)),
            format!("te\txt\n\n{}", line(1)),
            signed(line(1).trim_end()),
            signed(&line(1).repeat(2)),
            signed(&format!("{}\n", line(1))),
            signed(&line(1).replace('\u{2014}', "\u{2013}")),
            signed(&line(1).replace('\u{2014}', "-")),
            signed(&line(1).replace("\u{2014} ", "\u{2014}")),
            signed(&line(1).replace("\u{2014} ", "\u{2014}  ")),
            signed(&line(1).replace("unknown.example", "")),
            signed(&line(1).replace("unknown.example", "a+b")),
            signed(&line(1).replace("unknown.example", "a\u{a0}b")),
            signed("\u{2014} unknown.example\n"),
            signed("\u{2014} unknown.example AAAAAQ==\n"),
        ] {
            assert_eq!(SignedNote::parse(note.as_bytes()), Err(ParseError::Note), "{note:?}");
        }
        assert_eq!(SignedNote::parse(b"\xff\n\n"), Err(ParseError::Note));
    }

    #[test]
    fn rejects_base64_that_is_not_canonical() {
        for blob in ["AAAAAQE", "AAAAAQF=", "AAAA AQE=", "AAAAAQE= "] {
            let note = format!("text\n\n\u{2014} unknown.example {blob}\n");
            assert_eq!(SignedNote::parse(note.as_bytes()), Err(ParseError::Base64), "{note:?}");
        }
    }
}
