//! What the verifier does, each as `js/src/verifier.ts` calls it.

use attestlog_core::{
    Checkpoint, ConsistencyProof, ConsistencyRead, EntriesRead, Hash, Inclusion, InclusionProof, LeafIndex,
    ParseError, Policy, Receipt, SignedCheckpoint, TileId, TilePath, TileRead, TreeSize, VerifierKey,
    VerifyError, verify_inclusions,
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
        7 => entries_paths(given),
        8 => entries(given),
        9 => tile_paths(given),
        10 => tile(given),
        11 => consistency_paths(given),
        12 => consistency_from_tiles(given),
        _ => Ok(array([])),
    }
}

/// Policy: the origins of the logs that it trusts.
fn policy_origins(given: &mut Arguments<'_>) -> Result<Array, Refusal> {
    Ok(array(policy(given)?.logs().map(|log| log.name().into())))
}

/// Policy, origin or nothing, signed checkpoint: its origin, size and root.
fn open_checkpoint(given: &mut Arguments<'_>) -> Result<Array, Refusal> {
    let (policy, origin) = (policy(given)?, given.piece());
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

/// Size, first index, end: what to fetch below the log's prefix to read these entries.
fn entries_paths(given: &mut Arguments<'_>) -> Result<Array, Refusal> {
    let size = TreeSize(given.number());
    Ok(paths(entries_read(given, size)?.paths()))
}

/// Head, first index, end, what was fetched: the first entry's index, then the entries of all the bundles.
fn entries(given: &mut Arguments<'_>) -> Result<Array, Refusal> {
    let head = given.head()?;
    let read = entries_read(given, head.size)?;
    let answers = given.pieces();
    let answer = array([read.first().0.into()]);
    for entry in read.open(&answers, &head)? {
        answer.push(bytes(entry));
    }
    Ok(answer)
}

fn entries_read(given: &mut Arguments<'_>, size: TreeSize) -> Result<EntriesRead, VerifyError> {
    EntriesRead::plan(LeafIndex(given.number())..LeafIndex(given.number()), size)
}

/// Size, level, index and width of a tile: what to fetch to read it, itself first.
fn tile_paths(given: &mut Arguments<'_>) -> Result<Array, Refusal> {
    let size = TreeSize(given.number());
    Ok(paths(tile_read(given, size)?.paths()))
}

/// Head, level, index and width of a tile, what was fetched.
fn tile(given: &mut Arguments<'_>) -> Result<Array, Refusal> {
    let head = given.head()?;
    tile_read(given, head.size)?.open(&given.pieces(), &head)?;
    Ok(array([]))
}

fn tile_read(given: &mut Arguments<'_>, size: TreeSize) -> Result<TileRead, VerifyError> {
    let tile = TileId { level: given.count()?, index: given.number() };
    TileRead::plan(tile, given.count()?, size)
}

/// Old size, new size: what to fetch to compare the two trees.
fn consistency_paths(given: &mut Arguments<'_>) -> Result<Array, Refusal> {
    let read = ConsistencyRead::plan(TreeSize(given.number()), TreeSize(given.number()))?;
    Ok(paths(read.paths()))
}

/// Old head, new head, what was fetched.
fn consistency_from_tiles(given: &mut Arguments<'_>) -> Result<Array, Refusal> {
    let (old, new) = (given.head()?, given.head()?);
    ConsistencyRead::plan(old.size, new.size)?.verify(&given.pieces(), &old, &new)?;
    Ok(array([]))
}

fn paths(paths: impl Iterator<Item = TilePath>) -> Array {
    array(paths.map(|path| path.format().into()))
}

/// A policy from its text, or from the one vkey that it trusts.
fn policy(given: &mut Arguments<'_>) -> Result<Policy, ParseError> {
    let text = given.piece();
    if text.contains(&b'\n') { Policy::parse(text) } else { Policy::for_log(VerifierKey::parse(text)?) }
}

/// The checkpoint's origin, size and root, if it is of the log `origin`, or of any if that is empty.
fn of_origin(checkpoint: &Checkpoint, origin: &[u8]) -> Result<[JsValue; 3], VerifyError> {
    if !origin.is_empty() && origin != checkpoint.origin().as_bytes() {
        return Err(VerifyError::OriginMismatch);
    }
    Ok([checkpoint.origin().into(), checkpoint.size().0.into(), bytes(&checkpoint.root().0)])
}
