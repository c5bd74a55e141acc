//! The parsers one by one, for the vectors of `tests/vectors` that no operation of the package reads as they are.

use attestlog_core::{
    ConsistencyProof, Hash, Policy, SignedNote, TreeHead, TreeSize, VerifierKey, base64, decimal,
};

use crate::answer::{Refusal, put_bytes};
use crate::arguments::Arguments;

/// Puts what the reader of a format writes back of what it has read; of a note, if all the keys have signed it. Of a
/// consistency proof, whether it holds: old root, old size, new size, new root, hashes, all hashes in base64.
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
        105 => {
            let old = TreeHead { size: TreeSize(given.number()), root: Hash::parse_base64(text)? };
            let new = TreeHead { size: TreeSize(given.number()), root: Hash::parse_base64(given.piece())? };
            let mut proof = Vec::new();
            for hash in given.pieces() {
                proof.push(Hash::parse_base64(hash)?);
            }
            ConsistencyProof::new(proof).verify(&old, &new)?;
            Vec::new()
        }
        _ => Vec::new(),
    };
    put_bytes(&read);
    Ok(())
}
