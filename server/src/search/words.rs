//! Divides text into the words that a search finds, the same for what is stored and for what is asked.
//!
//! A word is a run of letters, digits and `_`, in lowercase. What identifies something stays whole: digits and a to f
//! joined by `-`, `.` or `:`, with a digit among them, are one word (a UUID, an IP address, a date, a version).

/// The words of a text, in their order.
pub fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !is_letter(c) && !is_joint(c)).flat_map(|run| {
        let run = run.trim_matches(is_joint);
        let whole = is_identifier(run);
        run.split(move |c| !whole && is_joint(c)).filter(|word| !word.is_empty()).map(str::to_lowercase)
    })
}

fn is_letter(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

const fn is_joint(c: char) -> bool {
    matches!(c, '-' | '.' | ':')
}

fn is_identifier(run: &str) -> bool {
    run.bytes().all(|byte| byte.is_ascii_hexdigit() || is_joint(char::from(byte)))
        && run.bytes().any(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_letters_in_lowercase_and_identifiers_stay_whole() {
        for (text, expected) in [
            ("", &[][..]),
            ("-- . :", &[]),
            ("Ada Lovelace, 1815.", &["ada", "lovelace", "1815"]),
            ("invoice.voided usr_7", &["invoice", "voided", "usr_7"]),
            ("0192aF3b-1111-7000-8000-0123456789ab!", &["0192af3b-1111-7000-8000-0123456789ab"]),
            ("10.0.0.1, [2001:db8::1] 5.0", &["10.0.0.1", "2001:db8::1", "5.0"]),
            ("a-b c-3 v1.2", &["a", "b", "c-3", "v1", "2"]),
            ("GRÜSSE an Ærø\0日本", &["grüsse", "an", "ærø", "日本"]),
            ("2026-11-22T08:00:00Z", &["2026", "11", "22t08", "00", "00z"]),
        ] {
            assert_eq!(words(text).collect::<Vec<_>>(), expected, "{text:?}");
        }
    }
}
