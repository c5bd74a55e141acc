//! Cosignatures: a witness's signed statement that it saw a checkpoint, consistent with all before, and when.
//!
//! Implements `tlog-cosignature` for Ed25519 (type 0x04). It does not implement ML-DSA-44 (0x06), talk to a witness,
//! or look at a clock: a time is POSIX seconds, given by or to the caller.

use alloc::string::String;

use crate::checkpoint::Checkpoint;
use crate::error::{Error, ParseError, VerifyError};
use crate::key::{KeyType, SigningKey, VerifierKey};
use crate::note::NoteSignature;

/// The latest time that the specification allows.
const MAX_TIME: u64 = u64::MAX >> 1;

impl Checkpoint {
    /// The signature line by which `witness` says that at `time_seconds` this is the largest tree of its log that it
    /// has seen, and that it is consistent with all that it saw before. Whoever calls this has checked that.
    ///
    /// # Errors
    /// [`ParseError::VerifierKey`] when `witness` is not a witness's key; [`ParseError::Number`] for a time beyond
    /// 2^63 - 1.
    pub fn cosign(&self, witness: &SigningKey, time_seconds: u64) -> Result<NoteSignature, ParseError> {
        if witness.verifier_key().key_type() != KeyType::Witness {
            return Err(ParseError::VerifierKey);
        }
        if time_seconds > MAX_TIME {
            return Err(ParseError::Number);
        }
        let signature = witness.sign(message(time_seconds, self.signed_note().text()).as_bytes());
        Ok(NoteSignature::by(witness, [&time_seconds.to_be_bytes()[..], &signature].concat()))
    }

    /// When `witness` cosigned this checkpoint, in POSIX seconds; `None` if it did not or is not a witness's key.
    ///
    /// # Errors
    /// [`VerifyError::BadSignature`] for a line with the witness's name and id that it did not make.
    pub fn cosigned_at(&self, witness: &VerifierKey) -> Result<Option<u64>, VerifyError> {
        let note = self.signed_note();
        match note.signature_by(witness) {
            Some(line) if witness.key_type() == KeyType::Witness => {
                verify(witness, note.text(), line).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Adds the line by which `witness` cosigns this checkpoint, in place of an earlier one by the same key.
    ///
    /// # Errors
    /// [`VerifyError::BadSignature`] for a line that `witness` did not make for this checkpoint;
    /// [`ParseError::VerifierKey`] when it is not a witness's key; [`ParseError::Note`] when the note is full.
    pub fn add_cosignature(&mut self, witness: &VerifierKey, line: NoteSignature) -> Result<(), Error> {
        if witness.key_type() != KeyType::Witness {
            return Err(ParseError::VerifierKey.into());
        }
        if !line.claims(witness) {
            return Err(VerifyError::BadSignature.into());
        }
        verify(witness, self.signed_note().text(), &line)?;
        Ok(self.signed_note_mut().put(line)?)
    }
}

/// The time at which `witness` cosigned the checkpoint whose note text is `text`, in POSIX seconds.
pub(crate) fn verify(witness: &VerifierKey, text: &str, line: &NoteSignature) -> Result<u64, VerifyError> {
    let (&time, signature) = line.signature().split_first_chunk().ok_or(VerifyError::BadSignature)?;
    let time = u64::from_be_bytes(time);
    if time > MAX_TIME {
        return Err(VerifyError::BadSignature);
    }
    witness.verify(message(time, text).as_bytes(), signature)?;
    Ok(time)
}

/// What a witness signs: two lines of its own, then the checkpoint's text, extension lines and last `\n` included.
fn message(time_seconds: u64, text: &str) -> String {
    alloc::format!("cosignature/v1\ntime {time_seconds}\n{text}")
}
