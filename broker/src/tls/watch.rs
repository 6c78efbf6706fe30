//! Looks at the TLS files again and again, and reloads them once a change has settled.
//!
//! Polling rather than a watch of the file system: a few `stat` calls a second cost nothing, work
//! on every file system, and see the link swap by which Kubernetes replaces a mounted Secret.

use std::sync::Arc;
use std::time::Duration;

use super::store::TlsStore;

/// Between two looks. A change is in use after one to two of them.
pub const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// Watches for as long as it is polled.
pub async fn watch(store: Arc<TlsStore>) {
    let mut interval = tokio::time::interval(WATCH_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut seen = None;
    loop {
        interval.tick().await;
        let pending = store.pending();
        // Certificate and key may be written one after the other: wait until both stand still.
        if pending.is_some() && pending == seen {
            store.reload(false);
            seen = None;
        } else {
            seen = pending;
        }
    }
}
