//! Pseudo-random numbers that a seed repeats. Pure.

use std::time::Duration;

/// `SplitMix64`. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators".
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// A sequence of its own for each seed and purpose.
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(purpose.bytes().fold(0xcbf2_9ce4_8422_2325 ^ seed, fold))
    }

    /// Any number.
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 when `end` is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.number() % end.max(1)
    }

    /// A place in a list of this length.
    pub(crate) fn place(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// Whether something of this probability happens, in percent.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Milliseconds from `least` to below `most`, in steps of a microsecond.
    pub(crate) fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_micros(least * 1000 + self.below((most - least) * 1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_numbers_and_purposes_differ() {
        let numbers = |seed, purpose| {
            let mut random = Random::new(seed, purpose);
            [random.number(), random.number(), random.below(10)]
        };
        assert_eq!(numbers(7, "disk"), numbers(7, "disk"));
        assert_ne!(numbers(7, "disk"), numbers(8, "disk"));
        assert_ne!(numbers(7, "disk"), numbers(7, "network"));
    }
}
