//! Whether a simulated process runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// One process of a node: it ends once, and nothing that is left of it reaches anybody after that.
#[derive(Debug, Clone, Default)]
pub(crate) struct Life(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    is_over: AtomicBool,
    ended: Notify,
}

impl Life {
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_over.load(Ordering::Relaxed)
    }

    pub(crate) fn end(&self) {
        self.0.is_over.store(true, Ordering::Relaxed);
        self.0.ended.notify_waiters();
    }

    /// Waits until the process ends. Cancel-safe.
    pub(crate) async fn ended(&self) {
        let mut ended = std::pin::pin!(self.0.ended.notified());
        // Registered before the look, so that no end is missed.
        ended.as_mut().enable();
        if !self.is_over() {
            ended.await;
        }
    }
}
