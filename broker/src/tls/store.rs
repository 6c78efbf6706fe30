//! The TLS configurations in use, and what the status report says of them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, ArcSwapOption};
use broker_admin_api::{CertificateStatus, ReloadError, ServedCertificate};
use broker_config::{ClientCertificates, PeerTlsPaths, TlsPaths};
use broker_policy::Digest;
use rustls::pki_types::CertificateDer;
use rustls::server::ProducesTickets;
use rustls::{RootCertStore, ServerConfig};

use super::config::{ServerParts, new_ticketer, server_config};
use super::error::TlsError;
use super::files::{FilesMark, TlsFiles, anchors, certificates, private_key, read};
use super::identity::not_after;
use super::peer::{PeerTls, PeerTlsError};
use crate::sync::lock;
use crate::telemetry::Chain;

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
struct Ticketers {
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
struct ServerSide {
    listeners: ListenerTls,
    /// `None`: there is no admin API.
    admin: Option<Arc<ServerConfig>>,
    served: ServedCertificate,
    client_trust_digest: Option<String>,
    admin_trust_digest: Option<String>,
    ticketers: Arc<Ticketers>,
}

/// One consistent reading of the peer files.
struct PeerSide {
    tls: PeerTls,
    served: ServedCertificate,
    trust_digest: String,
}

/// What is in use. Shared by everything that opens or accepts TLS connections.
pub struct TlsStore {
    files: TlsFiles,
    listeners: ArcSwap<ListenerTls>,
    admin: ArcSwapOption<ServerConfig>,
    peer: Option<Arc<ArcSwap<PeerTls>>>,
    state: Mutex<State>,
}

struct State {
    status: CertificateStatus,
    server_error: Option<ReloadError>,
    peer_error: Option<ReloadError>,
    server_mark: FilesMark,
    peer_mark: FilesMark,
    /// `None`: no listener has TLS.
    ticketers: Option<Arc<Ticketers>>,
}

impl std::fmt::Debug for TlsStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsStore").field("files", &self.files).finish_non_exhaustive()
    }
}

impl TlsStore {
    /// Reads all files.
    ///
    /// # Errors
    /// The first file that is missing, unreadable or does not fit the others.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        // Marks are taken before reading: a change in between is seen as one, never missed.
        let (server_mark, peer_mark) = (files.server_mark(), files.peer_mark());
        let admin_ca = files.cluster.as_ref().map(|cluster| &cluster.admin_ca);
        let server = match &files.server {
            None => None,
            Some(server) => Some(read_server(server, admin_ca, None)?),
        };
        let peer = match &files.cluster {
            None => None,
            Some(cluster) => Some(read_peer(&cluster.peer)?),
        };
        let (peer, peer_status) = peer.map(|p| (p.tls, (p.served, p.trust_digest))).unzip();
        let (peer_served, peer_trust_digest) = peer_status.unzip();
        let (listeners, admin, mut status, ticketers) = match server {
            None => (ListenerTls::default(), None, CertificateStatus::default(), None),
            Some(server) => {
                let status = CertificateStatus {
                    server: Some(server.served),
                    client_trust_digest: server.client_trust_digest,
                    admin_trust_digest: server.admin_trust_digest,
                    ..CertificateStatus::default()
                };
                (server.listeners, server.admin, status, Some(server.ticketers))
            }
        };
        (status.peer, status.peer_trust_digest) = (peer_served, peer_trust_digest);
        Ok(Self {
            files,
            listeners: ArcSwap::from_pointee(listeners),
            admin: ArcSwapOption::new(admin),
            peer: peer.map(|peer| Arc::new(ArcSwap::from_pointee(peer))),
            state: Mutex::new(State {
                status,
                server_error: None,
                peer_error: None,
                server_mark,
                peer_mark,
                ticketers,
            }),
        })
    }

    /// The configurations of MQTT listeners, to be taken at each accept.
    #[must_use]
    pub fn listeners(&self) -> Arc<ListenerTls> {
        self.listeners.load_full()
    }

    /// The configuration of the admin API, to be taken at each accept: a client certificate is
    /// asked for, not required, so that probes and scrapers come in without. `None`: the broker
    /// stands alone and has no admin API.
    #[must_use]
    pub fn admin(&self) -> Option<Arc<ServerConfig>> {
        self.admin.load_full()
    }

    /// The configurations of peer links, which read it at each new link. `None`: the broker stands
    /// alone and has no peers.
    #[must_use]
    pub fn peer(&self) -> Option<Arc<ArcSwap<PeerTls>>> {
        self.peer.clone()
    }

    /// What is in use, and why the newest files are not.
    #[must_use]
    pub fn status(&self) -> CertificateStatus {
        let state = self.state();
        let mut status = state.status.clone();
        status.last_reload_error = state.server_error.clone().or_else(|| state.peer_error.clone());
        status
    }

    /// Reads again what has changed since it was last read; everything when `force` is set. What
    /// can't be used is logged and reported by [`TlsStore::status`]; what was in use stays.
    pub fn reload(&self, force: bool) {
        let mut state = self.state();
        let mark = self.files.server_mark();
        if force || mark != state.server_mark {
            state.server_mark = mark;
            self.reload_server(&mut state);
        }
        let mark = self.files.peer_mark();
        if force || mark != state.peer_mark {
            state.peer_mark = mark;
            self.reload_peer(&mut state);
        }
    }

    /// Whether files differ from what was last read, and a reading of them that a later call can
    /// be compared with: files that are being replaced one by one are best left to settle.
    pub(super) fn pending(&self) -> Option<(FilesMark, FilesMark)> {
        let state = self.state();
        let marks = (self.files.server_mark(), self.files.peer_mark());
        (marks.0 != state.server_mark || marks.1 != state.peer_mark).then_some(marks)
    }

    fn reload_server(&self, state: &mut State) {
        let Some(files) = &self.files.server else { return };
        let admin_ca = self.files.cluster.as_ref().map(|cluster| &cluster.admin_ca);
        let kept =
            (state.status.client_trust_digest.clone(), state.status.admin_trust_digest.clone());
        let before = state.ticketers.as_ref().map(|ticketers| (ticketers, kept));
        match read_server(files, admin_ca, before) {
            Ok(server) => {
                tracing::info!(
                    fingerprint = server.served.fingerprint,
                    not_after = server.served.not_after,
                    "server certificate and trust anchors are in use"
                );
                self.listeners.store(Arc::new(server.listeners));
                self.admin.store(server.admin);
                state.status.server = Some(server.served);
                state.status.client_trust_digest = server.client_trust_digest;
                state.status.admin_trust_digest = server.admin_trust_digest;
                state.ticketers = Some(server.ticketers);
                state.server_error = None;
            }
            Err(error) => state.server_error = Some(report("server", &error)),
        }
    }

    fn reload_peer(&self, state: &mut State) {
        let (Some(cluster), Some(in_use)) = (&self.files.cluster, &self.peer) else { return };
        match read_peer(&cluster.peer) {
            Ok(peer) => {
                tracing::info!(
                    fingerprint = peer.served.fingerprint,
                    not_after = peer.served.not_after,
                    "peer certificate and trust anchors are in use"
                );
                in_use.store(Arc::new(peer.tls));
                state.status.peer = Some(peer.served);
                state.status.peer_trust_digest = Some(peer.trust_digest);
                state.peer_error = None;
            }
            Err(error) => state.peer_error = Some(report("peer", &error)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn report(side: &'static str, error: &TlsError) -> ReloadError {
    let message = Chain(error).to_string();
    tracing::error!(side, error = message, "new TLS files are refused, the old ones stay in use");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    ReloadError { message: error.to_string(), at: i64::try_from(now.as_secs()).unwrap_or(i64::MAX) }
}

fn served(path: &Path, leaf: &CertificateDer<'_>) -> Result<ServedCertificate, TlsError> {
    let not_after = not_after(leaf).ok_or_else(|| TlsError::Pem {
        path: path.to_owned(),
        what: "certificate",
        reason: "it can't be parsed".to_owned(),
    })?;
    Ok(ServedCertificate { fingerprint: Digest::of(leaf).to_string(), not_after })
}

/// Trust digests of the reading before: tickets outlive a reload only where nobody new is
/// distrusted.
type KeptTrust = (Option<String>, Option<String>);

fn read_server(
    files: &TlsPaths,
    admin_ca: Option<&PathBuf>,
    before: Option<(&Arc<Ticketers>, KeptTrust)>,
) -> Result<ServerSide, TlsError> {
    let chain_pem = read(&files.server_certificate)?;
    let chain = certificates(&files.server_certificate, "certificate", &chain_pem)?;
    let key = private_key(&files.server_key, &read(&files.server_key)?)?;
    let with_pem = |path: Option<&PathBuf>| match path {
        None => Ok(None),
        Some(path) => read(path).map(|pem| Some((path.clone(), pem))),
    };
    let (client, admin) = (with_pem(files.client_ca.as_ref())?, with_pem(admin_ca)?);
    let client_trust_digest = client.as_ref().map(|(_, pem)| Digest::of(pem).to_string());
    let admin_trust_digest = admin.as_ref().map(|(_, pem)| Digest::of(pem).to_string());
    let ticketers = match before {
        Some((ticketers, (client, admin)))
            if client == client_trust_digest && admin == admin_trust_digest =>
        {
            Arc::clone(ticketers)
        }
        _ => Arc::new(Ticketers::new()?),
    };
    let build = |asks, anchors: Option<&Arc<RootCertStore>>, ticketer, alpn: &[&[u8]]| {
        let ticketer = Arc::clone(ticketer);
        server_config(ServerParts { chain: &chain, key: &key, asks, anchors, ticketer, alpn })
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
            let failed = |reason| TlsError::Anchor { path: path.clone(), reason };
            let optional =
                build(ClientCertificates::Optional, Some(&anchors), &ticketers.optional, &[]);
            let required =
                build(ClientCertificates::Required, Some(&anchors), &ticketers.required, &[]);
            Some(Asking {
                optional: optional.map_err(failed)?,
                required: required.map_err(failed)?,
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
        client_trust_digest,
        admin_trust_digest,
        ticketers,
    })
}

fn read_peer(paths: &PeerTlsPaths) -> Result<PeerSide, TlsError> {
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
