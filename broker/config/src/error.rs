//! What can be wrong with the file: one variant per rule, naming both values. Pure.

use std::net::SocketAddr;

use crate::validate_discovery::DiscoveryError;
use crate::validate_features::FeatureError;
use crate::validate_listener::ListenerError;

/// The text could not become a [`crate::Config`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// Not TOML, a missing key, or a value of another type.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the parser expected.
        message: String,
    },
    /// A key that does not exist.
    #[error("line {line}: there is no key {key:?} here{}", suggestion(nearest.as_deref(), valid))]
    UnknownKey {
        /// Line, from 1.
        line: usize,
        /// The key as written.
        key: String,
        /// The valid key most like it.
        nearest: Option<String>,
        /// All valid keys at that place.
        valid: Vec<String>,
    },
    /// An environment variable that overrides a key holds no value of its type.
    #[error("environment variable {variable} holds {value:?}: write {expected}")]
    Override {
        /// The variable.
        variable: &'static str,
        /// What it holds.
        value: String,
        /// What it may hold.
        expected: &'static str,
    },
    /// Every key is well-formed; what they say together is not.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
}

fn suggestion(nearest: Option<&str>, valid: &[String]) -> String {
    match nearest {
        Some(nearest) => format!("; did you mean {nearest:?}?"),
        None => format!("; the valid keys are {}", valid.join(", ")),
    }
}

/// Values that are well-formed but do not fit, alone or together.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A table of what the broker does beside routing.
    #[error(transparent)]
    Feature(#[from] FeatureError),
    /// How brokers find each other.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// What a listener has for itself.
    #[error(transparent)]
    Listener(#[from] ListenerError),
    /// A name that is no DNS label.
    #[error("{key} is {value:?}: use 1 to 63 lower-case letters, digits and \"-\" between them")]
    Name {
        /// Where it stands.
        key: String,
        /// As written.
        value: String,
    },
    /// A cluster id with other than letters and digits.
    #[error("cluster.id is {value:?}: use 1 to 63 letters and digits")]
    ClusterId {
        /// As written.
        value: String,
    },
    /// Some of what a member of a cluster needs, and not all.
    #[error(
        "{given} is given and {missing} is not: a member of a cluster has [cluster], [peers], \
         [admin] and their files in [tls], a broker that stands alone has none of them"
    )]
    HalfACluster {
        /// What is given.
        given: &'static str,
        /// What is missing.
        missing: &'static str,
    },
    /// A member of a cluster has its admin API for that.
    #[error(
        "[metrics] is for a broker that stands alone: in a cluster admin.listen serves /metrics, \
         /healthz and /readyz, remove the section"
    )]
    MetricsInCluster,
    /// Numbers readable for other machines, and nobody has said that they may be.
    #[error(
        "metrics.address is {address}, which other machines reach, readable by all of them: set \
         metrics.acknowledge_plaintext to true, or use an address of this machine, as 127.0.0.1"
    )]
    MetricsInPlaintext {
        /// As written.
        address: SocketAddr,
    },
    /// The operator and a file would both give the policy.
    #[error(
        "[policy] is for a broker that stands alone: in a cluster the operator gives it, remove the section"
    )]
    PolicyInCluster,
    /// Nobody gives the policy.
    #[error(
        "[policy] is missing: a broker that stands alone has no operator that says who may connect; \
         add the section, empty if everybody may do everything"
    )]
    NoPolicy,
    /// Two sources of the policy.
    #[error(
        "{key}.document and {key}.password_file or {key}.acl_file exclude each other: keep one of \
         the two"
    )]
    TwoPolicies {
        /// The table.
        key: String,
    },
    /// A listener of a cluster that believes everybody.
    #[error(
        "listener {name:?} has authentication {way:?}, which is for a broker that stands alone: \
         allow \"password\" or \"x509\""
    )]
    UnprovenInCluster {
        /// The listener.
        name: String,
        /// What it allows.
        way: &'static str,
    },
    /// Text that is no beginning of topics.
    #[error(
        "mqtt.response_information is {value:?}: write 1 to 1024 bytes of a topic name, \
         without wildcards"
    )]
    ResponseInformation {
        /// What is written.
        value: String,
    },
    /// A number outside its range.
    #[error("{key} is {value}: use a number from {min} to {max}")]
    Range {
        /// Where it stands.
        key: String,
        /// As written.
        value: u64,
        /// Least.
        min: u64,
        /// Greatest.
        max: u64,
    },
    /// A string that must not be empty, or is too long.
    #[error("{key} is empty: write {expected}")]
    Empty {
        /// Where it stands.
        key: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// No listener at all.
    #[error("listeners is empty: add at least one [[listeners]]")]
    NoListener,
    /// More listeners than a broker serves.
    #[error("there are {count} listeners: keep at most {max}")]
    TooManyListeners {
        /// How many are written.
        count: usize,
        /// How many may be.
        max: usize,
    },
    /// Two listeners with one name.
    #[error("two listeners are called {name:?}: give each its own name")]
    DuplicateListener {
        /// The name.
        name: String,
    },
    /// Two sockets on one address and port.
    #[error("{first} and {second} both listen on {address}: change the port of one")]
    DuplicateAddress {
        /// One of them.
        first: String,
        /// The other.
        second: String,
        /// The address of `second`.
        address: SocketAddr,
    },
    /// A listener without TLS that does not say so twice.
    #[error(
        "listener {name:?} has protocol {protocol:?}, which is readable on the network, and \
         acknowledge_plaintext = false: set it to true, or use protocol {secure:?}"
    )]
    Plaintext {
        /// The listener.
        name: String,
        /// Its protocol.
        protocol: &'static str,
        /// The same one with TLS.
        secure: &'static str,
    },
    /// `acknowledge_plaintext` on a listener with TLS.
    #[error(
        "listener {name:?} has protocol {protocol:?} and acknowledge_plaintext = true: remove the \
         latter, nothing is sent in plaintext"
    )]
    NeedlessAcknowledgement {
        /// The listener.
        name: String,
        /// Its protocol.
        protocol: &'static str,
    },
    /// Nowhere to bind.
    #[error("listener {name:?} has no port: set port, or unix_socket")]
    NoPort {
        /// The listener.
        name: String,
    },
    /// Two places to bind.
    #[error("listener {name:?} has both port and unix_socket: leave one out")]
    PortAndUnixSocket {
        /// The listener.
        name: String,
    },
    /// A proxy's header where there is no network.
    #[error("listener {name:?} has proxy_protocol on a Unix socket: leave proxy_protocol out")]
    ProxyOnUnixSocket {
        /// The listener.
        name: String,
    },
    /// Pages named where none connects.
    #[error(
        "listener {name:?} has protocol {protocol:?} and websocket_origins: they are for \"ws\" and \
         \"wss\", remove them"
    )]
    OriginsWithoutWebSocket {
        /// The listener.
        name: String,
        /// Its protocol.
        protocol: &'static str,
    },
    /// A page that no browser names so.
    #[error(
        "listener {name:?} has {value:?} in websocket_origins: write scheme and host, with a port \
         that is not the scheme's own, as https://plant.example or http://localhost:8080"
    )]
    Origin {
        /// The listener.
        name: String,
        /// As written.
        value: String,
    },
    /// Nobody could log in.
    #[error("listener {name:?} has authentication = []: allow \"password\" or \"x509\"")]
    NoAuthentication {
        /// The listener.
        name: String,
    },
    /// Certificates asked for on a listener that has no handshake.
    #[error(
        "listener {name:?} has protocol {protocol:?} and client_certificates = {mode:?}: \
         certificates need TLS, use protocol \"mqtts\" or client_certificates = \"none\""
    )]
    CertificatesWithoutTls {
        /// The listener.
        name: String,
        /// Its protocol.
        protocol: &'static str,
        /// What it asks for.
        mode: &'static str,
    },
    /// X.509 is a way in, but no certificate is asked for.
    #[error(
        "listener {name:?} allows authentication \"x509\" with client_certificates = \"none\": \
         set the latter to \"optional\" or \"required\", or remove \"x509\""
    )]
    X509WithoutCertificates {
        /// The listener.
        name: String,
    },
    /// Certificates asked for, but nothing to check them by.
    #[error(
        "listener {name:?} has client_certificates = {mode:?} and tls.client_ca is not set: \
         name the trust anchor of the clients' certificates"
    )]
    NoClientCa {
        /// The listener.
        name: String,
        /// What it asks for.
        mode: &'static str,
    },
    /// A Session could not queue a message that may be sent to it.
    #[error(
        "sessions.queued_bytes_max is {queued} and mqtt.packet_bytes_max is {packet}: the former \
         must not be smaller"
    )]
    QueueBelowPacket {
        /// Bytes queued for a Session.
        queued: u64,
        /// Bytes of a packet.
        packet: u32,
    },
    /// A packet could not be forwarded to the other brokers.
    #[error(
        "mqtt.packet_bytes_max is {packet}: the brokers of a cluster forward packets of at most \
         {max} bytes, set it to that or less"
    )]
    PacketAboveFrame {
        /// Bytes of a packet.
        packet: u32,
        /// The most that may be set.
        max: u32,
    },
    /// A packet could not be sent.
    #[error(
        "mqtt.output_bytes_max is {output} and mqtt.packet_bytes_max is {packet}: the former must \
         not be smaller"
    )]
    OutputBelowPacket {
        /// Bytes waiting for a socket.
        output: u32,
        /// Bytes of a packet.
        packet: u32,
    },
    /// More in flight than may be queued.
    #[error(
        "sessions.inflight_max is {inflight} and sessions.queued_messages_max is {queued}: the \
         latter must not be smaller"
    )]
    QueueBelowInflight {
        /// Messages on their way.
        inflight: u16,
        /// Messages queued.
        queued: u32,
    },
    /// Two static peers with one name.
    #[error("two static peers are called {name:?}: give each its own name")]
    DuplicatePeer {
        /// The name.
        name: String,
    },
    /// A static peer without a port.
    #[error("static peer {name:?} has address {address:?}: write host:port")]
    PeerAddress {
        /// The peer.
        name: String,
        /// As written.
        address: String,
    },
}
