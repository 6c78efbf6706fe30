//! The root and the four intermediates of a cluster: made once, kept, renewed with their own keys.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use zeroize::Zeroizing;

use crate::certificate::{self, CertificateFacts, KeyPairPem};
use crate::ensure::{Ensured, IssueReason, SecretData};
use crate::error::PkiError;
use crate::purpose::Purpose;

const DAY: Duration = Duration::from_secs(86_400);
/// How long a root lives. Devices hold it, so it outlives them.
const ROOT_LIFETIME: Duration = DAY.saturating_mul(20 * 365);
/// How long an intermediate lives.
const INTERMEDIATE_LIFETIME: Duration = DAY.saturating_mul(5 * 365);

/// What is wanted of an authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityRequest {
    /// The cluster's name; stands in the subjects, so that a person can tell authorities apart.
    pub cluster_name: String,
}

/// The certificate authority of one cluster: a root, and an intermediate for each [`Purpose`].
///
/// The root's key may be absent (kept offline): leaves need the intermediates only. One without any
/// key ([`Authority::without_keys`]) keeps the leaves that are there and issues none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    root_certificate: String,
    root_key: Option<Zeroizing<String>>,
    intermediates: BTreeMap<Purpose, Intermediate>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Intermediate {
    WithKey(KeyPairPem),
    WithoutKey(String),
}

impl Intermediate {
    fn certificate(&self) -> &str {
        match self {
            Self::WithKey(pair) => &pair.certificate,
            Self::WithoutKey(certificate) => certificate,
        }
    }
}

impl Authority {
    /// The root certificate, PEM: what a device needs to check a broker (`ca.crt`).
    #[must_use]
    pub fn root_pem(&self) -> &str {
        &self.root_certificate
    }

    /// The intermediate certificate of `purpose`, PEM: the only trust anchor of the side that
    /// checks leaves of this purpose.
    #[must_use]
    pub fn trust_anchor_pem(&self, purpose: Purpose) -> &str {
        self.intermediate(purpose).certificate()
    }

    /// The root and every intermediate, PEM, without keys: `root.crt` and `<purpose>.crt` for each
    /// purpose, as [`Authority::without_keys`] takes them. Nothing in it is secret.
    #[must_use]
    pub fn certificates(&self) -> BTreeMap<String, String> {
        let root = [(ROOT_ENTRY.to_owned(), self.root_certificate.clone())];
        let intermediates = self.intermediates.iter().map(|(purpose, intermediate)| {
            (format!("{purpose}.crt"), intermediate.certificate().to_owned())
        });
        root.into_iter().chain(intermediates).collect()
    }

    /// What is left of an authority whose keys can't be used, from what
    /// [`Authority::certificates`] gave: leaves that it signed are recognised and kept, none is
    /// issued.
    ///
    /// # Errors
    /// [`PkiError::AuthorityBroken`] when an entry is missing, damaged or does not match the others.
    pub fn without_keys(certificates: &BTreeMap<String, String>) -> Result<Self, PkiError> {
        let entry = |name: &str| certificates.get(name).map(String::as_bytes);
        let root_certificate = read_root(entry(ROOT_ENTRY))?;
        let mut intermediates = BTreeMap::new();
        for purpose in Purpose::ALL {
            let certificate = entry(&format!("{purpose}.crt"));
            let certificate = read_intermediate(purpose, certificate, &root_certificate)?;
            intermediates.insert(purpose, Intermediate::WithoutKey(certificate));
        }
        Ok(Self { root_certificate, root_key: None, intermediates })
    }

    /// What the authority's Secret holds: `root.crt`, `root.key`, and `<purpose>.crt`,
    /// `<purpose>.key` for each purpose.
    #[must_use]
    pub fn secret_data(&self) -> SecretData {
        let mut data = SecretData::new();
        data.insert("root.crt".to_owned(), self.root_certificate.clone().into_bytes());
        if let Some(key) = &self.root_key {
            data.insert("root.key".to_owned(), key.as_bytes().to_vec());
        }
        for (purpose, intermediate) in &self.intermediates {
            let certificate = intermediate.certificate().as_bytes().to_vec();
            data.insert(format!("{purpose}.crt"), certificate);
            if let Intermediate::WithKey(pair) = intermediate {
                data.insert(format!("{purpose}.key"), pair.key.as_bytes().to_vec());
            }
        }
        data
    }

    /// When the first of the root and the intermediates ends.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.intermediates
            .values()
            .map(Intermediate::certificate)
            .chain([self.root_certificate.as_str()])
            .filter_map(|pem| CertificateFacts::from_pem(pem.as_bytes()).ok())
            .map(|facts| facts.not_after)
            .min()
            .unwrap_or(Timestamp::MIN)
    }

    fn intermediate(&self, purpose: Purpose) -> &Intermediate {
        self.intermediates.get(&purpose).expect("invariant: an authority has every intermediate")
    }

    fn pair(&self, purpose: Purpose) -> Result<&KeyPairPem, PkiError> {
        match self.intermediate(purpose) {
            Intermediate::WithKey(pair) => Ok(pair),
            Intermediate::WithoutKey(_) => {
                Err(PkiError::KeyMissing { purpose: purpose.to_string() })
            }
        }
    }

    pub(crate) fn issuer(&self, purpose: Purpose) -> Result<Issuer<'static, KeyPair>, PkiError> {
        let pair = self.pair(purpose)?;
        issuer(&pair.certificate, &pair.key)
            .map_err(|source| PkiError::Issue { what: format!("{purpose} certificate"), source })
    }
}

/// Makes the authority when `existing` is `None`, and otherwise checks and keeps it.
///
/// A root or an intermediate that is past two thirds of its life is signed anew with the key and the
/// name it has, so that every certificate below it and every device that trusts it go on.
///
/// # Errors
/// [`PkiError::AuthorityBroken`] when an entry is missing, damaged or does not match the others: the
/// stored authority is then left as it is. [`PkiError::RootKeyMissing`] when an intermediate is due
/// and the root's key is not there. [`PkiError::Issue`] and [`PkiError::TimeOutOfBounds`] as named.
pub fn ensure_authority(
    existing: Option<&SecretData>,
    wanted: &AuthorityRequest,
    now: Timestamp,
) -> Result<Ensured<Authority>, PkiError> {
    let Some(data) = existing else {
        let value = make(wanted, now)?;
        return Ok(Ensured::Issued { value, reason: IssueReason::Missing });
    };
    let authority = read(data)?;
    renew(authority, now)
}

fn make(wanted: &AuthorityRequest, now: Timestamp) -> Result<Authority, PkiError> {
    let root_key = generate("root key")?;
    let params = root_params(&wanted.cluster_name, now)?;
    let root = params
        .self_signed(&root_key)
        .map_err(|source| PkiError::Issue { what: "root certificate".to_owned(), source })?;
    let key = Zeroizing::new(root_key.serialize_pem());
    let root_issuer = Issuer::new(params, root_key);
    let mut intermediates = BTreeMap::new();
    for purpose in Purpose::ALL {
        let pair = generate("intermediate key")?;
        let name = format!("{} {purpose} CA", wanted.cluster_name);
        let certificate = sign_intermediate(&name, purpose, &pair, &root_issuer, now)?;
        let key = Zeroizing::new(pair.serialize_pem());
        intermediates.insert(purpose, Intermediate::WithKey(KeyPairPem { certificate, key }));
    }
    Ok(Authority { root_certificate: root.pem(), root_key: Some(key), intermediates })
}

pub(crate) fn read(data: &SecretData) -> Result<Authority, PkiError> {
    let entry = |name: &str| data.get(name).map(Vec::as_slice);
    let root_certificate = read_root(entry(ROOT_ENTRY))?;
    let root_key = match entry("root.key") {
        None => None,
        Some(key) => {
            let (pair, _) = certificate::read_pair(root_certificate.as_bytes(), key)
                .map_err(|problem| broken("root.key", problem))?;
            Some(pair.key)
        }
    };
    let mut intermediates = BTreeMap::new();
    for purpose in Purpose::ALL {
        let certificate = entry(&format!("{purpose}.crt"));
        let certificate = read_intermediate(purpose, certificate, &root_certificate)?;
        let name = format!("{purpose}.key");
        let key = entry(&name).ok_or_else(|| broken(&name, MISSING))?;
        let (pair, _) = certificate::read_pair(certificate.as_bytes(), key)
            .map_err(|problem| broken(&name, problem))?;
        intermediates.insert(purpose, Intermediate::WithKey(pair));
    }
    Ok(Authority { root_certificate, root_key, intermediates })
}

const ROOT_ENTRY: &str = "root.crt";
const MISSING: &str = "it is missing";

fn broken(entry: &str, problem: impl Into<String>) -> PkiError {
    PkiError::AuthorityBroken { entry: entry.to_owned(), problem: problem.into() }
}

/// A certificate that may sign others, as text.
fn read_certificate(name: &str, content: Option<&[u8]>) -> Result<String, PkiError> {
    let content = content.ok_or_else(|| broken(name, MISSING))?;
    if !certificate::is_authority(content).map_err(|problem| broken(name, problem))? {
        return Err(broken(name, "the certificate is not one of an authority"));
    }
    String::from_utf8(content.to_vec()).map_err(|_| broken(name, "it is not text"))
}

fn read_root(content: Option<&[u8]>) -> Result<String, PkiError> {
    read_certificate(ROOT_ENTRY, content)
}

fn read_intermediate(
    purpose: Purpose,
    content: Option<&[u8]>,
    root: &str,
) -> Result<String, PkiError> {
    let name = format!("{purpose}.crt");
    let certificate = read_certificate(&name, content)?;
    let is_signed = certificate::is_signed_by(certificate.as_bytes(), root.as_bytes());
    if !is_signed.map_err(|problem| broken(&name, problem))? {
        return Err(broken(&name, "root.crt did not sign it"));
    }
    Ok(certificate)
}

/// Signs anew what is due, with the keys and names that are there.
fn renew(mut authority: Authority, now: Timestamp) -> Result<Ensured<Authority>, PkiError> {
    let mut renewed = None;
    if let Some(key) = authority.root_key.clone() {
        let facts = facts(&authority.root_certificate, "root.crt")?;
        if now >= facts.renew_at() {
            let cluster_name = facts.common_name.trim_end_matches(ROOT_SUFFIX).to_owned();
            let pair = key_pair(&key)?;
            let root = root_params(&cluster_name, now)?.self_signed(&pair).map_err(|source| {
                PkiError::Issue { what: "root certificate".to_owned(), source }
            })?;
            authority.root_certificate = root.pem();
            renewed = Some(IssueReason::RenewalDue { not_after: facts.not_after });
        }
    }
    for purpose in Purpose::ALL {
        let facts = facts(authority.trust_anchor_pem(purpose), &format!("{purpose}.crt"))?;
        if now < facts.renew_at() {
            continue;
        }
        let Some(root_key) = authority.root_key.as_ref() else {
            if now < facts.not_after {
                continue; // Still valid: its owner has until then to bring a new one.
            }
            return Err(PkiError::RootKeyMissing {
                intermediate: purpose.to_string(),
                not_after: facts.not_after,
            });
        };
        let root = issuer(&authority.root_certificate, root_key).map_err(|source| {
            PkiError::Issue { what: format!("{purpose} intermediate"), source }
        })?;
        let key = authority.pair(purpose)?.key.clone();
        let pair = key_pair(&key)?;
        let certificate = sign_intermediate(&facts.common_name, purpose, &pair, &root, now)?;
        let renewed_pair = Intermediate::WithKey(KeyPairPem { certificate, key });
        authority.intermediates.insert(purpose, renewed_pair);
        renewed = Some(IssueReason::RenewalDue { not_after: facts.not_after });
    }
    Ok(match renewed {
        None => Ensured::Unchanged(authority),
        Some(reason) => Ensured::Issued { value: authority, reason },
    })
}

const ROOT_SUFFIX: &str = " root CA";

fn root_params(cluster_name: &str, now: Timestamp) -> Result<CertificateParams, PkiError> {
    let name = format!("{cluster_name}{ROOT_SUFFIX}");
    authority_params(&name, BasicConstraints::Unconstrained, now, ROOT_LIFETIME)
}

fn sign_intermediate(
    name: &str,
    purpose: Purpose,
    key: &KeyPair,
    root: &Issuer<'_, KeyPair>,
    now: Timestamp,
) -> Result<String, PkiError> {
    let mut params =
        authority_params(name, BasicConstraints::Constrained(0), now, INTERMEDIATE_LIFETIME)?;
    params.extended_key_usages = purpose.extended_key_usages();
    params.use_authority_key_identifier_extension = true;
    params
        .signed_by(key, root)
        .map(|certificate| certificate.pem())
        .map_err(|source| PkiError::Issue { what: format!("{purpose} intermediate"), source })
}

fn authority_params(
    name: &str,
    constraints: BasicConstraints,
    now: Timestamp,
    lifetime: Duration,
) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Dunlin");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params.serial_number = Some(certificate::random_serial_number()?);
    certificate::set_validity(&mut params, now, lifetime)?;
    Ok(params)
}

fn issuer(certificate: &str, key: &str) -> Result<Issuer<'static, KeyPair>, rcgen::Error> {
    Issuer::from_ca_cert_pem(certificate, KeyPair::from_pem(key)?)
}

fn key_pair(pem: &str) -> Result<KeyPair, PkiError> {
    KeyPair::from_pem(pem).map_err(|source| PkiError::Issue { what: "key".to_owned(), source })
}

pub(crate) fn generate(what: &str) -> Result<KeyPair, PkiError> {
    KeyPair::generate().map_err(|source| PkiError::Issue { what: what.to_owned(), source })
}

fn facts(pem: &str, entry: &str) -> Result<CertificateFacts, PkiError> {
    CertificateFacts::from_pem(pem.as_bytes())
        .map_err(|problem| PkiError::AuthorityBroken { entry: entry.to_owned(), problem })
}
