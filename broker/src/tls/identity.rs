//! The name in a verified certificate. Pure.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Longest common name, in bytes. Source: RFC 5280 appendix A.1, ub-common-name, in characters of
/// up to four bytes.
const COMMON_NAME_BYTES_MAX: usize = 256;

/// The common name of a certificate's subject: the user name of a client that presents it.
///
/// `None` when there is none, when there are several (which is meant?), when it is empty or too
/// long, or when it is no text that a user name may be.
#[must_use]
pub fn common_name(certificate: &CertificateDer<'_>) -> Option<Arc<str>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let mut names = certificate.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?;
    let is_usable = names.next().is_none()
        && !name.is_empty()
        && name.len() <= COMMON_NAME_BYTES_MAX
        && !name.chars().any(char::is_control);
    is_usable.then(|| Arc::from(name))
}

/// End of a certificate's validity, Unix seconds.
pub(super) fn not_after(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}
