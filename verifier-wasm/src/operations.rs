//! What the verifier does, each as `js/src/verifier.ts` calls it.

use crate::answer::{Refusal, put_bytes, put_number, put_text};
use crate::arguments::Arguments;
use attestlog_core::{
    Checkpoint, Hash, Inclusion, InclusionProof, LeafIndex, LogRead, Policy, Receipt, SignedCheckpoint,
    TileId, TreeSize, VerifierKey, VerifyError, verify_inclusions,
};

/// Puts the answer of the operation of that number; nothing for a number that none has.
pub(crate) fn perform(operation: u8, given: &mut Arguments<'_>) -> Result<(), Refusal> {
    match operation {
        0 => policy_origins(given),
        1 => open_checkpoint(given),
        2 => receipt(given),
        3 => inclusion(given),
        4 => inclusions(given),
        5 => parse_proof(given),
        6 => paths(given),
        7 => entries(given),
        8 => tile(given),
        9 => consistency(given),
        #[cfg(feature = "vectors")]
        100.. => crate::vectors::check(operation, given),
        _ => Ok(()),
    }
}

/// Policy: the origins of the logs that it trusts.
fn policy_origins(given: &mut Arguments<'_>) -> Result<(), Refusal> {
    for log in policy(given)?.logs() {
        put_text(log.name().as_bytes());
    }
    Ok(())
}

/// Policy, origin or nothing, signed checkpoint, and 1 if it has been checked before, so that no cosignature is asked
/// for again: its origin, size and root.
fn open_checkpoint(given: &mut Arguments<'_>) -> Result<(), Refusal> {
    let (mut policy, origin, note) = (policy(given)?, given.piece(), given.piece());
    if given.number() == 1 {
        policy = policy.without_quorum();
    }
    let checkpoint = SignedCheckpoint::parse(note)?.open_with(&policy)?;
    Ok(put_checkpoint(&checkpoint, origin)?)
}

/// Policy, origin or nothing, receipt, entry: the checkpoint's origin, size, root and note, and the entry's index.
fn receipt(given: &mut Arguments<'_>) -> Result<(), Refusal> {
    let (policy, origin) = (policy(given)?, given.piece());
    let receipt = Receipt::parse(given.piece())?;
    let (index, checkpoint) = receipt.open(given.piece(), &policy)?;
    put_checkpoint(&checkpoint, origin)?;
    put_bytes(checkpoint.signed_note().as_str().as_bytes());
    put_number(index.0);
    Ok(())
}

/// Head, index, entry, proof.
fn inclusion(given: &mut Arguments<'_>) -> Result<(), Refusal> {
    let (head, index) = (given.head()?, LeafIndex(given.number()));
    let leaf = Hash::leaf(given.piece());
    if InclusionProof::new(given.hashes()?).root(&leaf, index, head.size)? == head.root {
        Ok(())
    } else {
        Err(VerifyError::RootMismatch.into())
    }
}

/// Head, then of each: index, entry, proof.
fn inclusions(given: &mut Arguments<'_>) -> Result<(), Refusal> {
    let head = given.head()?;
    let (mut entries, mut proofs) = (Vec::new(), Vec::new());
    while !given.is_empty() {
        entries.push(given.piece());
        proofs.push((LeafIndex(given.number()), given.chunks()?));
    }
    let leaves = Hash::leaves(entries);
    let claims = leaves.into_iter().zip(&proofs);
    let claims: Vec<_> = claims.map(|(leaf, &(index, proof))| Inclusion { index, leaf, proof }).collect();
    verify_inclusions(&claims, &head)?;
    Ok(())
}

/// Hashes in base64: their bytes, one after the other.
fn parse_proof(given: &mut Arguments<'_>) -> Result<(), Refusal> {
    let mut proof = Vec::new();
    while !given.is_empty() {
        proof.extend_from_slice(&Hash::parse_base64(given.piece())?.0);
    }
    put_bytes(&proof);
    Ok(())
}

/// Size, then a read as [`log_read`] takes it: what to fetch below the log's prefix.
fn paths(given: &mut Arguments<'_>) -> Result<(), Refusal> {
    let size = TreeSize(given.number());
    for path in log_read(given, size)?.paths() {
        put_text(path.format().as_bytes());
    }
    Ok(())
}

/// Head, a read of entries, what was fetched: the first entry's index, then the entries of all the bundles.
fn entries(given: &mut Arguments<'_>) -> Result<(), Refusal> {
    let head = given.head()?;
    let read = log_read(given, head.size)?;
    let answers = given.pieces();
    let entries = read.open_entries(&answers, &head)?;
    put_number(read.first().0);
    for entry in entries {
        put_bytes(entry);
    }
    Ok(())
}

/// Head, a read of a tile, what was fetched.
fn tile(given: &mut Arguments<'_>) -> Result<(), Refusal> {
    let head = given.head()?;
    log_read(given, head.size)?.open_tile(&given.pieces(), &head)?;
    Ok(())
}

/// New head, old head, a read of consistency, what was fetched.
fn consistency(given: &mut Arguments<'_>) -> Result<(), Refusal> {
    let (new, old) = (given.head()?, given.head()?);
    log_read(given, new.size)?.verify_consistency(&given.pieces(), &old, &new)?;
    Ok(())
}

/// 0, first index, end: entries. 1, level, index, width: a tile. 2, old size: consistency.
fn log_read(given: &mut Arguments<'_>, size: TreeSize) -> Result<LogRead, VerifyError> {
    match given.number() {
        0 => LogRead::entries(LeafIndex(given.number())..LeafIndex(given.number()), size),
        1 => {
            let tile = TileId { level: given.count()?, index: given.number() };
            LogRead::tile(tile, given.count()?, size)
        }
        _ => LogRead::consistency(TreeSize(given.number()), size),
    }
}

/// A policy from its text, or from the one vkey that it trusts.
fn policy(given: &mut Arguments<'_>) -> Result<Policy, Refusal> {
    let text = given.piece();
    if text.contains(&b'\n') {
        Ok(Policy::parse(text)?)
    } else {
        Ok(Policy::for_log(VerifierKey::parse(text)?)?)
    }
}

/// Puts origin, size and root, if they are of the log `origin`, or of any if that is empty.
fn put_checkpoint(checkpoint: &Checkpoint, origin: &[u8]) -> Result<(), VerifyError> {
    if !origin.is_empty() && origin != checkpoint.origin().as_bytes() {
        return Err(VerifyError::OriginMismatch);
    }
    put_text(checkpoint.origin().as_bytes());
    put_number(checkpoint.size().0);
    put_bytes(&checkpoint.root().0);
    Ok(())
}
