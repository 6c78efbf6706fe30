//! A place where clients connect, as the broker uses it. Pure.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::{PolicyPaths, TlsPaths};

/// A place where clients connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Unique name, a DNS label.
    pub name: String,
    /// Transport.
    pub protocol: Protocol,
    /// Where it is bound.
    pub bind: Bind,
    /// Whether a PROXY protocol header comes before each connection.
    pub proxy_protocol: bool,
    /// Ways by which a client may prove who it is; at least one, each once.
    pub authentication: Vec<Authentication>,
    /// Whether clients without a user name may come in, where the policy has a group for them.
    pub anonymous: bool,
    /// Whether clients present certificates.
    pub client_certificates: ClientCertificates,
    /// Web pages that may connect by WebSocket, as in `Origin`; empty: any.
    pub websocket_origins: Vec<String>,
    /// What in a certificate is the user name.
    pub certificate_username: CertificateUsername,
    /// Files of its own; `None`: those of all.
    pub tls: Option<TlsPaths>,
    /// Users and rights of its own; `None`: those of all.
    pub policy: Option<ListenerPolicy>,
    /// What of the protocol its clients may use.
    pub mqtt: ListenerMqtt,
    /// How many clients.
    pub limits: ListenerLimits,
}

/// A listener's own users and rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerPolicy {
    /// The name under which they are told apart from others: that of the first listener whose policy
    /// comes from the same files.
    pub realm: Arc<str>,
    /// The files.
    pub paths: PolicyPaths,
}

/// What of the protocol a listener's clients may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerMqtt {
    /// Put before every topic that they name, and taken away again from what they get.
    pub mount_point: Option<Arc<str>>,
    /// Highest QoS, 0 to 2.
    pub qos_max: u8,
    /// Whether messages may be retained.
    pub retain_available: bool,
    /// Versions that are taken; at least one.
    pub protocol_versions: Vec<ProtocolVersion>,
    /// Whether a client without identifier is given one.
    pub assign_client_ids: bool,
    /// How an assigned identifier begins, if not as usual.
    pub assigned_client_id_prefix: Option<Arc<str>>,
    /// Largest payload, in bytes, if it is less than a packet holds.
    pub payload_bytes_max: Option<u32>,
    /// Topic Aliases a client may set, if not as many as elsewhere.
    pub topic_alias_maximum: Option<u16>,
    /// Most Topic Aliases set for a client, if not as many as elsewhere.
    pub topic_alias_maximum_outbound: Option<u16>,
}

impl Default for ListenerMqtt {
    /// All of it.
    fn default() -> Self {
        Self {
            mount_point: None,
            qos_max: 2,
            retain_available: true,
            protocol_versions: ProtocolVersion::ALL.to_vec(),
            assign_client_ids: true,
            assigned_client_id_prefix: None,
            payload_bytes_max: None,
            topic_alias_maximum: None,
            topic_alias_maximum_outbound: None,
        }
    }
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProtocolVersion {
    /// MQTT 3.1, protocol name `MQIsdp`.
    #[serde(rename = "3.1")]
    V31,
    /// MQTT 3.1.1.
    #[serde(rename = "3.1.1")]
    V311,
    /// MQTT 5.0.
    #[serde(rename = "5.0")]
    V5,
}

impl ProtocolVersion {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::V31, Self::V311, Self::V5];
}

/// What in a client's certificate is its user name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateUsername {
    /// The common name of the subject.
    #[default]
    CommonName,
    /// The subject as RFC 2253 writes it: `CN=pump,OU=field,O=Works`.
    Subject,
}

impl Listener {
    /// Whether anything is said on a connection before MQTT.
    pub fn has_handshake(&self) -> bool {
        self.protocol.is_tls() || self.protocol.is_websocket() || self.proxy_protocol
    }

    /// Whether this way of proving an identity is open here.
    pub fn allows(&self, authentication: Authentication) -> bool {
        self.authentication.contains(&authentication)
    }
}

/// Where a listener is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    /// Address and port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// Path of a Unix socket.
    Unix(PathBuf),
}

impl std::fmt::Display for Bind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How many clients a listener takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Network Connections at one time, at least 1.
    pub connections: u32,
    /// Network Connections accepted in a second, at least 1.
    pub connections_per_second: u32,
    /// PUBLISH packets a second that each client is read.
    pub client_publishes_per_second: Option<u32>,
    /// Bytes of them.
    pub client_bytes_per_second: Option<u64>,
    /// PUBLISH packets a second that all clients of the listener together are read.
    pub publishes_per_second: Option<u32>,
    /// Bytes of them.
    pub bytes_per_second: Option<u64>,
}

/// Transport of a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// MQTT over TCP, readable by whoever is on the way.
    Mqtt,
    /// MQTT over TLS.
    #[default]
    Mqtts,
    /// MQTT over WebSocket. Spec: MQTT 5.0 section 6.
    Ws,
    /// MQTT over WebSocket over TLS.
    Wss,
}

impl Protocol {
    /// Whether the transport is TLS.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Mqtts | Self::Wss)
    }

    /// Whether packets travel in WebSocket messages.
    pub fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }
}

/// A way by which a client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Authentication {
    /// User name and password in CONNECT.
    Password,
    /// The common name of the client's certificate is the user name.
    X509,
    /// The user name in CONNECT is believed. For a broker that stands alone.
    Believed,
    /// The user name in CONNECT is ignored: every client is anonymous. For a broker that stands
    /// alone.
    Anonymous,
}

/// Whether clients present certificates on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// Not asked for.
    None,
    /// Asked for; a client without one goes on and needs another proof.
    Optional,
    /// A client without one fails in the handshake.
    Required,
}
