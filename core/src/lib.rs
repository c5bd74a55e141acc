//! The pure part of Attestlog: RFC 6962 trees and the C2SP formats, for servers and browsers alike.
//!
//! Nothing here does IO, reads a clock, draws randomness or panics on any input. In reading order:
#![no_std]
#![warn(clippy::std_instead_of_core, clippy::alloc_instead_of_core, clippy::exhaustive_enums)]
#![warn(clippy::indexing_slicing)]

extern crate alloc;

mod base64;
mod decimal;
mod error;
mod hash;

pub use error::{Error, ParseError, UncheckedError, VerifyError};
pub use hash::Hash;
