//! `[[listeners]]` as it is written: every key, its type and its default. Pure.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::listener::{
    Authentication, CertificateUsername, ClientCertificates, Protocol, ProtocolVersion,
};
use crate::raw::{RawPolicy, is_default};

/// One of `[[listeners]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawListener {
    /// Unique name, a DNS label.
    pub name: String,
    /// Transport.
    #[serde(default)]
    pub protocol: Protocol,
    /// Address to bind; default: every address, IPv6 and IPv4.
    #[serde(default = "default_address")]
    pub address: std::net::IpAddr,
    /// Port to bind; 0 takes a free one, which is then logged. Absent with `unix_socket`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Unix socket to bind in place of address and port, for programs of this machine. What is
    /// said there crosses no network, so `mqtt` and `ws` need no acknowledgement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unix_socket: Option<PathBuf>,
    /// Whether a proxy stands in front that puts a PROXY protocol header, version 1 or 2, before
    /// each connection; one without it is closed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proxy_protocol: bool,
    /// Ways by which a client may prove who it is.
    #[serde(default = "default_authentication")]
    pub authentication: Vec<Authentication>,
    /// Whether clients without a user name may come in. Default in a cluster: where the policy has
    /// a group for them; default of a broker that stands alone: no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<bool>,
    /// Whether clients present certificates; default: `optional` on TLS when x509 is allowed,
    /// else `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificates: Option<ClientCertificates>,
    /// Web pages that may connect on a WebSocket listener, as browsers name them in `Origin`, for
    /// example `https://plant.example`. Empty (default): any, as in Mosquitto, since who may do
    /// what is decided by user, not by page.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub websocket_origins: Vec<String>,
    /// What in a certificate is the user name, where x509 is allowed: its common name (default), or
    /// its whole subject.
    #[serde(default, skip_serializing_if = "is_default")]
    pub certificate_username: CertificateUsername,
    /// Must be `true` on a listener without TLS: passwords and messages cross the network readable.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub acknowledge_plaintext: bool,
    /// Files of its own in place of those of `[tls]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RawListenerTls>,
    /// Users and rights of its own in place of those of `[policy]`, for a broker that stands alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<RawPolicy>,
    /// What of the protocol its clients may use.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mqtt: RawListenerMqtt,
    /// How many clients.
    #[serde(default)]
    pub limits: RawListenerLimits,
}

/// `[listeners.tls]`: PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawListenerTls {
    /// Certificate chain.
    pub server_certificate: PathBuf,
    /// Its private key.
    pub server_key: PathBuf,
    /// Trust anchor of clients' certificates; needed where the listener asks for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
    /// Revocation lists of the authorities that issue clients' certificates. With them a certificate
    /// whose issuer has no list here, or only one that is out of date, is refused too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_crl: Option<PathBuf>,
}

/// `[listeners.mqtt]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawListenerMqtt {
    /// Put before every topic that its clients name, and taken away again from what they get: they
    /// see no other topics. Rights are asked for whole topics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mount_point: Option<String>,
    /// Highest QoS, 0 to 2: a PUBLISH above ends the connection (0x9B), a SUBSCRIBE above is granted
    /// this one. Spec: MQTT 5.0 section 3.2.2.3.4.
    pub qos_max: u8,
    /// Whether messages may be retained; where not, one ends the connection (0x9A).
    /// Spec: MQTT 5.0 section 3.2.2.3.5.
    pub retain_available: bool,
    /// Versions of the protocol that are taken: `3.1`, `3.1.1` and `5.0`; others get 0x84.
    pub protocol_versions: Vec<ProtocolVersion>,
    /// Whether a client without identifier is given one; where not, it is refused (0x85).
    pub assign_client_ids: bool,
    /// How identifiers begin that the broker assigns; default: `dunlin-`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assigned_client_id_prefix: Option<String>,
    /// Largest payload, in bytes; a message with more is refused (0x97). 0 (default): what fits in
    /// `mqtt.packet_bytes_max`.
    #[serde(skip_serializing_if = "is_default")]
    pub payload_bytes_max: u32,
    /// In place of `mqtt.topic_alias_maximum`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_alias_maximum: Option<u16>,
    /// In place of `mqtt.topic_alias_maximum_outbound`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_alias_maximum_outbound: Option<u16>,
}

impl Default for RawListenerMqtt {
    fn default() -> Self {
        Self {
            mount_point: None,
            qos_max: 2,
            retain_available: true,
            protocol_versions: ProtocolVersion::ALL.to_vec(),
            assign_client_ids: true,
            assigned_client_id_prefix: None,
            payload_bytes_max: 0,
            topic_alias_maximum: None,
            topic_alias_maximum_outbound: None,
        }
    }
}

/// `[listeners.limits]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawListenerLimits {
    /// Network Connections at one time.
    pub connections: u32,
    /// Network Connections accepted in a second; more wait in the kernel's backlog.
    pub connections_per_second: u32,
    /// PUBLISH packets a second that each client is read, if its user's quota is not less; what
    /// is beyond waits in the client. 0 (default): any number, as only the operator of a fleet
    /// knows what its devices send.
    #[serde(skip_serializing_if = "is_default")]
    pub client_publishes_per_second: u32,
    /// Bytes of them; packets that would take longer than 30 seconds are too large. 0: any number.
    #[serde(skip_serializing_if = "is_default")]
    pub client_bytes_per_second: u64,
    /// PUBLISH packets a second that all clients of the listener together are read. 0 (default):
    /// any number.
    #[serde(skip_serializing_if = "is_default")]
    pub publishes_per_second: u32,
    /// Bytes of them. 0 (default): any number.
    #[serde(skip_serializing_if = "is_default")]
    pub bytes_per_second: u64,
}

impl Default for RawListenerLimits {
    fn default() -> Self {
        Self {
            connections: 100_000,
            connections_per_second: 1_000,
            client_publishes_per_second: 0,
            client_bytes_per_second: 0,
            publishes_per_second: 0,
            bytes_per_second: 0,
        }
    }
}

fn default_address() -> std::net::IpAddr {
    std::net::IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED)
}

fn default_authentication() -> Vec<Authentication> {
    vec![Authentication::Password]
}
