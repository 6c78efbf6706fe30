//! The file as it is written: every key, its type and its default. Pure.
//!
//! Scalars stand before tables in each struct so that the TOML rendering reads in one order.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::{
    Durability, LogFormat, LogLevel, PartitionPolicy, Profile, SharedSubscriptionStrategy,
};
use crate::raw_discovery::RawDiscovery;
use crate::raw_features::{
    RawAutoSubscription, RawDelayed, RawDurabilityRule, RawMetrics, RawRedirect, RawRewrite, RawSys,
};
use crate::raw_listener::RawListener;

/// `broker.toml` before its relations are checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawConfig {
    /// Folder for identity, Raft log and state; made when it is missing.
    pub data_dir: PathBuf,
    /// Worker threads; 0 means one per core.
    #[serde(default)]
    pub workers: u16,
    /// File that the number of the process is written to while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_file: Option<PathBuf>,
    /// When an acknowledgement of QoS 1 and 2 may leave.
    #[serde(default)]
    pub durability: Durability,
    /// The same for the topics that a filter matches; the first rule that matches decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub durability_rules: Vec<RawDurabilityRule>,
    /// What a broker without a quorum still serves.
    #[serde(default)]
    pub partition_policy: PartitionPolicy,
    /// Which cluster this broker belongs to; absent, with `peers` and `admin`: it stands alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<RawCluster>,
    /// Links between brokers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers: Option<RawPeers>,
    /// The admin API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<RawAdmin>,
    /// Numbers and health of a broker that stands alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<RawMetrics>,
    /// Where certificates, keys and trust anchors lie; needed in a cluster and where a listener has
    /// TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RawTls>,
    /// Who may connect and what they may do, for a broker that stands alone; in a cluster the
    /// operator says so. May be absent where every listener has a policy of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<RawPolicy>,
    /// Where clients connect.
    pub listeners: Vec<RawListener>,
    /// Limits of a packet and of a Network Connection.
    #[serde(default)]
    pub mqtt: RawMqtt,
    /// Limits of a Session.
    #[serde(default)]
    pub sessions: RawSessions,
    /// Limits of the store of retained messages.
    #[serde(default)]
    pub retained: RawRetained,
    /// Limits of the whole process. An older broker doesn't know the table, so it is written only
    /// where it says something; as all that came later.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: RawLimits,
    /// What the broker says of itself under `$SYS`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sys: RawSys,
    /// Other topics in place of those that clients name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rewrites: Vec<RawRewrite>,
    /// Subscriptions that every client is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub auto_subscriptions: Vec<RawAutoSubscription>,
    /// Messages that are published later.
    #[serde(default, skip_serializing_if = "is_default")]
    pub delayed: RawDelayed,
    /// Where clients are sent that this broker does not keep.
    #[serde(default, skip_serializing_if = "is_default")]
    pub redirect: RawRedirect,
    /// What is logged, and how.
    #[serde(default)]
    pub log: RawLog,
}

/// `[cluster]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawCluster {
    /// The cluster's name, as users know it.
    pub name: String,
    /// Issued once by the operator; a broker whose data folder holds another one does not start.
    pub id: String,
    /// The cluster's feature level is not raised above this, so that its brokers can go back to a
    /// version that knows no higher one; absent: it is raised once every broker knows the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature_level_max: Option<u16>,
}

/// `[peers]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPeers {
    /// Address and port for links from other brokers.
    pub listen: SocketAddr,
    /// How the other brokers are found.
    pub discovery: RawDiscovery,
}

/// `[admin]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawAdmin {
    /// Address and port of the admin API.
    pub listen: SocketAddr,
}

/// `[tls]`: PEM files. `{ordinal}` in the peer paths stands for the number that ends the
/// broker's name, so that one file serves every broker of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTls {
    /// Certificate chain of MQTT listeners and of the admin API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_certificate: Option<PathBuf>,
    /// Its private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_key: Option<PathBuf>,
    /// Certificate chain of links between brokers; needed in a cluster, and only there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_certificate: Option<PathBuf>,
    /// Its private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_key: Option<PathBuf>,
    /// Trust anchor of other brokers' certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_ca: Option<PathBuf>,
    /// Trust anchor of the admin API's callers; needed in a cluster, and only there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_ca: Option<PathBuf>,
    /// Trust anchor of MQTT clients' certificates; needed where a listener asks for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
    /// Revocation lists of the authorities that issue clients' certificates. With them a certificate
    /// whose issuer has no list here, or only one that is out of date, is refused too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_crl: Option<PathBuf>,
}

/// `[policy]` and `[listeners.policy]`: files that HUP reads again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPolicy {
    /// Anonymous clients may do everything, whatever the ACL file says; where a listener lets them
    /// in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trust_anonymous: bool,
    /// Users and the hashes of their passwords, as `mosquitto_passwd` writes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Who may do what, as Mosquitto's `acl_file`; without it everybody may do everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl_file: Option<PathBuf>,
    /// A document of Mosquitto's dynamic security, in place of the other two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<PathBuf>,
}

/// `[mqtt]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawMqtt {
    /// Largest packet that is read, in bytes. Spec: MQTT 5.0 section 3.2.2.3.6.
    pub packet_bytes_max: u32,
    /// Unacknowledged QoS 1 and 2 PUBLISH packets taken from one client at a time.
    /// Spec: MQTT 5.0 section 3.2.2.3.3.
    pub receive_maximum: u16,
    /// Topic Aliases a client may set. Spec: MQTT 5.0 section 3.2.2.3.8.
    pub topic_alias_maximum: u16,
    /// Topic Aliases that the broker sets for a client, or fewer if the client takes fewer; 0 for
    /// none. Spec: MQTT 5.0 section 3.1.2.11.5.
    #[serde(skip_serializing_if = "is_default_topic_alias_maximum_outbound")]
    pub topic_alias_maximum_outbound: u16,
    /// Told to clients that ask where to have answers sent: the beginning of topics, `%c` stands
    /// for the client identifier. Their rights are those of the policy. Spec: MQTT 5.0 section 4.10.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_information: Option<String>,
    /// Longest keep alive, in seconds; a client that asks for more, or none, is given this. 0: as
    /// long as it asks.
    pub keep_alive_max_seconds: u16,
    /// Longest Message Expiry Interval, in seconds: a message that asks for more, or has none, is
    /// given this. 0 (default): as long as it asks, since only the publisher knows how long a
    /// message is good for.
    #[serde(skip_serializing_if = "is_default")]
    pub message_expiry_max_seconds: u32,
    /// Levels of a Topic Name or Topic Filter (`a/b` has two), at most 128 (default): far above
    /// what topics have, and it bounds the work of a match.
    #[serde(skip_serializing_if = "is_default_topic_levels_max")]
    pub topic_levels_max: u16,
    /// From accept until CONNECT is answered, TLS included, in seconds.
    pub connect_timeout_seconds: u16,
    /// Bytes waiting in memory for one client's socket; beyond, QoS 0 messages to it are dropped.
    pub output_bytes_max: u32,
    /// Which member of a group gets a message of a Shared Subscription: `round_robin` (default:
    /// spreads the work whatever the publishers and topics), `random`, `sticky`, `hash_client`,
    /// `hash_topic` or `local_first`. The same on every broker of a cluster.
    pub shared_subscription_strategy: SharedSubscriptionStrategy,
    /// Whose habits the broker has where the specification leaves a choice.
    #[serde(skip_serializing_if = "is_default")]
    pub profile: Profile,
}

/// The most that the broker matches.
pub(crate) const TOPIC_LEVELS_MAX: u16 = 128;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_default_topic_levels_max(value: &u16) -> bool {
    *value == TOPIC_LEVELS_MAX
}

const TOPIC_ALIAS_MAXIMUM_OUTBOUND: u16 = 32;

/// An older broker doesn't know the key, so it is written only where it says something.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_default_topic_alias_maximum_outbound(value: &u16) -> bool {
    *value == TOPIC_ALIAS_MAXIMUM_OUTBOUND
}

impl Default for RawMqtt {
    fn default() -> Self {
        Self {
            packet_bytes_max: 1024 * 1024,
            receive_maximum: 1_024,
            topic_alias_maximum: 32,
            topic_alias_maximum_outbound: TOPIC_ALIAS_MAXIMUM_OUTBOUND,
            response_information: None,
            keep_alive_max_seconds: 3_600,
            message_expiry_max_seconds: 0,
            topic_levels_max: TOPIC_LEVELS_MAX,
            connect_timeout_seconds: 10,
            output_bytes_max: 4 * 1024 * 1024,
            shared_subscription_strategy: SharedSubscriptionStrategy::default(),
            profile: Profile::default(),
        }
    }
}

/// `[sessions]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawSessions {
    /// Longest Session Expiry Interval, in seconds; a client that asks for more is given this.
    pub expiry_max_seconds: u32,
    /// Unacknowledged QoS 1 and 2 messages on their way to one client.
    pub inflight_max: u16,
    /// Messages queued for one Session.
    pub queued_messages_max: u32,
    /// Bytes queued for one Session.
    pub queued_bytes_max: u64,
    /// Bytes queued for all Sessions of the broker together that end with their connections or their
    /// broker. 0 (default): a fifth of the memory budget, so that queues never make memory scarce.
    #[serde(skip_serializing_if = "is_default")]
    pub queued_bytes_total_max: u64,
    /// Messages queued for all of them together, and as many again for all durable ones. 0
    /// (default): one for each 256 bytes that the queues may have together, as the smallest
    /// message takes that much.
    #[serde(skip_serializing_if = "is_default")]
    pub queued_messages_total_max: u64,
    /// Subscriptions of one Session. Default 1,000: more than any device holds, and it bounds what
    /// one client can make the routing tables of all brokers hold.
    #[serde(skip_serializing_if = "is_default_subscriptions_max")]
    pub subscriptions_max: u32,
    /// Sessions that outlive their connections, in the whole cluster.
    pub durable_max: u64,
    /// Bytes queued for all of them together. 0 (default): a fifth of the memory budget of the
    /// broker that takes the message.
    #[serde(skip_serializing_if = "is_default")]
    pub durable_bytes_max: u64,
    /// Bytes of those messages that each broker keeps in memory, as they are read from there at once;
    /// the others are on its disk. 0 (default): 32 MiB, or a tenth of the memory budget if that is
    /// less.
    #[serde(skip_serializing_if = "is_default")]
    pub durable_cache_bytes: u64,
}

const SUBSCRIPTIONS_MAX: u32 = 1_000;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_default_subscriptions_max(value: &u32) -> bool {
    *value == SUBSCRIPTIONS_MAX
}

impl Default for RawSessions {
    fn default() -> Self {
        Self {
            expiry_max_seconds: 168 * 3_600,
            inflight_max: 1_024,
            queued_messages_max: 10_000,
            queued_bytes_max: 64 * 1024 * 1024,
            queued_bytes_total_max: 0,
            queued_messages_total_max: 0,
            subscriptions_max: SUBSCRIPTIONS_MAX,
            durable_max: 1_000_000,
            durable_bytes_max: 0,
            durable_cache_bytes: 0,
        }
    }
}

/// `[retained]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRetained {
    /// Retained messages in the cluster.
    pub messages_max: u64,
    /// Bytes of all retained messages, topics included. 0 (default): 15 % of the memory budget of
    /// the broker that takes the message.
    #[serde(skip_serializing_if = "is_default")]
    pub bytes_max: u64,
    /// Longest time that one is kept, in seconds, whatever its Message Expiry Interval. 0
    /// (default): as long as it asks, since a last known value has no age of its own.
    #[serde(skip_serializing_if = "is_default")]
    pub expiry_max_seconds: u32,
}

impl Default for RawRetained {
    fn default() -> Self {
        Self { messages_max: 1_000_000, bytes_max: 0, expiry_max_seconds: 0 }
    }
}

/// `[limits]`: of the whole process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawLimits {
    /// Network Connections in all. 0 (default): as many as there may be open files, so that who is
    /// beyond is told so rather than left in the kernel's backlog.
    pub connections_max: u32,
    /// Network Connections of one address. 0 (default): any number, as whole sites stand behind one
    /// address.
    pub connections_per_address_max: u32,
    /// Network Connections of one user with different Client Identifiers, where the user's own quota
    /// is not less. 0 (default): any number, as fleets share a user.
    pub connections_per_user_max: u32,
    /// Bytes of memory that the process may use: from 70 % on the heaviest publishers wait, from 85 %
    /// on new clients are refused. 0 (default): three quarters of the memory of the machine, or of
    /// the control group if that is less.
    pub memory_bytes_max: u64,
}

/// `[log]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawLog {
    /// One JSON object a line, or text for people.
    pub format: LogFormat,
    /// Least severity that is written.
    pub level: LogLevel,
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
