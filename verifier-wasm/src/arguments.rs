//! What an operation is called with.

use attestlog_core::{Hash, ParseError, TreeHead, TreeSize, VerifyError};

/// The arguments that have not been taken yet. Those that are missing are 0 and empty.
#[derive(Debug)]
pub(crate) struct Arguments<'a> {
    numbers: &'a [[u8; 8]],
    bytes: &'a [u8],
}

impl<'a> Arguments<'a> {
    pub(crate) fn new(numbers: usize, bytes: &'a [u8]) -> Self {
        let (numbers, bytes) = bytes.split_at_checked(8 * numbers).unwrap_or_default();
        Self { numbers: numbers.as_chunks().0, bytes }
    }

    pub(crate) fn number(&mut self) -> u64 {
        let (first, rest) = self.numbers.split_first().unwrap_or((&[0; 8], &[]));
        self.numbers = rest;
        u64::from_le_bytes(*first)
    }

    /// A number that an operation counts by.
    pub(crate) fn count<T: TryFrom<u64>>(&mut self) -> Result<T, VerifyError> {
        T::try_from(self.number()).map_err(|_| VerifyError::IndexBeyondTree)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The next piece of bytes.
    pub(crate) fn piece(&mut self) -> &'a [u8] {
        let length = usize::try_from(self.number()).unwrap_or(usize::MAX);
        let (piece, bytes) = self.bytes.split_at_checked(length).unwrap_or_default();
        self.bytes = bytes;
        piece
    }

    /// All that is left, which is pieces.
    pub(crate) fn pieces(&mut self) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        while !self.is_empty() {
            pieces.push(self.piece());
        }
        pieces
    }

    /// A size and a root.
    pub(crate) fn head(&mut self) -> Result<TreeHead, ParseError> {
        let size = TreeSize(self.number());
        let root = Hash::from_slice(self.piece()).ok_or(ParseError::Tile)?;
        Ok(TreeHead { size, root })
    }

    /// The bytes of hashes, one after the other.
    pub(crate) fn chunks(&mut self) -> Result<&'a [[u8; Hash::LEN]], VerifyError> {
        let (hashes, rest) = self.piece().as_chunks();
        if rest.is_empty() { Ok(hashes) } else { Err(VerifyError::ProofLength) }
    }

    /// Hashes, one after the other.
    pub(crate) fn hashes(&mut self) -> Result<Vec<Hash>, VerifyError> {
        Ok(self.chunks()?.iter().copied().map(Hash).collect())
    }
}
