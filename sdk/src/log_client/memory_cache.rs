//! Tiles and entry bundles in memory, up to a number of bytes; what was not used for the longest time goes first.

use std::collections::HashMap;

use attestlog_core::TilePath;
use bytes::Bytes;

#[derive(Debug)]
pub(super) struct MemoryCache {
    most: usize,
    bytes: usize,
    uses: u64,
    kept: HashMap<TilePath, (Bytes, u64)>,
}

impl MemoryCache {
    pub(super) fn new(most: usize) -> Self {
        Self { most, bytes: 0, uses: 0, kept: HashMap::new() }
    }

    pub(super) fn get(&mut self, path: &TilePath) -> Option<Bytes> {
        self.uses += 1;
        let (bytes, used) = self.kept.get_mut(path)?;
        *used = self.uses;
        Some(bytes.clone())
    }

    pub(super) fn keep(&mut self, path: &TilePath, bytes: &Bytes) {
        if bytes.len() > self.most {
            return;
        }
        self.forget(path);
        self.uses += 1;
        self.bytes += bytes.len();
        self.kept.insert(*path, (bytes.clone(), self.uses));
        while self.bytes > self.most {
            let oldest = self.kept.iter().min_by_key(|(_, (_, used))| *used).map(|(path, _)| *path);
            let Some((bytes, _)) = oldest.and_then(|oldest| self.kept.remove(&oldest)) else { return };
            self.bytes -= bytes.len();
        }
    }

    pub(super) fn forget(&mut self, path: &TilePath) {
        if let Some((bytes, _)) = self.kept.remove(path) {
            self.bytes -= bytes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_the_longest_time_goes_first() {
        let path = |index| TilePath::Entries { index, width: 256 };
        let mut cache = MemoryCache::new(30);
        let bytes = Bytes::from_static(&[1; 10]);
        (0..3).for_each(|index| cache.keep(&path(index), &bytes));
        assert_eq!(cache.get(&path(0)), Some(bytes.clone()));
        cache.keep(&path(3), &bytes);
        let there: Vec<_> = (0..4).filter(|&index| cache.get(&path(index)).is_some()).collect();
        assert_eq!(there, [0, 2, 3]);
        cache.keep(&path(3), &Bytes::from_static(&[1; 31]));
        cache.keep(&path(3), &Bytes::from_static(&[2; 30]));
        assert_eq!((cache.bytes, cache.kept.len()), (30, 1));
        cache.forget(&path(3));
        assert_eq!((cache.bytes, cache.kept.len()), (0, 0));
    }
}
