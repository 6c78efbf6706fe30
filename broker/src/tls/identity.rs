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

/// The subject of a certificate as RFC 2253 writes it, last part first, which is how Mosquitto names a
/// client by it: `CN=pump,OU=field,O=Works`.
///
/// `None` when a part is of a kind without a short name here, or no text, or when the whole is empty or
/// too long.
#[must_use]
pub fn subject_name(certificate: &CertificateDer<'_>) -> Option<Arc<str>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let parts: Vec<_> = certificate.subject().iter_rdn().collect();
    let mut name = String::new();
    for (at, part) in parts.into_iter().rev().enumerate() {
        for (nth, attribute) in part.iter().enumerate() {
            match (at, nth) {
                (0, 0) => {}
                (_, 0) => name.push(','),
                _ => name.push('+'),
            }
            let kind = attribute.attr_type().to_id_string();
            let (_, short) = SHORT_NAMES.iter().find(|(id, _)| *id == kind)?;
            name.push_str(short);
            name.push('=');
            escape(attribute.as_str().ok()?, &mut name);
        }
    }
    let is_usable = !name.is_empty() && name.len() <= SUBJECT_BYTES_MAX;
    is_usable.then(|| Arc::from(name))
}

/// Longest subject that is a user name, in bytes.
const SUBJECT_BYTES_MAX: usize = 4 * 1024;

/// Kinds of parts of a name, as OpenSSL calls them.
const SHORT_NAMES: [(&str, &str); 16] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// As OpenSSL does it: what RFC 2253 gives a meaning is escaped, and each byte that is no printable
/// ASCII is written as two digits.
fn escape(value: &str, into: &mut String) {
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        let is_outer_space = byte == b' ' && (at == 0 || at == last);
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => into.push('\\'),
            b'#' if at == 0 => into.push('\\'),
            _ if is_outer_space => into.push('\\'),
            b' '..=b'~' => {}
            _ => {
                into.push_str(&format!("\\{byte:02X}"));
                continue;
            }
        }
        into.push(char::from(byte));
    }
}

/// End of a certificate's validity, Unix seconds.
pub(super) fn not_after(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}
