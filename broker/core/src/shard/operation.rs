//! What can be done to durable sessions. Pure data.

use serde::{Deserialize, Serialize};

use super::form::{MessageForm, WillForm};
use crate::session::SubscriptionState;
use crate::types::{NodeId, PacketId, QoS, SubscriptionId};

/// A session's time on one connection. What a connection proposes after another one has taken the
/// session over changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRef<'a> {
    /// Whose session.
    pub client_id: &'a str,
    /// As [`super::OperationOutcome::Attached`] named it.
    pub attachment: u64,
}

/// The durable session that publishes a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublisherForm<'a> {
    /// The session.
    #[serde(borrow)]
    pub session: SessionRef<'a>,
    /// QoS 2: the PUBLISH packet's identifier, by which a repetition is known until PUBREL.
    pub packet_id: Option<PacketId>,
}

/// How the state chooses among those members of a group whose clients are connected; among the
/// others in the same way if none is. Whoever does not take the message has the next one asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pick {
    /// The one behind that which got a message last, in the order of Client Identifiers.
    Next,
    /// By its position in that order, modulo the number of members: a hash, or a random number.
    At(u32),
    /// The one that got a message last, as long as its client is connected.
    Sticky,
    /// The next one whose client is connected to this node, if there is any.
    Near(NodeId),
}

/// A group that a message is for: one of its members gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupForm<'a> {
    /// Its whole Topic Filter, `$share/` and the share name included.
    pub key: &'a str,
    /// Which member.
    pub pick: Pick,
    /// Whether it has members that are connected and not in the state: one of them gets the message
    /// rather than one in the state whose client is away.
    pub has_live: bool,
}

/// Most that may be kept of `$delayed` messages; of whoever proposes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelayLimits {
    /// Messages.
    pub messages_max: u64,
    /// Bytes of topics, properties and payloads.
    pub bytes_max: u64,
}

/// A message that is kept until its time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelayForm<'a> {
    /// The durable session that publishes it; `None` for others.
    #[serde(borrow)]
    pub publisher: Option<PublisherForm<'a>>,
    /// Whose message: what its client may do then decides.
    pub client_id: &'a str,
    /// The user of that client.
    pub username: Option<&'a str>,
    /// Seconds from now.
    pub seconds: u32,
    /// What may be kept.
    pub limits: DelayLimits,
    /// The message, under its real topic.
    pub message: MessageForm<'a>,
}

/// Feature level from which on [`Operation::PublishAnywhere`] may be written.
pub const ANYWHERE_LEVEL: u16 = 2;

/// A change of durable sessions. A form is never changed; new ones are added at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Operation<'a> {
    /// A client connects: its session is found or made, and is this connection's from now on.
    Attach {
        /// Who.
        client_id: &'a str,
        /// The user it acts as; another user's session is not gone on with.
        username: Option<&'a str>,
        /// The worker that has the connection.
        worker: u8,
        /// Clean Start.
        clean_start: bool,
        /// Session Expiry Interval granted, in seconds.
        expiry_seconds: u32,
        /// The will of this connection.
        #[serde(borrow)]
        will: Option<WillForm<'a>>,
        /// Subscriptions that it is given, where it has none of the filter.
        subscriptions: Vec<SubscriptionState>,
    },
    /// The connection is gone.
    Detach {
        /// The session.
        #[serde(borrow)]
        session: SessionRef<'a>,
        /// The last message that was sent to the client.
        sent_to: u64,
        /// The client said goodbye, or was sent away by an administrator.
        is_will_dropped: bool,
        /// A Session Expiry Interval that came with DISCONNECT.
        expiry_seconds: Option<u32>,
    },
    /// The session is to end without being gone on with.
    Discard {
        /// Whose.
        client_id: &'a str,
    },
    /// Subscriptions are added or replaced.
    Subscribe {
        /// The session.
        #[serde(borrow)]
        session: SessionRef<'a>,
        /// What is subscribed to.
        subscriptions: Vec<SubscriptionState>,
    },
    /// Subscriptions end.
    Unsubscribe {
        /// The session.
        #[serde(borrow)]
        session: SessionRef<'a>,
        /// Whole Topic Filters.
        filters: Vec<&'a str>,
    },
    /// A message of QoS 1 or 2 for all durable sessions that match.
    Publish {
        /// The durable session that publishes it; `None` for others.
        #[serde(borrow)]
        publisher: Option<PublisherForm<'a>>,
        /// Shards with matching sessions, as bits.
        shards: u16,
        /// Groups, the next member of each of which gets it. Written by earlier versions; see
        /// `PublishShared`.
        groups: Vec<&'a str>,
        /// Whether the message becomes its topic's retained one, or takes that away.
        is_retained: bool,
        /// The message.
        message: MessageForm<'a>,
    },
    /// The client is done with messages: PUBACK, PUBCOMP, or a PUBREC that refuses; or they can't
    /// be sent to it.
    Acknowledge {
        /// The session.
        #[serde(borrow)]
        session: SessionRef<'a>,
        /// Which.
        seqs: Vec<u64>,
    },
    /// The client has messages of QoS 2: PUBREC.
    Receive {
        /// The session.
        #[serde(borrow)]
        session: SessionRef<'a>,
        /// Which.
        seqs: Vec<u64>,
    },
    /// The client knows that its QoS 2 messages arrived: PUBREL.
    Release {
        /// The session.
        #[serde(borrow)]
        session: SessionRef<'a>,
        /// Which.
        packet_ids: Vec<PacketId>,
    },
    /// A message for this session alone: a retained one for a new Subscription.
    Deliver {
        /// The session.
        #[serde(borrow)]
        session: SessionRef<'a>,
        /// QoS of the delivery.
        qos: QoS,
        /// RETAIN of the delivery.
        retain: bool,
        /// Identifier of the Subscription.
        subscription_id: Option<SubscriptionId>,
        /// The message.
        message: MessageForm<'a>,
    },
    /// Wills and delayed messages that are due are published, sessions that have expired end.
    Expire {
        /// Most to look at by this one operation.
        sessions_max: u32,
    },
    /// A node's process has gone: so have its connections.
    NodeGone {
        /// The node.
        node: NodeId,
        /// Its process.
        start: u64,
    },
    /// As `Publish`, also for one member of each of these groups.
    PublishShared {
        /// The durable session that publishes it; `None` for others.
        #[serde(borrow)]
        publisher: Option<PublisherForm<'a>>,
        /// Shards with matching sessions, as bits.
        shards: u16,
        /// The groups.
        groups: Vec<GroupForm<'a>>,
        /// Whether the message becomes its topic's retained one, or takes that away.
        is_retained: bool,
        /// The message.
        message: MessageForm<'a>,
    },
    /// As `Detach`, of a member of groups.
    DetachMember {
        /// The session.
        #[serde(borrow)]
        session: SessionRef<'a>,
        /// The last message that was sent to the client.
        sent_to: u64,
        /// As for `Detach`.
        is_will_dropped: bool,
        /// As for `Detach`.
        expiry_seconds: Option<u32>,
        /// Its groups that have members that are connected and not in the state.
        live: Vec<&'a str>,
    },
    /// As `Unsubscribe`, of Shared Subscriptions too: what the client was not sent for them goes to
    /// other members.
    Leave {
        /// The session.
        #[serde(borrow)]
        session: SessionRef<'a>,
        /// Whole Topic Filters.
        filters: Vec<&'a str>,
        /// The last message that was sent to the client; none is sent before the outcome is known.
        sent_to: u64,
        /// Those that have members that are connected and not in the state.
        live: Vec<&'a str>,
    },
    /// A message of QoS 1 or 2 is to be published later.
    Delay(#[serde(borrow)] DelayForm<'a>),
    /// As `PublishShared`, of a broker that may not know of all sessions: every one that wants the
    /// message gets it, and a member of every group that is not among those served. From
    /// [`ANYWHERE_LEVEL`] on.
    PublishAnywhere {
        /// The durable session that publishes it; `None` for others.
        #[serde(borrow)]
        publisher: Option<PublisherForm<'a>>,
        /// Groups that a member outside the state has served.
        served: Vec<&'a str>,
        /// Groups that are left to the state, with the strategy's choice.
        groups: Vec<GroupForm<'a>>,
        /// Whether the message becomes its topic's retained one, or takes that away.
        is_retained: bool,
        /// The message.
        message: MessageForm<'a>,
    },
}

impl Operation<'_> {
    /// Appends the operation; false when it can't be encoded, which none causes.
    #[must_use]
    pub fn encode(&self, out: &mut Vec<u8>) -> bool {
        match postcard::to_extend(self, std::mem::take(out)) {
            Ok(encoded) => {
                *out = encoded;
                true
            }
            Err(_) => false,
        }
    }
}
