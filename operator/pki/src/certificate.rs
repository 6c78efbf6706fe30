//! PEM in, facts out: reading stored certificates and keys. Pure.

use jiff::Timestamp;
use rcgen::{CertificateParams, KeyPair, PublicKeyData, SerialNumber};
use ring::rand::SecureRandom as _;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;
use zeroize::Zeroizing;

use crate::error::PkiError;

/// A certificate chain and the key of its first certificate, both as PEM.
///
/// `Debug` shows no key. The key's memory is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPairPem {
    /// The certificate, followed by the intermediates that lead to its trust anchor.
    pub certificate: String,
    /// The private key, PKCS#8.
    pub key: Zeroizing<String>,
}

impl std::fmt::Debug for KeyPairPem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPairPem")
            .field("certificate", &self.certificate)
            .field("key", &"redacted")
            .finish()
    }
}

/// What a certificate says, as far as the operator compares and reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The subject's common name; empty when it has none.
    pub common_name: String,
    /// The subject alternative names (DNS names lower-cased, IP addresses), sorted.
    pub names: Vec<String>,
    /// Start of the validity.
    pub not_before: Timestamp,
    /// End of the validity.
    pub not_after: Timestamp,
    /// The serial number as lower-case hexadecimal digits.
    pub serial_number: String,
    /// SHA-256 of the DER form, as lower-case hexadecimal digits.
    pub fingerprint: String,
}

impl CertificateFacts {
    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// What is wrong with the text, in words.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let der = first_certificate(pem)?;
        let parsed = parse(&der)?;
        Ok(Self {
            common_name: common_name(&parsed),
            names: alternative_names(&parsed),
            not_before: timestamp(parsed.validity().not_before.timestamp())?,
            not_after: timestamp(parsed.validity().not_after.timestamp())?,
            serial_number: hex(parsed.raw_serial()),
            fingerprint: hex(ring::digest::digest(&ring::digest::SHA256, &der).as_ref()),
        })
    }

    /// When this certificate is due for renewal ([`crate::renew_at`]).
    #[must_use]
    pub fn renew_at(&self) -> Timestamp {
        crate::renew_at(self.not_before, self.not_after, self.serial_number.as_bytes())
    }
}

/// Reads a stored pair and checks that the key is the certificate's.
///
/// # Errors
/// What is wrong, in words.
pub(crate) fn read_pair(certificate: &[u8], key: &[u8]) -> Result<(KeyPairPem, KeyPair), String> {
    let chain = std::str::from_utf8(certificate).map_err(|_| "the certificate is not text")?;
    let key = Zeroizing::new(
        std::str::from_utf8(key).map_err(|_| "the key is not text".to_owned())?.to_owned(),
    );
    let der = first_certificate(certificate)?;
    let parsed = parse(&der)?;
    let pair = KeyPair::from_pem(&key)
        .map_err(|_| "the key is not a PEM private key (PKCS#8) that can be read".to_owned())?;
    if parsed.public_key().raw != pair.subject_public_key_info() {
        return Err("the key does not belong to the certificate".to_owned());
    }
    Ok((KeyPairPem { certificate: chain.to_owned(), key }, pair))
}

/// Whether the first certificate of `pem` was signed by the first certificate of `issuer`.
pub(crate) fn is_signed_by(pem: &[u8], issuer: &[u8]) -> Result<bool, String> {
    let (leaf_der, issuer_der) = (first_certificate(pem)?, first_certificate(issuer)?);
    let (leaf, issuer) = (parse(&leaf_der)?, parse(&issuer_der)?);
    Ok(leaf.issuer() == issuer.subject()
        && leaf.verify_signature(Some(issuer.public_key())).is_ok())
}

/// Whether the first certificate of `pem` may sign others.
pub(crate) fn is_authority(pem: &[u8]) -> Result<bool, String> {
    let der = first_certificate(pem)?;
    Ok(parse(&der)?.is_ca())
}

fn first_certificate(pem: &[u8]) -> Result<CertificateDer<'static>, String> {
    CertificateDer::pem_slice_iter(pem)
        .next()
        .ok_or_else(|| "there is no PEM certificate in it".to_owned())?
        .map_err(|_| "the PEM text is damaged".to_owned())
}

fn parse<'a>(der: &'a CertificateDer<'static>) -> Result<X509Certificate<'a>, String> {
    x509_parser::parse_x509_certificate(der)
        .map(|(_, certificate)| certificate)
        .map_err(|_| "the certificate is damaged".to_owned())
}

fn common_name(certificate: &X509Certificate<'_>) -> String {
    certificate
        .subject()
        .iter_common_name()
        .next()
        .and_then(|name| name.as_str().ok())
        .unwrap_or_default()
        .to_owned()
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let mut names: Vec<String> = extension
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            GeneralName::IPAddress(bytes) => ip_address(bytes),
            _ => None,
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

fn ip_address(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| std::net::Ipv6Addr::from(v6).to_string())
}

fn timestamp(seconds: i64) -> Result<Timestamp, String> {
    Timestamp::from_second(seconds).map_err(|_| "its validity is out of bounds".to_owned())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A random serial number of 127 bits: positive, and new even where a key is signed again.
pub(crate) fn random_serial_number() -> Result<SerialNumber, PkiError> {
    let mut bytes = [0_u8; 16];
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| PkiError::Issue {
        what: "serial number".to_owned(),
        source: rcgen::Error::RingUnspecified,
    })?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// Sets the validity of `params`: from five minutes before `now`, for clocks that are a little
/// behind, to `now + lifetime`.
pub(crate) fn set_validity(
    params: &mut CertificateParams,
    now: Timestamp,
    lifetime: std::time::Duration,
) -> Result<(), PkiError> {
    const BACKDATED: std::time::Duration = std::time::Duration::from_secs(300);
    /// 9999-12-31T23:59:59Z, the last moment that X.509 can express.
    const LAST: u64 = 253_402_300_799;
    let out_of_bounds = || PkiError::TimeOutOfBounds { at: now };
    let seconds = u64::try_from(now.as_second()).map_err(|_| out_of_bounds())?;
    let end = seconds.checked_add(lifetime.as_secs()).filter(|end| *end <= LAST);
    let end = end.ok_or_else(out_of_bounds)?;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before =
        epoch + std::time::Duration::from_secs(seconds.saturating_sub(BACKDATED.as_secs()));
    params.not_after = epoch + std::time::Duration::from_secs(end);
    Ok(())
}
