//! Four plain words, for tests of what `simd128.rs` does with a vector.

/// A word of each of four messages, or four words of one.
#[derive(Clone, Copy)]
pub(super) struct Four([u32; 4]);

impl Four {
    pub(super) const fn splat(word: u32) -> Self {
        Self([word; 4])
    }

    pub(super) fn add(self, other: Self) -> Self {
        self.zip(other, u32::wrapping_add)
    }

    pub(super) fn xor(self, other: Self) -> Self {
        self.zip(other, |a, b| a ^ b)
    }

    pub(super) fn and(self, other: Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    pub(super) fn shr(self, bits: u32) -> Self {
        Self(self.0.map(|word| word >> bits))
    }

    pub(super) fn rotate_right(self, bits: u32) -> Self {
        Self(self.0.map(|word| word.rotate_right(bits)))
    }

    pub(super) fn from_be_bytes(bytes: &[u8; 16]) -> Self {
        Self(core::array::from_fn(|at| u32::from_be_bytes(bytes.as_chunks().0[at])))
    }

    pub(super) fn to_be_bytes(self) -> [u8; 16] {
        core::array::from_fn(|at| self.0[at / 4].to_be_bytes()[at % 4])
    }

    pub(super) fn transpose(rows: [Self; 4]) -> [Self; 4] {
        core::array::from_fn(|at| Self(rows.map(|row| row.0[at])))
    }

    fn zip(self, other: Self, operation: impl Fn(u32, u32) -> u32) -> Self {
        Self(core::array::from_fn(|at| operation(self.0[at], other.0[at])))
    }
}

impl From<[u32; 4]> for Four {
    fn from(words: [u32; 4]) -> Self {
        Self(words)
    }
}
