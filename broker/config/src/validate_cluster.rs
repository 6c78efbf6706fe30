//! What makes a broker a member of a cluster, or one that stands alone. Pure.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::{Cluster, ClusterTlsPaths, PeerTlsPaths, Peers, PolicyPaths, TlsPaths};
use crate::error::ConfigError;
use crate::name::{is_cluster_id, is_label};
use crate::raw::{RawConfig, RawPolicy, RawTls};
use crate::raw_features::RawMetrics;
use crate::validate::range;
use crate::validate_discovery::discovery;
use crate::validate_listener::ListenerError;

/// The cluster; `None` when the broker stands alone.
pub(crate) fn cluster(raw: &RawConfig) -> Result<Option<Cluster>, ConfigError> {
    let default = RawTls::default();
    let tls = raw.tls.as_ref().unwrap_or(&default);
    let (cluster, peers, admin) = match (&raw.cluster, &raw.peers, &raw.admin) {
        (Some(cluster), Some(peers), Some(admin)) => (cluster, peers, admin),
        (None, None, None) => return alone(tls).map(|()| None),
        (cluster, peers, admin) => {
            let sections = [
                ("cluster", cluster.is_some()),
                ("peers", peers.is_some()),
                ("admin", admin.is_some()),
            ];
            let find =
                |wanted| sections.iter().find(|(_, is)| *is == wanted).map(|(name, _)| *name);
            let (given, missing) = (find(true).unwrap_or(""), find(false).unwrap_or(""));
            return Err(ConfigError::HalfACluster { given, missing });
        }
    };
    if !is_label(&cluster.name) {
        let value = cluster.name.clone();
        return Err(ConfigError::Name { key: "cluster.name".into(), value });
    }
    if !is_cluster_id(&cluster.id) {
        return Err(ConfigError::ClusterId { value: cluster.id.clone() });
    }
    if let Some(level) = cluster.feature_level_max {
        range("cluster.feature_level_max", level, 1, u16::MAX)?;
    }
    Ok(Some(Cluster {
        name: cluster.name.clone(),
        id: cluster.id.clone(),
        feature_level_max: cluster.feature_level_max,
        peers: Peers { listen: peers.listen, discovery: discovery(peers.clone(), &cluster.name)? },
        admin_listen: admin.listen,
        tls: ClusterTlsPaths {
            admin_ca: pem("tls.admin_ca", tls.admin_ca.clone())?,
            peer: PeerTlsPaths {
                certificate: pem("tls.peer_certificate", tls.peer_certificate.clone())?,
                key: pem("tls.peer_key", tls.peer_key.clone())?,
                ca: pem("tls.peer_ca", tls.peer_ca.clone())?,
            },
        },
    }))
}

/// Files that only a cluster needs would be a cluster half written down.
fn alone(tls: &RawTls) -> Result<(), ConfigError> {
    let only_clustered = [
        ("tls.peer_certificate", &tls.peer_certificate),
        ("tls.peer_key", &tls.peer_key),
        ("tls.peer_ca", &tls.peer_ca),
        ("tls.admin_ca", &tls.admin_ca),
    ];
    match only_clustered.into_iter().find(|(_, path)| path.is_some()) {
        Some((given, _)) => Err(ConfigError::HalfACluster { given, missing: "cluster" }),
        None => Ok(()),
    }
}

fn pem(key: &str, path: Option<PathBuf>) -> Result<PathBuf, ConfigError> {
    match path.filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => Ok(path),
        None => Err(ConfigError::Empty { key: key.to_owned(), expected: "a PEM file" }),
    }
}

/// The files of the listeners; `None` when none is named and none is needed.
pub(crate) fn tls(raw: RawTls, is_needed: bool) -> Result<Option<TlsPaths>, ConfigError> {
    let is_named = raw.server_certificate.is_some() || raw.server_key.is_some();
    if !is_needed && !is_named {
        return Ok(None);
    }
    tls_at("tls", raw).map(Some)
}

/// The files of the table called `key`.
pub(crate) fn tls_at(key: &str, raw: RawTls) -> Result<TlsPaths, ConfigError> {
    let optional = |name: &str, path: Option<PathBuf>| match path {
        None => Ok(None),
        Some(path) => pem(&format!("{key}.{name}"), Some(path)).map(Some),
    };
    let needed = |name: &str, path| pem(&format!("{key}.{name}"), path);
    if raw.client_crl.is_some() && raw.client_ca.is_none() {
        return Err(ListenerError::RevocationWithoutCa { key: key.to_owned() }.into());
    }
    Ok(TlsPaths {
        server_certificate: needed("server_certificate", raw.server_certificate)?,
        server_key: needed("server_key", raw.server_key)?,
        client_ca: optional("client_ca", raw.client_ca)?,
        client_crl: optional("client_crl", raw.client_crl)?,
    })
}

/// Where a broker that stands alone tells its numbers.
pub(crate) fn metrics(
    raw: Option<&RawMetrics>,
    is_clustered: bool,
) -> Result<Option<SocketAddr>, ConfigError> {
    let Some(raw) = raw else { return Ok(None) };
    let address = raw.address;
    match (is_clustered, address.ip().to_canonical().is_loopback(), raw.acknowledge_plaintext) {
        (true, _, _) => Err(ConfigError::MetricsInCluster),
        (false, false, false) => Err(ConfigError::MetricsInPlaintext { address }),
        _ => Ok(Some(address)),
    }
}

/// The policy's files; there are some exactly where no operator gives the policy.
pub(crate) fn policy(
    raw: Option<RawPolicy>,
    is_clustered: bool,
    is_needed: bool,
) -> Result<Option<PolicyPaths>, ConfigError> {
    match raw {
        Some(_) if is_clustered => Err(ConfigError::PolicyInCluster),
        None if is_clustered => Ok(None),
        None if is_needed => Err(ConfigError::NoPolicy),
        None => Ok(Some(PolicyPaths::default())),
        Some(policy) => policy_paths("policy", policy).map(Some),
    }
}

/// The files of the table called `key`.
pub(crate) fn policy_paths(key: &str, policy: RawPolicy) -> Result<PolicyPaths, ConfigError> {
    let files = [
        ("password_file", &policy.password_file),
        ("acl_file", &policy.acl_file),
        ("document", &policy.document),
    ];
    for (name, path) in files {
        if path.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            return Err(ConfigError::Empty { key: format!("{key}.{name}"), expected: "a file" });
        }
    }
    if policy.document.is_some() && (policy.password_file.is_some() || policy.acl_file.is_some()) {
        return Err(ConfigError::TwoPolicies { key: key.to_owned() });
    }
    Ok(PolicyPaths {
        password_file: policy.password_file,
        acl_file: policy.acl_file,
        document: policy.document,
        trust_anonymous: policy.trust_anonymous,
    })
}
