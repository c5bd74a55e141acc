//! Audit events of exactly a given size, made by patching a template; some repeat an earlier one byte for byte.

use std::ops::Range;

/// Places that are written over: `S` the writer, `N` the event, `T` the time of day, `U` a user, `O` an object.
const HEAD: &str = r#"{"id":"0192SSSS-SSSS-7SSS-8NNN-NNNNNNNNNNNN","action":"invoice.voided","occurred_at":"2026-11-22TTT:TT:TT.TTTZ","actor":{"type":"user","id":"usr_UUU"},"targets":[{"type":"invoice","id":"inv_OOOOOO"}],"note":""#;
const TAIL: &str = r#""}"#;

/// How far back a repeated event may lie.
const REPEATS_AMONG: u64 = 1000;

const DAY: u64 = 86_400_000;

/// The least bytes of an event.
pub(super) const MIN_SIZE: usize = HEAD.len() + TAIL.len();

/// The events of one writer, each a function of the writer and of its number alone.
#[derive(Clone, Debug)]
pub(super) struct Events {
    event: Vec<u8>,
    next: u64,
    /// Of 100 events, so many repeat an earlier one.
    duplicates: u64,
}

impl Events {
    /// Those of a writer that no other seed gives, of `size` bytes: at least [`MIN_SIZE`].
    pub(super) fn new(seed: u64, size: usize, duplicates: u8) -> Self {
        let mut event = HEAD.as_bytes().to_vec();
        put_hex(event.get_mut(11..15), seed >> 28);
        put_hex(event.get_mut(16..20), seed >> 12);
        put_hex(event.get_mut(22..25), seed);
        // Letters that do not compress, as no large text does that people write.
        let letters = (0_u64..).map(|at| b'a' + u8::try_from(mix(at) % 26).unwrap_or(0));
        event.extend(letters.take(size.saturating_sub(MIN_SIZE)));
        event.extend(TAIL.as_bytes());
        Self { event, next: 0, duplicates: duplicates.into() }
    }

    /// The next event.
    pub(super) fn next(&mut self) -> &[u8] {
        let number = self.original(self.next);
        self.next += 1;
        let event = &mut self.event;
        put_hex(event.get_mut(27..30), number >> 48);
        put_hex(event.get_mut(31..43), number);
        let time = number % DAY;
        for (at, value) in [(97, time / 3_600_000), (100, time / 60_000 % 60), (103, time / 1000 % 60)] {
            put_digits(event.get_mut(at..at + 2), value);
        }
        put_digits(event.get_mut(106..109), time % 1000);
        put_digits(event.get_mut(USER), mix(number) % 1000);
        put_digits(event.get_mut(OBJECT), mix(number) % 1_000_000);
        event
    }

    /// Whose bytes the event of this number has: its own, or those of an earlier one.
    fn original(&self, number: u64) -> u64 {
        let mut number = number;
        while number > 0 && mix(number) % 100 < self.duplicates {
            number -= 1 + mix(number) / 100 % number.min(REPEATS_AMONG);
        }
        number
    }
}

const USER: Range<usize> = 145..148;
const OBJECT: Range<usize> = 190..196;

/// Numbers that look like chance (splitmix64).
pub(super) fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn put_hex(place: Option<&mut [u8]>, value: u64) {
    put(place, value, 16);
}

fn put_digits(place: Option<&mut [u8]>, value: u64) {
    put(place, value, 10);
}

/// Writes the last digits of a number, as many as there is room for.
fn put(place: Option<&mut [u8]>, mut value: u64, base: u64) {
    for byte in place.into_iter().flatten().rev() {
        let digit = u8::try_from(value % base).unwrap_or(0);
        *byte = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
        value /= base;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::event::validate_event;

    fn made(seed: u64, size: usize, duplicates: u8, count: usize) -> Vec<Vec<u8>> {
        let mut events = Events::new(seed, size, duplicates);
        (0..count).map(|_| events.next().to_vec()).collect()
    }

    #[test]
    fn the_template_is_patched_where_its_marks_are() {
        let places = |mark: char| HEAD.match_indices(mark).map(|(at, _)| at).collect::<Vec<_>>();
        assert_eq!(places('S'), [11, 12, 13, 14, 16, 17, 18, 19, 22, 23, 24]);
        assert_eq!(places('N'), [27, 28, 29, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42]);
        assert_eq!(places('T').get(1..).unwrap(), [97, 98, 100, 101, 103, 104, 106, 107, 108]);
        assert_eq!(places('U'), USER.collect::<Vec<_>>());
        assert_eq!(places('O'), OBJECT.collect::<Vec<_>>());
    }

    #[test]
    fn events_are_valid_have_their_size_and_differ() {
        for size in [MIN_SIZE, 256, 300, 65_535] {
            let events: HashSet<Vec<u8>> =
                made(7, size, 0, 500).into_iter().chain(made(8, size, 0, 500)).collect();
            assert_eq!(events.len(), 1000);
            for event in events {
                assert_eq!(event.len(), size);
                validate_event(&event).unwrap();
            }
        }
    }

    #[test]
    fn as_many_repeat_an_earlier_one_as_was_asked_for() {
        for (percent, least, most) in [(0, 0, 0), (30, 2700, 3300), (100, 9999, 9999)] {
            let events = made(7, 300, percent, 10_000);
            let different: HashSet<&Vec<u8>> = events.iter().collect();
            let repeated = events.len() - different.len();
            assert!((least..=most).contains(&repeated), "{percent} %: {repeated} of 10,000");
        }
    }
}
