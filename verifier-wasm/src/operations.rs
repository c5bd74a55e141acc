//! What the verifier does, each as `js/src/verifier.ts` calls it.

use attestlog_core::{
    Checkpoint, ConsistencyProof, Hash, Inclusion, InclusionProof, LeafIndex, LogRead, Policy, Receipt,
    SignedCheckpoint, TileId, TreeSize, VerifierKey, VerifyError, verify_inclusions,
};
use wasm_bindgen::JsValue;

use crate::arguments::Arguments;
use crate::plain::{Array, array, bytes};
use crate::refusal::Refusal;

/// The answer of the operation of that number; nothing for a number that none has.
pub(crate) fn perform(operation: u8, given: &mut Arguments<'_>) -> Result<Array, Refusal> {
    match operation {
        0 => policy_origins(given),
        1 => open_checkpoint(given),
        2 => receipt(given),
        3 => inclusion(given),
        4 => inclusions(given),
        5 => consistency(given),
        6 => parse_proof(given),
        7 => paths(given),
        8 => entries(given),
        9 => tile(given),
        10 => consistency_from_tiles(given),
        #[cfg(feature = "vectors")]
        100.. => crate::vectors::check(operation, given),
        _ => Ok(array([])),
    }
}

/// Policy: the origins of the logs that it trusts.
fn policy_origins(given: &mut Arguments<'_>) -> Result<Array, Refusal> {
    Ok(array(policy(given)?.logs().map(|log| log.name().into())))
}

/// Policy, origin or nothing, signed checkpoint, and 1 if it has been checked before, so that no cosignature is asked
/// for again: its origin, size and root.
fn open_checkpoint(given: &mut Arguments<'_>) -> Result<Array, Refusal> {
    let (mut policy, origin) = (policy(given)?, given.piece());
    if given.number() == 1 {
        policy = policy.without_quorum();
    }
    let checkpoint = SignedCheckpoint::parse(given.piece())?.open_with(&policy)?;
    Ok(array(of_origin(&checkpoint, origin)?))
}

/// Policy, origin or nothing, receipt, entry: the checkpoint's origin, size, root and note, and the entry's index.
fn receipt(given: &mut Arguments<'_>) -> Result<Array, Refusal> {
    let (policy, origin) = (policy(given)?, given.piece());
    let receipt = Receipt::parse(given.piece())?;
    let checkpoint = receipt.verify(given.piece(), &policy)?;
    let answer = array(of_origin(&checkpoint, origin)?);
    answer.push(bytes(checkpoint.format().as_bytes()));
    answer.push(receipt.index().0.into());
    Ok(answer)
}

/// Head, index, entry, proof.
fn inclusion(given: &mut Arguments<'_>) -> Result<Array, Refusal> {
    let (head, index) = (given.head()?, LeafIndex(given.number()));
    let leaf = Hash::leaf(given.piece());
    if InclusionProof::new(given.hashes()?).root(&leaf, index, head.size)? == head.root {
        Ok(array([]))
    } else {
        Err(VerifyError::RootMismatch.into())
    }
}

/// Head, then of each: index, entry, proof.
fn inclusions(given: &mut Arguments<'_>) -> Result<Array, Refusal> {
    let head = given.head()?;
    let (mut entries, mut proofs) = (Vec::new(), Vec::new());
    while given.has_pieces() {
        entries.push(given.piece());
        proofs.push((LeafIndex(given.number()), given.hashes()?));
    }
    let leaves = Hash::leaves(entries);
    let claims = leaves.into_iter().zip(&proofs);
    let claims: Vec<_> =
        claims.map(|(leaf, (index, proof))| Inclusion { index: *index, leaf, proof }).collect();
    verify_inclusions(&claims, &head)?;
    Ok(array([]))
}

/// Old head, new head, proof.
fn consistency(given: &mut Arguments<'_>) -> Result<Array, Refusal> {
    let (old, new) = (given.head()?, given.head()?);
    ConsistencyProof::new(given.hashes()?).verify(&old, &new)?;
    Ok(array([]))
}

/// Hashes in base64: their bytes, one after the other.
fn parse_proof(given: &mut Arguments<'_>) -> Result<Array, Refusal> {
    let mut proof = Vec::new();
    while given.has_pieces() {
        proof.extend_from_slice(&Hash::parse_base64(given.piece())?.0);
    }
    Ok(array([bytes(&proof)]))
}

/// Size, then a read as [`log_read`] takes it: what to fetch below the log's prefix.
fn paths(given: &mut Arguments<'_>) -> Result<Array, Refusal> {
    let size = TreeSize(given.number());
    Ok(array(log_read(given, size)?.paths().iter().map(|path| path.format().into())))
}

/// Head, a read of entries, what was fetched: the first entry's index, then the entries of all the bundles.
fn entries(given: &mut Arguments<'_>) -> Result<Array, Refusal> {
    let head = given.head()?;
    let read = log_read(given, head.size)?;
    let answers = given.pieces();
    let answer = array([read.first().0.into()]);
    for entry in read.open_entries(&answers, &head)? {
        answer.push(bytes(entry));
    }
    Ok(answer)
}

/// Head, a read of a tile, what was fetched.
fn tile(given: &mut Arguments<'_>) -> Result<Array, Refusal> {
    let head = given.head()?;
    log_read(given, head.size)?.open_tile(&given.pieces(), &head)?;
    Ok(array([]))
}

/// New head, old head, a read of consistency, what was fetched.
fn consistency_from_tiles(given: &mut Arguments<'_>) -> Result<Array, Refusal> {
    let (new, old) = (given.head()?, given.head()?);
    log_read(given, new.size)?.verify_consistency(&given.pieces(), &old, &new)?;
    Ok(array([]))
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

/// The checkpoint's origin, size and root, if it is of the log `origin`, or of any if that is empty.
fn of_origin(checkpoint: &Checkpoint, origin: &[u8]) -> Result<[JsValue; 3], VerifyError> {
    if !origin.is_empty() && origin != checkpoint.origin().as_bytes() {
        return Err(VerifyError::OriginMismatch);
    }
    Ok([checkpoint.origin().into(), checkpoint.size().0.into(), bytes(&checkpoint.root().0)])
}
