//! Moving averages over one, five and fifteen minutes, as Mosquitto makes them. Pure.

use std::time::Duration;

/// The spans, with their names in topics.
pub(super) const SPANS: [(&str, f64); 3] = [("1min", 60.0), ("5min", 300.0), ("15min", 900.0)];

/// Events per minute of one counter, averaged over each span; what is longer ago counts less and
/// less.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Load {
    last: u64,
    averages: [f64; SPANS.len()],
}

impl Load {
    /// Takes in what the counter says after so much time.
    pub(super) fn update(&mut self, total: u64, passed: Duration) {
        let events = total.saturating_sub(self.last);
        self.last = total;
        let seconds = passed.as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        // Counters far below 2^53 are exact.
        let per_minute = events as f64 * 60.0 / seconds;
        for (average, (_, span)) in self.averages.iter_mut().zip(SPANS) {
            let weight = 1.0 - (-seconds / span).exp();
            *average += weight * (per_minute - *average);
        }
    }

    /// By span.
    pub(super) const fn averages(&self) -> [f64; SPANS.len()] {
        self.averages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_comes_to_the_rate_the_sooner_the_shorter_its_span_and_goes_back_to_nothing() {
        let mut load = Load::default();
        load.update(1_000, Duration::ZERO);
        assert_eq!(load.averages(), [0.0; 3], "what was before the first reading is no load");
        let mut total = 1_000;
        for _ in 0..6 {
            total += 50;
            load.update(total, Duration::from_secs(10));
        }
        // 300 a minute for one minute: 1 - 1/e of it, and less over longer spans.
        let [one, five, fifteen] = load.averages();
        assert!((one - 189.6).abs() < 0.1, "{one}");
        assert!((five - 54.4).abs() < 0.1, "{five}");
        assert!((fifteen - 19.3).abs() < 0.1, "{fifteen}");
        for _ in 0..1_000 {
            load.update(total, Duration::from_secs(10));
        }
        assert!(load.averages().iter().all(|average| *average < 0.01));
    }
}
