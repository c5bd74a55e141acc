//! `attestlog-core` for JavaScript: bytes and `bigint` in, plain values out.
//!
//! It converts and does nothing else. There is one door, [`call`], since each function of its own would cost more code
//! to pass its arguments than to run; `js/src/verifier.ts` gives the operations their names and types.

mod arena;
mod arguments;
mod operations;
mod plain;
mod refusal;
#[cfg(feature = "vectors")]
mod vectors;

use wasm_bindgen::prelude::wasm_bindgen;

use crate::arguments::Arguments;
use crate::plain::Array;
use crate::refusal::Refusal;

/// Does `operation`, one of `js/src/verifier.ts`, with these arguments: numbers, and pieces of bytes of these lengths.
///
/// What is refused is thrown as an array: the kind and the code of `attestlog_core::Error`, and for many proofs or a
/// policy the position of the proof or the line that is at fault.
#[wasm_bindgen]
pub fn call(operation: u8, numbers: &[u64], bytes: &[u8], lengths: &[u32]) -> Result<Array, Refusal> {
    operations::perform(operation, &mut Arguments::new(numbers, bytes, lengths))
}
