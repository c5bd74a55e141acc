//! `attestlog-core` for JavaScript: bytes, strings and `bigint` in, plain values out.
//!
//! It converts and does nothing else. What is refused is thrown as an array: the kind, the code and the message of
//! `attestlog_core::Error`, for [`verify_inclusions`] also the position of the proof that is wrong.

mod plain;
mod refusal;

use attestlog_core::{
    Checkpoint, ConsistencyProof, Hash, InclusionProof, LeafIndex, ParseError, Policy, Receipt,
    SignedCheckpoint, TreeHead, TreeSize, VerifierKey, VerifyError,
};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::plain::{Array, array, bytes};
use crate::refusal::Refusal;

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
#[global_allocator]
static ALLOCATOR: rlsf::SmallGlobalTlsf = rlsf::SmallGlobalTlsf::new();
