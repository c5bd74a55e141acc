//! Standard base64 with padding (RFC 4648 §4), and only its canonical form (§3.5).
//!
//! Two texts never decode to the same bytes, so a signed or hashed text cannot be varied.

use alloc::string::String;
use alloc::vec::Vec;

use crate::error::ParseError;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The padded base64 of `bytes`.
#[must_use]
pub fn format(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            // A group of n bytes has n + 1 digits; the rest is padding.
            let digit = (bits >> (18 - 6 * place)) & 0x3f;
            text.push(if place <= group.len() { digit_char(digit) } else { '=' });
        }
    }
    text
}

/// The bytes that `text` stands for.
///
/// # Errors
/// [`ParseError::Base64`] for a character outside the alphabet (line ends and blanks too), missing padding,
/// or bits after the last byte that are not zero.
pub fn parse(text: &[u8]) -> Result<Vec<u8>, ParseError> {
    if !text.len().is_multiple_of(4) {
        return Err(ParseError::Base64);
    }
    let digits = match text {
        [head @ .., b'=', b'='] => head,
        [head @ .., b'='] => head,
        _ => text,
    };
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let mut bits = 0_u32;
        for &digit in group {
            bits = bits << 6 | digit_value(digit).ok_or(ParseError::Base64)?;
        }
        bits <<= 6 * (4 - group.len());
        // n digits hold n - 1 bytes; what is left of the last digit must be zero.
        let [_, decoded @ ..] = bits.to_be_bytes();
        let (whole, rest) =
            decoded.split_at_checked(group.len().saturating_sub(1)).ok_or(ParseError::Base64)?;
        if group.len() < 2 || rest.iter().any(|&byte| byte != 0) {
            return Err(ParseError::Base64);
        }
        bytes.extend_from_slice(whole);
    }
    Ok(bytes)
}

fn digit_char(digit: u32) -> char {
    ALPHABET.get(digit as usize).map_or('=', |&byte| char::from(byte))
}

fn digit_value(digit: u8) -> Option<u32> {
    let (base, first) = match digit {
        b'A'..=b'Z' => (0, b'A'),
        b'a'..=b'z' => (26, b'a'),
        b'0'..=b'9' => (52, b'0'),
        b'+' => return Some(62),
        b'/' => return Some(63),
        _ => return None,
    };
    Some(base + u32::from(digit - first))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn formats_the_vectors_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(format(bytes.as_bytes()), text);
            assert_eq!(parse(text.as_bytes()), Ok(bytes.as_bytes().to_vec()));
        }
    }

    #[test]
    fn every_byte_pair_round_trips_and_no_other_text_decodes_to_it() {
        for a in 0..=255_u8 {
            let text = format(&[a]);
            assert_eq!(parse(text.as_bytes()), Ok(vec![a]));
            // Of the 16 texts with the same first digit and a second digit sharing the top bits, one is canonical.
            let accepted = ALPHABET
                .iter()
                .filter(|&&digit| parse(&[text.as_bytes()[0], digit, b'=', b'=']) == Ok(vec![a]))
                .count();
            assert_eq!(accepted, 1);
        }
    }

    #[test]
    fn rejects_what_is_not_canonical() {
        for text in [
            "Zg",
            "Zg=",
            "Z===",
            "====",
            "=",
            "Zh==",
            "Zm9=",
            "Zm9v\n",
            "Zm9v====",
            "Zm=v",
            "Zm 9",
            "Zm-_",
            "Zm9v Zg==",
            "Zg==Zg==",
            "\u{e9}AA",
        ] {
            assert_eq!(parse(text.as_bytes()), Err(ParseError::Base64), "{text:?}");
        }
    }
}
