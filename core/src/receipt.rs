//! Receipts: one file that proves, offline, that an entry is in a log.
//!
//! Implements `tlog-proof` v1. The file holds neither the entry nor any key: whoever verifies brings the bytes and a
//! policy. It proves inclusion at one checkpoint, not that the log has only grown since.

use alloc::string::String;
use alloc::vec::Vec;

use crate::base64;
use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::decimal;
use crate::error::{Error, ParseError, VerifyError};
use crate::hash::Hash;
use crate::inclusion::InclusionProof;
use crate::policy::Policy;
use crate::tree::LeafIndex;

/// The first line.
const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The most hashes that lead from a leaf to a root: the specifications count trees of up to 2^63 leaves.
const MAX_HASHES: usize = 63;

/// The most extra data in a receipt that we write, in bytes: readers exist that stop at lines of 64 KiB.
const MAX_EXTRA_BYTES: usize = 49_146;

/// A receipt, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    index: LeafIndex,
    extra: Option<Vec<u8>>,
    proof: InclusionProof,
    checkpoint: SignedCheckpoint,
}

impl Receipt {
    /// The receipt for the entry at `index` under `checkpoint`. Nothing authenticates `extra`.
    ///
    /// # Errors
    /// [`ParseError::Receipt`] for an index beyond the checkpoint's tree, more than 63 hashes, and extra data of no
    /// bytes or more than 49,146.
    pub fn new(
        index: LeafIndex,
        proof: InclusionProof,
        checkpoint: SignedCheckpoint,
        extra: Option<Vec<u8>>,
    ) -> Result<Self, ParseError> {
        let fits = extra.as_ref().is_none_or(|extra| (1..=MAX_EXTRA_BYTES).contains(&extra.len()));
        if !fits || proof.hashes().len() > MAX_HASHES || index.0 >= checkpoint.unverified_size().0 {
            return Err(ParseError::Receipt);
        }
        Ok(Self { index, extra, proof, checkpoint })
    }

    /// Reads a `.tlog-proof` file.
    ///
    /// # Errors
    /// [`ParseError::Receipt`] for another header or version, lines missing, repeated or out of order, empty extra
    /// data, and more than 63 hashes; [`ParseError::Number`] and [`ParseError::Base64`] for what stands in the
    /// lines; and what [`SignedCheckpoint::parse`] refuses.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let (header, checkpoint) = split_at_blank_line(bytes).ok_or(ParseError::Receipt)?;
        let mut lines = header.split(|&byte| byte == b'\n').peekable();
        if lines.next() != Some(HEADER.as_bytes()) {
            return Err(ParseError::Receipt);
        }
        let extra =
            lines.peek().and_then(|line| line.strip_prefix(b"extra ")).map(parse_extra).transpose()?;
        if extra.is_some() {
            lines.next();
        }
        let index = lines.next().and_then(|line| line.strip_prefix(b"index ")).ok_or(ParseError::Receipt)?;
        let index = LeafIndex(decimal::parse(index)?);
        let hashes = lines.map(Hash::parse_base64).collect::<Result<Vec<_>, _>>()?;
        if hashes.len() > MAX_HASHES {
            return Err(ParseError::Receipt);
        }
        let checkpoint = SignedCheckpoint::parse(checkpoint)?;
        Ok(Self { index, extra, proof: InclusionProof::new(hashes), checkpoint })
    }

    /// The file's bytes; for one that was parsed, exactly those.
    #[must_use]
    pub fn format(&self) -> String {
        let mut text = alloc::format!("{HEADER}\n");
        if let Some(extra) = &self.extra {
            text.push_str(&alloc::format!("extra {}\n", base64::format(extra)));
        }
        text.push_str(&alloc::format!("index {}\n", self.index));
        for hash in self.proof.hashes() {
            text.push_str(&alloc::format!("{hash}\n"));
        }
        text.push('\n');
        text.push_str(&self.checkpoint.format());
        text
    }

    /// The index that the entry is said to have. [`Receipt::verify`] proves it.
    #[must_use]
    pub const fn index(&self) -> LeafIndex {
        self.index
    }

    /// The extra data. Nothing proves it: no signature and no hash covers it.
    #[must_use]
    pub fn extra(&self) -> Option<&[u8]> {
        self.extra.as_deref()
    }

    /// Proves that the log has `entry`, these very bytes, at [`Receipt::index`]; the checkpoint that it is proven by.
    ///
    /// # Errors
    /// What [`SignedCheckpoint::open_with`] refuses; [`VerifyError::IndexBeyondTree`]; [`VerifyError::ProofLength`];
    /// [`VerifyError::RootMismatch`] when the log has other bytes there.
    pub fn verify(&self, entry: &[u8], policy: &Policy) -> Result<Checkpoint, Error> {
        let checkpoint = self.checkpoint.clone().open_with(policy)?;
        let root = self.proof.root(&Hash::leaf(entry), self.index, checkpoint.size())?;
        if root == checkpoint.root() { Ok(checkpoint) } else { Err(VerifyError::RootMismatch.into()) }
    }

    /// Proves the same by a checkpoint that was opened before, which saves checking its signatures for each of many
    /// receipts.
    ///
    /// # Errors
    /// [`VerifyError::IndexBeyondTree`], [`VerifyError::ProofLength`] and [`VerifyError::RootMismatch`] as
    /// [`Receipt::verify`]; the last also if the receipt has any other checkpoint than this one.
    pub fn verify_under(&self, entry: &[u8], checkpoint: &Checkpoint) -> Result<(), VerifyError> {
        let root = self.proof.root(&Hash::leaf(entry), self.index, checkpoint.size())?;
        let proven = root == checkpoint.root() && self.checkpoint == *checkpoint.as_signed();
        if proven { Ok(()) } else { Err(VerifyError::RootMismatch) }
    }
}

/// What stands before the first blank line, without its line end, and what stands after it. The checkpoint has a
/// blank line too, so this is not the last one.
fn split_at_blank_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n")?;
    let (header, rest) = bytes.split_at_checked(end)?;
    Some((header, rest.strip_prefix(b"\n\n")?))
}

/// A line without data would be a second spelling of no line.
fn parse_extra(text: &[u8]) -> Result<Vec<u8>, ParseError> {
    let extra = base64::parse(text)?;
    if extra.is_empty() { Err(ParseError::Receipt) } else { Ok(extra) }
}
