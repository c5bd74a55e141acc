//! What is answered: values that JavaScript puts one after the other into an array.

use attestlog_core::{Error, NotIncluded, ParseError, PolicyError, VerifyError};
use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen(raw_module = "../answer.js")]
extern "C" {
    #[wasm_bindgen(js_name = putNumber)]
    pub(crate) fn put_number(number: u64);

    /// Puts the string that these bytes are in UTF-8. JavaScript reads it in fewer bytes of code than the bindings.
    #[wasm_bindgen(js_name = putText)]
    pub(crate) fn put_text(text: &[u8]);

    /// Puts a copy.
    #[wasm_bindgen(js_name = putBytes)]
    pub(crate) fn put_bytes(bytes: &[u8]);
}

/// An error of the core, and the place that it is about: one of many proofs, or a line.
#[derive(Debug)]
pub(crate) struct Refusal {
    error: Error,
    place: Option<u64>,
}

impl Refusal {
    /// Puts the kind, which is the place of a class in `js/src/engine.ts`, the code and the place.
    pub(crate) fn put(&self) {
        put_number(match self.error {
            Error::Parse(_) => 0,
            Error::Verify(_) => 1,
            Error::Unchecked(_) => 2,
        });
        put_text(self.error.code().as_bytes());
        if let Some(place) = self.place {
            put_number(place);
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, place: None }
    }
}

impl From<ParseError> for Refusal {
    fn from(error: ParseError) -> Self {
        Error::from(error).into()
    }
}

impl From<VerifyError> for Refusal {
    fn from(error: VerifyError) -> Self {
        Error::from(error).into()
    }
}

impl From<PolicyError> for Refusal {
    fn from(error: PolicyError) -> Self {
        Self { error: error.into(), place: Some(error.line.into()) }
    }
}

impl From<NotIncluded> for Refusal {
    fn from(wrong: NotIncluded) -> Self {
        Self { error: wrong.error.into(), place: Some(wrong.position as u64) }
    }
}
