//! rustls configurations from certificates, keys and anchors. Pure, but for the key of tickets.

use std::sync::Arc;

use broker_config::ClientCertificates;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

use super::error::TlsError;

/// Session tickets sent after a full handshake: a device reconnects once at a time.
const TICKETS_PER_HANDSHAKE: usize = 1;

/// The one place that names the cryptography in use.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A new key for session tickets; it changes itself every six hours.
pub(super) fn new_ticketer() -> Result<Arc<dyn ProducesTickets>, TlsError> {
    rustls::crypto::ring::Ticketer::new().map_err(|e| TlsError::Tickets { reason: e.to_string() })
}

/// What a server shows, and whom it asks.
pub(super) struct ServerParts<'a> {
    pub(super) chain: &'a [CertificateDer<'static>],
    pub(super) key: &'a PrivateKeyDer<'static>,
    pub(super) asks: ClientCertificates,
    /// Needed unless `asks` is `None`.
    pub(super) anchors: Option<&'a Arc<RootCertStore>>,
    /// Revocation lists; where there are any, a certificate is refused whose issuer has none.
    pub(super) revoked: Vec<CertificateRevocationListDer<'static>>,
    /// Key of session tickets. A ticket carries the client's certificate past verification, so
    /// it must not be shared between servers that ask differently or trust others.
    pub(super) ticketer: Arc<dyn ProducesTickets>,
    pub(super) alpn: &'a [&'a [u8]],
}

/// Builds the configuration; the error is rustls' own text.
pub(super) fn server_config(parts: ServerParts<'_>) -> Result<Arc<ServerConfig>, String> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    let builder = match (parts.asks, parts.anchors) {
        (ClientCertificates::None, _) => builder.with_no_client_auth(),
        (_, None) => return Err("there is no trust anchor for clients' certificates".to_owned()),
        (asks, Some(anchors)) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::clone(anchors), provider());
            let verifier = match parts.revoked.is_empty() {
                true => verifier,
                false => verifier
                    .with_crls(parts.revoked)
                    .only_check_end_entity_revocation()
                    .enforce_revocation_expiration(),
            };
            let verifier = if asks == ClientCertificates::Optional {
                verifier.allow_unauthenticated()
            } else {
                verifier
            };
            builder.with_client_cert_verifier(verifier.build().map_err(|e| e.to_string())?)
        }
    };
    let mut config = builder
        .with_single_cert(parts.chain.to_vec(), parts.key.clone_key())
        .map_err(|e| e.to_string())?;
    config.ticketer = parts.ticketer;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = TICKETS_PER_HANDSHAKE;
    config.alpn_protocols = parts.alpn.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}
