//! Limits of an engine, with their defaults and reasons. Pure data.

use std::sync::Arc;

use super::rate::ListenerRates;
use super::{AutoSubscription, DelayedLimits, DurabilityRule, ListenerOptions};
use crate::topic::LEVELS_MAX;
use crate::topic::Rewrite;
use crate::types::NodeId;

/// Which member of a group gets a message of a Shared Subscription. Spec: MQTT 5.0 section 4.8.2.
///
/// Connected members come before others in each of them. With the last three a message waits in
/// its member's queue while the client's window is full; with the first three it goes to a member
/// that takes it at once, if there is one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum SharedSubscriptionStrategy {
    /// One after the other, over the whole cluster; each worker counts for itself.
    #[default]
    RoundRobin,
    /// Anyone.
    Random,
    /// In turn among the members on the publisher's node; if there are none, among all.
    LocalFirst,
    /// The same member, until it leaves or its queue is full.
    Sticky,
    /// By the publisher's Client Identifier, as long as the members stay.
    HashClient,
    /// By the Topic Name, as long as the members stay.
    HashTopic,
}

/// Whose habits the engine has where the specification leaves a choice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Profile {
    /// Its own.
    #[default]
    Dunlin,
    /// Mosquitto's: CONNACK has its properties, in its order; a QoS 2 message that nobody is
    /// subscribed to is received with Success.
    Mosquitto,
}

/// Limits that the engine holds its clients to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig {
    /// Random number of this engine, from which it derives assigned Client Identifiers and its
    /// random choices.
    pub seed: u64,
    /// The engine's node.
    pub node: NodeId,
    /// The engine's number among the workers of its node: the destination that it is to them.
    pub worker: u8,
    /// Which member of a group gets a message.
    pub shared_subscription_strategy: SharedSubscriptionStrategy,
    /// Largest packet accepted, in bytes.
    pub packet_bytes_max: u32,
    /// Receive Maximum told to clients: their unacknowledged QoS 1 and 2 messages.
    pub receive_maximum: u16,
    /// Most unacknowledged QoS 1 and 2 messages sent to a client, whatever it allows.
    pub inflight_max: u16,
    /// Topic Alias Maximum told to clients.
    pub topic_alias_maximum: u16,
    /// Most Topic Aliases set for a client, whatever it allows; 0 for none.
    pub topic_alias_maximum_outbound: u16,
    /// Response Information for clients that ask for it, with `%c` for the Client Identifier.
    pub response_information: Option<Arc<str>>,
    /// Longest Session Expiry Interval granted, in seconds; `u32::MAX` for any.
    pub session_expiry_seconds_max: u32,
    /// Longest Keep Alive granted, in seconds; 0 for any, none included. 3.1.1 cannot be told.
    pub keep_alive_seconds_max: u16,
    /// From accept until CONNECT is answered, TLS included, in milliseconds.
    pub connect_timeout_millis: u64,
    /// Most messages waiting in one session.
    pub queue_messages_max: usize,
    /// Most bytes (topic, properties, payload) waiting in one session; as many again may be sent and
    /// kept until they are acknowledged.
    pub queue_bytes_max: usize,
    /// Most bytes waiting, and kept until they are acknowledged, in all sessions of the engine
    /// together.
    pub queued_bytes_total_max: u64,
    /// Most messages waiting in all sessions of the engine together.
    pub queued_messages_total_max: u64,
    /// Most messages waiting in all durable sessions, of whatever engine.
    pub durable_messages_max: u64,
    /// Most bytes that durable sessions hold together, as the state counts them: a retained message
    /// that none of them can keep is refused.
    pub durable_bytes_max: u64,
    /// Longest Message Expiry Interval, in seconds, also of messages without; `u32::MAX` for any.
    pub message_expiry_seconds_max: u32,
    /// Most Subscriptions of one session.
    pub subscriptions_max: usize,
    /// Most levels of a Topic Name or Topic Filter (`a/b` has two); no more than [`LEVELS_MAX`].
    pub topic_levels_max: usize,
    /// Longest time that a retained message is kept, in seconds; `u32::MAX` for any.
    pub retained_expiry_seconds_max: u32,
    /// How fast the clients of each listener may publish, by its number; empty where none is
    /// limited.
    pub listener_rates: Arc<[ListenerRates]>,
    /// What the clients of each listener may use, by its number; empty where none differs.
    pub listeners: Arc<[ListenerOptions]>,
    /// Output of a connection, in bytes, above which QoS 0 messages to it are dropped and others
    /// wait in its session.
    pub output_bytes_soft_max: usize,
    /// Other topics in place of those that clients name; the first rule that is for one decides.
    pub rewrites: Arc<[Rewrite]>,
    /// Subscriptions that every client is given at CONNECT which has the right to them.
    pub auto_subscriptions: Arc<[AutoSubscription]>,
    /// Topics whose messages of QoS 1 and 2 are acknowledged otherwise than when they are committed.
    pub durability_rules: Arc<[DurabilityRule]>,
    /// What it holds for `$delayed` topics.
    pub delayed: DelayedLimits,
    /// Another server, which clients are told to use that are sent away.
    pub server_reference: Option<Arc<str>>,
    /// Whether every client is sent there that connects.
    pub refuses_connects: bool,
    /// Whose habits it has.
    pub profile: Profile,
}

/// 1 MiB: EMQX's and RMQTT's default; twice as much as most fleets send.
pub const PACKET_BYTES_MAX: u32 = 1024 * 1024;
/// Enough to fill a pass of the worker without waiting for the network between.
pub const RECEIVE_MAXIMUM: u16 = 1024;
/// As [`RECEIVE_MAXIMUM`], the other way.
pub const INFLIGHT_MAX: u16 = 1024;
/// Mosquitto's default.
pub const TOPIC_ALIAS_MAXIMUM: u16 = 10;
/// Enough for what a client gets again and again; each costs its topic in memory.
pub const TOPIC_ALIAS_MAXIMUM_OUTBOUND: u16 = 32;
/// Every broker of the field queues 1,000 messages by default.
pub const QUEUE_MESSAGES_MAX: usize = 1000;
/// A queue full of small messages is bounded by their number; this bounds the large ones.
pub const QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bounds what all offline sessions of a worker can make it hold; a message that waits in several
/// sessions counts in each, though it is kept once.
pub const QUEUED_BYTES_TOTAL_MAX: u64 = 1024 * 1024 * 1024;
/// Bounds what one client can make the router hold.
pub const SUBSCRIPTIONS_MAX: usize = 1000;
/// A connection that is this far behind is slow.
pub const OUTPUT_BYTES_SOFT_MAX: usize = 1024 * 1024;
/// Where nobody configures one, as in tests and simulations; the broker's configuration has 10 s.
/// Mosquitto and EMQX give 15 to 90 seconds.
pub const CONNECT_TIMEOUT_MILLIS: u64 = 15_000;

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            node: NodeId(0),
            worker: 0,
            shared_subscription_strategy: SharedSubscriptionStrategy::default(),
            packet_bytes_max: PACKET_BYTES_MAX,
            receive_maximum: RECEIVE_MAXIMUM,
            inflight_max: INFLIGHT_MAX,
            topic_alias_maximum: TOPIC_ALIAS_MAXIMUM,
            topic_alias_maximum_outbound: TOPIC_ALIAS_MAXIMUM_OUTBOUND,
            response_information: None,
            session_expiry_seconds_max: u32::MAX,
            keep_alive_seconds_max: 0,
            connect_timeout_millis: CONNECT_TIMEOUT_MILLIS,
            queue_messages_max: QUEUE_MESSAGES_MAX,
            queue_bytes_max: QUEUE_BYTES_MAX,
            queued_bytes_total_max: QUEUED_BYTES_TOTAL_MAX,
            queued_messages_total_max: u64::MAX,
            durable_messages_max: u64::MAX,
            durable_bytes_max: u64::MAX,
            message_expiry_seconds_max: u32::MAX,
            subscriptions_max: SUBSCRIPTIONS_MAX,
            topic_levels_max: LEVELS_MAX,
            retained_expiry_seconds_max: u32::MAX,
            listener_rates: Arc::default(),
            listeners: Arc::default(),
            output_bytes_soft_max: OUTPUT_BYTES_SOFT_MAX,
            rewrites: Arc::default(),
            auto_subscriptions: Arc::default(),
            durability_rules: Arc::default(),
            delayed: DelayedLimits::NONE,
            server_reference: None,
            refuses_connects: false,
            profile: Profile::Dunlin,
        }
    }
}
