//! `attestlog-core` for JavaScript: bytes and `bigint` in, plain values out.
//!
//! It converts and does nothing else. There is one door, [`call`], since each function of its own would cost more code
//! to pass its arguments than to run; `js/src/verifier.ts` gives the operations their names and types.

mod answer;
mod arena;
mod arguments;
mod operations;
#[cfg(feature = "vectors")]
mod vectors;

use wasm_bindgen::prelude::wasm_bindgen;

use crate::arguments::Arguments;

/// Does `operation`, one of `js/src/verifier.ts`, with arguments in the order in which it takes them: first so many
/// `numbers` of 64 bits, little-endian, which are the numbers themselves and of each piece its length; then the pieces.
///
/// Whether it holds. The answer is put into an array of JavaScript's: what is asked for, or the kind and the code of
/// `attestlog_core::Error` and, for many proofs or a policy, the position of the proof or the line that is at fault.
#[wasm_bindgen]
pub fn call(operation: u8, numbers: usize, bytes: &[u8]) -> bool {
    let result = operations::perform(operation, &mut Arguments::new(numbers, bytes));
    if let Err(refusal) = &result {
        refusal.put();
    }
    result.is_ok()
}
