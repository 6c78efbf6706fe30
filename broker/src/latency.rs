//! How long something takes, counted by bounds as Prometheus' histograms are. Pure.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds in microseconds; what takes longer is in none of them.
pub const BOUNDS_MICROS: [u64; 14] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000,
];

/// Times since the start, by bounds. Any thread may count, and any read.
#[derive(Debug, Default)]
pub struct Latency {
    /// Those above the bound before, up to their own; the last are above all.
    counts: [AtomicU64; BOUNDS_MICROS.len() + 1],
    sum_micros: AtomicU64,
}

/// Times as they were at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LatencyCounts {
    /// Those up to each bound, those of lower bounds included.
    pub cumulative: [u64; BOUNDS_MICROS.len()],
    /// All of them.
    pub count: u64,
    /// Their sum, in microseconds.
    pub sum_micros: u64,
}

impl Latency {
    /// Counts one.
    pub fn note(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        if let Some(count) = self.counts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// What was counted until now.
    #[must_use]
    pub fn read(&self) -> LatencyCounts {
        let mut read = LatencyCounts {
            sum_micros: self.sum_micros.load(Ordering::Relaxed),
            ..LatencyCounts::default()
        };
        let mut places = read.cumulative.iter_mut();
        for count in &self.counts {
            read.count += count.load(Ordering::Relaxed);
            if let Some(place) = places.next() {
                *place = read.count;
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_counts_up_to_its_bound_and_above_and_beyond_all_bounds_only_in_the_count() {
        let latency = Latency::default();
        for micros in [0, 250, 251, 5_000_000, 5_000_001, 60_000_000] {
            latency.note(Duration::from_micros(micros));
        }
        let read = latency.read();
        assert_eq!(read.cumulative[..3], [2, 3, 3]);
        assert_eq!(read.cumulative.last(), Some(&4));
        assert_eq!((read.count, read.sum_micros), (6, 70_000_502));
    }
}
