//! Leaf certificates: what is wanted, and whether a stored one serves.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyUsagePurpose};
use zeroize::Zeroizing;

use crate::authority::{self, Authority};
use crate::certificate::{self, CertificateFacts, KeyPairPem};
use crate::ensure::{Ensured, IssueReason, SecretData};
use crate::error::PkiError;
use crate::purpose::Purpose;

const LIFETIME_MIN: Duration = Duration::from_secs(3_600);
const LIFETIME_MAX: Duration = Duration::from_secs(87_600 * 3_600);
/// How far a stored lifetime may be from the wanted one before it counts as changed: the backdating
/// of the validity's start.
const LIFETIME_TOLERANCE: i64 = 600;

/// What is wanted of a leaf certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafRequest {
    /// What it is for: decides the signing intermediate and the key usages.
    pub purpose: Purpose,
    /// The subject's common name; not empty.
    pub common_name: String,
    /// Subject alternative names: DNS names and IP addresses, in any order.
    pub names: Vec<String>,
    /// From issue to end; 1 h to 87600 h.
    pub lifetime: Duration,
}

impl LeafRequest {
    /// The certificate that a cluster's brokers show to MQTT clients and on the admin API.
    #[must_use]
    pub fn server(cluster_name: &str, names: Vec<String>, lifetime: Duration) -> Self {
        Self { purpose: Purpose::Server, common_name: cluster_name.to_owned(), names, lifetime }
    }

    /// The certificate by which a broker and its peers know each other: the common name is the
    /// broker's name, the first alternative name is [`LeafRequest::peer_name`].
    #[must_use]
    pub fn peer(
        broker_name: &str,
        cluster_id: &str,
        dns_names: Vec<String>,
        lifetime: Duration,
    ) -> Self {
        let mut names = vec![Self::peer_name(cluster_id)];
        names.extend(dns_names);
        Self { purpose: Purpose::Peer, common_name: broker_name.to_owned(), names, lifetime }
    }

    /// The certificate of an MQTT client; the common name is its username.
    #[must_use]
    pub fn client(username: &str, lifetime: Duration) -> Self {
        let common_name = username.to_owned();
        Self { purpose: Purpose::Client, common_name, names: Vec::new(), lifetime }
    }

    /// The operator's own certificate for the brokers' admin API.
    #[must_use]
    pub fn admin(common_name: &str, lifetime: Duration) -> Self {
        let common_name = common_name.to_owned();
        Self { purpose: Purpose::Admin, common_name, names: Vec::new(), lifetime }
    }

    /// The name that every peer certificate of a cluster carries: `<clusterID>.peer.dunlin`, lower
    /// case.
    #[must_use]
    pub fn peer_name(cluster_id: &str) -> String {
        format!("{}.peer.dunlin", cluster_id.to_ascii_lowercase())
    }
}

/// A leaf certificate with its key and what it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The leaf and its intermediate, and the leaf's key.
    pub pair: KeyPairPem,
    /// What the holder trusts, PEM: for a peer the peer intermediate, otherwise the root.
    pub ca: String,
    /// What the leaf says.
    pub facts: CertificateFacts,
}

impl Leaf {
    /// What its Secret holds: `tls.crt` (leaf and intermediate), `tls.key`, `ca.crt`.
    #[must_use]
    pub fn secret_data(&self) -> SecretData {
        SecretData::from([
            ("tls.crt".to_owned(), self.pair.certificate.clone().into_bytes()),
            ("tls.key".to_owned(), self.pair.key.as_bytes().to_vec()),
            ("ca.crt".to_owned(), self.ca.clone().into_bytes()),
        ])
    }
}

/// Keeps the stored leaf when it serves, and otherwise issues one.
///
/// A stored leaf serves when certificate and key can be read and belong together, the authority's
/// intermediate signed it, names and lifetime are the wanted ones, and its renewal is not due. A
/// changed `ca.crt` or chain alone is written without a new key.
///
/// # Errors
/// [`PkiError::InvalidName`], [`PkiError::EmptyCommonName`], [`PkiError::LifetimeOutOfBounds`] for
/// a request that can't be met; [`PkiError::Issue`], [`PkiError::TimeOutOfBounds`] as named.
pub fn ensure_leaf(
    existing: Option<&SecretData>,
    authority: &Authority,
    wanted: &LeafRequest,
    now: Timestamp,
) -> Result<Ensured<Leaf>, PkiError> {
    check(wanted)?;
    let reason = match existing {
        None => IssueReason::Missing,
        Some(data) => match stored(data, authority, wanted, now) {
            Ok(leaf) => return Ok(with_current_chain(leaf, data, authority, wanted.purpose)),
            Err(reason) => reason,
        },
    };
    let value = issue(authority, wanted, now)?;
    Ok(Ensured::Issued { value, reason })
}

fn check(wanted: &LeafRequest) -> Result<(), PkiError> {
    if wanted.common_name.is_empty() {
        return Err(PkiError::EmptyCommonName);
    }
    if !(LIFETIME_MIN..=LIFETIME_MAX).contains(&wanted.lifetime) {
        return Err(PkiError::LifetimeOutOfBounds { hours: wanted.lifetime.as_secs() / 3_600 });
    }
    Ok(())
}

fn stored(
    data: &SecretData,
    authority: &Authority,
    wanted: &LeafRequest,
    now: Timestamp,
) -> Result<Leaf, IssueReason> {
    let broken = |problem: String| IssueReason::Broken { problem };
    let (Some(crt), Some(key)) = (data.get("tls.crt"), data.get("tls.key")) else {
        let problem = "tls.crt or tls.key is missing".to_owned();
        return Err(broken(problem));
    };
    let (pair, _) = certificate::read_pair(crt, key).map_err(broken)?;
    let facts = CertificateFacts::from_pem(crt).map_err(broken)?;
    let anchor = authority.trust_anchor_pem(wanted.purpose).as_bytes();
    if !certificate::is_signed_by(crt, anchor).map_err(broken)? {
        return Err(IssueReason::ForeignIssuer);
    }
    if let Some(what) = difference(&facts, wanted) {
        return Err(IssueReason::Changed { what });
    }
    if now >= facts.renew_at() {
        return Err(IssueReason::RenewalDue { not_after: facts.not_after });
    }
    Ok(Leaf { pair, ca: ca(authority, wanted.purpose).to_owned(), facts })
}

/// What of the wanted names and lifetime the stored leaf does not have, in words.
fn difference(facts: &CertificateFacts, wanted: &LeafRequest) -> Option<String> {
    if facts.common_name != wanted.common_name {
        return Some(format!(
            "the common name is now {:?}, it was {:?}",
            wanted.common_name, facts.common_name
        ));
    }
    let names = normalised(&wanted.names);
    if facts.names != names {
        return Some(format!("the names are now {names:?}, they were {:?}", facts.names));
    }
    let wanted_seconds = i64::try_from(wanted.lifetime.as_secs()).unwrap_or(i64::MAX);
    let seconds = facts.not_after.duration_since(facts.not_before).as_secs();
    if (seconds - wanted_seconds).abs() > LIFETIME_TOLERANCE {
        return Some(format!(
            "the lifetime is now {} h, it was {} h",
            wanted_seconds / 3_600,
            seconds / 3_600
        ));
    }
    None
}

/// The names as a certificate gives them back: lower case, IP addresses in short form, sorted.
fn normalised(names: &[String]) -> Vec<String> {
    let mut names: Vec<String> = names
        .iter()
        .map(|name| match name.parse::<std::net::IpAddr>() {
            Ok(address) => address.to_string(),
            Err(_) => name.to_ascii_lowercase(),
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The leaf with the authority's current intermediate behind it: one that was renewed with its own
/// key leaves the leaf valid and changes only what follows it.
fn with_current_chain(
    mut leaf: Leaf,
    data: &SecretData,
    authority: &Authority,
    purpose: Purpose,
) -> Ensured<Leaf> {
    let first = first_block(&leaf.pair.certificate);
    leaf.pair.certificate = format!("{first}{}", authority.trust_anchor_pem(purpose));
    if leaf.secret_data().iter().all(|(name, content)| data.get(name) == Some(content)) {
        return Ensured::Unchanged(leaf);
    }
    let what = "the authority's certificate was renewed".to_owned();
    Ensured::Issued { value: leaf, reason: IssueReason::Changed { what } }
}

/// The first PEM block of a text, with its closing line.
fn first_block(pem: &str) -> String {
    const END: &str = "-----END CERTIFICATE-----";
    match pem.find(END) {
        Some(at) => format!("{}{END}\n", &pem[..at]),
        None => pem.to_owned(),
    }
}

fn issue(authority: &Authority, wanted: &LeafRequest, now: Timestamp) -> Result<Leaf, PkiError> {
    let what = || format!("{} certificate of {}", wanted.purpose, wanted.common_name);
    let mut params = CertificateParams::default();
    for name in normalised(&wanted.names) {
        params.subject_alt_names.push(alternative_name(&name)?);
    }
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, wanted.common_name.as_str());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = wanted.purpose.extended_key_usages();
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(certificate::random_serial_number()?);
    certificate::set_validity(&mut params, now, wanted.lifetime)?;
    let key = authority::generate("leaf key")?;
    let certificate = params
        .signed_by(&key, &authority.issuer(wanted.purpose)?)
        .map_err(|source| PkiError::Issue { what: what(), source })?;
    let chain = format!("{}{}", certificate.pem(), authority.trust_anchor_pem(wanted.purpose));
    let facts = CertificateFacts::from_pem(chain.as_bytes()).map_err(|_| PkiError::Issue {
        what: what(),
        source: rcgen::Error::CouldNotParseCertificate,
    })?;
    Ok(Leaf {
        pair: KeyPairPem { certificate: chain, key: Zeroizing::new(key.serialize_pem()) },
        ca: ca(authority, wanted.purpose).to_owned(),
        facts,
    })
}

fn alternative_name(name: &str) -> Result<rcgen::SanType, PkiError> {
    if let Ok(address) = name.parse::<std::net::IpAddr>() {
        return Ok(rcgen::SanType::IpAddress(address));
    }
    let invalid = || PkiError::InvalidName { name: name.to_owned() };
    let plain = name.strip_prefix("*.").unwrap_or(name);
    let is_dns = rustls_pki_types::DnsName::try_from(plain).is_ok();
    if !is_dns {
        return Err(invalid());
    }
    Ok(rcgen::SanType::DnsName(name.try_into().map_err(|_| invalid())?))
}

fn ca(authority: &Authority, purpose: Purpose) -> &str {
    match purpose {
        Purpose::Peer => authority.trust_anchor_pem(Purpose::Peer),
        Purpose::Server | Purpose::Client | Purpose::Admin => authority.root_pem(),
    }
}
