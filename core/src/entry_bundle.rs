//! Entry bundles: up to 256 entries, each after its length.
//!
//! Implements C2SP tlog-tiles, "Log Entries": a big-endian `u16` of the length, then that many bytes.

use alloc::vec::Vec;

use crate::error::ParseError;

/// The most bytes that an entry can have.
pub const MAX_ENTRY_SIZE: usize = 65_535;

/// Accepts 1 to 65,535 bytes as an entry.
///
/// # Errors
/// [`ParseError::EntrySize`] for none and for more.
pub const fn validate_entry_size(size: usize) -> Result<(), ParseError> {
    if size == 0 || size > MAX_ENTRY_SIZE { Err(ParseError::EntrySize) } else { Ok(()) }
}

/// The bundle of these entries, in their order.
///
/// # Errors
/// [`ParseError::EntrySize`] for an entry longer than 65,535 bytes.
pub fn format_bundle<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, ParseError> {
    let mut bundle = Vec::new();
    for entry in entries {
        extend_bundle(&mut bundle, entry)?;
    }
    Ok(bundle)
}

/// Puts an entry at the end of a bundle.
///
/// # Errors
/// [`ParseError::EntrySize`] for an entry longer than 65,535 bytes.
pub fn extend_bundle(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), ParseError> {
    let length = u16::try_from(entry.len()).map_err(|_| ParseError::EntrySize)?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// The entries of a bundle, which must be exactly `width` of them.
///
/// # Errors
/// [`ParseError::EntryBundle`] if it has fewer or more, or bytes after the last.
pub fn parse_bundle(bundle: &[u8], width: usize) -> Result<Vec<&[u8]>, ParseError> {
    let mut entries = Vec::new();
    let mut rest = bundle;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk().ok_or(ParseError::EntryBundle)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, after) = after.split_at_checked(length).ok_or(ParseError::EntryBundle)?;
        entries.push(entry);
        rest = after;
    }
    if entries.len() == width { Ok(entries) } else { Err(ParseError::EntryBundle) }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn formats_the_example_of_a_real_log() {
        let bundle = format_bundle([&b"one"[..], b"two", b"three"]).unwrap();
        assert_eq!(bundle, b"\0\x03one\0\x03two\0\x05three");
        assert_eq!(parse_bundle(&bundle, 3), Ok(vec![&b"one"[..], b"two", b"three"]));
    }

    #[test]
    fn rejects_another_number_of_entries_and_bytes_left_over() {
        let bundle = b"\0\x03one\0\x03two";
        for width in [0, 1, 3] {
            assert_eq!(parse_bundle(bundle, width), Err(ParseError::EntryBundle));
        }
        for cut in [1, 2, 4, 9] {
            assert_eq!(parse_bundle(&bundle[..cut], 1), Err(ParseError::EntryBundle), "{cut}");
        }
        assert_eq!(parse_bundle(b"", 0), Ok(vec![]));
    }

    #[test]
    fn an_entry_has_1_to_65535_bytes() {
        assert_eq!(validate_entry_size(0), Err(ParseError::EntrySize));
        assert_eq!(validate_entry_size(1), Ok(()));
        assert_eq!(validate_entry_size(MAX_ENTRY_SIZE), Ok(()));
        assert_eq!(validate_entry_size(MAX_ENTRY_SIZE + 1), Err(ParseError::EntrySize));
        assert_eq!(format_bundle([vec![0; MAX_ENTRY_SIZE + 1].as_slice()]), Err(ParseError::EntrySize));
    }
}
