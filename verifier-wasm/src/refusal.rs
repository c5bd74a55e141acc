//! What is thrown: the kind and the code of an error of the core, and the place that is at fault.

use attestlog_core::{Error, NotIncluded, ParseError, PolicyError, VerifyError};
use wasm_bindgen::JsValue;

use crate::plain::array;

/// An error of the core, and the place that it is about: one of many proofs, or a line.
#[derive(Debug)]
pub struct Refusal {
    error: Error,
    place: Option<u32>,
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
        Self { error: error.into(), place: Some(error.line) }
    }
}

impl From<NotIncluded> for Refusal {
    fn from(wrong: NotIncluded) -> Self {
        Self { error: wrong.error.into(), place: u32::try_from(wrong.position).ok() }
    }
}

impl From<Refusal> for JsValue {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal.error {
            Error::Parse(_) => "parse",
            Error::Verify(_) => "verify",
            Error::Unchecked(_) => "unchecked",
        };
        let thrown = array([kind.into(), refusal.error.code().into()]);
        if let Some(place) = refusal.place {
            thrown.push(place.into());
        }
        thrown.into()
    }
}
