//! The configuration as the broker uses it: typed, complete, its relations checked. Pure.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::discovery::Discovery;
use crate::features::{AutoSubscription, Delayed, DurabilityRule, Redirect, Rewrite};
use crate::limits::{Limits, Retained, Sessions};
use crate::listener::Listener;
use crate::name::{ORDINAL_PLACEHOLDER, ordinal_of};

/// A configuration that was checked as a whole. Made by [`Config::parse`] or from a
/// [`crate::RawConfig`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Which cluster this broker belongs to; `None`: it stands alone, a cluster of one that it
    /// founds itself, without peers and admin API.
    pub cluster: Option<Cluster>,
    /// Where a broker that stands alone serves `/metrics`, `/healthz` and `/readyz`, over plain
    /// HTTP; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
    /// Where the policy comes from, but for listeners with one of their own; `None` in a cluster,
    /// whose operator gives it.
    pub policy: Option<PolicyPaths>,
    /// Folder for identity, Raft log and state.
    pub data_dir: PathBuf,
    /// Worker threads; `None`: one per core.
    pub workers: Option<u16>,
    /// File that the number of the process is written to.
    pub pid_file: Option<PathBuf>,
    /// When an acknowledgement of QoS 1 and 2 may leave.
    pub durability: Durability,
    /// The same for the topics that a filter matches; the first that matches decides.
    pub durability_rules: Vec<DurabilityRule>,
    /// What a broker without a quorum still serves.
    pub partition_policy: PartitionPolicy,
    /// Certificate, key and trust anchors of MQTT listeners that have no files of their own; `None`:
    /// no such listener has TLS.
    pub tls: Option<TlsPaths>,
    /// Where clients connect; at least one, names unique.
    pub listeners: Vec<Listener>,
    /// Limits of a packet and of a Network Connection.
    pub mqtt: Mqtt,
    /// Limits of a Session.
    pub sessions: Sessions,
    /// Limits of the store of retained messages.
    pub retained: Retained,
    /// Limits of the whole process.
    pub limits: Limits,
    /// Between two times that values below `$SYS` are told; `None`: there are none.
    pub sys_interval: Option<Duration>,
    /// Other topics in place of those that clients name; the first that is for one decides.
    pub rewrites: Vec<Rewrite>,
    /// Subscriptions that every client is given.
    pub auto_subscriptions: Vec<AutoSubscription>,
    /// What is held for `$delayed` topics; `None`: nothing is delayed.
    pub delayed: Option<Delayed>,
    /// Another server for clients that this one does not keep.
    pub redirect: Option<Redirect>,
    /// What is logged, and how.
    pub log: Log,
}

/// The cluster this broker belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The cluster's name, as users know it.
    pub name: String,
    /// Issued once by the operator: 1 to 63 ASCII letters and digits.
    pub id: String,
    /// The cluster's feature level is not raised above this; `None`: as far as all brokers know.
    pub feature_level_max: Option<u16>,
    /// Links between brokers.
    pub peers: Peers,
    /// Address and port of the admin API.
    pub admin_listen: SocketAddr,
    /// PEM files of the admin API and of the links.
    pub tls: ClusterTlsPaths,
}

impl Cluster {
    /// The DNS name that every peer certificate of this cluster carries and every dialling broker
    /// asks for: a link to a broker of another cluster fails in the handshake.
    pub fn peer_server_name(&self) -> String {
        format!("{}.peer.dunlin", self.id.to_ascii_lowercase())
    }
}

/// Links between brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers {
    /// Address and port for links from other brokers.
    pub listen: SocketAddr,
    /// How the other brokers are found.
    pub discovery: Discovery,
}

/// PEM files of MQTT listeners, or of one, and of the admin API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPaths {
    /// Certificate chain.
    pub server_certificate: PathBuf,
    /// Its private key.
    pub server_key: PathBuf,
    /// Trust anchor of MQTT clients' certificates.
    pub client_ca: Option<PathBuf>,
    /// Revocation lists for them.
    pub client_crl: Option<PathBuf>,
}

/// PEM files that only a member of a cluster has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterTlsPaths {
    /// Trust anchor of the admin API's callers.
    pub admin_ca: PathBuf,
    /// Patterns of the files of links between brokers.
    pub peer: PeerTlsPaths,
}

/// Files that say who may connect and what they may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyPaths {
    /// Users and the hashes of their passwords.
    pub password_file: Option<PathBuf>,
    /// Who may do what.
    pub acl_file: Option<PathBuf>,
    /// A dynamic-security document; then neither of the other two is set.
    pub document: Option<PathBuf>,
    /// Anonymous clients may do everything.
    pub trust_anonymous: bool,
}

/// PEM files of the links between brokers; the paths may hold [`ORDINAL_PLACEHOLDER`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerTlsPaths {
    /// Certificate chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Trust anchor of other brokers' certificates.
    pub ca: PathBuf,
}

impl PeerTlsPaths {
    /// The files of the broker called `broker_name`, with its ordinal put in.
    ///
    /// `None` when a path needs an ordinal and the name does not end in `-` and a number.
    pub fn for_broker(&self, broker_name: &str) -> Option<Self> {
        let put = |path: &PathBuf| -> Option<PathBuf> {
            let text = path.to_string_lossy();
            if !text.contains(ORDINAL_PLACEHOLDER) {
                return Some(path.clone());
            }
            let ordinal = ordinal_of(broker_name)?;
            Some(PathBuf::from(text.replace(ORDINAL_PLACEHOLDER, &ordinal.to_string())))
        };
        Some(Self {
            certificate: put(&self.certificate)?,
            key: put(&self.key)?,
            ca: put(&self.ca)?,
        })
    }
}

/// Whose habits the broker has where the specification leaves a choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Its own.
    #[default]
    Dunlin,
    /// Mosquitto's: what a client can see of an answer is as Mosquitto sends it.
    Mosquitto,
}

/// When an acknowledgement of QoS 1 and 2 may leave, where a session that outlives its connection
/// is to get the message. The same on every broker of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Most replicas have it on disk.
    #[default]
    Quorum,
    /// This broker has it on disk: what a broker that stands alone does, as it is its own majority.
    /// In a cluster it is as good as `Quorum`.
    Local,
    /// It is in memory: sessions go with their broker. Retained messages are kept all the same.
    Memory,
}

/// What a broker that is cut off from the quorum does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartitionPolicy {
    /// Disconnects its clients and takes none.
    #[default]
    Fence,
    /// Serves what needs no quorum: QoS 0 and sessions that end with their connection.
    Serve,
}

/// Which member of a group gets a message of a Shared Subscription; the same on every broker of a
/// cluster. Connected members come first, whatever it is. Spec: MQTT 5.0 section 4.8.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SharedSubscriptionStrategy {
    /// One after the other, over all brokers. The default: it needs no thought about publishers or
    /// topics to spread the work, and Mosquitto does so too.
    #[default]
    RoundRobin,
    /// Anyone.
    Random,
    /// The same member until it leaves.
    Sticky,
    /// By the publisher's Client Identifier: its messages go to one member as long as the members
    /// stay.
    HashClient,
    /// By the Topic Name: a topic's messages go to one member as long as the members stay.
    HashTopic,
    /// In turn among the members on the publisher's broker; if there are none, among all.
    LocalFirst,
}

/// Limits of a packet and of a Network Connection, and choices of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mqtt {
    /// Largest packet that is read, in bytes.
    pub packet_bytes_max: u32,
    /// Unacknowledged QoS 1 and 2 PUBLISH packets taken from one client at a time, at least 1.
    pub receive_maximum: u16,
    /// Topic Aliases a client may set.
    pub topic_alias_maximum: u16,
    /// Most Topic Aliases that the broker sets for a client; 0 for none.
    pub topic_alias_maximum_outbound: u16,
    /// Told to clients that ask for it, with `%c` for the Client Identifier.
    pub response_information: Option<Arc<str>>,
    /// Longest keep alive; zero: as long as the client asks.
    pub keep_alive_max: Duration,
    /// Longest Message Expiry Interval; `None`: as long as a message asks.
    pub message_expiry_max: Option<Duration>,
    /// Levels of a Topic Name or Topic Filter, at least 1.
    pub topic_levels_max: u16,
    /// From accept until CONNECT is answered, TLS included.
    pub connect_timeout: Duration,
    /// Bytes waiting in memory for one client's socket.
    pub output_bytes_max: u32,
    /// Which member of a group gets a message.
    pub shared_subscription_strategy: SharedSubscriptionStrategy,
    /// Whose habits the broker has.
    pub profile: Profile,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// Shape of a line.
    pub format: LogFormat,
    /// Least severity that is written.
    pub level: LogLevel,
}

/// Shape of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// Text for people.
    Text,
}

/// Least severity that is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// A person must look.
    Error,
    /// Unexpected, but work goes on.
    Warn,
    /// Changes of state.
    #[default]
    Info,
    /// For finding faults.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}
