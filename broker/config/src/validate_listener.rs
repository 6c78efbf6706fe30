//! `[[listeners]]`, each checked for itself and beside the others. Pure.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::TlsPaths;
use crate::error::ConfigError;
use crate::listener::{
    Authentication, Bind, CertificateUsername, ClientCertificates, Listener, ListenerLimits,
    ListenerMqtt, ListenerPolicy,
};
use crate::name::is_label;
use crate::raw::{RawConfig, RawTls};
use crate::raw_listener::RawListener;
use crate::validate::{range, some};
use crate::validate_cluster;

/// Listeners of one broker.
pub(crate) const LISTENERS_MAX: usize = 16;
/// Connections of one listener.
const CONNECTIONS_MAX: u32 = 10_000_000;
/// Far below what a topic may hold.
const MOUNT_POINT_BYTES_MAX: usize = 1024;
/// Leaves most levels to clients.
const MOUNT_POINT_LEVELS_MAX: usize = 16;
/// Leaves room for what tells identifiers apart.
const ID_PREFIX_BYTES_MAX: usize = 64;

/// What is wrong with what a listener has for itself.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenerError {
    /// Certificates of a listener that shows none.
    #[error(
        "listener {name:?} has [listeners.tls] and protocol {protocol:?}: use protocol \"mqtts\" or \
         \"wss\", or remove the table"
    )]
    FilesWithoutTls {
        /// The listener.
        name: String,
        /// Its protocol.
        protocol: &'static str,
    },
    /// The operator and a file would both give the policy.
    #[error(
        "listener {name:?} has [listeners.policy], which is for a broker that stands alone: in a \
         cluster the operator gives the policy, remove the table"
    )]
    PolicyInCluster {
        /// The listener.
        name: String,
    },
    /// The subject of certificates that prove nothing.
    #[error(
        "listener {name:?} has certificate_username = \"subject\" and does not allow authentication \
         \"x509\": allow it, or remove certificate_username"
    )]
    SubjectWithoutX509 {
        /// The listener.
        name: String,
    },
    /// Nobody could connect.
    #[error(
        "listener {name:?} has mqtt.protocol_versions = []: allow \"3.1\", \"3.1.1\" or \"5.0\""
    )]
    NoVersion {
        /// The listener.
        name: String,
    },
    /// Text that is no beginning of topics.
    #[error(
        "listener {name:?} has mqtt.mount_point = {value:?}: write 1 to {MOUNT_POINT_BYTES_MAX} bytes \
         of at most {MOUNT_POINT_LEVELS_MAX} levels, without $ at the beginning, wildcards and control \
         characters, as in \"plant-7/\""
    )]
    MountPoint {
        /// The listener.
        name: String,
        /// As written.
        value: String,
    },
    /// Text that is no beginning of identifiers.
    #[error(
        "listener {name:?} has mqtt.assigned_client_id_prefix = {value:?}: write at most \
         {ID_PREFIX_BYTES_MAX} bytes without control characters"
    )]
    IdPrefix {
        /// The listener.
        name: String,
        /// As written.
        value: String,
    },
    /// Lists that nothing is checked by.
    #[error("{key}.client_crl is set and {key}.client_ca is not: set both, or neither")]
    RevocationWithoutCa {
        /// The table.
        key: String,
    },
}

pub(crate) fn listeners(raw: &RawConfig) -> Result<Vec<Listener>, ConfigError> {
    if raw.listeners.is_empty() {
        return Err(ConfigError::NoListener);
    }
    if raw.listeners.len() > LISTENERS_MAX {
        let count = raw.listeners.len();
        return Err(ConfigError::TooManyListeners { count, max: LISTENERS_MAX });
    }
    let mut listeners: Vec<Listener> = Vec::with_capacity(raw.listeners.len());
    for entry in &raw.listeners {
        let mut listener = listener(entry, raw)?;
        if let Some(own) = &mut listener.policy {
            let policies = listeners.iter().filter_map(|other| other.policy.as_ref());
            if let Some(same) = policies.into_iter().find(|other| other.paths == own.paths) {
                own.realm = Arc::clone(&same.realm);
            }
        }
        if listeners.iter().any(|other| other.name == listener.name) {
            return Err(ConfigError::DuplicateListener { name: listener.name });
        }
        listeners.push(listener);
    }
    Ok(listeners)
}

fn listener(raw: &RawListener, config: &RawConfig) -> Result<Listener, ConfigError> {
    let name = raw.name.clone();
    if !is_label(&name) {
        return Err(ConfigError::Name { key: "listeners.name".into(), value: name });
    }
    transport(raw)?;
    let client_certificates = client_certificates(raw, config)?;
    let mut authentication = Vec::new();
    for way in &raw.authentication {
        if !authentication.contains(way) {
            authentication.push(*way);
        }
    }
    if authentication.is_empty() {
        return Err(ConfigError::NoAuthentication { name });
    }
    let is_alone = config.cluster.is_none();
    let unproven =
        [(Authentication::Believed, "believed"), (Authentication::Anonymous, "anonymous")];
    if let Some((_, way)) = unproven.into_iter().find(|(way, _)| authentication.contains(way))
        && !is_alone
    {
        return Err(ConfigError::UnprovenInCluster { name, way });
    }
    let names_subject = raw.certificate_username != CertificateUsername::default();
    if names_subject && !authentication.contains(&Authentication::X509) {
        return Err(ListenerError::SubjectWithoutX509 { name }.into());
    }
    Ok(Listener {
        protocol: raw.protocol,
        bind: bind(raw)?,
        proxy_protocol: raw.proxy_protocol,
        authentication,
        anonymous: raw.anonymous.unwrap_or(!is_alone),
        client_certificates,
        websocket_origins: origins(raw)?,
        certificate_username: raw.certificate_username,
        tls: own_tls(raw)?,
        policy: own_policy(raw, is_alone)?,
        mqtt: mqtt(raw)?,
        limits: limits(raw)?,
        name,
    })
}

fn limits(raw: &RawListener) -> Result<ListenerLimits, ConfigError> {
    let (name, limits) = (&raw.name, &raw.limits);
    let key = format!("listeners[{name}].limits.connections");
    range(&key, limits.connections, 1, CONNECTIONS_MAX)?;
    let key = format!("listeners[{name}].limits.connections_per_second");
    range(&key, limits.connections_per_second, 1, CONNECTIONS_MAX)?;
    Ok(ListenerLimits {
        connections: limits.connections,
        connections_per_second: limits.connections_per_second,
        client_publishes_per_second: some(limits.client_publishes_per_second),
        client_bytes_per_second: some(limits.client_bytes_per_second),
        publishes_per_second: some(limits.publishes_per_second),
        bytes_per_second: some(limits.bytes_per_second),
    })
}

/// Whether this names pages as browsers do: a scheme, a host, and a port that is not the scheme's own;
/// or `null`.
#[must_use]
pub fn is_origin(value: &str) -> bool {
    match value.split_once("://") {
        Some((scheme, host)) => {
            let is_host = |c: char| !(c == '/' || c.is_whitespace() || c.is_control());
            !scheme.is_empty() && !host.is_empty() && host.chars().all(is_host)
        }
        None => value == "null",
    }
}

fn origins(raw: &RawListener) -> Result<Vec<String>, ConfigError> {
    let name = raw.name.clone();
    if !raw.websocket_origins.is_empty() && !raw.protocol.is_websocket() {
        let protocol = raw.protocol.as_str();
        return Err(ConfigError::OriginsWithoutWebSocket { name, protocol });
    }
    match raw.websocket_origins.iter().find(|value| !is_origin(value)) {
        Some(value) => Err(ConfigError::Origin { name, value: value.clone() }),
        None => Ok(raw.websocket_origins.clone()),
    }
}

/// The files of a listener that has its own.
fn own_tls(raw: &RawListener) -> Result<Option<TlsPaths>, ConfigError> {
    let Some(tls) = &raw.tls else { return Ok(None) };
    let name = raw.name.clone();
    if !raw.protocol.is_tls() {
        let protocol = raw.protocol.as_str();
        return Err(ListenerError::FilesWithoutTls { name, protocol }.into());
    }
    let paths = RawTls {
        server_certificate: Some(tls.server_certificate.clone()),
        server_key: Some(tls.server_key.clone()),
        client_ca: tls.client_ca.clone(),
        client_crl: tls.client_crl.clone(),
        ..RawTls::default()
    };
    validate_cluster::tls_at(&format!("listeners[{name}].tls"), paths).map(Some)
}

/// The policy of a listener that has its own.
fn own_policy(raw: &RawListener, is_alone: bool) -> Result<Option<ListenerPolicy>, ConfigError> {
    let Some(policy) = &raw.policy else { return Ok(None) };
    let name = raw.name.clone();
    if !is_alone {
        return Err(ListenerError::PolicyInCluster { name }.into());
    }
    let key = format!("listeners[{name}].policy");
    let paths = validate_cluster::policy_paths(&key, policy.clone())?;
    Ok(Some(ListenerPolicy { realm: name.into(), paths }))
}

fn mqtt(raw: &RawListener) -> Result<ListenerMqtt, ConfigError> {
    let (name, mqtt) = (&raw.name, &raw.mqtt);
    range(&format!("listeners[{name}].mqtt.qos_max"), mqtt.qos_max, 0, 2)?;
    if mqtt.protocol_versions.is_empty() {
        return Err(ListenerError::NoVersion { name: name.clone() }.into());
    }
    if let Some(value) = mqtt.mount_point.as_ref().filter(|value| !is_mount_point(value)) {
        let (name, value) = (name.clone(), value.clone());
        return Err(ListenerError::MountPoint { name, value }.into());
    }
    let is_prefix = |value: &&String| {
        value.len() <= ID_PREFIX_BYTES_MAX && !value.chars().any(char::is_control)
    };
    let prefix = mqtt.assigned_client_id_prefix.as_ref();
    if let Some(value) = prefix.filter(|value| !is_prefix(value)) {
        let (name, value) = (name.clone(), value.clone());
        return Err(ListenerError::IdPrefix { name, value }.into());
    }
    Ok(ListenerMqtt {
        mount_point: mqtt.mount_point.as_deref().map(Arc::from),
        qos_max: mqtt.qos_max,
        retain_available: mqtt.retain_available,
        protocol_versions: mqtt.protocol_versions.clone(),
        assign_client_ids: mqtt.assign_client_ids,
        assigned_client_id_prefix: prefix.map(|prefix| prefix.as_str().into()),
        payload_bytes_max: some(mqtt.payload_bytes_max),
        topic_alias_maximum: mqtt.topic_alias_maximum,
        topic_alias_maximum_outbound: mqtt.topic_alias_maximum_outbound,
    })
}

/// The beginning of a topic that clients can have.
fn is_mount_point(text: &str) -> bool {
    let levels = text.bytes().filter(|byte| *byte == b'/').count();
    (1..=MOUNT_POINT_BYTES_MAX).contains(&text.len())
        && levels <= MOUNT_POINT_LEVELS_MAX
        && !text.starts_with('$')
        && !text.chars().any(|c| matches!(c, '+' | '#') || c.is_control())
}

/// An address and a port, or a Unix socket.
fn bind(raw: &RawListener) -> Result<Bind, ConfigError> {
    let name = raw.name.clone();
    match (raw.port, &raw.unix_socket) {
        (Some(port), None) => Ok(Bind::Tcp(SocketAddr::new(raw.address, port))),
        (None, Some(path)) if path.as_os_str().is_empty() => {
            let key = format!("listeners[{name}].unix_socket");
            Err(ConfigError::Empty { key, expected: "a path" })
        }
        (None, Some(_)) if raw.proxy_protocol => Err(ConfigError::ProxyOnUnixSocket { name }),
        (None, Some(path)) => Ok(Bind::Unix(path.clone())),
        (Some(_), Some(_)) => Err(ConfigError::PortAndUnixSocket { name }),
        (None, None) => Err(ConfigError::NoPort { name }),
    }
}

/// Plain text crosses a network only where somebody has said that it may.
fn transport(raw: &RawListener) -> Result<(), ConfigError> {
    let (name, protocol) = (raw.name.clone(), raw.protocol.as_str());
    let crosses_network = raw.unix_socket.is_none();
    let secure = if raw.protocol.is_websocket() { "wss" } else { "mqtts" };
    match (raw.protocol.is_tls(), raw.acknowledge_plaintext) {
        (false, false) if crosses_network => Err(ConfigError::Plaintext { name, protocol, secure }),
        (true, true) => Err(ConfigError::NeedlessAcknowledgement { name, protocol }),
        _ => Ok(()),
    }
}

fn client_certificates(
    raw: &RawListener,
    config: &RawConfig,
) -> Result<ClientCertificates, ConfigError> {
    let name = raw.name.clone();
    let x509 = raw.authentication.contains(&Authentication::X509);
    let asked = raw.client_certificates.unwrap_or(if x509 {
        ClientCertificates::Optional
    } else {
        ClientCertificates::None
    });
    let mode = match asked {
        ClientCertificates::None if x509 => {
            return Err(ConfigError::X509WithoutCertificates { name });
        }
        ClientCertificates::None => return Ok(asked),
        ClientCertificates::Optional => "optional",
        ClientCertificates::Required => "required",
    };
    if !raw.protocol.is_tls() {
        let protocol = raw.protocol.as_str();
        return Err(ConfigError::CertificatesWithoutTls { name, protocol, mode });
    }
    let client_ca = match &raw.tls {
        Some(own) => own.client_ca.as_ref(),
        None => config.tls.as_ref().and_then(|tls| tls.client_ca.as_ref()),
    };
    if client_ca.is_none() {
        return Err(ConfigError::NoClientCa { name, mode });
    }
    Ok(asked)
}
