//! A token bucket. Pure: time is passed in.

use std::time::{Duration, Instant};

/// Lets through so many a second on average, and at most a second's worth at once.
#[derive(Debug)]
pub struct TokenBucket {
    per_second: u32,
    /// Time credit: each token costs `1 / per_second` of it; never more than a second.
    credit: Duration,
    updated: Instant,
}

impl TokenBucket {
    /// A full bucket. A rate of 0 counts as 1.
    #[must_use]
    pub fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second: per_second.max(1), credit: Duration::from_secs(1), updated: now }
    }

    /// Takes a token; otherwise says how long to wait for the next one.
    ///
    /// # Errors
    /// The time until there is a token.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let elapsed = now.saturating_duration_since(self.updated);
        self.updated = now;
        self.credit = (self.credit + elapsed).min(Duration::from_secs(1));
        let cost = Duration::from_secs(1) / self.per_second;
        match self.credit.checked_sub(cost) {
            Some(left) => {
                self.credit = left;
                Ok(())
            }
            None => Err(cost - self.credit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holds_its_rate_after_the_first_burst() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(10, start);
        assert_eq!((0..20).filter(|_| bucket.take(start).is_ok()).count(), 10);
        assert_eq!(bucket.take(start), Err(Duration::from_millis(100)));
        let passed = (1..=1_000u64)
            .filter(|n| bucket.take(start + Duration::from_millis(*n)).is_ok())
            .count();
        assert_eq!(passed, 10);
    }

    #[test]
    fn a_pause_saves_up_one_second_only() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(5, start);
        let later = start + Duration::from_secs(60);
        assert_eq!((0..20).filter(|_| bucket.take(later).is_ok()).count(), 5);
    }

    #[test]
    fn a_clock_that_stands_still_gives_nothing() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(1, start + Duration::from_secs(1));
        assert!(bucket.take(start).is_ok());
        assert!(bucket.take(start).is_err());
    }
}
