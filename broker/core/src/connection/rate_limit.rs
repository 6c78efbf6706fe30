//! How fast a client may publish. Pure.
//!
//! A client that goes beyond its quota is not read until it is within again: TCP slows it down,
//! nothing is lost, and every protocol version understands it.

use broker_policy::Quotas;

use crate::types::Millis;

/// What a client may send at once after a rest: the quota of this many microseconds.
const BURST_MICROS: u64 = 1_000_000;
const MICROS_PER_SECOND: u64 = 1_000_000;
/// Longest time that one packet may use a quota up for: a client that is not read for longer would
/// take its connection for dead, as its PINGREQ is not answered either.
const PACKET_SECONDS_MAX: u64 = 30;
/// Least packet that is taken whatever the quota: a CONNECT with every field in use.
const PACKET_BYTES_MIN: u64 = 1024;

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
        let most = now.saturating_add(BURST_MICROS + PACKET_SECONDS_MAX * MICROS_PER_SECOND);
        self.used_until = self.used_until.max(now).saturating_add(cost).min(most);
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

    /// Largest packet, in bytes, that the quota lets through in [`PACKET_SECONDS_MAX`].
    pub(crate) fn packet_bytes_max(&self) -> u32 {
        let bytes = self.bytes.as_ref().map_or(u64::MAX, |meter| {
            meter.per_second.saturating_mul(PACKET_SECONDS_MAX).max(PACKET_BYTES_MIN)
        });
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    /// Counts a PUBLISH of this size. Gives the time from which the next one may be read.
    pub(crate) fn charge(&mut self, now: Millis, bytes: usize) -> Millis {
        let now = now.0.saturating_mul(1000);
        let publishes = self.publishes.as_mut().map_or(0, |meter| meter.charge(now, 1));
        let bytes = self.bytes.as_mut().map_or(0, |meter| meter.charge(now, bytes as u64));
        Millis(publishes.max(bytes).div_ceil(1000))
    }
}

/// Of each quota the lesser; of connections the first one's.
pub(crate) fn least(a: &Quotas, b: &Quotas) -> Quotas {
    fn less<N: Ord>(a: Option<N>, b: Option<N>) -> Option<N> {
        a.into_iter().chain(b).min()
    }
    Quotas {
        connections: a.connections,
        publishes_per_second: less(a.publishes_per_second, b.publishes_per_second),
        bytes_per_second: less(a.bytes_per_second, b.bytes_per_second),
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

    #[test]
    fn no_packet_that_is_taken_uses_a_quota_up_for_longer_than_half_a_minute() {
        for per_second in [1, 100, 1_000_000, u64::MAX] {
            let quotas = Quotas { bytes_per_second: Some(per_second), ..Quotas::default() };
            let mut limit = RateLimit::new(&quotas).unwrap();
            let bytes = limit.packet_bytes_max();
            assert!(u64::from(bytes) >= PACKET_BYTES_MIN);
            for _ in 0..3 {
                let at = limit.charge(Millis(5000), bytes as usize);
                assert!(at <= Millis(5000 + 30_000), "{per_second} a second: {at:?}");
            }
        }
        let quotas = Quotas { publishes_per_second: Some(1), ..Quotas::default() };
        assert_eq!(RateLimit::new(&quotas).unwrap().packet_bytes_max(), u32::MAX);
    }

    #[test]
    fn of_two_quotas_the_lesser_holds() {
        let a = Quotas { publishes_per_second: Some(5), ..Quotas::default() };
        let b =
            Quotas { publishes_per_second: Some(3), bytes_per_second: Some(9), connections: None };
        assert_eq!(least(&a, &b), b);
        assert_eq!(least(&a, &Quotas::default()), a);
    }
}
