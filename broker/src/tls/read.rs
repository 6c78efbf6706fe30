//! One consistent reading of a set of TLS files. IO: files only.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker_admin_api::ServedCertificate;
use broker_config::{ClientCertificates, PeerTlsPaths, TlsPaths};
use broker_policy::Digest;
use rustls::pki_types::CertificateDer;
use rustls::server::ProducesTickets;
use rustls::{RootCertStore, ServerConfig};
use zeroize::Zeroizing;

use super::config::{ServerParts, new_ticketer, server_config};
use super::error::TlsError;
use super::files::{anchors, certificates, private_key, read, revocation_lists};
use super::identity::not_after;
use super::peer::{PeerTls, PeerTlsError};

/// The configuration of MQTT listeners, one for each way to ask for client certificates.
#[derive(Debug, Default)]
pub struct ListenerTls {
    /// Absent where no listener has TLS.
    none: Option<Arc<ServerConfig>>,
    /// Absent without trust anchors for clients.
    asking: Option<Asking>,
}

#[derive(Debug)]
struct Asking {
    optional: Arc<ServerConfig>,
    required: Arc<ServerConfig>,
}

impl ListenerTls {
    /// The configuration for a listener; `None` when there is no certificate, or when it asks for
    /// certificates and there are no trust anchors, which a checked configuration excludes.
    #[must_use]
    pub fn for_listener(&self, asks: ClientCertificates) -> Option<&Arc<ServerConfig>> {
        match asks {
            ClientCertificates::None => self.none.as_ref(),
            ClientCertificates::Optional => self.asking.as_ref().map(|asking| &asking.optional),
            ClientCertificates::Required => self.asking.as_ref().map(|asking| &asking.required),
        }
    }
}

/// Keys of session tickets, one for each configuration that must not take another's tickets.
pub(super) struct Ticketers {
    none: Arc<dyn ProducesTickets>,
    optional: Arc<dyn ProducesTickets>,
    required: Arc<dyn ProducesTickets>,
    admin: Arc<dyn ProducesTickets>,
}

impl Ticketers {
    fn new() -> Result<Self, TlsError> {
        Ok(Self {
            none: new_ticketer()?,
            optional: new_ticketer()?,
            required: new_ticketer()?,
            admin: new_ticketer()?,
        })
    }
}

/// One consistent reading of the server files.
pub(super) struct ServerSide {
    pub(super) listeners: ListenerTls,
    /// `None`: there is no admin API.
    pub(super) admin: Option<Arc<ServerConfig>>,
    pub(super) served: ServedCertificate,
    pub(super) trust: Trust,
    pub(super) ticketers: Arc<Ticketers>,
}

/// One consistent reading of the peer files.
pub(super) struct PeerSide {
    pub(super) tls: PeerTls,
    pub(super) served: ServedCertificate,
    pub(super) trust_digest: String,
}

fn served(path: &Path, leaf: &CertificateDer<'_>) -> Result<ServedCertificate, TlsError> {
    let not_after = not_after(leaf).ok_or_else(|| TlsError::Pem {
        path: path.to_owned(),
        what: "certificate",
        reason: "it can't be parsed".to_owned(),
    })?;
    Ok(ServedCertificate { fingerprint: Digest::of(leaf).to_string(), not_after })
}

/// Digests of the files that say whom a server trusts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Trust {
    pub(super) client: Option<String>,
    revoked: Option<String>,
    pub(super) admin: Option<String>,
}

/// Reads the files of listeners. `before`: of the reading before; tickets outlive a reload only where
/// nobody new is distrusted.
pub(super) fn read_server(
    files: &TlsPaths,
    admin_ca: Option<&PathBuf>,
    before: Option<(&Arc<Ticketers>, &Trust)>,
) -> Result<ServerSide, TlsError> {
    let chain_pem = read(&files.server_certificate)?;
    let chain = certificates(&files.server_certificate, "certificate", &chain_pem)?;
    let key = private_key(&files.server_key, &read(&files.server_key)?)?;
    let with_pem = |path: Option<&PathBuf>| match path {
        None => Ok(None),
        Some(path) => read(path).map(|pem| Some((path.clone(), pem))),
    };
    let (client, admin) = (with_pem(files.client_ca.as_ref())?, with_pem(admin_ca)?);
    let revoked = with_pem(files.client_crl.as_ref())?;
    let digest = |file: &Option<(PathBuf, Zeroizing<Vec<u8>>)>| {
        file.as_ref().map(|(_, pem)| Digest::of(pem).to_string())
    };
    let trust = Trust { client: digest(&client), revoked: digest(&revoked), admin: digest(&admin) };
    let ticketers = match before {
        Some((ticketers, before)) if *before == trust => Arc::clone(ticketers),
        _ => Arc::new(Ticketers::new()?),
    };
    let revoked = match &revoked {
        None => Vec::new(),
        Some((path, pem)) => revocation_lists(path, pem)?,
    };
    let build = |asks, anchors: Option<&Arc<RootCertStore>>, ticketer, alpn: &[&[u8]]| {
        let ticketer = Arc::clone(ticketer);
        let is_admin = !alpn.is_empty();
        let revoked = if is_admin { Vec::new() } else { revoked.clone() };
        let (chain, key) = (&chain[..], &key);
        server_config(ServerParts { chain, key, asks, anchors, revoked, ticketer, alpn })
    };
    let pair_error = |reason| TlsError::Pair {
        certificate: files.server_certificate.clone(),
        key: files.server_key.clone(),
        reason,
    };
    let none = build(ClientCertificates::None, None, &ticketers.none, &[]).map_err(pair_error)?;
    let asking = match client {
        None => None,
        Some((path, pem)) => {
            let anchors = Arc::new(anchors(&path, &pem)?);
            let asking = |asks, ticketer| {
                let failed = |reason| TlsError::Anchor { path: path.clone(), reason };
                build(asks, Some(&anchors), ticketer, &[]).map_err(failed)
            };
            Some(Asking {
                optional: asking(ClientCertificates::Optional, &ticketers.optional)?,
                required: asking(ClientCertificates::Required, &ticketers.required)?,
            })
        }
    };
    let admin = match admin {
        None => None,
        Some((path, pem)) => {
            let anchors = Arc::new(anchors(&path, &pem)?);
            let (asks, alpn): (_, &[&[u8]]) = (ClientCertificates::Optional, &[b"http/1.1"]);
            let config = build(asks, Some(&anchors), &ticketers.admin, alpn);
            Some(config.map_err(|reason| TlsError::Anchor { path, reason })?)
        }
    };
    Ok(ServerSide {
        listeners: ListenerTls { none: Some(none), asking },
        admin,
        served: served(&files.server_certificate, &chain[0])?,
        trust,
        ticketers,
    })
}

pub(super) fn read_peer(paths: &PeerTlsPaths) -> Result<PeerSide, TlsError> {
    let chain_pem = read(&paths.certificate)?;
    let key_pem = read(&paths.key)?;
    let trust_pem = read(&paths.ca)?;
    let chain = certificates(&paths.certificate, "certificate", &chain_pem)?;
    let key = private_key(&paths.key, &key_pem)?;
    let trusted = anchors(&paths.ca, &trust_pem)?;
    let served = served(&paths.certificate, &chain[0])?;
    let tls = PeerTls::new(chain, key, trusted).map_err(|error| match error {
        PeerTlsError::Pair { reason } => TlsError::Pair {
            certificate: paths.certificate.clone(),
            key: paths.key.clone(),
            reason,
        },
        PeerTlsError::Anchors { reason } => TlsError::Anchor { path: paths.ca.clone(), reason },
    })?;
    Ok(PeerSide { tls, served, trust_digest: Digest::of(&trust_pem).to_string() })
}
