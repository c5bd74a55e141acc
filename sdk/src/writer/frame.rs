//! How entries stand in a segment of the spool: a head with checksums, then the entry.
//!
//! A head is the entry's length, the CRC-32C of the entry, and the CRC-32C of these eight bytes, each four bytes, the
//! least significant first. So a tail that a crash has torn off is told from bytes that were changed: only the head
//! of the last frame may announce more than is there.

use attestlog_core::validate_entry_size;

/// The first bytes of a segment: format and version.
pub(super) const MAGIC: &[u8; 16] = b"attestlog-spool1";

/// The bytes before an entry.
pub(super) const HEAD: usize = 12;

/// The frame of an entry, which has 1 to 65,535 bytes.
pub(super) fn put(bytes: &mut Vec<u8>, entry: &[u8]) {
    let length = u32::try_from(entry.len()).unwrap_or(u32::MAX).to_le_bytes();
    let sums = [length, crc32c::crc32c(entry).to_le_bytes()].concat();
    bytes.extend_from_slice(&sums);
    bytes.extend_from_slice(&crc32c::crc32c(&sums).to_le_bytes());
    bytes.extend_from_slice(entry);
}

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// A whole entry.
    Entry(&'a [u8]),
    /// The rest was not written to its end, as far as anyone can tell; nobody was told that it is durable.
    Torn,
    /// So many bytes were changed. What follows them is whole again, or nothing follows.
    Damaged(usize),
    /// Nothing.
    End,
}

/// Reads what comes next. No bytes make this panic or give an entry whose checksums do not hold.
pub(super) fn next(bytes: &[u8]) -> Next<'_> {
    if bytes.is_empty() {
        return Next::End;
    }
    match whole(bytes) {
        Ok(entry) => Next::Entry(entry),
        // What a file was extended by, but not filled with, reads as zeros.
        Err(torn) if torn || bytes.iter().all(|&byte| byte == 0) => Next::Torn,
        Err(_) => {
            let intact = (1..bytes.len()).find(|&at| bytes.get(at..).is_some_and(|rest| whole(rest).is_ok()));
            Next::Damaged(intact.unwrap_or(bytes.len()))
        }
    }
}

/// The entry that stands at the beginning; or whether its end is missing.
fn whole(bytes: &[u8]) -> Result<&[u8], bool> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>().ok_or(true)?;
    let number =
        |at: usize| head.get(at..at + 4).and_then(|part| part.try_into().ok()).map(u32::from_le_bytes);
    let (length, sum, head_sum) = (number(0), number(4), number(8));
    let length = length.and_then(|length| usize::try_from(length).ok()).ok_or(false)?;
    if head_sum != head.get(..8).map(crc32c::crc32c) || validate_entry_size(length).is_err() {
        return Err(false);
    }
    let entry = rest.get(..length).ok_or(true)?;
    if Some(crc32c::crc32c(entry)) == sum { Ok(entry) } else { Err(false) }
}

#[cfg(test)]
mod tests {
    use attestlog_core::MAX_ENTRY_SIZE;

    use super::*;

    fn frames(entries: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for entry in entries {
            put(&mut bytes, entry);
        }
        bytes
    }

    /// The entries, how many bytes were damaged, and whether the end was torn.
    fn read(mut bytes: &[u8]) -> (Vec<&[u8]>, usize, bool) {
        let (mut entries, mut damaged) = (Vec::new(), 0);
        loop {
            match next(bytes) {
                Next::Entry(entry) => {
                    entries.push(entry);
                    bytes = &bytes[HEAD + entry.len()..];
                }
                Next::Damaged(length) => {
                    damaged += length;
                    bytes = &bytes[length..];
                }
                end => return (entries, damaged, end == Next::Torn),
            }
        }
    }

    const ENTRIES: [&[u8]; 3] = [b"first", &[b'x'; 300], b"{\"id\":\"3\"}"];

    #[test]
    fn what_was_put_is_read() {
        assert_eq!(read(&frames(&ENTRIES)), (ENTRIES.to_vec(), 0, false));
        let largest = vec![7; MAX_ENTRY_SIZE];
        assert_eq!(read(&frames(&[&largest])), (vec![&largest[..]], 0, false));
        assert_eq!(next(b""), Next::End);
    }

    #[test]
    fn every_cut_tears_off_the_last_entry_only_and_is_no_damage() {
        let bytes = frames(&ENTRIES);
        let ends: Vec<usize> = (0..=3).map(|count| frames(&ENTRIES[..count]).len()).collect();
        for cut in 0..bytes.len() {
            let (entries, damaged, torn) = read(&bytes[..cut]);
            let whole = ends.iter().filter(|&&end| 0 < end && end <= cut).count();
            assert_eq!(
                (entries, damaged, torn),
                (ENTRIES[..whole].to_vec(), 0, !ends.contains(&cut)),
                "{cut}"
            );
        }
        let zeros = [&bytes[..], &[0; 4096]].concat();
        assert_eq!(read(&zeros), (ENTRIES.to_vec(), 0, true));
    }

    #[test]
    fn every_flipped_bit_damages_its_entry_only() {
        let bytes = frames(&ENTRIES);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let hit = (1..=3).find(|&count| at < frames(&ENTRIES[..count]).len()).unwrap() - 1;
                let (entries, damaged, torn) = read(&changed);
                let others: Vec<_> =
                    (0..3).filter(|&index| index != hit).map(|index| ENTRIES[index]).collect();
                assert_eq!((entries, torn), (others, false), "bit {bit} of byte {at}");
                assert_eq!(damaged, HEAD + ENTRIES[hit].len());
            }
        }
    }
}
