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
use crate::line::first_line;
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
        let mut rest = bytes;
        // The checkpoint has a blank line too: it is the first one that ends the header.
        let mut line = || {
            let (line, after) = first_line(rest).ok_or(ParseError::Receipt)?;
            rest = after;
            Ok::<_, ParseError>(line)
        };
        if line()? != HEADER.as_bytes() {
            return Err(ParseError::Receipt);
        }
        let mut index = line()?;
        let extra = index.strip_prefix(b"extra ").map(parse_extra).transpose()?;
        if extra.is_some() {
            index = line()?;
        }
        let index = decimal::parse(index.strip_prefix(b"index ").ok_or(ParseError::Receipt)?)?;
        let mut hashes = Vec::new();
        loop {
            match line()? {
                [] => break,
                _ if hashes.len() >= MAX_HASHES => return Err(ParseError::Receipt),
                hash => hashes.push(Hash::parse_base64(hash)?),
            }
        }
        let checkpoint = SignedCheckpoint::parse(rest)?;
        Ok(Self { index: LeafIndex(index), extra, proof: InclusionProof::new(hashes), checkpoint })
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
        self.clone().open(entry, policy).map(|(_, checkpoint)| checkpoint)
    }

    /// What [`Receipt::verify`] proves, and the index, of a receipt that is not needed any more.
    ///
    /// # Errors
    /// As [`Receipt::verify`].
    pub fn open(self, entry: &[u8], policy: &Policy) -> Result<(LeafIndex, Checkpoint), Error> {
        let checkpoint = self.checkpoint.open_with(policy)?;
        let root = self.proof.root(&Hash::leaf(entry), self.index, checkpoint.size())?;
        if root == checkpoint.root() {
            Ok((self.index, checkpoint))
        } else {
            Err(VerifyError::RootMismatch.into())
        }
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

/// A line without data would be a second spelling of no line.
fn parse_extra(text: &[u8]) -> Result<Vec<u8>, ParseError> {
    let extra = base64::parse(text)?;
    if extra.is_empty() { Err(ParseError::Receipt) } else { Ok(extra) }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;

    use super::*;
    use crate::error::UncheckedError;
    use crate::key::{KeyType, SigningKey, VerifierKey};
    use crate::tree::TreeSize;

    /// Tessera's test log of fifteen entries, of which "four" is the fourth.
    const VKEY: &str = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx";
    const RECEIPT: &str = "c2sp.org/tlog-proof@v1\n\
        index 3\n\
        Zx8UbF5HHooag6PCFM5LqQe486WIjRTMjNPOdbsS75Q=\n\
        T1X2GdkhUjV3iyufF9b0kVsWFxIU0VI4EpNml2Teci4=\n\
        g0ZoeYWtIV8Q8i+4CmgqPnBvH2il107lyCgTQsyB7H4=\n\
        5jLpqTgjsBDSEX6SgZiRnbTMdTuRd8bQ5tSsAOxe0Ks=\n\
        \n\
        example.com/log/testdata\n\
        15\n\
        rKbDipCvhuX1GZ7g5BBe8sA6BbJ7ja/1nk427v383cs=\n\
        \n\
        \u{2014} example.com/log/testdata M9e0luh4jTG+UMBqOUo9/q+yAEvx1ilBEniMvjf1zfcBOhg+CKubMt53MvIt/uEWP6zdkdIQzd/fmwlM/dlPWF74ewI=\n";
    const SECOND_HASH: &str = "T1X2GdkhUjV3iyufF9b0kVsWFxIU0VI4EpNml2Teci4=\n";

    fn policy() -> Policy {
        Policy::for_log(VerifierKey::parse(VKEY).unwrap()).unwrap()
    }

    fn verified(receipt: &str, entry: &[u8]) -> Result<Checkpoint, Error> {
        Receipt::parse(receipt.as_bytes())?.verify(entry, &policy())
    }

    #[test]
    fn proves_the_fourth_entry_of_tesseras_test_log() {
        let receipt = Receipt::parse(RECEIPT.as_bytes()).unwrap();
        assert_eq!((receipt.index(), receipt.extra()), (LeafIndex(3), None));
        assert_eq!(receipt.format(), RECEIPT);
        assert_eq!(receipt.verify(b"four", &policy()).unwrap().size(), TreeSize(15));
    }

    #[test]
    fn other_bytes_another_index_and_another_hash_do_not_verify() {
        let mismatch = Err(VerifyError::RootMismatch.into());
        assert_eq!(verified(RECEIPT, b"five"), mismatch);
        assert_eq!(verified(&RECEIPT.replace("index 3", "index 2"), b"four"), mismatch);
        assert_eq!(verified(&RECEIPT.replace("T1X2", "T1X3"), b"four"), mismatch);
    }

    #[test]
    fn an_index_beyond_the_tree_and_a_proof_of_another_length_do_not_verify() {
        for index in ["15", "18446744073709551615"] {
            let receipt = RECEIPT.replace("index 3", &format!("index {index}"));
            assert_eq!(verified(&receipt, b"four"), Err(VerifyError::IndexBeyondTree.into()));
        }
        for times in [0, 2] {
            let receipt = RECEIPT.replace(SECOND_HASH, &SECOND_HASH.repeat(times));
            assert_eq!(verified(&receipt, b"four"), Err(VerifyError::ProofLength.into()));
        }
    }

    #[test]
    fn a_policy_without_the_log_leaves_the_receipt_unchecked() {
        let other = SigningKey::new("example.com/log/testdata", KeyType::Log, &[1; 32]).unwrap();
        let policy = Policy::for_log(other.verifier_key().clone()).unwrap();
        let receipt = Receipt::parse(RECEIPT.as_bytes()).unwrap();
        assert_eq!(receipt.verify(b"four", &policy), Err(UncheckedError::NoTrustedSignature.into()));
    }

    #[test]
    fn a_log_of_one_entry_has_a_receipt_without_hashes() {
        let log = SigningKey::new("example.com/log", KeyType::Log, &[1; 32]).unwrap();
        let checkpoint = Checkpoint::sign(&log, TreeSize(1), Hash::leaf(b"only")).unwrap();
        let new = |index, extra| {
            Receipt::new(LeafIndex(index), InclusionProof::new(vec![]), checkpoint.clone().into(), extra)
        };
        let receipt = new(0, Some(b"extra".to_vec())).unwrap();
        let policy = Policy::for_log(log.verifier_key().clone()).unwrap();
        assert_eq!(receipt.verify(b"only", &policy), Ok(checkpoint.clone()));
        assert_eq!(Receipt::parse(receipt.format().as_bytes()), Ok(receipt));

        assert_eq!(new(1, None), Err(ParseError::Receipt));
        assert_eq!(new(0, Some(vec![])), Err(ParseError::Receipt));
        assert!(new(0, Some(vec![0; MAX_EXTRA_BYTES])).is_ok());
        assert_eq!(new(0, Some(vec![0; MAX_EXTRA_BYTES + 1])), Err(ParseError::Receipt));
    }

    #[test]
    fn reads_no_more_hashes_than_a_tree_can_ask_for() {
        let receipt = |hashes: usize| RECEIPT.replace(SECOND_HASH, &SECOND_HASH.repeat(hashes - 3));
        assert!(Receipt::parse(receipt(63).as_bytes()).is_ok());
        assert_eq!(Receipt::parse(receipt(64).as_bytes()), Err(ParseError::Receipt));
    }

    #[test]
    fn rejects_what_is_not_a_receipt() {
        for (from, to, error) in [
            ("@v1", "@v2", ParseError::Receipt),
            ("@v1\n", "@v1\r\n", ParseError::Receipt),
            ("@v1\n", "@v1\n\n", ParseError::Receipt),
            ("index 3\n", "", ParseError::Receipt),
            ("index 3\n", "index 3\nindex 3\n", ParseError::Base64),
            ("index 3\n", "index 3\nextra AA==\n", ParseError::Base64),
            ("index 3\n", "extra AA==\nextra AA==\nindex 3\n", ParseError::Receipt),
            ("index 3\n", "extra \nindex 3\n", ParseError::Receipt),
            ("index 3\n", "extra\nindex 3\n", ParseError::Receipt),
            ("index 3\n", "extra AB==\nindex 3\n", ParseError::Base64),
            ("index 3", "index 03", ParseError::Number),
            ("index 3", "index  3", ParseError::Number),
            ("index 3", "index +3", ParseError::Number),
            ("75Q=\n", "75R=\n", ParseError::Base64),
            ("75Q=\n", "75Q=\r\n", ParseError::Base64),
            ("e0Ks=\n\n", "e0Ks=\n", ParseError::Base64),
            ("15\n", "15\r\n", ParseError::Note),
        ] {
            let receipt = RECEIPT.replacen(from, to, 1);
            assert_eq!(Receipt::parse(receipt.as_bytes()), Err(error), "{from:?} {to:?}");
        }
        for end in 0..RECEIPT.len() {
            assert!(Receipt::parse(&RECEIPT.as_bytes()[..end]).is_err(), "{end}");
        }
    }
}
