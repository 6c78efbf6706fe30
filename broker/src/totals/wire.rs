//! A broker's numbers as they travel: a version, then the numbers in order. Pure.

use broker_core::engine::Counters;
use bytes::{Buf, BufMut};

/// Numbers are added at the end; whoever knows fewer reads those that it knows.
const VERSION: u8 = 1;

/// Numbers in a frame of this version.
const NUMBERS: usize = 13;

/// What one broker does and holds. Counts are since the start of its process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeTotals {
    /// Sessions whose clients are connected.
    pub clients_connected: u64,
    /// Sessions of its workers: those of connected clients, and those that are not durable.
    pub sessions: u64,
    /// Subscriptions of them, shared ones included.
    pub subscriptions: u64,
    /// Shared Subscriptions among them.
    pub shared_subscriptions: u64,
    /// Messages that wait in sessions that are not durable.
    pub queued_messages: u64,
    /// Their bytes.
    pub queued_bytes: u64,
    /// PUBLISH packets received.
    pub publishes_received: u64,
    /// PUBLISH packets sent.
    pub publishes_sent: u64,
    /// Messages dropped for want of room.
    pub dropped: u64,
    /// Bytes of payload received.
    pub payload_bytes_received: u64,
    /// Bytes of payload sent.
    pub payload_bytes_sent: u64,
    /// Bytes of packets received.
    pub bytes_received: u64,
    /// Bytes of packets sent.
    pub bytes_sent: u64,
}

impl NodeTotals {
    /// What one worker's counters say.
    #[must_use]
    pub fn of(counters: &Counters) -> Self {
        Self {
            clients_connected: counters.clients_connected,
            sessions: counters.sessions,
            subscriptions: counters.subscriptions,
            shared_subscriptions: counters.shared_subscriptions,
            queued_messages: counters.queued_messages,
            queued_bytes: counters.queued_bytes,
            publishes_received: counters.publishes_received.iter().sum(),
            publishes_sent: counters.publishes_sent.iter().sum(),
            dropped: counters.dropped.queue_full + counters.dropped.slow_consumer,
            payload_bytes_received: counters.payload_bytes_received,
            payload_bytes_sent: counters.payload_bytes_sent,
            bytes_received: counters.bytes_received,
            bytes_sent: counters.bytes_sent,
        }
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let (mut sum, mut other) = (*self, *other);
        for (number, more) in sum.fields().into_iter().zip(other.fields()) {
            *number = number.saturating_add(*more);
        }
        sum
    }

    /// The numbers as a frame's body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(1 + 8 * NUMBERS);
        body.put_u8(VERSION);
        let mut numbers = *self;
        numbers.fields().into_iter().for_each(|number| body.put_u64_le(*number));
        body
    }

    /// Reads what [`Self::encode`] wrote, here or in a later version; `None` for anything else.
    #[must_use]
    pub fn decode(mut body: &[u8]) -> Option<Self> {
        let version = body.try_get_u8().ok()?;
        let mut totals = Self::default();
        for number in totals.fields() {
            *number = body.try_get_u64_le().ok()?;
        }
        (version >= VERSION).then_some(totals)
    }

    /// The numbers in the order in which they travel.
    const fn fields(&mut self) -> [&mut u64; NUMBERS] {
        [
            &mut self.clients_connected,
            &mut self.sessions,
            &mut self.subscriptions,
            &mut self.shared_subscriptions,
            &mut self.queued_messages,
            &mut self.queued_bytes,
            &mut self.publishes_received,
            &mut self.publishes_sent,
            &mut self.dropped,
            &mut self.payload_bytes_received,
            &mut self.payload_bytes_sent,
            &mut self.bytes_received,
            &mut self.bytes_sent,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_also_from_a_later_version_that_tells_more() {
        let mut totals = NodeTotals::default();
        for (number, at) in totals.fields().into_iter().zip(0..) {
            *number = 1 << (4 * at);
        }
        let mut body = totals.encode();
        assert_eq!(NodeTotals::decode(&body), Some(totals));
        for length in 0..body.len() {
            assert_eq!(NodeTotals::decode(&body[..length]), None, "{length} bytes");
        }
        body[0] += 1;
        body.extend([1; 16]);
        assert_eq!(NodeTotals::decode(&body), Some(totals));
        body[0] = 0;
        assert_eq!(NodeTotals::decode(&body), None);
    }

    #[test]
    fn what_a_worker_counts_is_told_under_the_same_names() {
        let mut counters = Counters {
            clients_connected: 1,
            sessions: 2,
            publishes_received: [1, 2, 3],
            publishes_sent: [4, 5, 6],
            ..Counters::default()
        };
        counters.dropped.queue_full = 7;
        counters.dropped.slow_consumer = 8;
        let totals = NodeTotals::of(&counters);
        let twice = totals.plus(&totals);
        assert_eq!((twice.clients_connected, twice.sessions), (2, 4));
        assert_eq!((totals.publishes_received, totals.publishes_sent), (6, 15));
        assert_eq!(twice.dropped, 30);
    }
}
