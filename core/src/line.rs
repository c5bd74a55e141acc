//! Text in pieces: what the formats separate by one ASCII character.

/// What stands before the first `separator`, and what stands after it.
pub(crate) fn split_once(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let place = text.iter().position(|&byte| byte == separator)?;
    let (before, rest) = text.split_at_checked(place)?;
    Some((before, rest.get(1..)?))
}

/// The first line, without its line end, and what stands after it.
pub(crate) fn first_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    split_once(text, b'\n')
}
