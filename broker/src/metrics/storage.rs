//! Numbers of what lies on the disk beside the log: queued messages, and what room there is.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Metrics;
use super::page::{Kind, Page, Written};

impl Metrics {
    pub(super) fn storage(&self, page: &mut Page) -> Written {
        let meta = &self.0.meta;
        let spill = meta.messages().stats();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        page.single(
            Kind::Gauge,
            "durable_cache_bytes",
            "What queued messages of durable sessions take of memory.",
            read(&spill.cached_bytes),
        )?;
        page.single(
            Kind::Counter,
            "durable_spilled_bytes_total",
            "Bytes of them written to disk, as memory had no room for them.",
            read(&spill.spilled_bytes),
        )?;
        page.single(
            Kind::Gauge,
            "durable_spill_segments",
            "Files that hold such messages.",
            read(&spill.segments),
        )?;
        page.single(
            Kind::Gauge,
            "durable_spill_bytes",
            "Bytes of those files.",
            read(&spill.disk_bytes),
        )?;
        page.single(
            Kind::Counter,
            "durable_spill_failures_total",
            "Writes of such files that failed; the messages stay in memory.",
            read(&spill.failures),
        )?;
        let is_low = u64::from(*meta.is_disk_low().borrow());
        page.single(
            Kind::Gauge,
            "disk_low",
            "1 while the disk is so full that no message is taken that has to be kept.",
            is_low,
        )?;
        match meta.disk_free_bytes() {
            Some(free) => page.single(
                Kind::Gauge,
                "disk_free_bytes",
                "Room on the disk of the data directory, as of the last look.",
                free,
            ),
            None => Ok(()),
        }
    }
}
