//! Cosignatures: a witness's signed statement that it saw a checkpoint, consistent with all before, and when.
//!
//! Implements `tlog-cosignature` for Ed25519 (type 0x04). It does not implement ML-DSA-44 (0x06), talk to a witness,
//! or look at a clock: a time is POSIX seconds, given by or to the caller.

use alloc::string::String;

use crate::checkpoint::Checkpoint;
use crate::decimal;
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
    ["cosignature/v1\ntime ", &decimal::format(time_seconds), "\n", text].concat()
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::*;
    use crate::base64;
    use crate::checkpoint::SignedCheckpoint;
    use crate::error::UncheckedError;
    use crate::hash::Hash;
    use crate::policy::Policy;
    use crate::tree::TreeSize;

    /// What the Ed25519 seed 0x11 and 31 zeros says at time 1234 about `checkpoint()`.
    const LINE: &str = "\u{2014} example.org/witness ys8uUAAAAAAAAATSftMzceM8zssdZ9jin9SjwIxzx9iADMf63VqirX2hafol9RsqNqbofIz0LVRqHXI2kpEBSki5RTXFtxz1vo9+Cg==";

    fn log() -> SigningKey {
        SigningKey::new("example.org/log", KeyType::Log, &[2; 32]).unwrap()
    }

    fn witness() -> SigningKey {
        let mut seed = [0; 32];
        seed[0] = 0x11;
        SigningKey::new("example.org/witness", KeyType::Witness, &seed).unwrap()
    }

    fn checkpoint() -> Checkpoint {
        let root = Hash::parse_base64(b"HA5HAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
        Checkpoint::sign(&log(), TreeSize(10), root).unwrap()
    }

    /// The checkpoint with one more line, opened by a policy that asks for the witness.
    fn opened_with(line: &str) -> Result<Checkpoint, Error> {
        let (log, witness) = (log(), witness());
        let (log, witness) = (log.verifier_key(), witness.verifier_key());
        let policy = Policy::parse(format!("log {log}\nwitness W {witness}\nquorum W\n"))?;
        SignedCheckpoint::parse(format!("{}{line}\n", checkpoint().format()).as_bytes())?.open_with(&policy)
    }

    fn line_with(change: impl Fn(&mut Vec<u8>)) -> String {
        let (start, blob) = LINE.rsplit_once(' ').unwrap();
        let mut blob = base64::parse(blob.as_bytes()).unwrap();
        change(&mut blob);
        format!("{start} {}", base64::format(&blob))
    }

    #[test]
    fn cosigns_as_the_specification_does() {
        assert_eq!(checkpoint().cosign(&witness(), 1234).unwrap().to_string(), LINE);
        assert_eq!(opened_with(LINE).unwrap().cosigned_at(witness().verifier_key()), Ok(Some(1234)));
    }

    #[test]
    fn a_newer_cosignature_takes_the_place_of_the_older() {
        let (witness, mut checkpoint) = (witness(), checkpoint());
        assert_eq!(checkpoint.cosigned_at(witness.verifier_key()), Ok(None));
        for time in [1234, 1235] {
            let line = checkpoint.cosign(&witness, time).unwrap();
            checkpoint.add_cosignature(witness.verifier_key(), line).unwrap();
            assert_eq!(checkpoint.cosigned_at(witness.verifier_key()), Ok(Some(time)));
            assert_eq!(checkpoint.signed_note().signatures().len(), 2);
        }
        let again = SignedCheckpoint::parse(checkpoint.format().as_bytes()).unwrap();
        assert_eq!(again.open(log().verifier_key()), Ok(checkpoint));
    }

    #[test]
    fn a_line_that_the_witness_did_not_make_for_this_checkpoint_is_not_added() {
        let (log, witness, mut checkpoint) = (log(), witness(), checkpoint());
        let other = Checkpoint::sign(&log, TreeSize(11), checkpoint.root()).unwrap();
        let renamed = LINE.replace("example.org/witness", "example.org/other");
        for line in [other.cosign(&witness, 1234).unwrap(), NoteSignature::parse(renamed).unwrap()] {
            let refused = checkpoint.add_cosignature(witness.verifier_key(), line);
            assert_eq!(refused, Err(VerifyError::BadSignature.into()));
        }
        let line = NoteSignature::parse(LINE).unwrap();
        let refused = checkpoint.add_cosignature(log.verifier_key(), line);
        assert_eq!(refused, Err(ParseError::VerifierKey.into()));
        assert_eq!(checkpoint, self::checkpoint());
    }

    #[test]
    fn another_time_and_a_short_line_are_bad_signatures() {
        let swapped = line_with(|blob| blob[4..12].reverse());
        let short = line_with(|blob| blob.truncate(11));
        let long = line_with(|blob| blob.push(0));
        for line in [swapped, short, long] {
            assert_eq!(opened_with(&line), Err(VerifyError::BadSignature.into()), "{line}");
        }
    }

    #[test]
    fn a_time_beyond_the_limit_is_refused_even_if_signed() {
        let (witness, checkpoint) = (witness(), checkpoint());
        assert!(checkpoint.cosign(&witness, MAX_TIME).is_ok());
        assert_eq!(checkpoint.cosign(&witness, MAX_TIME + 1), Err(ParseError::Number));
        let time = MAX_TIME + 1;
        let signature = witness.sign(message(time, checkpoint.signed_note().text()).as_bytes());
        let line = NoteSignature::by(&witness, [&time.to_be_bytes()[..], &signature].concat());
        assert_eq!(opened_with(&line.to_string()), Err(VerifyError::BadSignature.into()));
    }

    #[test]
    fn a_log_key_does_not_cosign() {
        assert_eq!(checkpoint().cosign(&log(), 1234), Err(ParseError::VerifierKey));
        assert_eq!(checkpoint().cosigned_at(log().verifier_key()), Ok(None));
    }

    #[test]
    fn a_cosignature_by_an_unknown_witness_counts_for_nothing() {
        let unknown = LINE.replace("example.org/witness", "example.org/other");
        assert_eq!(opened_with(&unknown), Err(UncheckedError::QuorumNotMet.into()));
    }
}
