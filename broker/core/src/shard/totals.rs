//! How much one shard holds. Pure.

use super::SHARDS;
use super::store::SessionStore;

/// How much one shard holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShardTotals {
    /// Sessions.
    pub sessions: u64,
    /// Those whose client is connected somewhere.
    pub connected: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Messages that wait or are on their way.
    pub messages: u64,
    /// Their bytes, counted in each session.
    pub bytes: u64,
}

impl SessionStore {
    /// How much each shard holds, by its number. Each is looked at for itself, and looking takes
    /// time with its sessions.
    pub fn shard_totals(&self) -> impl ExactSizeIterator<Item = ShardTotals> + '_ {
        (0..SHARDS).map(|number| {
            let mut totals = ShardTotals::default();
            for record in self.shard_at(number).iter() {
                totals.sessions += 1;
                totals.connected += u64::from(record.holder.is_some());
                totals.subscriptions += record.subscriptions.len() as u64;
                totals.messages += record.messages;
                totals.bytes += record.bytes;
            }
            totals
        })
    }
}
