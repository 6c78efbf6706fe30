//! The TLS configurations in use, and what the status report says of them.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, ArcSwapOption};
use broker_admin_api::{CertificateStatus, ReloadError};
use broker_config::ClientCertificates;
use rustls::ServerConfig;

use super::error::TlsError;
use super::files::{FilesMark, TlsFiles};
use super::own::OwnTls;
use super::peer::PeerTls;
use super::read::{ListenerTls, Ticketers, Trust, read_peer, read_server};
use crate::sync::lock;
use crate::telemetry::Chain;

/// What is in use. Shared by everything that opens or accepts TLS connections.
pub struct TlsStore {
    files: TlsFiles,
    listeners: ArcSwap<ListenerTls>,
    /// Of listeners with files of their own.
    own: Vec<OwnTls>,
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
    /// `None`: no listener has TLS of these files.
    ticketers: Option<(Arc<Ticketers>, Trust)>,
}

/// States of all files, to be compared with later ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marks {
    server: FilesMark,
    peer: FilesMark,
    own: Vec<FilesMark>,
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
                    client_trust_digest: server.trust.client.clone(),
                    admin_trust_digest: server.trust.admin.clone(),
                    ..CertificateStatus::default()
                };
                let ticketers = Some((server.ticketers, server.trust));
                (server.listeners, server.admin, status, ticketers)
            }
        };
        (status.peer, status.peer_trust_digest) = (peer_served, peer_trust_digest);
        let own = files.own.iter().map(|(listener, paths)| OwnTls::load(*listener, paths.clone()));
        let own = own.collect::<Result<_, _>>()?;
        Ok(Self {
            files,
            own,
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

    /// The configurations of MQTT listeners without files of their own.
    #[must_use]
    pub fn listeners(&self) -> Arc<ListenerTls> {
        self.listeners.load_full()
    }

    /// The configuration of a listener, to be taken at each accept. `None`: there is no certificate,
    /// or no trust anchor although it asks for certificates, which a checked configuration excludes.
    #[must_use]
    pub fn listener(&self, number: u8, asks: ClientCertificates) -> Option<Arc<ServerConfig>> {
        let own = self.own.iter().find(|own| own.listener == number);
        let in_use = own.map_or_else(|| self.listeners(), OwnTls::in_use);
        in_use.for_listener(asks).map(Arc::clone)
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
        let own_error = || self.own.iter().find_map(OwnTls::error);
        let error = state.server_error.clone().or_else(|| state.peer_error.clone());
        status.last_reload_error = error.or_else(own_error);
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
        self.own.iter().for_each(|own| own.reload(force));
    }

    /// Whether files differ from what was last read, and a reading of them that a later call can
    /// be compared with: files that are being replaced one by one are best left to settle.
    pub(super) fn pending(&self) -> Option<Marks> {
        let state = self.state();
        let (own, are_new): (_, Vec<bool>) = self.own.iter().map(OwnTls::look).unzip();
        let (server, peer) = (self.files.server_mark(), self.files.peer_mark());
        let is_new = server != state.server_mark || peer != state.peer_mark;
        (is_new || are_new.contains(&true)).then_some(Marks { server, peer, own })
    }

    fn reload_server(&self, state: &mut State) {
        let Some(files) = &self.files.server else { return };
        let admin_ca = self.files.cluster.as_ref().map(|cluster| &cluster.admin_ca);
        let before = state.ticketers.as_ref().map(|(ticketers, trust)| (ticketers, trust));
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
                state.status.client_trust_digest = server.trust.client.clone();
                state.status.admin_trust_digest = server.trust.admin.clone();
                state.ticketers = Some((server.ticketers, server.trust));
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

pub(super) fn report(side: &'static str, error: &TlsError) -> ReloadError {
    let message = Chain(error).to_string();
    tracing::error!(side, error = message, "new TLS files are refused, the old ones stay in use");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    ReloadError { message: error.to_string(), at: i64::try_from(now.as_secs()).unwrap_or(i64::MAX) }
}
