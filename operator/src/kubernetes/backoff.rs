//! How long to wait after failures of one object: twice as long each time, with jitter. IO: random
//! numbers.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::random;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_mins(2);

/// Failures in a row, by object.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: Mutex<HashMap<String, u32>>,
}

impl Backoff {
    /// Notes a failure and says how long to wait.
    pub(crate) fn next(&self, object: &str) -> Duration {
        self.next_within(object, LONGEST)
    }

    /// As [`Backoff::next`], for what must not wait for longer than `longest`, give or take the
    /// jitter.
    pub(crate) fn next_within(&self, object: &str, longest: Duration) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(object.to_owned()).or_default();
        *count = count.saturating_add(1);
        let delay = FIRST.saturating_mul(1 << (*count - 1).min(10)).min(longest);
        delay.mul_f64(0.75 + 0.5 * random::fraction())
    }

    /// Notes a success.
    pub(crate) fn succeeded(&self, object: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_bound_and_start_anew_after_a_success() {
        let backoff = Backoff::default();
        let first = backoff.next("a");
        assert!(first < Duration::from_secs(1));
        let last = (0..20).map(|_| backoff.next("a")).last().unwrap();
        assert!(last >= LONGEST.mul_f64(0.7) && last <= LONGEST.mul_f64(1.3));
        assert!(backoff.next("b") < Duration::from_secs(1));
        let within = backoff.next_within("a", Duration::from_secs(4));
        assert!(within >= Duration::from_secs(3) && within <= Duration::from_secs(5));
        backoff.succeeded("a");
        assert!(backoff.next("a") < Duration::from_secs(1));
    }
}
