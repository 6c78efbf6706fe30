//! Mutual TLS between brokers: the configurations of both directions. Pure.

mod verifier;

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::config::provider;
pub(crate) use verifier::{
    CertificateNames, alert_received, certificate_names, refused_certificate,
};
use verifier::{NamingClientVerifier, NamingServerVerifier};

/// What follows the cluster's identity in the name that every peer certificate carries.
const PEER_SUFFIX: &str = ".peer.dunlin";

/// The DNS name in every peer certificate of a cluster: its identity in lower case.
#[must_use]
pub fn peer_server_name(cluster_id: &str) -> String {
    format!("{}{PEER_SUFFIX}", cluster_id.to_ascii_lowercase())
}

/// TLS of the peer links: what this node shows and whom it trusts, in both directions.
#[derive(Clone)]
pub struct PeerTls {
    /// For links that this node dials.
    pub client: Arc<ClientConfig>,
    /// For links that it accepts.
    pub server: Arc<ServerConfig>,
}

impl fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerTls")
    }
}

/// Certificates, key and trust anchors make no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum PeerTlsError {
    /// Certificate and key don't belong together, or the provider can't use them.
    #[error("the peer certificate and its key can't be used together: {reason}")]
    Pair {
        /// What rustls said.
        reason: String,
    },
    /// The trust anchors make no verifier.
    #[error("the trust anchors of peers can't be used to verify certificates: {reason}")]
    Anchors {
        /// What rustls said.
        reason: String,
    },
}

impl PeerTls {
    /// Builds both configurations.
    ///
    /// `chain` is this broker's peer certificate with its intermediates, `key` its key, `anchors`
    /// what peers' certificates must lead to (the peer intermediate alone).
    ///
    /// # Errors
    /// `Pair` when key and certificate don't belong together, `Anchors` when there is nothing to
    /// trust.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        anchors: RootCertStore,
    ) -> Result<Self, PeerTlsError> {
        let anchors = Arc::new(anchors);
        let peers =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&anchors), provider()).build();
        let peers = peers.map_err(|e| PeerTlsError::Anchors { reason: e.to_string() })?;
        let client = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(pair_error)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(NamingServerVerifier { inner: peers }))
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(pair_error)?;

        let peers = WebPkiClientVerifier::builder_with_provider(anchors, provider()).build();
        let peers = peers.map_err(|e| PeerTlsError::Anchors { reason: e.to_string() })?;
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(pair_error)?
            .with_client_cert_verifier(Arc::new(NamingClientVerifier { inner: peers }))
            .with_single_cert(chain, key)
            .map_err(pair_error)?;
        // Links are few and long: tickets would only be bytes.
        server.send_tls13_tickets = 0;
        Ok(Self { client: Arc::new(client), server: Arc::new(server) })
    }
}

fn pair_error(error: rustls::Error) -> PeerTlsError {
    PeerTlsError::Pair { reason: error.to_string() }
}
