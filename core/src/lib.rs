//! The pure part of Attestlog: RFC 6962 trees and the C2SP formats, for servers and browsers alike.
//!
//! Nothing here does IO, reads a clock, draws randomness or panics on any input. In reading order: [`Hash`](struct@Hash); the
//! tree's shape ([`LeafIndex`], [`TreeSize`], [`NodeId`]); the proofs; tiles and entry bundles; [`RightEdge`] to
//! append; keys and signed notes; [`Checkpoint`], [`Policy`] and [`Receipt`]; [`LogRead`] to read a
//! served log. Of what entries hold it knows one thing, the form of an event's time: [`is_rfc3339`].
#![no_std]
#![warn(clippy::std_instead_of_core, clippy::alloc_instead_of_core)]
#![warn(clippy::exhaustive_enums)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

extern crate alloc;

pub mod base64;
pub mod decimal;

mod checkpoint;
mod consistency;
mod cosignature;
mod entry_bundle;
mod error;
mod fips180;
mod hash;
mod inclusion;
mod inclusion_batch;
mod key;
#[cfg(any(test, target_feature = "simd128"))]
mod lanes;
mod line;
mod log_read;
mod note;
mod policy;
mod receipt;
mod rfc3339;
mod right_edge;
#[cfg(not(target_feature = "simd128"))]
mod sha256;
mod tile;
mod tree;

pub use checkpoint::{Checkpoint, SignedCheckpoint};
pub use consistency::ConsistencyProof;
pub use entry_bundle::{MAX_ENTRY_SIZE, extend_bundle, format_bundle, parse_bundle, validate_entry_size};
pub use error::{Error, ParseError, PolicyError, PolicyFault, UncheckedError, VerifyError};
pub use hash::Hash;
pub use inclusion::InclusionProof;
pub use inclusion_batch::{Inclusion, NotIncluded, verify_inclusions};
pub use key::{KeyType, SigningKey, VerifierKey};
pub use log_read::LogRead;
pub use note::{NoteSignature, SignedNote};
pub use policy::Policy;
pub use receipt::Receipt;
pub use rfc3339::is_rfc3339;
#[cfg(not(target_feature = "simd128"))]
pub use right_edge::tile_roots;
pub use right_edge::{FullTile, RightEdge};
pub use tile::{TILE_WIDTH, TileId, TilePath, format_tile, node_hash, parse_tile, perfect_root};
pub use tree::{LeafIndex, NodeId, TreeHead, TreeSize, peaks, root_of_peaks};
