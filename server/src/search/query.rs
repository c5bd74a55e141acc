//! The words that a person asks for.
//!
//! Words are separated by blanks, and an event must have all of them, in any order and in upper or lower case.
//! `"two words"` must stand together in one text, and so must the parts of `invoice.voided`; `inv*` finds every word
//! that begins so.

use super::words::words;

/// The most words of a query.
pub const MAX_QUERY_WORDS: usize = 16;

/// Words, each in the way it was asked for; none takes every event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    parts: Vec<Part>,
}

/// Words that must stand together.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    words: Vec<String>,
    /// Whether the last word is only the beginning of one.
    is_prefix: bool,
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// What is wrong: it is not empty and has no word, or it has too many.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        // Quotes are every other border: what is between a pair of them is one part.
        for (number, piece) in text.split('"').enumerate() {
            if number % 2 == 1 {
                parts.extend(Part::parse(piece, false));
            } else {
                parts.extend(
                    piece.split_whitespace().filter_map(|word| Part::parse(word, word.ends_with('*'))),
                );
            }
        }
        let count: usize = parts.iter().map(|part| part.words.len()).sum();
        if count == 0 && !text.trim().is_empty() {
            return Err("it has no word: words are letters, digits and _".into());
        }
        if count > MAX_QUERY_WORDS {
            return Err(format!("it has more than {MAX_QUERY_WORDS} words"));
        }
        Ok(Self { parts })
    }

    /// Every word, and whether it is only the beginning of one.
    pub fn words(&self) -> impl Iterator<Item = (&str, bool)> {
        self.parts.iter().flat_map(|part| {
            let last = part.words.len().saturating_sub(1);
            part.words
                .iter()
                .enumerate()
                .map(move |(number, word)| (word.as_str(), part.is_prefix && number == last))
        })
    }

    /// Whether some words must stand together.
    #[must_use]
    pub fn has_phrase(&self) -> bool {
        self.parts.iter().any(|part| part.words.len() > 1)
    }

    /// Whether these texts, each as its words, have all that is asked for.
    #[must_use]
    pub fn matches(&self, texts: &[Vec<String>]) -> bool {
        self.parts.iter().all(|part| texts.iter().any(|text| part.is_in(text)))
    }
}

impl Part {
    fn parse(text: &str, is_prefix: bool) -> Option<Self> {
        let words: Vec<String> = words(text).collect();
        (!words.is_empty()).then_some(Self { words, is_prefix })
    }

    fn is_in(&self, text: &[String]) -> bool {
        text.windows(self.words.len()).any(|window| {
            match (self.is_prefix, self.words.split_last(), window.split_last()) {
                (true, Some((beginning, before)), Some((last, window))) => {
                    before == window && last.starts_with(beginning.as_str())
                }
                _ => self.words == window,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(query: &str, texts: &[&str]) -> bool {
        let texts: Vec<Vec<String>> = texts.iter().map(|text| words(text).collect()).collect();
        Query::parse(query).unwrap().matches(&texts)
    }

    #[test]
    fn all_words_must_be_there_in_any_order() {
        let texts = ["Invoice 9 was VOIDED", "by Ada Lovelace", "invoice.paid"];
        for found in [
            "",
            "  ",
            "ada",
            "ADA invoice",
            "voided invoice lovelace",
            "\"ada lovelace\"",
            "invoice.paid",
            "invoice.pa*",
            "love*",
            "\"was voided\" a*",
            "\"by ada",
            "ada \"\" ",
        ] {
            assert!(finds(found, &texts), "{found}");
        }
        for missed in
            ["bob", "ada bob", "\"lovelace ada\"", "lov", "\"voided by\"", "\"love*\"", "invoice.voided"]
        {
            assert!(!finds(missed, &texts), "{missed}");
        }
    }

    #[test]
    fn a_query_without_words_or_with_too_many_is_refused() {
        for wrong in ["*", "-", "\"\u{1f600}\"", &"a ".repeat(17)] {
            assert!(Query::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Query::parse(&"a ".repeat(16)).is_ok());
    }
}
