//! TLS towards servers that this broker asks: the Kubernetes API, etcd. IO: reads files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;

use super::config::provider;
use super::error::TlsError;
use super::files::{anchors, certificates, private_key, read};

/// A configuration that trusts the authorities of a file and shows a certificate, if there is one.
///
/// # Errors
/// A file can't be read or used.
pub(crate) fn client_config(
    ca_file: &Path,
    identity: Option<&(PathBuf, PathBuf)>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let unusable = |path: &Path, reason: String| TlsError::Pem {
        path: path.to_owned(),
        what: "client's TLS",
        reason,
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(ca_file, error.to_string()))?
        .with_root_certificates(anchors(ca_file, &read(ca_file)?)?);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate, "certificate", &read(certificate)?)?;
            let key_der = private_key(key, &read(key)?)?;
            let built = builder.with_client_auth_cert(chain, key_der);
            built.map_err(|error| unusable(certificate, error.to_string()))?
        }
    };
    Ok(Arc::new(config))
}
