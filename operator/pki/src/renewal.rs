//! When a certificate is renewed. Pure.

use jiff::{SignedDuration, Timestamp};

/// The share of a lifetime, in percent, by which renewals are spread ahead of two thirds.
const JITTER_PERCENT: i64 = 5;

/// When a certificate of this validity is renewed: at two thirds of its life, brought forward by up
/// to 5 % of it, so that certificates issued together are not renewed together.
///
/// `seed` decides the jitter: the same certificate (its serial number) always gets the same moment.
#[must_use]
pub fn renew_at(not_before: Timestamp, not_after: Timestamp, seed: &[u8]) -> Timestamp {
    let life = not_after.duration_since(not_before).as_secs().max(0);
    let share = i64::from(fraction(seed));
    let jitter = life / 100 * JITTER_PERCENT / 1000 * share;
    let after = SignedDuration::from_secs((life / 3 * 2 - jitter).max(0));
    not_before.checked_add(after).unwrap_or(not_after)
}

/// A number in 0..=999 that depends on every byte of `seed` (FNV-1a).
fn fraction(seed: &[u8]) -> u16 {
    let hash = seed.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    u16::try_from((hash >> 17) % 1000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn renewal_lies_between_61_percent_and_two_thirds_of_the_life() {
        for seed in 0..200_u32 {
            let when = renew_at(at(0), at(90 * DAY), &seed.to_be_bytes()).as_second();
            assert!(when <= 60 * DAY, "{seed}: {when}");
            assert!(when >= 90 * DAY * 61 / 100, "{seed}: {when}");
        }
    }

    #[test]
    fn the_same_certificate_is_always_due_at_the_same_moment() {
        let first = renew_at(at(0), at(90 * DAY), b"serial");
        assert_eq!(first, renew_at(at(0), at(90 * DAY), b"serial"));
    }

    #[test]
    fn certificates_issued_together_are_renewed_apart() {
        let mut moments: Vec<_> =
            (0..50_u32).map(|seed| renew_at(at(0), at(90 * DAY), &seed.to_be_bytes())).collect();
        moments.sort();
        moments.dedup();
        assert!(moments.len() > 40, "{} different moments", moments.len());
    }

    #[test]
    fn a_validity_that_ends_before_it_begins_is_due_at_once() {
        assert_eq!(renew_at(at(1000), at(0), b""), at(1000));
    }
}
