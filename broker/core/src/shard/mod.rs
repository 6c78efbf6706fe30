//! Durable sessions: the deterministic state machine that keeps what must outlive a broker.
//!
//! Layer: above messages and topics, below the engine (which reads it) and `cluster_state` (which
//! applies log entries to it). Pure: no clock, no randomness, no order that depends on a hash.
//!
//! A session is durable when its Session Expiry Interval is above zero. Its Subscriptions, its
//! messages of QoS 1 and 2 with what became of them, the QoS 2 messages that it publishes, and its
//! will are changed by [`Operation`]s of the log alone; the engine that has the client's connection
//! reads them and proposes what the client acknowledges.
//!
//! A session belongs to the shard of its Client Identifier. All shards are carried by one group as
//! yet; a shard is the unit in which they can be spread over several.

mod applied;
mod apply;
mod batch;
mod control;
mod delayed;
mod expire;
mod form;
mod index;
mod leave;
mod operation;
mod publish;
mod record;
mod sessions;
mod snapshot;
mod store;
mod totals;

#[cfg(test)]
mod property_test;
#[cfg(test)]
mod testing;

pub use applied::{Applied, ApplyContext, Drops, LiveAudience, LiveMessage, Ready};
pub use batch::{BatchOrigin, OperationOutcome, SessionBatch, SessionLimits};
pub use control::{AwayTotals, SessionTotals};
pub use form::{MessageForm, WillForm};
pub use index::{DurableGroup, DurableRoute};
pub use operation::{
    ANYWHERE_LEVEL, DelayForm, DelayLimits, GroupForm, Operation, Pick, PublisherForm, SessionRef,
};
pub use record::Outbound;
pub use snapshot::SessionsSnapshot;
pub use store::{SessionStore, SessionView};
pub use totals::ShardTotals;

use crate::types::ClientId;

/// Shards that durable state is cut into; fixed for ever, as the log and snapshots rely on it.
pub const SHARDS: usize = 16;

/// All shards, as a set of bits.
pub const ALL_SHARDS: u16 = u16::MAX;

/// The shard of a session: FNV-1a of its Client Identifier.
#[must_use]
pub fn shard_of(client_id: &str) -> usize {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = client_id.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, fold);
    (hash % SHARDS as u64) as usize
}

/// Where a session's client is connected.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct Holder {
    /// The broker.
    pub node: crate::types::NodeId,
    /// When that broker's process started: one that starts anew has none of its connections.
    pub start: u64,
    /// The worker in it.
    pub worker: u8,
}

/// The Packet Identifier of a session's message. The same at each delivery of it, by whatever
/// broker: what a client has received of QoS 2 is known by it. [MQTT-4.4.0-1]
#[must_use]
pub fn packet_id_of(seq: u64) -> crate::types::PacketId {
    let value = (seq.wrapping_sub(1) % u64::from(u16::MAX)) as u16 + 1;
    crate::types::PacketId::new(value).unwrap_or(crate::types::PacketId::MIN)
}

/// The latest message up to `last` that has this Packet Identifier.
#[must_use]
pub fn seq_of(packet_id: crate::types::PacketId, last: u64) -> Option<u64> {
    let ids = u64::from(u16::MAX);
    let behind = (u64::from(packet_id_of(last).get()) + ids - u64::from(packet_id.get())) % ids;
    last.checked_sub(behind).filter(|seq| *seq > 0)
}

/// Whose session, as the state names it.
pub(crate) type SessionKey = ClientId;
