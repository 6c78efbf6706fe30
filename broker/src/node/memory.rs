//! Numbers of the memory budget, and of the data directory, that `/metrics` reads.

use std::sync::atomic::{AtomicU64, Ordering};

use broker_core::engine::Pressure;

/// What the watch over memory publishes.
#[derive(Debug, Default)]
pub struct MemoryCounters {
    budget: AtomicU64,
    resident: AtomicU64,
    pressure: AtomicU64,
    changes: AtomicU64,
    open_files: AtomicU64,
    damaged_set_aside: AtomicU64,
}

/// A reading of [`MemoryCounters`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryReading {
    /// What the process may use, in bytes; 0 where that is not known.
    pub budget: u64,
    /// What it uses, in bytes.
    pub resident: u64,
    /// How scarce memory is: 0, 1 or 2.
    pub pressure: u64,
    /// How often that has changed.
    pub changes: u64,
    /// Files, sockets included, that the process may have open; 0 where there is no limit.
    pub open_files: u64,
    /// Folders in the data directory with what was damaged and set aside.
    pub damaged_set_aside: u64,
}

impl MemoryCounters {
    /// Reads everything.
    #[must_use]
    pub fn read(&self) -> MemoryReading {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        MemoryReading {
            budget: get(&self.budget),
            resident: get(&self.resident),
            pressure: get(&self.pressure),
            changes: get(&self.changes),
            open_files: get(&self.open_files),
            damaged_set_aside: get(&self.damaged_set_aside),
        }
    }

    pub(crate) fn set_budget(&self, bytes: u64) {
        self.budget.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn set_resident(&self, bytes: u64) {
        self.resident.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn set_pressure(&self, pressure: Pressure) {
        self.pressure.store(pressure as u64, Ordering::Relaxed);
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn set_damaged_set_aside(&self, folders: u64) {
        self.damaged_set_aside.store(folders, Ordering::Relaxed);
    }

    pub(crate) fn set_open_files(&self, files: u64) {
        self.open_files.store(files, Ordering::Relaxed);
    }
}
