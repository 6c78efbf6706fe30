//! `[peers.discovery]`, checked. Pure.

use std::path::PathBuf;

use crate::discovery::{Discovery, EtcdPeers, KubernetesPeers, Server, StaticPeer};
use crate::error::ConfigError;
use crate::name::is_label;
use crate::raw::RawPeers;
use crate::raw_discovery::{
    RawDiscovery, RawDnsPeers, RawEtcdPeers, RawKubernetesPeers, RawStaticPeer,
};
use crate::validate::range;

/// What is wrong with how brokers are to find each other.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// No URL of a server.
    #[error("{key} is {value:?}: write \"https://HOST:PORT\", or \"http://HOST:PORT\" without TLS")]
    Server {
        /// Where it stands.
        key: &'static str,
        /// As written.
        value: String,
    },
    /// Nobody says whom to trust.
    #[error("{key} is missing: an endpoint begins with https, name the file of its authority")]
    NoTrust {
        /// The key.
        key: &'static str,
    },
    /// Half of a pair.
    #[error("peers.discovery.etcd.{given} is set and {missing} is not: they belong together")]
    HalfAPair {
        /// What is there.
        given: &'static str,
        /// What is not.
        missing: &'static str,
    },
    /// A password that others on the way could read.
    #[error(
        "peers.discovery.etcd.username is set and {endpoint:?} has no TLS: the password would be sent \
         readable, use https"
    )]
    PasswordInPlaintext {
        /// The endpoint.
        endpoint: String,
    },
    /// Others can't use the address.
    #[error(
        "peers.discovery.etcd.advertise is {value:?}: write the HOST:PORT by which the other brokers \
         reach this one; \"{{name}}\" stands for its name"
    )]
    Advertise {
        /// As written, or `peers.listen`.
        value: String,
    },
    /// Keys that would be nobody's.
    #[error("peers.discovery.etcd.prefix is {value:?}: begin it with \"/\", in at most 256 bytes")]
    Prefix {
        /// As written.
        value: String,
    },
}

/// The table, checked. `cluster` is the cluster's name.
pub(crate) fn discovery(peers: RawPeers, cluster: &str) -> Result<Discovery, ConfigError> {
    match peers.discovery {
        RawDiscovery::Dns(raw) => dns(raw),
        RawDiscovery::Static(raw) => fixed(raw),
        RawDiscovery::Kubernetes(raw) => kubernetes(raw),
        RawDiscovery::Etcd(raw) => {
            let listens_anywhere = peers.listen.ip().is_unspecified();
            etcd(raw, cluster, (!listens_anywhere).then(|| peers.listen.to_string()))
        }
    }
}

fn dns(raw: RawDnsPeers) -> Result<Discovery, ConfigError> {
    if raw.host.is_empty() {
        let key = "peers.discovery.dns.host".to_owned();
        return Err(ConfigError::Empty { key, expected: "a DNS name" });
    }
    range("peers.discovery.dns.port", raw.port, 1, u16::MAX)?;
    Ok(Discovery::Dns { host: raw.host, port: raw.port })
}

fn fixed(entries: Vec<RawStaticPeer>) -> Result<Discovery, ConfigError> {
    let mut peers: Vec<StaticPeer> = Vec::with_capacity(entries.len());
    for entry in entries {
        if !is_label(&entry.name) {
            let key = "peers.discovery.static.name".to_owned();
            return Err(ConfigError::Name { key, value: entry.name });
        }
        if peers.iter().any(|peer| peer.name == entry.name) {
            return Err(ConfigError::DuplicatePeer { name: entry.name });
        }
        if !is_host_and_port(&entry.address) {
            let (name, address) = (entry.name, entry.address);
            return Err(ConfigError::PeerAddress { name, address });
        }
        peers.push(StaticPeer { name: entry.name, address: entry.address });
    }
    Ok(Discovery::Static(peers))
}

fn kubernetes(raw: RawKubernetesPeers) -> Result<Discovery, ConfigError> {
    let namespace = raw.namespace.iter().map(|value| ("namespace", value));
    for (key, value) in [("service", &raw.service)].into_iter().chain(namespace) {
        if !is_label(value) {
            let key = format!("peers.discovery.kubernetes.{key}");
            return Err(ConfigError::Name { key, value: value.clone() });
        }
    }
    range("peers.discovery.kubernetes.port", raw.port, 1, u16::MAX)?;
    let server = raw.server.map(|url| server("peers.discovery.kubernetes.server", &url));
    Ok(Discovery::Kubernetes(KubernetesPeers {
        service: raw.service,
        port: raw.port,
        namespace: raw.namespace,
        server: server.transpose()?,
        token_file: raw.token_file,
        ca_file: raw.ca_file,
    }))
}

/// `listen`: where the broker listens, if others can use that.
fn etcd(
    raw: RawEtcdPeers,
    cluster: &str,
    listen: Option<String>,
) -> Result<Discovery, ConfigError> {
    const ENDPOINTS: &str = "peers.discovery.etcd.endpoints";
    if raw.endpoints.is_empty() {
        let expected = "the URL of at least one member of etcd";
        return Err(ConfigError::Empty { key: ENDPOINTS.to_owned(), expected });
    }
    let endpoints = raw.endpoints.iter().map(|url| server(ENDPOINTS, url));
    let endpoints: Vec<Server> = endpoints.collect::<Result<_, _>>()?;
    let (is_tls, plain) = (
        endpoints.iter().any(|endpoint| endpoint.is_tls),
        raw.endpoints.iter().zip(&endpoints).find(|(_, endpoint)| !endpoint.is_tls),
    );
    if is_tls && raw.ca_file.is_none() {
        return Err(DiscoveryError::NoTrust { key: "peers.discovery.etcd.ca_file" }.into());
    }
    if let (Some(_), Some((endpoint, _))) = (&raw.username, plain) {
        let endpoint = endpoint.clone();
        return Err(DiscoveryError::PasswordInPlaintext { endpoint }.into());
    }
    range("peers.discovery.etcd.lease_seconds", raw.lease_seconds, 5, 3_600)?;
    let prefix = raw.prefix.unwrap_or_else(|| format!("/dunlin/{cluster}/brokers/"));
    if !prefix.starts_with('/') || prefix.len() > 256 {
        return Err(DiscoveryError::Prefix { value: prefix }.into());
    }
    let advertise = match (raw.advertise, listen) {
        (Some(value), _) | (None, Some(value)) if is_host_and_port(&value) => value,
        (value, _) => {
            let value = value.unwrap_or_default();
            return Err(DiscoveryError::Advertise { value }.into());
        }
    };
    Ok(Discovery::Etcd(EtcdPeers {
        endpoints,
        prefix: if prefix.ends_with('/') { prefix } else { prefix + "/" },
        advertise,
        lease_seconds: raw.lease_seconds,
        ca_file: raw.ca_file,
        identity: pair(("certificate_file", raw.certificate_file), ("key_file", raw.key_file))?,
        login: pair(("username", raw.username), ("password_file", raw.password_file))?,
    }))
}

fn pair<A>(
    (one_key, one): (&'static str, Option<A>),
    (other_key, other): (&'static str, Option<PathBuf>),
) -> Result<Option<(A, PathBuf)>, ConfigError> {
    match (one, other) {
        (Some(one), Some(other)) => Ok(Some((one, other))),
        (None, None) => Ok(None),
        (Some(_), None) => {
            Err(DiscoveryError::HalfAPair { given: one_key, missing: other_key }.into())
        }
        (None, Some(_)) => {
            Err(DiscoveryError::HalfAPair { given: other_key, missing: one_key }.into())
        }
    }
}

/// `http` or `https`, a host and a port, and nothing behind it.
fn server(key: &'static str, url: &str) -> Result<Server, ConfigError> {
    let failed = || DiscoveryError::Server { key, value: url.to_owned() };
    let (is_tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return Err(failed().into()),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = rest.rsplit_once(':').ok_or_else(failed)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.parse().map_err(|_| failed())?;
    if host.is_empty() || host.contains('/') || port == 0 {
        return Err(failed().into());
    }
    Ok(Server { is_tls, host: host.to_owned(), port })
}

fn is_host_and_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}
