//! Plain numbers that the driver reads for `/metrics`. Pure data.

use crate::codec::ReasonCode;

/// What an engine has done since it started, and what it holds now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes handed to [`receive`](super::Engine::receive).
    pub bytes_received: u64,
    /// Bytes reported by [`output_written`](super::Engine::output_written).
    pub bytes_sent: u64,
    /// PUBLISH packets received from clients, by QoS.
    pub publishes_received: [u64; 3],
    /// PUBLISH packets appended to clients' output, by QoS; redeliveries included.
    pub publishes_sent: [u64; 3],
    /// Bytes of payload in the PUBLISH packets received.
    pub payload_bytes_received: u64,
    /// Bytes of payload in those appended to clients' output.
    pub payload_bytes_sent: u64,
    /// Packets of other types received from clients.
    pub other_packets_received: u64,
    /// Packets of other types appended to clients' output.
    pub other_packets_sent: u64,
    /// Messages put into forward batches, counted once per destination.
    pub forwards_sent: u64,
    /// Messages taken from forward batches.
    pub forwards_received: u64,
    /// Messages of Shared Subscriptions that went to another member, since the one that was to get
    /// them has left.
    pub shared_redispatched: u64,
    /// Messages not accepted or not delivered.
    pub dropped: Dropped,
    /// Times that a limit refused something or granted less than was asked for.
    pub limits: Limits,
    /// Times that a client's input had to wait as memory was scarce.
    pub pressure_pauses: u64,
    /// Times that a client's input had to wait for its quota.
    pub quota_pauses: u64,
    /// CONNECT packets received that could be read.
    pub connects_received: u64,
    /// CONNECT packets accepted.
    pub connects_accepted: u64,
    /// CONNECT packets refused.
    pub connects_refused: u64,
    /// Network Connections now, before CONNECT included.
    pub connections: u64,
    /// Sessions now, those of offline clients included.
    pub sessions: u64,
    /// Sessions now whose clients are connected.
    pub clients_connected: u64,
    /// Sessions that ended as their expiry interval had passed.
    pub sessions_expired: u64,
    /// Subscriptions now, shared ones included.
    pub subscriptions: u64,
    /// Shared Subscriptions now, counted once for each member.
    pub shared_subscriptions: u64,
    /// Messages that wait in sessions now.
    pub queued_messages: u64,
    /// Their bytes.
    pub queued_bytes: u64,
    /// Messages of `$delayed` topics that are held now.
    pub delayed_messages: u64,
    /// Their bytes.
    pub delayed_bytes: u64,
    /// Bytes of messages sent and kept until they are acknowledged.
    pub in_flight_bytes: u64,
    /// Bytes in clients' buffers, in and out, when memory was looked at last.
    pub buffered_bytes: u64,
    /// Packets on their way to clients, not written yet, when values were told last.
    pub output_packets: u64,
    /// Their bytes.
    pub output_bytes: u64,
}

/// Messages not accepted or not delivered, by reason; counted once per receiver where there is one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// The publisher may not send to the topic.
    pub publish_denied: u64,
    /// The receiver may not receive from the topic.
    pub receive_denied: u64,
    /// The session's queue was full.
    pub queue_full: u64,
    /// QoS 0 to a connection that does not keep up.
    pub slow_consumer: u64,
    /// The Message Expiry Interval had passed.
    pub expired: u64,
    /// Larger than the receiver's Maximum Packet Size.
    pub too_large: u64,
    /// A forward batch could not be read to its end.
    pub forward_malformed: u64,
    /// A `$delayed` topic that can't be read, or as many such messages are held as may be.
    pub delayed_refused: u64,
    /// It would have to be kept, and the disk is nearly full.
    pub disk_full: u64,
    /// The group of the Shared Subscription had no member any more.
    pub no_shared_member: u64,
}

/// Times that a limit refused something or granted less than was asked for, by limit. What is
/// dropped is in [`Dropped`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// A packet was larger than accepted.
    pub packet_bytes: u64,
    /// A client did not keep to the Receive Maximum.
    pub receive_maximum: u64,
    /// A Topic Name or Topic Filter had too many levels.
    pub topic_levels: u64,
    /// A session had as many Subscriptions as it may have.
    pub subscriptions: u64,
    /// A retained message was not taken, as there were as many as there may be.
    pub retained: u64,
    /// A Session Expiry Interval was granted that is less than the one asked for.
    pub session_expiry: u64,
    /// A Keep Alive was set that is less than the one asked for.
    pub keep_alive: u64,
    /// A client set a Topic Alias above the maximum.
    pub topic_alias: u64,
    /// A client was not in, by the connect timeout.
    pub connect_timeout: u64,
    /// A client was refused, as there were as many durable sessions as there may be.
    pub durable_sessions: u64,
    /// A message was given a shorter Message Expiry Interval than it asked for, or one at all.
    pub message_expiry: u64,
    /// A retained message is kept for less time than it asked for.
    pub retained_expiry: u64,
}

impl std::ops::Add for Limits {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            packet_bytes: self.packet_bytes + other.packet_bytes,
            receive_maximum: self.receive_maximum + other.receive_maximum,
            topic_levels: self.topic_levels + other.topic_levels,
            subscriptions: self.subscriptions + other.subscriptions,
            retained: self.retained + other.retained,
            session_expiry: self.session_expiry + other.session_expiry,
            keep_alive: self.keep_alive + other.keep_alive,
            topic_alias: self.topic_alias + other.topic_alias,
            connect_timeout: self.connect_timeout + other.connect_timeout,
            durable_sessions: self.durable_sessions + other.durable_sessions,
            message_expiry: self.message_expiry + other.message_expiry,
            retained_expiry: self.retained_expiry + other.retained_expiry,
        }
    }
}

impl Limits {
    /// Counts the reason that a connection ends for, if it is a limit.
    pub(crate) const fn count(&mut self, reason_code: ReasonCode) {
        match reason_code {
            ReasonCode::PacketTooLarge => self.packet_bytes += 1,
            ReasonCode::ReceiveMaximumExceeded => self.receive_maximum += 1,
            ReasonCode::TopicNameInvalid => self.topic_levels += 1,
            ReasonCode::TopicAliasInvalid => self.topic_alias += 1,
            _ => {}
        }
    }

    /// Counts the reason that a Subscription is refused for, if it is a limit. The decoder lets
    /// no other filter through that is not valid.
    pub(crate) const fn count_subscription(&mut self, reason_code: ReasonCode) {
        match reason_code {
            ReasonCode::QuotaExceeded => self.subscriptions += 1,
            ReasonCode::TopicFilterInvalid => self.topic_levels += 1,
            _ => {}
        }
    }
}

/// Why a message was not accepted or not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DropReason {
    PublishDenied,
    ReceiveDenied,
    QueueFull,
    SlowConsumer,
    Expired,
    TooLarge,
    NoSharedMember,
    DelayedRefused,
    DiskFull,
}

impl Dropped {
    pub(crate) fn count(&mut self, reason: DropReason) {
        let counter = match reason {
            DropReason::PublishDenied => &mut self.publish_denied,
            DropReason::ReceiveDenied => &mut self.receive_denied,
            DropReason::QueueFull => &mut self.queue_full,
            DropReason::SlowConsumer => &mut self.slow_consumer,
            DropReason::Expired => &mut self.expired,
            DropReason::TooLarge => &mut self.too_large,
            DropReason::NoSharedMember => &mut self.no_shared_member,
            DropReason::DelayedRefused => &mut self.delayed_refused,
            DropReason::DiskFull => &mut self.disk_full,
        };
        *counter += 1;
    }
}
