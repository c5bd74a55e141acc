//! The postings of a term in blocks: packed small enough for a row, split when they grow.
//!
//! A block's first posting is its key. Those after it follow packed: the time since the posting before, then the step of
//! the index, both as LEB128, the step with its sign in the lowest bit.

/// The most postings of a block: some 700 bytes, so that a page of hits is one row and an update rewrites little.
pub const BLOCK_POSTINGS: usize = 128;

/// Where an event is: the order in which events are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Microseconds since 1970.
    pub time: i64,
    /// The leaf index.
    pub index: u64,
}

impl Place {
    /// Before every place.
    pub const FIRST: Self = Self { time: i64::MIN, index: 0 };

    /// After every place: no index is as large.
    pub const LAST: Self = Self { time: i64::MAX, index: u64::MAX >> 1 };

    /// The least place after this one.
    #[must_use]
    pub const fn successor(self) -> Self {
        Self { time: self.time, index: self.index.saturating_add(1) }
    }

    /// The greatest place before this one.
    #[must_use]
    pub const fn predecessor(self) -> Self {
        match self.index.checked_sub(1) {
            Some(index) => Self { time: self.time, index },
            None => Self { time: self.time.saturating_sub(1), index: Self::LAST.index },
        }
    }
}

/// A block of a term as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its first posting.
    pub first: Place,
    /// Those after it, packed.
    pub rest: Vec<u8>,
}

/// A block that this program has not packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a block of the search index cannot be read: make it again with \"attestlog reindex\"")]
pub struct BadBlock;

impl Block {
    /// Packs places, which are in ascending order; `None` if there are none.
    #[must_use]
    pub fn pack(places: &[Place]) -> Option<Self> {
        let (first, after) = places.split_first()?;
        let (mut last, mut rest) = (*first, Vec::with_capacity(after.len() * 6));
        for place in after {
            push_number(&mut rest, place.time.abs_diff(last.time));
            let back = u64::from(place.index < last.index);
            push_number(&mut rest, place.index.abs_diff(last.index) << 1 | back);
            last = *place;
        }
        Some(Self { first: *first, rest })
    }

    /// Its places in ascending order.
    ///
    /// # Errors
    /// [`BadBlock`].
    pub fn unpack(&self) -> Result<Vec<Place>, BadBlock> {
        let (mut last, mut rest, mut places) = (self.first, self.rest.as_slice(), vec![self.first]);
        while !rest.is_empty() {
            let time = last.time.checked_add_unsigned(take_number(&mut rest)?).ok_or(BadBlock)?;
            let step = take_number(&mut rest)?;
            let index = if step & 1 == 0 {
                last.index.checked_add(step >> 1)
            } else {
                last.index.checked_sub(step >> 1)
            };
            let place = Place { time, index: index.ok_or(BadBlock)? };
            if place <= last {
                return Err(BadBlock);
            }
            places.push(place);
            last = place;
        }
        Ok(places)
    }

    /// This block with more places, none before its first: the same block, and those that it was split into. A term's
    /// last block is filled up; another one is divided evenly, so that both parts have room.
    ///
    /// # Errors
    /// [`BadBlock`].
    pub fn extended(&self, more: &[Place], is_last: bool) -> Result<Vec<Self>, BadBlock> {
        let mut places = self.unpack()?;
        places.extend(more);
        places.sort_unstable();
        places.dedup();
        Ok(divided(&places, is_last))
    }
}

/// Blocks of places that are in ascending order.
#[must_use]
pub(super) fn divided(places: &[Place], fill: bool) -> Vec<Block> {
    let parts = places.len().div_ceil(BLOCK_POSTINGS).max(1);
    let length = if fill { BLOCK_POSTINGS } else { places.len().div_ceil(parts).max(1) };
    places.chunks(length).filter_map(Block::pack).collect()
}

fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(0x80 | low_bits(number));
        number >>= 7;
    }
    bytes.push(low_bits(number));
}

fn low_bits(number: u64) -> u8 {
    u8::try_from(number & 0x7f).unwrap_or_default()
}

fn take_number(bytes: &mut &[u8]) -> Result<u64, BadBlock> {
    let (mut number, mut shift) = (0_u64, 0_u32);
    loop {
        let (byte, rest) = bytes.split_first().ok_or(BadBlock)?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if shift > 63 || (shift == 63 && bits > 1) {
            return Err(BadBlock);
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn places(list: &[(i64, u64)]) -> Vec<Place> {
        list.iter().map(|&(time, index)| Place { time, index }).collect()
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(list in proptest::collection::btree_set((any::<i64>(), 0..=u64::MAX >> 1), 1..300)) {
            let places: Vec<Place> = list.into_iter().map(|(time, index)| Place { time, index }).collect();
            prop_assert_eq!(Block::pack(&places).unwrap().unpack().unwrap(), places);
        }

        #[test]
        fn any_bytes_are_read_or_refused(first in any::<(i64, u64)>(), rest in any::<Vec<u8>>()) {
            let first = Place { time: first.0, index: first.1 };
            if let Ok(places) = (Block { first, rest }).unpack() {
                prop_assert!(places.is_sorted());
            }
        }

        #[test]
        fn a_block_with_more_places_is_their_union(
            old in proptest::collection::btree_set((-50..50_i64, 0..50_u64), 1..200),
            new in proptest::collection::btree_set((-50..50_i64, 0..50_u64), 0..200),
            is_last: bool,
        ) {
            let old: Vec<Place> = old.into_iter().map(|(time, index)| Place { time, index }).collect();
            let new: Vec<Place> = new.into_iter().map(|(time, index)| Place { time, index }).filter(|new| *new >= old[0]).collect();
            let blocks = Block::pack(&old).unwrap().extended(&new, is_last).unwrap();
            let read: Vec<Place> = blocks.iter().flat_map(|block| block.unpack().unwrap()).collect();
            let union: BTreeSet<Place> = old.iter().chain(&new).copied().collect();
            prop_assert_eq!(blocks[0].first, old[0]);
            prop_assert!(blocks.iter().all(|block| block.unpack().unwrap().len() <= BLOCK_POSTINGS));
            prop_assert_eq!(read, union.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_usual_block_is_small() {
        let list: Vec<(i64, u64)> =
            (0..128_i64).map(|n| (1_800_000_000_000_000 + n * 3_141_592, n.unsigned_abs() * 3)).collect();
        assert!(Block::pack(&places(&list)).unwrap().rest.len() < 127 * 6);
    }

    #[test]
    fn places_out_of_order_are_refused() {
        let block = Block { first: Place { time: 5, index: 5 }, rest: vec![0, 3] };
        assert_eq!(block.unpack(), Err(BadBlock));
        assert_eq!(Block { rest: vec![0, 0], ..block }.unpack(), Err(BadBlock));
    }
}
