//! Decimal numbers as the C2SP formats write them: `0`, or digits that do not begin with zero.

use alloc::string::String;

use crate::error::ParseError;

/// The digits of `number`.
#[must_use]
pub fn format(number: u64) -> String {
    let mut digits = String::new();
    let mut rest = number;
    loop {
        digits.insert(0, digit(rest % 10));
        rest /= 10;
        if rest == 0 {
            return digits;
        }
    }
}

fn digit(value: u64) -> char {
    u32::try_from(value).ok().and_then(|value| char::from_digit(value, 10)).unwrap_or('0')
}

/// The number that `text` stands for, in ASCII digits without sign, blank or leading zero.
///
/// # Errors
/// [`ParseError::Number`] for anything else, and for a number beyond `u64`.
pub fn parse(text: &[u8]) -> Result<u64, ParseError> {
    match text {
        [] | [b'0', _, ..] => Err(ParseError::Number),
        digits => digits
            .iter()
            .try_fold(0_u64, |number, &digit| match digit {
                b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
                _ => None,
            })
            .ok_or(ParseError::Number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_zero_and_the_largest_number() {
        assert_eq!(parse(b"0"), Ok(0));
        assert_eq!(parse(b"18446744073709551615"), Ok(u64::MAX));
    }

    #[test]
    fn rejects_every_other_spelling() {
        for text in
            ["", "+5", "-5", "007", "00", " 5", "5 ", "0x5", "5_0", "18446744073709551616", "\u{0665}"]
        {
            assert_eq!(parse(text.as_bytes()), Err(ParseError::Number), "{text:?}");
        }
    }
}
