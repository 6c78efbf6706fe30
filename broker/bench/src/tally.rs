//! What the subscribers of one thread counted, and how long the messages took. Pure.

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest latency that is told apart, in nanoseconds: a minute.
const LATENCY_NANOS_MAX: u64 = 60_000_000_000;
/// Digits of a latency that are kept.
const DIGITS: u8 = 3;

/// Counts of one thread; those of several are added up.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Nanoseconds from sending to receiving.
    latencies: Histogram<u64>,
    /// Messages that came again.
    pub duplicates: u64,
    /// Messages that are none of this run's.
    pub foreign: u64,
    /// Deliveries that did not come.
    pub lost: u64,
    /// Messages that were due and not sent: the broker did not keep up with the rate.
    pub skipped: u64,
}

impl Tally {
    /// Nothing counted.
    ///
    /// # Errors
    /// Never: the histogram's bounds are constants.
    pub fn new() -> Result<Self> {
        let latencies = Histogram::new_with_bounds(1, LATENCY_NANOS_MAX, DIGITS)
            .context("the bounds of the histogram")?;
        Ok(Self { latencies, duplicates: 0, foreign: 0, lost: 0, skipped: 0 })
    }

    /// Counts one message that took so long.
    #[inline]
    pub fn record(&mut self, nanos: u64) {
        self.latencies.saturating_record(nanos);
    }

    /// Adds another thread's counts.
    ///
    /// # Errors
    /// Never: all histograms have the same bounds.
    pub fn add(&mut self, other: &Self) -> Result<()> {
        self.latencies.add(&other.latencies).context("the bounds of the histograms differ")?;
        self.duplicates += other.duplicates;
        self.foreign += other.foreign;
        self.lost += other.lost;
        self.skipped += other.skipped;
        Ok(())
    }

    /// The quantiles; zeros when nothing was counted.
    #[must_use]
    pub fn latency(&self) -> Latency {
        let micros = |q: f64| self.latencies.value_at_quantile(q) as f64 / 1e3;
        let samples = self.latencies.len();
        Latency {
            samples,
            p50: micros(0.5),
            p99: micros(0.99),
            p999: micros(0.999),
            max: micros(1.0),
        }
    }
}

/// Quantiles of the time from sending to receiving, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Messages that were looked at.
    pub samples: u64,
    /// Half of the messages took no longer.
    pub p50: f64,
    /// 99 of 100 took no longer.
    pub p99: f64,
    /// 999 of 1,000 took no longer.
    pub p999: f64,
    /// None took longer.
    pub max: f64,
}

/// The median; 0 for no values.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_one_to_a_thousand_microseconds_are_themselves() {
        let mut tally = Tally::new().unwrap();
        for micros in 1..=1000 {
            tally.record(micros * 1000);
        }
        let found = tally.latency();
        let near = |found: f64, wanted: f64| (found - wanted).abs() <= wanted / 500.0;
        assert!(near(found.p50, 500.0), "{found:?}");
        assert!(near(found.p99, 990.0), "{found:?}");
        assert!(near(found.p999, 999.0), "{found:?}");
        assert!(near(found.max, 1000.0), "{found:?}");
    }

    #[test]
    fn threads_are_added_up() {
        let (mut one, mut other) = (Tally::new().unwrap(), Tally::new().unwrap());
        one.record(1_000);
        other.record(9_000_000);
        other.lost = 3;
        one.add(&other).unwrap();
        assert!(one.latency().max >= 8_990.0, "{:?}", one.latency());
        assert!(one.latency().p50 <= 1.1, "{:?}", one.latency());
        assert_eq!(one.lost, 3);
    }

    #[test]
    fn a_latency_above_the_histogram_counts_as_its_longest() {
        let mut tally = Tally::new().unwrap();
        tally.record(u64::MAX);
        assert!(tally.latency().max >= 59e6, "{:?}", tally.latency());
    }

    #[test]
    fn the_median_of_an_even_number_of_values_lies_between_the_two_in_the_middle() {
        assert_eq!(median(&[9.0, 1.0, 3.0]), 3.0);
        assert_eq!(median(&[9.0, 1.0, 3.0, 5.0]), 4.0);
        assert_eq!(median(&[]), 0.0);
    }
}
