//! The identity of a cluster. Pure.

/// The digits of an identity: Crockford's base 32, in which nothing looks like something else.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A new `clusterID`: the time (milliseconds since 1970, 48 bits) and 80 random bits, 26 digits that
/// sort by time.
#[must_use]
pub fn new_cluster_id(milliseconds: i64, random: [u8; 10]) -> String {
    let mut value = u128::from(milliseconds.unsigned_abs() & 0xffff_ffff_ffff);
    for byte in random {
        value = value << 8 | u128::from(byte);
    }
    let digit = |at: u32| char::from(DIGITS[(value >> (5 * at) & 31) as usize]);
    (0..26).rev().map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_26_digits_that_sort_by_time_and_hold_all_random_bits() {
        let (earlier, later) = (new_cluster_id(1_000, [255; 10]), new_cluster_id(1_001, [0; 10]));
        assert_eq!(earlier.len(), 26);
        assert!(earlier < later);
        for byte in 0..10 {
            let mut random = [255; 10];
            random[byte] = 254;
            assert_ne!(new_cluster_id(1_000, random), earlier);
        }
    }
}
