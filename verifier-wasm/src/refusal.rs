//! What is thrown: an error of the core as an array of plain values.

use attestlog_core::Error;
use wasm_bindgen::JsValue;

use crate::plain::array;

/// An error of the core, and which of many proofs it is about.
#[derive(Debug)]
pub struct Refusal {
    error: Error,
    position: Option<u32>,
}

impl<E: Into<Error>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self { error: error.into(), position: None }
    }
}

impl From<Refusal> for JsValue {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal.error {
            Error::Parse(_) => "parse",
            Error::Verify(_) => "verify",
            Error::Unchecked(_) => "unchecked",
        };
        let thrown = [kind.into(), refusal.error.code().into(), "".into()];
        array(thrown.into_iter().chain(refusal.position.map(JsValue::from))).into()
    }
}
