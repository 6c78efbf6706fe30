//! What the generator's threads share: the phase, the clock, the count. Written rarely, or once a batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Instant;

/// Where the run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// Traffic flows, its latency is not recorded.
    WarmUp,
    /// Latency is recorded.
    Measure,
    /// Nothing is sent any more.
    Stop,
}

#[derive(Debug)]
struct Inner {
    began: Instant,
    phase: AtomicU8,
    delivered: AtomicU64,
}

/// A handle on what is shared.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Inner>);

impl Shared {
    pub(super) fn new() -> Self {
        Self(Arc::new(Inner {
            began: Instant::now(),
            phase: AtomicU8::new(Phase::WarmUp as u8),
            delivered: AtomicU64::new(0),
        }))
    }

    #[inline]
    pub(super) fn phase(&self) -> Phase {
        match self.0.phase.load(Ordering::Relaxed) {
            0 => Phase::WarmUp,
            1 => Phase::Measure,
            _ => Phase::Stop,
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.0.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Nanoseconds since the run began.
    #[inline]
    pub(super) fn nanos(&self) -> u64 {
        self.0.began.elapsed().as_nanos() as u64
    }

    #[inline]
    pub(super) fn count(&self, delivered: u64) {
        if delivered > 0 {
            self.0.delivered.fetch_add(delivered, Ordering::Relaxed);
        }
    }

    pub(super) fn delivered(&self) -> u64 {
        self.0.delivered.load(Ordering::Relaxed)
    }
}
