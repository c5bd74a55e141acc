//! What is thrown: an error of the core as an array of plain values.

use attestlog_core::{Error, NotIncluded, ParseError, VerifyError};
use wasm_bindgen::JsValue;

use crate::plain::array;

/// An error of the core, and which of many proofs it is about.
#[derive(Debug)]
pub struct Refusal {
    error: Error,
    position: Option<u32>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, position: None }
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

impl From<NotIncluded> for Refusal {
    fn from(wrong: NotIncluded) -> Self {
        Self { error: wrong.error.into(), position: u32::try_from(wrong.position).ok() }
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
