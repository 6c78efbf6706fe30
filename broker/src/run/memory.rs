//! How much memory the process uses, and what it may: read from the system. A task looks several
//! times a second and tells acceptors and workers when memory becomes scarce. IO.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use broker_core::cluster_state::RetainedStore;
use broker_core::engine::Pressure;
use broker_core::memory_budget::{MemoryBudget, MemoryUse};
use broker_core::shard::SessionStore;
use tokio::time::{MissedTickBehavior, interval};

use crate::node::{Admission, MemoryCounters, ToWorker, WorkerHandle};
use crate::storage::SpillStats;

/// Between two looks. A worker takes a gigabyte in a second at most, so a look this often finds it
/// out within a few percent of any sensible budget.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Percent of what the system lets the process have that is its budget, where the configuration
/// says nothing: the rest is for the page cache of the log, and for what a mark is passed by.
const SHARE_PERCENT: u64 = 75;

/// What the process may use, in bytes: as configured (0: a share of what the system lets it have).
/// `None`: neither is known.
pub(super) fn budget(configured: u64) -> Option<u64> {
    match configured {
        0 => system_limit().map(|bytes| bytes / 100 * SHARE_PERCENT),
        bytes => Some(bytes),
    }
}

/// The least of the machine's memory and the limits of its control group.
fn system_limit() -> Option<u64> {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| kibibytes(&text, "MemTotal:"));
    // The group of this process, and as a container sees its own.
    let own = read(Path::new("/proc/self/cgroup"));
    let own =
        own.as_deref().and_then(|text| text.lines().find_map(|line| line.strip_prefix("0::")));
    let root = Path::new("/sys/fs/cgroup");
    let folders = own.into_iter().flat_map(|group| Path::new(group).ancestors());
    let files = folders
        .map(|folder| root.join(folder.strip_prefix("/").unwrap_or(folder)).join("memory.max"))
        .chain([root.join("memory.max"), root.join("memory/memory.limit_in_bytes")]);
    let groups = files.filter_map(|path| read(&path)?.trim().parse::<u64>().ok());
    groups.chain(machine).min()
}

/// What the process has in memory, in bytes.
fn resident() -> Option<u64> {
    kibibytes(&std::fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// The number behind a word, in bytes; the system writes it in KiB.
fn kibibytes(text: &str, word: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(word))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()?.saturating_mul(1024))
}

/// What the replicated state holds of memory.
pub(super) struct Kept {
    pub(super) retained: Arc<RetainedStore>,
    pub(super) sessions: Arc<SessionStore>,
    pub(super) spill: Arc<SpillStats>,
}

/// Watches over the budget for as long as it is polled.
pub(super) async fn watch(
    bytes: u64,
    workers: Arc<[WorkerHandle]>,
    kept: Kept,
    admission: Arc<Admission>,
    counters: Arc<MemoryCounters>,
) {
    let mut budget = MemoryBudget::new(bytes);
    counters.set_budget(bytes);
    let mut before = Pressure::None;
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(used) = resident() else { continue };
        counters.set_resident(used);
        let wants_held = budget.wants_held(used);
        let held = if wants_held { held(&workers, &kept) } else { 0 };
        let pressure = budget.observe(MemoryUse { resident: used, held });
        if pressure != before {
            report(before, pressure, used, bytes);
            counters.set_pressure(pressure);
            admission.set_pressure(pressure);
        }
        // The workers look at their buffers at the same time.
        if pressure != before || wants_held {
            tell(&workers, pressure, before).await;
        }
        before = pressure;
    }
}

/// What the broker knows that it holds, in bytes; of buffers as of the last look.
fn held(workers: &[WorkerHandle], kept: &Kept) -> u64 {
    let of_worker = |worker: &WorkerHandle| {
        let engine = worker.counters.read().engine;
        engine.queued_bytes + engine.in_flight_bytes + engine.delayed_bytes + engine.buffered_bytes
    };
    let durable = kept.sessions.totals();
    let queued = kept.spill.memory_bytes(durable.messages, durable.bytes);
    let replicated = kept.retained.totals().bytes + queued + durable.delayed_bytes;
    workers.iter().map(of_worker).sum::<u64>() + replicated
}

fn report(before: Pressure, pressure: Pressure, used: u64, budget: u64) {
    match pressure {
        Pressure::None => tracing::info!(used, budget, "memory is not scarce any more"),
        Pressure::Slow if before == Pressure::Refuse => {
            tracing::warn!(used, budget, "memory is less scarce: new clients come in again");
        }
        Pressure::Slow => {
            tracing::warn!(used, budget, "memory is scarce: the heaviest publishers are not read");
        }
        Pressure::Refuse => {
            tracing::warn!(used, budget, "memory is very scarce: new clients are refused");
        }
    }
}

async fn tell(workers: &[WorkerHandle], pressure: Pressure, before: Pressure) {
    for worker in workers {
        let message = ToWorker::Pressure(pressure);
        if pressure == before {
            // One interval more; a worker with a full queue has enough to do.
            let _ = worker.inbox.try_send(message);
        } else {
            // One that has ended is not told.
            let _ = worker.inbox.send(message).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_what_there_is_and_what_is_used() {
        let (limit, used) = (system_limit().unwrap(), resident().unwrap());
        assert!(used > 0 && used < limit, "{used} of {limit}");
        assert_eq!(budget(0), Some(limit / 100 * SHARE_PERCENT));
        assert_eq!(budget(5), Some(5));
        assert_eq!(kibibytes("MemTotal:   7 kB\n", "MemTotal:"), Some(7 * 1024));
        assert_eq!(kibibytes("MemTotal: x kB\n", "MemTotal:"), None);
    }
}
