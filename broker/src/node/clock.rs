//! The process's clock: Unix milliseconds that never go back.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use broker_core::types::Millis;

/// Unix time at the start, carried on by the monotonic clock: a step of the system's clock moves
/// no timer.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
    started_unix: u64,
}

impl Clock {
    /// Reads the system's clock once.
    #[must_use]
    pub fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            started: Instant::now(),
            started_unix: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.at(Instant::now())
    }

    /// What [`Clock::now`] gave at `instant`; its first time for an instant before that.
    #[must_use]
    pub fn at(&self, instant: Instant) -> Millis {
        let elapsed = instant.saturating_duration_since(self.started).as_millis();
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        Millis(self.started_unix.saturating_add(elapsed))
    }

    /// The monotonic instant at which [`Clock::now`] reaches `at`; now when it has passed.
    #[must_use]
    pub fn instant_of(&self, at: Millis) -> Instant {
        let from_start = at.0.saturating_sub(self.started_unix);
        // A year is as good as never, and cannot overflow an `Instant`.
        let bounded = from_start.min(self.elapsed_millis() + 365 * 24 * 3_600_000);
        self.started + std::time::Duration::from_millis(bounded)
    }

    fn elapsed_millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
