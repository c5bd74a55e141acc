//! A term of the index: what kind it is and what it says, as bytes whose order is that of the text.

use sha2::{Digest, Sha256};

/// The bytes of a text that a term keeps; of a longer one it has 47, 0xff, which no text has, and half of its hash.
const MAX_TEXT: usize = 64;

/// The bytes that the term of a longer text keeps of it.
const KEPT: usize = 47;

/// What a term says something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TermKind {
    /// An action.
    Action,
    /// An actor: `id`, `type:id` or `type:*`.
    Actor,
    /// An outcome.
    Outcome,
    /// A target: `id`, `type:id` or `type:*`.
    Target,
    /// A word.
    Word,
}

impl TermKind {
    const fn byte(self) -> u8 {
        match self {
            Self::Action => b'a',
            Self::Actor => b'b',
            Self::Outcome => b'o',
            Self::Target => b't',
            Self::Word => b'w',
        }
    }
}

/// A term as the index has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub Vec<u8>);

impl Term {
    /// The term that every event has.
    #[must_use]
    pub const fn every_event() -> Self {
        Self(Vec::new())
    }

    /// The term of this kind with this text.
    #[must_use]
    pub fn new(kind: TermKind, text: &str) -> Self {
        let text = text.as_bytes();
        let mut bytes = vec![kind.byte()];
        match text.get(..KEPT) {
            Some(kept) if text.len() > MAX_TEXT => {
                bytes.extend(kept);
                bytes.push(0xff);
                bytes.extend(Sha256::digest(text).iter().take(16));
            }
            _ => bytes.extend(text),
        }
        Self(bytes)
    }

    /// The terms of this kind whose text begins like this, or may: from the first on and below the second.
    #[must_use]
    pub fn beginning_with(kind: TermKind, text: &str) -> (Self, Self) {
        let kept = text.as_bytes().get(..KEPT).unwrap_or(text.as_bytes());
        let low = [&[kind.byte()], kept].concat();
        let mut high = low.clone();
        // The first byte is a letter, so something is left to be raised.
        while high.pop_if(|last| *last == 0xff).is_some() {}
        if let Some(last) = high.last_mut() {
            *last = last.saturating_add(1);
        }
        (Self(low), Self(high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_is_short_whatever_its_text() {
        for length in [0, 1, 47, 48, 64, 65, 60_000] {
            let text = "x".repeat(length);
            let term = Term::new(TermKind::Word, &text);
            assert!(term.0.len() <= 65);
            assert_ne!(term, Term::new(TermKind::Word, &format!("{text}x")), "{length}");
            assert_ne!(term, Term::new(TermKind::Action, &text), "{length}");
            let (low, high) = Term::beginning_with(TermKind::Word, &text);
            assert!(low <= term && term < high, "{length}");
        }
    }

    #[test]
    fn a_prefix_is_a_range() {
        let (low, high) = Term::beginning_with(TermKind::Action, "invoice.");
        for (text, inside) in
            [("invoice.", true), ("invoice.z\u{10ffff}", true), ("invoice", false), ("invoice/", false)]
        {
            let term = Term::new(TermKind::Action, text);
            assert_eq!(low <= term && term < high, inside, "{text}");
        }
        let (_, high) = Term::beginning_with(TermKind::Action, "");
        assert!(Term::new(TermKind::Action, "\u{10ffff}") < high && high <= Term::new(TermKind::Actor, ""));
    }
}
