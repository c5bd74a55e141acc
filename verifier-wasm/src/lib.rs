//! `attestlog-core` for JavaScript: bytes, strings and `bigint` in, plain values out.
//!
//! It converts and does nothing else. What is refused is thrown as an array: the kind, the code and the message of
//! `attestlog_core::Error`, for [`verify_inclusions`] also the position of the proof that is wrong.

mod plain;
mod refusal;

use attestlog_core::{
    Checkpoint, ConsistencyProof, ConsistencyRead, EntriesRead, Hash, Inclusion, InclusionProof, LeafIndex,
    ParseError, Policy, Receipt, SignedCheckpoint, TileId, TilePath, TileRead, TreeHead, TreeSize,
    VerifierKey, VerifyError,
};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::plain::{Array, array, bytes};
use crate::refusal::Refusal;

/// A tenth of the code of the standard library's.
#[global_allocator]
static ALLOCATOR: rlsf::SmallGlobalTlsf = rlsf::SmallGlobalTlsf::new();

/// A signed checkpoint's origin, size and root, if the policy vouches for it and it is of the log `origin`.
#[wasm_bindgen(js_name = openCheckpoint, unchecked_return_type = "[origin: string, size: bigint, root: Uint8Array]")]
pub fn open_checkpoint(note: &[u8], policy: &str, origin: &str) -> Result<Array, Refusal> {
    let checkpoint = SignedCheckpoint::parse(note)?.open_with(&read_policy(policy)?)?;
    of_origin(&checkpoint, origin)?;
    Ok(array(plain(&checkpoint)))
}

/// The origins of the logs that a policy trusts.
#[wasm_bindgen(js_name = policyOrigins, unchecked_return_type = "string[]")]
pub fn policy_origins(policy: &str) -> Result<Array, Refusal> {
    Ok(array(read_policy(policy)?.logs().map(|log| log.name().into())))
}

/// What a receipt proves of `entry`: its index, and the checkpoint that vouches for it.
#[wasm_bindgen(
    js_name = verifyReceipt,
    unchecked_return_type = "[index: bigint, note: Uint8Array, origin: string, size: bigint, root: Uint8Array]"
)]
pub fn verify_receipt(receipt: &[u8], entry: &[u8], policy: &str, origin: &str) -> Result<Array, Refusal> {
    let receipt = Receipt::parse(receipt)?;
    let checkpoint = receipt.verify(entry, &read_policy(policy)?)?;
    of_origin(&checkpoint, origin)?;
    let note = bytes(checkpoint.format().as_bytes());
    Ok(array([receipt.index().0.into(), note].into_iter().chain(plain(&checkpoint))))
}

/// Whether `entry` stands at `index` of the tree; `proof` is hashes, one after the other.
#[wasm_bindgen(js_name = verifyInclusion)]
pub fn verify_inclusion(
    size: u64,
    root: &[u8],
    index: u64,
    entry: &[u8],
    proof: &[u8],
) -> Result<(), Refusal> {
    let head = head(size, root)?;
    let proof = InclusionProof::new(hashes(proof)?);
    if proof.root(&Hash::leaf(entry), LeafIndex(index), head.size)? == head.root {
        Ok(())
    } else {
        Err(VerifyError::RootMismatch.into())
    }
}

/// Whether each of many entries stands at its index of the tree. `lengths` cuts `entries` into the entries; `proofs`
/// has the hashes of one proof after the other, each as many as its index and the size demand.
#[wasm_bindgen(js_name = verifyInclusions)]
pub fn verify_inclusions(
    size: u64,
    root: &[u8],
    indexes: &[u64],
    entries: &[u8],
    lengths: &[u32],
    proofs: &[u8],
) -> Result<(), Refusal> {
    let head = head(size, root)?;
    let (leaves, proofs) = (leaves(entries, lengths)?, hashes(proofs)?);
    if leaves.len() != indexes.len() {
        return Err(ParseError::EntryBundle.into());
    }
    let mut rest = proofs.as_slice();
    let mut inclusions = Vec::with_capacity(indexes.len());
    for (&index, leaf) in indexes.iter().zip(leaves) {
        let index = LeafIndex(index);
        let length = InclusionProof::length(index, head.size)?;
        let (proof, after) = rest.split_at_checked(length).ok_or(VerifyError::ProofLength)?;
        inclusions.push(Inclusion { index, leaf, proof });
        rest = after;
    }
    if !rest.is_empty() {
        return Err(VerifyError::ProofLength.into());
    }
    Ok(attestlog_core::verify_inclusions(&inclusions, &head)?)
}

/// Whether the new tree begins with the old one.
#[wasm_bindgen(js_name = verifyConsistency)]
pub fn verify_consistency(
    old_size: u64,
    old_root: &[u8],
    new_size: u64,
    new_root: &[u8],
    proof: &[u8],
) -> Result<(), Refusal> {
    let (old, new) = (head(old_size, old_root)?, head(new_size, new_root)?);
    Ok(ConsistencyProof::new(hashes(proof)?).verify(&old, &new)?)
}

/// What to fetch below the log's prefix to read the entries `[first, end)`.
#[wasm_bindgen(js_name = entriesPaths, unchecked_return_type = "string[]")]
pub fn entries_paths(size: u64, first: u64, end: u64) -> Result<Array, Refusal> {
    Ok(paths(read(size, first, end)?.paths()))
}

/// The entries of all bundles that hold some of `[first, end)`, if the tree has them: `answers` is what was fetched.
#[wasm_bindgen(js_name = openEntries, unchecked_return_type = "[first: bigint, ...entries: Uint8Array[]]")]
pub fn open_entries(
    size: u64,
    root: &[u8],
    first: u64,
    end: u64,
    answers: &[u8],
    lengths: &[u32],
) -> Result<Array, Refusal> {
    let read = read(size, first, end)?;
    let answers = cut(answers, lengths)?;
    let entries = read.open(&answers, &head(size, root)?)?;
    Ok(array([read.first().0.into()].into_iter().chain(entries.into_iter().map(bytes))))
}

/// What to fetch below the log's prefix to read the first `width` hashes of a tile.
#[wasm_bindgen(js_name = tilePaths, unchecked_return_type = "string[]")]
pub fn tile_paths(size: u64, level: u8, index: u64, width: u32) -> Result<Array, Refusal> {
    Ok(paths(read_tile(size, level, index, width)?.paths()))
}

/// Whether the tree has that tile, the first of `answers`: `answers` is what was fetched.
#[wasm_bindgen(js_name = verifyTile)]
pub fn verify_tile(
    size: u64,
    root: &[u8],
    level: u8,
    index: u64,
    width: u32,
    answers: &[u8],
    lengths: &[u32],
) -> Result<(), Refusal> {
    read_tile(size, level, index, width)?.open(&cut(answers, lengths)?, &head(size, root)?)?;
    Ok(())
}

/// What to fetch below the log's prefix to compare two of its trees.
#[wasm_bindgen(js_name = consistencyPaths, unchecked_return_type = "string[]")]
pub fn consistency_paths(old_size: u64, new_size: u64) -> Result<Array, Refusal> {
    Ok(paths(ConsistencyRead::plan(TreeSize(old_size), TreeSize(new_size))?.paths()))
}

/// Whether the new tree begins with the old one: `answers` is what was fetched.
#[wasm_bindgen(js_name = verifyConsistencyFromTiles)]
pub fn verify_consistency_from_tiles(
    old_size: u64,
    old_root: &[u8],
    new_size: u64,
    new_root: &[u8],
    answers: &[u8],
    lengths: &[u32],
) -> Result<(), Refusal> {
    let (old, new) = (head(old_size, old_root)?, head(new_size, new_root)?);
    Ok(ConsistencyRead::plan(old.size, new.size)?.verify(&cut(answers, lengths)?, &old, &new)?)
}

/// The hashes of a proof from their base64, one a line.
#[wasm_bindgen(js_name = parseProof)]
pub fn parse_proof(lines: &str) -> Result<Vec<u8>, Refusal> {
    let mut hashes = Vec::new();
    for line in lines.as_bytes().chunks(45) {
        hashes.extend_from_slice(&Hash::parse_base64(line.strip_suffix(b"\n").unwrap_or(line))?.0);
    }
    Ok(hashes)
}

/// A policy from its text, or from the one vkey that it trusts.
fn read_policy(text: &str) -> Result<Policy, ParseError> {
    if text.contains([' ', '\n']) { Policy::parse(text) } else { Policy::for_log(VerifierKey::parse(text)?) }
}

fn of_origin(checkpoint: &Checkpoint, origin: &str) -> Result<(), VerifyError> {
    if origin.is_empty() || origin == checkpoint.origin() { Ok(()) } else { Err(VerifyError::OriginMismatch) }
}

fn plain(checkpoint: &Checkpoint) -> [JsValue; 3] {
    [checkpoint.origin().into(), checkpoint.size().0.into(), bytes(&checkpoint.root().0)]
}

fn head(size: u64, root: &[u8]) -> Result<TreeHead, ParseError> {
    let root = Hash::from_slice(root).ok_or(ParseError::Tile)?;
    Ok(TreeHead { size: TreeSize(size), root })
}

fn hashes(bytes: &[u8]) -> Result<Vec<Hash>, VerifyError> {
    let (hashes, rest) = bytes.as_chunks();
    if rest.is_empty() {
        Ok(hashes.iter().copied().map(Hash).collect())
    } else {
        Err(VerifyError::ProofLength)
    }
}

fn read(size: u64, first: u64, end: u64) -> Result<EntriesRead, VerifyError> {
    EntriesRead::plan(LeafIndex(first)..LeafIndex(end), TreeSize(size))
}

fn read_tile(size: u64, level: u8, index: u64, width: u32) -> Result<TileRead, VerifyError> {
    let width = usize::try_from(width).unwrap_or(usize::MAX);
    TileRead::plan(TileId { level, index }, width, TreeSize(size))
}

fn paths(paths: impl Iterator<Item = TilePath>) -> Array {
    array(paths.map(|path| path.format().into()))
}

fn leaves(entries: &[u8], lengths: &[u32]) -> Result<Vec<Hash>, ParseError> {
    Ok(Hash::leaves(cut(entries, lengths)?))
}

/// The pieces of `bytes` that have these lengths, and leave nothing.
fn cut<'a>(bytes: &'a [u8], lengths: &[u32]) -> Result<Vec<&'a [u8]>, ParseError> {
    let mut rest = bytes;
    let mut pieces = Vec::with_capacity(lengths.len());
    for &length in lengths {
        let length = usize::try_from(length).map_err(|_| ParseError::EntryBundle)?;
        let (piece, after) = rest.split_at_checked(length).ok_or(ParseError::EntryBundle)?;
        pieces.push(piece);
        rest = after;
    }
    if rest.is_empty() { Ok(pieces) } else { Err(ParseError::EntryBundle) }
}
