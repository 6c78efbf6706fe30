//! Mutual TLS between brokers: the configurations of both directions, and certificates that are
//! turned away by name.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, OtherError,
    RootCertStore, ServerConfig, SignatureScheme,
};

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

/// The PEM texts make no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum PeerTlsError {
    /// A PEM text does not hold what it should.
    #[error("read the peer {what}: {reason}")]
    Pem {
        /// `certificate`, `private key` or `trust anchors`.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// rustls refuses the combination.
    #[error("set up peer TLS: {reason}")]
    Tls {
        /// What is wrong.
        reason: String,
    },
}

impl PeerTls {
    /// Builds both configurations.
    ///
    /// `certificate_pem` is this broker's peer certificate with its intermediates, `key_pem` its
    /// key, `trust_pem` what peers' certificates must lead to (the peer intermediate alone).
    ///
    /// # Errors
    /// `Pem` when a text can't be read, `Tls` when key and certificate don't belong together or
    /// there is nothing to trust.
    pub fn from_pem(
        certificate_pem: &[u8],
        key_pem: &[u8],
        trust_pem: &[u8],
    ) -> Result<Self, PeerTlsError> {
        let chain = certificates("certificate", certificate_pem)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem)
            .map_err(|e| PeerTlsError::Pem { what: "private key", reason: e.to_string() })?;
        let mut roots = RootCertStore::empty();
        for anchor in certificates("trust anchors", trust_pem)? {
            roots.add(anchor).map_err(tls_error)?;
        }
        let roots = Arc::new(roots);
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());

        let peers =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
                .build()
                .map_err(tls_error)?;
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(tls_error)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(NamingServerVerifier { inner: peers }))
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(tls_error)?;

        let peers = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(tls_error)?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(tls_error)?
            .with_client_cert_verifier(Arc::new(NamingClientVerifier { inner: peers }))
            .with_single_cert(chain, key)
            .map_err(tls_error)?;
        // Links are few and long: tickets would only be bytes.
        server.send_tls13_tickets = 0;
        Ok(Self { client: Arc::new(client), server: Arc::new(server) })
    }
}

fn certificates(
    what: &'static str,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, PeerTlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(PeerTlsError::Pem { what, reason: "no certificate in it".to_owned() }),
        Err(error) => Err(PeerTlsError::Pem { what, reason: error.to_string() }),
    }
}

fn tls_error(error: impl fmt::Display) -> PeerTlsError {
    PeerTlsError::Tls { reason: error.to_string() }
}

/// Names in a peer certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CertificateNames {
    pub(super) common_name: Option<String>,
    /// Cluster identities (in lower case) that it carries a peer name of.
    pub(super) cluster_ids: Vec<String>,
}

/// Reads the names out of a certificate, trusted or not.
pub(super) fn certificate_names(certificate: &CertificateDer<'_>) -> CertificateNames {
    use x509_parser::extensions::GeneralName;

    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else {
        return CertificateNames::default();
    };
    let common_name = parsed.subject().iter_common_name().next().and_then(|n| n.as_str().ok());
    let mut cluster_ids = Vec::new();
    if let Ok(Some(names)) = parsed.subject_alternative_name() {
        for name in &names.value.general_names {
            if let GeneralName::DNSName(name) = name
                && let Some(id) = name.strip_suffix(PEER_SUFFIX)
            {
                cluster_ids.push(id.to_owned());
            }
        }
    }
    CertificateNames { common_name: common_name.map(str::to_owned), cluster_ids }
}

/// A certificate that was turned away, by name; travels inside the rustls error.
#[derive(Debug)]
pub(super) struct RefusedCertificate {
    pub(super) names: CertificateNames,
    reason: String,
}

impl fmt::Display for RefusedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for RefusedCertificate {}

fn name_refusal(certificate: &CertificateDer<'_>, error: rustls::Error) -> rustls::Error {
    let reason = match &error {
        rustls::Error::InvalidCertificate(reason) => reason.to_string(),
        other => other.to_string(),
    };
    let refused = RefusedCertificate { names: certificate_names(certificate), reason };
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
}

/// The refusal inside an error of a TLS handshake, where a certificate is the reason.
pub(super) fn refused_certificate(error: &std::io::Error) -> Option<&RefusedCertificate> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
            inner.downcast_ref::<RefusedCertificate>()
        }
        _ => None,
    }
}

#[derive(Debug)]
struct NamingServerVerifier {
    inner: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for NamingServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.inner
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|error| name_refusal(end_entity, error))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[derive(Debug)]
struct NamingClientVerifier {
    inner: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for NamingClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.inner
            .verify_client_cert(end_entity, intermediates, now)
            .map_err(|error| name_refusal(end_entity, error))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
