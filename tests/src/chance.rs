//! Chance that can be repeated: a sequence of numbers that follows from a seed, which a failing test shows.

use std::time::Duration;

/// The environment variable that holds the seed of a run to repeat.
const SEED: &str = "ATTESTLOG_TEST_SEED";

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// That of the seed in the environment, or of a new one; prints it, for the case that the test fails.
    ///
    /// # Panics
    /// If the environment holds something else.
    #[must_use]
    pub fn announced() -> Self {
        let chance = match std::env::var(SEED) {
            Ok(seed) => Self(seed.parse().expect("a seed is a number")),
            Err(_) => Self::random(),
        };
        println!("to repeat this run: {SEED}={}", chance.0);
        chance
    }

    /// That of a new seed.
    ///
    /// # Panics
    /// If the system has no randomness.
    #[must_use]
    pub fn random() -> Self {
        let mut seed = [0; 8];
        let mut file = std::fs::File::open("/dev/urandom").unwrap();
        std::io::Read::read_exact(&mut file, &mut seed).unwrap();
        Self(u64::from_be_bytes(seed))
    }

    /// That of a seed.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// One that goes its own way.
    #[must_use]
    pub fn split(&mut self) -> Self {
        Self(self.next())
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True in so many cases of a hundred.
    pub fn percent(&mut self, cases: u64) -> bool {
        self.below(100) < cases
    }

    /// A time below so many milliseconds.
    pub fn time(&mut self, milliseconds: u64) -> Duration {
        Duration::from_micros(self.below(milliseconds * 1000))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
