//! How fast a client may publish. Pure.
//!
//! A client that goes beyond its quota is not read until it is within again: TCP slows it down,
//! nothing is lost, and every protocol version understands it.

use broker_policy::Quotas;

use crate::types::Millis;

/// What a client may send at once after a rest: the quota of this many microseconds.
const BURST_MICROS: u64 = 1_000_000;
const MICROS_PER_SECOND: u64 = 1_000_000;

/// The quotas of one client with the time up to which they are used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RateLimit {
    publishes: Option<Meter>,
    bytes: Option<Meter>,
}

/// A generic cell rate algorithm: each unit takes up time, and time goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Meter {
    per_second: u64,
    /// Microseconds up to which the quota is used.
    used_until: u64,
}

impl Meter {
    const fn new(per_second: u64) -> Self {
        Self { per_second, used_until: 0 }
    }

    /// Uses some of the quota, and says when there is some again.
    fn charge(&mut self, now: u64, units: u64) -> u64 {
        let cost = units.saturating_mul(MICROS_PER_SECOND) / self.per_second.max(1);
        self.used_until = self.used_until.max(now).saturating_add(cost);
        self.used_until.saturating_sub(BURST_MICROS)
    }
}

impl RateLimit {
    /// The limits of these quotas; `None` if they set none.
    pub(crate) fn new(quotas: &Quotas) -> Option<Box<Self>> {
        let publishes = quotas.publishes_per_second.map(|n| Meter::new(n.into()));
        let bytes = quotas.bytes_per_second.map(Meter::new);
        (publishes.is_some() || bytes.is_some()).then(|| Box::new(Self { publishes, bytes }))
    }

    /// Counts a PUBLISH of this size. Gives the time from which the next one may be read.
    pub(crate) fn charge(&mut self, now: Millis, bytes: usize) -> Millis {
        let now = now.0.saturating_mul(1000);
        let publishes = self.publishes.as_mut().map_or(0, |meter| meter.charge(now, 1));
        let bytes = self.bytes.as_mut().map_or(0, |meter| meter.charge(now, bytes as u64));
        Millis(publishes.max(bytes).div_ceil(1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_quota_may_be_used_at_once_and_no_more_on_average() {
        let quotas = Quotas { publishes_per_second: Some(10), ..Quotas::default() };
        let mut limit = RateLimit::new(&quotas).unwrap();
        let (start, mut now) = (Millis(1000), Millis(1000));
        let mut sent = 0;
        while now.since(start) < 5000 {
            sent += 1;
            now = now.max(limit.charge(now, 100));
        }
        assert_eq!(sent, 10 + 5 * 10);
    }

    #[test]
    fn bytes_count_and_no_quota_is_no_limit() {
        assert_eq!(RateLimit::new(&Quotas::default()), None);
        let quotas = Quotas { bytes_per_second: Some(1000), ..Quotas::default() };
        let mut limit = RateLimit::new(&quotas).unwrap();
        assert!(limit.charge(Millis(9000), 1000) <= Millis(9000));
        assert_eq!(limit.charge(Millis(9000), 500), Millis(9500));
        let quotas = Quotas { publishes_per_second: Some(0), ..Quotas::default() };
        let mut limit = RateLimit::new(&quotas).unwrap();
        assert_eq!(limit.charge(Millis(1000), 5), Millis(1000));
        assert_eq!(limit.charge(Millis(1000), 5), Millis(2000));
    }
}
