//! The certificates of a cluster in the state folder: kept while they serve, issued where they don't. IO.

use std::time::Duration;

use jiff::Timestamp;
use operator_core::cluster::ValidatedCluster;
use operator_pki::{
    Authority, AuthorityRequest, Ensured, LeafRequest, PkiError, Purpose, SecretData,
    ensure_authority, ensure_leaf, given_authority,
};

use super::super::state::{StateDir, StateError, write_private};
use super::super::store::Store;
use super::desired::GivenSecret;
use crate::error_chain::chain;

/// Names by which brokers on this machine are reached.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The certificates of a cluster.
#[derive(Debug, Clone)]
pub(super) struct Certificates {
    /// Who issues them.
    pub(super) authority: Authority,
    /// The operator's own certificate for the admin API.
    pub(super) admin: SecretData,
    /// What was issued, in words.
    pub(super) issued: Vec<String>,
}

/// What the certificates are made for.
pub(super) struct Request<'a> {
    pub(super) store: &'a Store,
    pub(super) state: &'a StateDir,
    pub(super) cluster: &'a ValidatedCluster,
    /// The cluster's name as folders have it.
    pub(super) scoped_name: &'a str,
    /// `tls.subjectAltNames`.
    pub(super) names: &'a [String],
    /// The authority that the user brings.
    pub(super) given_authority: Option<&'a GivenSecret>,
    pub(super) brokers: u16,
}

/// Brings all certificates up to date; what is issued replaces what is there, which brokers notice by themselves.
///
/// # Errors
/// In words, with what to change. What is there already stays in use.
pub(super) fn ensure(request: &Request<'_>, now: Timestamp) -> Result<Certificates, String> {
    let mut issued = Vec::new();
    let authority = authority(request, now, &mut issued)?;
    let (names, lifetime) = (&request.cluster.names, request.cluster.leaf_lifetime);
    let mut server_names: Vec<String> = LOCAL_NAMES.map(str::to_owned).to_vec();
    server_names.extend_from_slice(request.names);
    let server = LeafRequest::server(&request.cluster.name, server_names, lifetime);
    leaf(request, &authority, &names.server_secret(), &server, now, &mut issued)?;
    for ordinal in 0..request.brokers {
        let wanted = LeafRequest::peer(
            &names.broker(ordinal),
            &request.cluster.cluster_id,
            Vec::new(),
            lifetime,
        );
        leaf(request, &authority, &names.peer_secret(ordinal), &wanted, now, &mut issued)?;
    }
    let wanted = LeafRequest::admin("mqtt-operator", lifetime.max(Duration::from_secs(3_600)));
    let admin = leaf(request, &authority, &names.admin_secret(), &wanted, now, &mut issued)?;
    let root = authority.root_pem().as_bytes().to_vec();
    let bundle = SecretData::from([("ca.crt".to_owned(), root)]);
    let namespace = &request.cluster.namespace;
    request
        .store
        .write_secret(namespace, &names.ca_bundle_secret(), &bundle)
        .map_err(|error| chain(&error))?;
    trust(request, &authority).map_err(|error| chain(&error))?;
    Ok(Certificates { authority, admin, issued })
}

fn authority(
    request: &Request<'_>,
    now: Timestamp,
    issued: &mut Vec<String>,
) -> Result<Authority, String> {
    if let Some(given) = request.given_authority {
        // It is read and never written: renewing it is its owner's affair.
        return given_authority(&given.1, now).map_err(|error| chain(&error));
    }
    let wanted = AuthorityRequest { cluster_name: request.cluster.name.clone() };
    let (namespace, name) = (&request.cluster.namespace, request.cluster.names.ca_secret());
    let existing = request.store.secret(namespace, &name);
    let ensured =
        ensure_authority(existing.as_ref(), &wanted, now).map_err(|error| match error {
            PkiError::AuthorityBroken { .. } => {
                format!("{}: {error}", request.store.shown_secret_dir(namespace, &name))
            }
            error => chain(&error),
        })?;
    if let Ensured::Issued { value, reason } = &ensured {
        request
            .store
            .write_secret(namespace, &name, &value.secret_data())
            .map_err(|error| chain(&error))?;
        issued.push(format!("certificate authority: {reason}"));
    }
    Ok(ensured.into_value())
}

fn leaf(
    request: &Request<'_>,
    authority: &Authority,
    secret: &str,
    wanted: &LeafRequest,
    now: Timestamp,
    issued: &mut Vec<String>,
) -> Result<SecretData, String> {
    let namespace = &request.cluster.namespace;
    let existing = request.store.secret(namespace, secret);
    let ensured = ensure_leaf(existing.as_ref(), authority, wanted, now)
        .map_err(|error| format!("{secret}: {}", chain(&error)))?;
    let data = ensured.value().secret_data();
    if let Some(reason) = ensured.reason() {
        request.store.write_secret(namespace, secret, &data).map_err(|error| chain(&error))?;
        issued.push(format!("{secret}: {reason}"));
    }
    Ok(data)
}

/// What the brokers trust, beside their configuration.
fn trust(request: &Request<'_>, authority: &Authority) -> Result<(), StateError> {
    let folder = request.state.path(trust_dir(request.scoped_name));
    for (file, purpose) in [("client-ca.crt", Purpose::Client), ("admin-ca.crt", Purpose::Admin)] {
        let path = folder.join(file);
        let content = authority.trust_anchor_pem(purpose).as_bytes();
        if std::fs::read(&path).ok().as_deref() != Some(content) {
            write_private(&path, content)?;
        }
    }
    Ok(())
}

/// The folder with what the brokers of a cluster trust, below the state folder.
pub(super) fn trust_dir(scoped_name: &str) -> String {
    format!("clusters/{scoped_name}/trust")
}
