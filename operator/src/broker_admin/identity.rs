//! The operator's own certificate for the admin API, and whom it trusts there.

use std::sync::Arc;

use operator_pki::SecretData;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// The TLS configuration of the operator towards the brokers of one cluster. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct AdminIdentity {
    config: Arc<ClientConfig>,
}

/// Why the operator's certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// An entry is missing or damaged.
    #[error("{entry} of the operator's certificate can't be used: {problem}")]
    Entry {
        /// The entry of the Secret.
        entry: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The entries don't fit together.
    #[error("the operator's certificate can't be used")]
    Tls {
        /// Why.
        source: rustls::Error,
    },
}

impl std::fmt::Debug for AdminIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminIdentity")
    }
}

impl AdminIdentity {
    /// The identity that a Secret holds: `tls.crt`, `tls.key`, and `ca.crt`, the only authority that is trusted.
    ///
    /// # Errors
    /// [`IdentityError`]: an entry is missing, damaged, or does not fit the others.
    pub fn from_secret_data(data: &SecretData) -> Result<Self, IdentityError> {
        let entry = |name: &'static str| {
            data.get(name)
                .map(Vec::as_slice)
                .ok_or(IdentityError::Entry { entry: name, problem: "it is missing".to_owned() })
        };
        let damaged = |entry: &'static str| {
            move |error: rustls_pki_types::pem::Error| IdentityError::Entry {
                entry,
                problem: error.to_string(),
            }
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(entry("ca.crt")?) {
            let certificate = certificate.map_err(damaged("ca.crt"))?;
            roots.add(certificate).map_err(|source| IdentityError::Tls { source })?;
        }
        let chain = CertificateDer::pem_slice_iter(entry("tls.crt")?)
            .collect::<Result<Vec<_>, _>>()
            .map_err(damaged("tls.crt"))?;
        let key = PrivateKeyDer::from_pem_slice(entry("tls.key")?).map_err(damaged("tls.key"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder.with_root_certificates(roots).with_client_auth_cert(chain, key)
            })
            .map_err(|source| IdentityError::Tls { source })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config) })
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }
}
