//! The pure part of Attestlog: RFC 6962 trees and the C2SP formats, for servers and browsers alike.
//!
//! Nothing here does IO, reads a clock, draws randomness or panics on any input. In reading order:
#![no_std]
#![warn(clippy::std_instead_of_core, clippy::alloc_instead_of_core, clippy::exhaustive_enums)]
#![warn(clippy::indexing_slicing)]

extern crate alloc;

pub mod base64;
mod checkpoint;
mod cosignature;
pub mod decimal;
mod error;
mod hash;
mod inclusion;
mod key;
mod note;
mod policy;
mod receipt;
mod tree;

pub use checkpoint::{Checkpoint, SignedCheckpoint};
pub use error::{Error, ParseError, UncheckedError, VerifyError};
pub use hash::Hash;
pub use inclusion::InclusionProof;
pub use key::{KeyType, SigningKey, VerifierKey};
pub use note::{NoteSignature, SignedNote};
pub use policy::Policy;
pub use receipt::Receipt;
pub use tree::{LeafIndex, TreeSize};
