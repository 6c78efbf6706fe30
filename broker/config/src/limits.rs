//! Limits of sessions, retained messages and the process, and what of them follows from the memory
//! budget. Pure.

use std::time::Duration;

/// Limits of a Session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// Longest Session Expiry Interval.
    pub expiry_max: Duration,
    /// Unacknowledged QoS 1 and 2 messages on their way to one client, at least 1.
    pub inflight_max: u16,
    /// Messages queued for one Session.
    pub queued_messages_max: u32,
    /// Bytes queued for one Session.
    pub queued_bytes_max: u64,
    /// Bytes queued for all Sessions that are not durable together; `None`: its share of the memory
    /// budget.
    pub queued_bytes_total_max: Option<u64>,
    /// Messages queued for them, and as many for the durable ones; `None`: as many small ones as
    /// the memory budget has room for.
    pub queued_messages_total_max: Option<u64>,
    /// Subscriptions of one Session, at least 1.
    pub subscriptions_max: u32,
    /// Sessions that outlive their connections, in the whole cluster: 1 or more. Each broker keeps
    /// all of them in memory; a million empty ones take about half a gigabyte.
    pub durable_max: u64,
    /// Bytes queued for all of them together; a message counts in each session that it waits in,
    /// though it is kept once. `None`: its share of the memory budget.
    pub durable_bytes_max: Option<u64>,
    /// Bytes of queued messages of durable sessions that each broker keeps in memory; the others are
    /// on its disk. `None`: [`DURABLE_CACHE_BYTES`], or a tenth of the memory budget if that is less.
    pub durable_cache_bytes: Option<u64>,
}

/// Bytes of queued messages of durable sessions in memory, where there is that much: what fifty
/// thousand messages of half a kilobyte take.
pub const DURABLE_CACHE_BYTES: u64 = 32 << 20;

/// Percent of the memory budget that they have at most, unless it is configured.
const DURABLE_CACHE_PERCENT: u64 = 10;

/// Limits of the store of retained messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retained {
    /// Retained messages in the cluster.
    pub messages_max: u64,
    /// Bytes of all retained messages, topics included; `None`: its share of the memory budget.
    pub bytes_max: Option<u64>,
    /// Longest time that one is kept; `None`: as long as it asks.
    pub expiry_max: Option<Duration>,
}

/// Limits of the whole process; 0 stands for what each says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Network Connections in all; 0: as many as there may be open files.
    pub connections_max: u32,
    /// Network Connections of one address; 0: any number.
    pub connections_per_address_max: u32,
    /// Network Connections of one user, whose own quota may be less; 0: any number.
    pub connections_per_user_max: u32,
    /// Bytes of memory; 0: three quarters of what the system lets the process have.
    pub memory_bytes_max: u64,
}

/// Percent of the memory budget that all queues of sessions that are not durable may have.
const QUEUED_PERCENT: u64 = 20;
/// The same for durable sessions.
const DURABLE_PERCENT: u64 = 20;
/// The same for retained messages. With the two above this stays 15 % below the mark from which
/// publishers are held back, so that the defaults leave connections room and never reach it.
const RETAINED_PERCENT: u64 = 15;
/// What the smallest message takes in a queue, in bytes: its place and what points at it included.
const MESSAGE_BYTES_MIN: u64 = 256;
/// The budget where neither the configuration nor the system says what there is: what a small
/// server has.
const BUDGET_UNKNOWN: u64 = 4 << 30;

impl Sessions {
    /// Gives the limits that the configuration leaves open their share of a memory budget.
    #[must_use]
    pub fn within(self, budget: Option<u64>) -> Self {
        let budget = budget.unwrap_or(BUDGET_UNKNOWN);
        let queued = self.queued_bytes_total_max.unwrap_or(percent(budget, QUEUED_PERCENT));
        let durable = self.durable_bytes_max.unwrap_or(percent(budget, DURABLE_PERCENT));
        let cache = DURABLE_CACHE_BYTES.min(percent(budget, DURABLE_CACHE_PERCENT));
        let messages = queued.max(durable) / MESSAGE_BYTES_MIN;
        Self {
            queued_bytes_total_max: Some(queued),
            durable_bytes_max: Some(durable),
            durable_cache_bytes: self.durable_cache_bytes.or(Some(cache)),
            queued_messages_total_max: self.queued_messages_total_max.or(Some(messages)),
            ..self
        }
    }
}

impl Retained {
    /// As [`Sessions::within`].
    #[must_use]
    pub fn within(self, budget: Option<u64>) -> Self {
        let share = percent(budget.unwrap_or(BUDGET_UNKNOWN), RETAINED_PERCENT);
        Self { bytes_max: self.bytes_max.or(Some(share)), ..self }
    }
}

const fn percent(budget: u64, percent: u64) -> u64 {
    budget / 100 * percent
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSIONS: Sessions = Sessions {
        expiry_max: Duration::ZERO,
        inflight_max: 1,
        queued_messages_max: 1,
        queued_bytes_max: 1,
        queued_bytes_total_max: None,
        queued_messages_total_max: None,
        subscriptions_max: 1,
        durable_max: 1,
        durable_bytes_max: None,
        durable_cache_bytes: None,
    };
    const RETAINED: Retained = Retained { messages_max: 1, bytes_max: None, expiry_max: None };

    #[test]
    fn what_is_kept_by_default_stays_well_below_the_first_mark_of_the_budget() {
        for budget in [64 << 20, 512 << 20, 64 << 30] {
            let sessions = SESSIONS.within(Some(budget));
            let retained = RETAINED.within(Some(budget)).bytes_max.unwrap();
            let queued = sessions.queued_bytes_total_max.unwrap();
            let durable = sessions.durable_bytes_max.unwrap();
            assert!(queued + durable + retained < budget / 100 * 60, "{budget}");
            assert!(queued.min(durable).min(retained) > budget / 100 * 14, "{budget}");
            let messages = sessions.queued_messages_total_max.unwrap();
            assert_eq!(messages, queued / MESSAGE_BYTES_MIN);
            let cache = sessions.durable_cache_bytes.unwrap();
            assert!(cache <= 32 << 20 && cache <= budget / 10 && cache > 6 << 20, "{cache}");
        }
    }

    #[test]
    fn what_is_configured_holds_whatever_the_budget() {
        let configured = Sessions {
            queued_bytes_total_max: Some(1),
            queued_messages_total_max: Some(2),
            durable_bytes_max: Some(3),
            durable_cache_bytes: Some(4),
            ..SESSIONS
        };
        assert_eq!(configured.within(Some(1 << 30)), configured);
        assert_eq!(configured.within(None), configured);
        let retained = Retained { bytes_max: Some(4), ..RETAINED };
        assert_eq!(retained.within(Some(1 << 30)), retained);
    }
}
