//! The broker's configuration file, `broker.toml`.
//!
//! Pure: text in, [`Config`] or an error out. What is written is a [`RawConfig`]; what it means,
//! checked as a whole, is a [`Config`]. The operator renders a `RawConfig` and runs the same
//! checks before it rolls a change out; the broker reads the file with [`Config::parse`].

mod config;
mod discovery;
mod error;
mod features;
mod limits;
mod listener;
mod name;
mod parse;
mod raw;
mod raw_discovery;
mod raw_features;
mod raw_listener;
mod validate;
mod validate_cluster;
mod validate_discovery;
mod validate_features;
mod validate_listener;
mod validate_topics;

#[cfg(test)]
mod alone_test;
#[cfg(test)]
mod validate_discovery_test;
#[cfg(test)]
mod validate_listener_test;
#[cfg(test)]
mod validate_test;

pub use config::{
    Cluster, ClusterTlsPaths, Config, Durability, Log, LogFormat, LogLevel, Mqtt, PartitionPolicy,
    PeerTlsPaths, Peers, PolicyPaths, Profile, SharedSubscriptionStrategy, TlsPaths,
};
pub use discovery::{Discovery, EtcdPeers, KubernetesPeers, Server, StaticPeer};
pub use error::{ConfigError, ParseError};
pub use features::{AutoSubscription, Delayed, DurabilityRule, Redirect, Rewrite, RewriteAction};
pub use limits::{DURABLE_CACHE_BYTES, Limits, Retained, Sessions};
pub use listener::{
    Authentication, Bind, CertificateUsername, ClientCertificates, Listener, ListenerLimits,
    ListenerMqtt, ListenerPolicy, Protocol, ProtocolVersion,
};
pub use name::{ORDINAL_PLACEHOLDER, nearest, ordinal_of};
pub use parse::OVERRIDES;
pub use raw::{
    RawAdmin, RawCluster, RawConfig, RawLimits, RawLog, RawMqtt, RawPeers, RawPolicy, RawRetained,
    RawSessions, RawTls,
};
pub use raw_discovery::{
    RawDiscovery, RawDnsPeers, RawEtcdPeers, RawKubernetesPeers, RawStaticPeer,
};
pub use raw_features::{
    RawAutoSubscription, RawDelayed, RawDurabilityRule, RawMetrics, RawRedirect, RawRewrite, RawSys,
};
pub use raw_listener::{RawListener, RawListenerLimits, RawListenerMqtt, RawListenerTls};
pub use validate_discovery::DiscoveryError;
pub use validate_features::FeatureError;
pub use validate_listener::{ListenerError, is_origin};
