//! What happens in a simulation, as invariants, oracle and trace see it. Pure data.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use broker_core::engine::Claim;
use broker_core::types::{NodeId, QoS};

use crate::count::Count;

/// An Application Message: its topic, and its place among the messages of that topic. A topic has
/// one publisher.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MessageId {
    pub(crate) topic: Arc<str>,
    /// 1, 2, 3 and so on.
    pub(crate) seq: u64,
}

/// A client, by its Client Identifier.
pub(crate) type Client = Arc<str>;

/// What must have become of the session of a client that was away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Its time can't be over.
    Kept,
    /// Its time must be over.
    Over,
    /// Neither is sure.
    Either,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A node's process starts; `start` counts those of one disk.
    Started { node: NodeId, start: u64 },
    /// A node's process ends, for this reason.
    Ended { node: NodeId, why: &'static str },
    /// Something is done to the cluster: which kind of harm, and in words.
    Fault { kind: Count, what: String },
    /// All faults are over.
    Healed,
    /// A step of the membership was taken, in words.
    Membership(String),
    /// A node is the leader of the meta group.
    Leads { node: NodeId, term: u64 },
    /// A worker has a session or a connection of the client.
    Holds { node: NodeId, worker: u8, client: Client, claim: Claim },
    /// It has it no more.
    LetGo { node: NodeId, worker: u8, client: Client },
    /// A client has its CONNACK.
    Connected { client: Client, node: NodeId, session_present: bool },
    /// Its connection is gone.
    Lost { client: Client },
    /// A client that had a durable session has found none.
    SessionLost { client: Client },
    /// A client whose session expires is back; unless it must have been kept, that session's
    /// Subscriptions count no more.
    Returned { client: Client, away: Duration, due: Due, session_present: bool },
    /// SUBACK: the client has the Subscription `prefix` + `#`.
    Subscribed { client: Client, prefix: &'static str },
    /// SUBACK to a client without a durable session, for `prefix` + `#`.
    Listens { client: Client, node: NodeId, prefix: &'static str },
    /// A message is sent for the first time.
    Sent { client: Client, message: MessageId, qos: QoS },
    /// A message that was not acknowledged is sent again, on a new connection.
    SentAgain { client: Client, message: MessageId },
    /// PUBACK or PUBREC says that the cluster has it.
    Acknowledged { client: Client, message: MessageId },
    /// PUBACK or PUBREC says that it has not.
    Refused { client: Client, message: MessageId, reason: u8 },
    /// A client has a message; a repetition that it knows by its Packet Identifier is none.
    Received { client: Client, message: MessageId, qos: QoS, is_retained: bool },
    /// Every serving node holds its clients to the policy that denies messages.
    Revoked,
    /// That policy is about to end.
    Granting,
    /// What a new Subscription finds on a node, when all is over.
    Retained { node: NodeId, found: Vec<MessageId> },
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.topic, self.seq)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { node, start } => write!(f, "{node} starts ({start})"),
            Self::Ended { node, why } => write!(f, "{node} ends: {why}"),
            Self::Fault { what, .. } => write!(f, "fault: {what}"),
            Self::Healed => write!(f, "healed"),
            Self::Membership(step) => write!(f, "membership: {step}"),
            Self::Leads { node, term } => write!(f, "{node} leads term {term}"),
            Self::Holds { node, worker, client, claim } => {
                write!(f, "{node}/{worker} holds {client} by {}.{}", claim.term, claim.seq)
            }
            Self::LetGo { node, worker, client } => write!(f, "{node}/{worker} lets go {client}"),
            Self::Connected { client, node, session_present } => {
                let session = if *session_present { ", session present" } else { "" };
                write!(f, "{client} is connected to {node}{session}")
            }
            Self::Lost { client } => write!(f, "{client} has lost its connection"),
            Self::SessionLost { client } => write!(f, "{client} has lost its session"),
            Self::Returned { client, away, due, session_present } => {
                let (away, found) = (away.as_secs_f64(), if *session_present { "a" } else { "no" });
                write!(f, "{client} is back after {away:.1} s, finds {found} session ({due:?})")
            }
            Self::Subscribed { client, prefix } => write!(f, "{client} is subscribed to {prefix}#"),
            Self::Listens { client, node, prefix } => {
                write!(f, "{client} listens to {prefix}# at {node}")
            }
            Self::Sent { client, message, qos } => {
                write!(f, "{client} sends {message}, QoS {}", *qos as u8)
            }
            Self::SentAgain { client, message } => write!(f, "{client} sends {message} again"),
            Self::Acknowledged { client, message } => {
                write!(f, "{client} has {message} acknowledged")
            }
            Self::Refused { client, message, reason } => {
                write!(f, "{client} has {message} refused (0x{reason:02x})")
            }
            Self::Received { client, message, qos, is_retained } => {
                let retained = if *is_retained { ", retained" } else { "" };
                write!(f, "{client} receives {message}, QoS {}{retained}", *qos as u8)
            }
            Self::Revoked => write!(f, "policy: revoked"),
            Self::Granting => write!(f, "policy: about to grant"),
            Self::Retained { node, found } => {
                write!(f, "{node} has retained")?;
                found.iter().try_for_each(|message| write!(f, " {message}"))
            }
        }
    }
}
