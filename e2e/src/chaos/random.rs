//! Draws that a seed fixes. Pure.

use std::ops::Range;
use std::time::Duration;

/// SplitMix64: Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The draws of `seed`; those of another `purpose` have nothing to do with them.
    pub(super) fn new(seed: u64, purpose: u64) -> Self {
        let mut random = Self(seed ^ purpose.wrapping_mul(0xA076_1D64_78BD_642F));
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is at least 1.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// Whether what happens once in `times` happens.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// A time in the range, by milliseconds.
    pub(super) fn millis(&mut self, range: Range<u64>) -> Duration {
        let length = range.end.saturating_sub(range.start).max(1);
        Duration::from_millis(range.start + self.next() % length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_draws_and_another_purpose_gives_others() {
        let draws = |seed, purpose| {
            let mut random = Random::new(seed, purpose);
            (0..20).map(|_| random.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(draws(7, 1), draws(7, 1));
        assert_ne!(draws(7, 1), draws(7, 2));
        assert_ne!(draws(7, 1), draws(8, 1));
    }

    #[test]
    fn times_lie_in_their_range() {
        let mut random = Random::new(1, 1);
        let times: Vec<_> = (0..1000).map(|_| random.millis(10..20)).collect();
        let range = Duration::from_millis(10)..Duration::from_millis(20);
        assert!(times.iter().all(|time| range.contains(time)));
    }
}
