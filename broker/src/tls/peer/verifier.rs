//! Verifies peer certificates, and turns them away by name.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    AlertDescription, CertificateError, DigitallySignedStruct, DistinguishedName, OtherError,
    SignatureScheme,
};

use super::PEER_SUFFIX;

/// Names in a peer certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CertificateNames {
    pub(crate) common_name: Option<String>,
    /// Cluster identities (in lower case) that it carries a peer name of.
    pub(crate) cluster_ids: Vec<String>,
}

/// Reads the names out of a certificate, trusted or not.
pub(crate) fn certificate_names(certificate: &CertificateDer<'_>) -> CertificateNames {
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
pub(crate) struct RefusedCertificate {
    pub(crate) names: CertificateNames,
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
        rustls::Error::InvalidCertificate(reason) => format!("{reason}{}", remedy(reason)),
        other => other.to_string(),
    };
    let refused = RefusedCertificate { names: certificate_names(certificate), reason };
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
}

/// What to change, where that follows from the error. An authority of the same name with another key
/// makes a bad signature, one of another name an unknown issuer.
fn remedy(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::BadSignature | CertificateError::UnknownIssuer => {
            "; it is not signed by this cluster's peer authority: give the broker a certificate that is"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "; give the broker a renewed certificate"
        }
        _ => "",
    }
}

/// The alert by which the other side ended a TLS handshake, where one came: its reason lies with what
/// this side showed.
pub(crate) fn alert_received(error: &std::io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

/// The refusal inside an error of a TLS handshake, where a certificate is the reason.
pub(crate) fn refused_certificate(error: &std::io::Error) -> Option<&RefusedCertificate> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
            inner.downcast_ref::<RefusedCertificate>()
        }
        _ => None,
    }
}

/// Leaves the check of signatures and its schemes to the verifier inside.
macro_rules! signatures_by_inner {
    () => {
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
    };
}

#[derive(Debug)]
pub(super) struct NamingServerVerifier {
    pub(super) inner: Arc<WebPkiServerVerifier>,
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

    signatures_by_inner!();
}

#[derive(Debug)]
pub(super) struct NamingClientVerifier {
    pub(super) inner: Arc<dyn ClientCertVerifier>,
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

    signatures_by_inner!();
}
