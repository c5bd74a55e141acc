//! The parsers one by one, for the vectors of `tests/vectors` that no operation of the package reads as they are.

use attestlog_core::{Policy, SignedNote, VerifierKey, base64, decimal};

use crate::answer::{Refusal, put_bytes};
use crate::arguments::Arguments;

/// Puts what the reader of a format writes back of what it has read; of a note, if all the keys have signed it.
pub(crate) fn check(operation: u8, given: &mut Arguments<'_>) -> Result<(), Refusal> {
    let text = given.piece();
    let read = match operation {
        100 => base64::format(&base64::parse(text)?).into_bytes(),
        101 => decimal::parse(text)?.to_string().into_bytes(),
        102 => VerifierKey::parse(text)?.to_string().into_bytes(),
        103 => Policy::parse(text)?.format(),
        104 => {
            let note = SignedNote::parse(text)?;
            let mut keys = Vec::new();
            for key in given.pieces() {
                keys.push(VerifierKey::parse(key)?);
            }
            note.verify(&keys)?;
            note.format().into_bytes()
        }
        _ => Vec::new(),
    };
    put_bytes(&read);
    Ok(())
}
