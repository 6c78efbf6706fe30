//! Digests of records, buckets and policies. Pure.
//!
//! A record's digest is SHA-256 over its fields, each as a tag, a length and its bytes, fields at
//! their default left out: a field added later with a default leaves all digests as they are.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::realm::RealmSettings;
use crate::record::{Client, ClientIdPattern, Group, Record, RecordKey, Role, Settings};
use crate::record::{Quotas, RoleAssignment};

/// How many buckets a policy has.
pub const BUCKET_COUNT: usize = 256;

/// The number of a bucket: the first byte of SHA-256 over a record's key.
pub type BucketIndex = u8;

/// The bucket in which a record with this key lies.
pub fn bucket_of(key: &RecordKey) -> BucketIndex {
    Sha256::digest(key.as_str())[0]
}

/// A SHA-256 digest; hexadecimal in texts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// A text that is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("digest {text:?} is not 64 hexadecimal digits")]
pub struct InvalidDigest {
    /// What was read.
    pub text: String,
}

impl Digest {
    /// SHA-256 over the bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest itself.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest of a record, which should be in its normal form.
    pub fn of_record(record: &Record) -> Self {
        let mut hasher = FieldHasher::new();
        match record {
            Record::Client(client) => hash_client(&mut hasher, client),
            Record::Group(group) => hash_group(&mut hasher, group),
            Record::Role(role) => hash_role(&mut hasher, role),
            Record::Settings(settings) => hash_settings(&mut hasher, settings),
        }
        hasher.finish()
    }

    /// The digest of a bucket: over its records' keys and digests, sorted by key.
    pub fn of_bucket<'a>(entries: impl IntoIterator<Item = (&'a RecordKey, &'a Self)>) -> Self {
        let mut hasher = Sha256::new();
        for (key, digest) in entries {
            hasher.update((key.as_str().len() as u64).to_be_bytes());
            hasher.update(key.as_str());
            hasher.update(digest.0);
        }
        Self(hasher.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let invalid = || InvalidDigest { text: text.to_owned() };
        let nibble = |byte: u8| char::from(byte).to_digit(16).and_then(|n| u8::try_from(n).ok());
        if text.len() != 64 {
            return Err(invalid());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let (Some(high), Some(low)) = (nibble(pair[0]), nibble(pair[1])) else {
                return Err(invalid());
            };
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
        } else {
            <[u8; 32]>::deserialize(deserializer).map(Self)
        }
    }
}

/// How many digits of a revision people are shown.
pub const REVISION_DIGITS_SHOWN: usize = 12;

/// The name of a policy's content: the digest over all bucket digests.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(Digest);

impl Revision {
    /// The revision of a policy with these bucket digests, in order.
    pub fn of_buckets<'a>(digests: impl IntoIterator<Item = &'a Digest>) -> Self {
        let mut hasher = Sha256::new();
        for digest in digests {
            hasher.update(digest.0);
        }
        Self(Digest(hasher.finalize().into()))
    }

    /// The first [`REVISION_DIGITS_SHOWN`] digits, for people.
    pub fn short(&self) -> String {
        let mut text = self.0.to_string();
        text.truncate(REVISION_DIGITS_SHOWN);
        text
    }

    /// The digest it is.
    pub const fn digest(&self) -> &Digest {
        &self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl FromStr for Revision {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        text.parse().map(Self)
    }
}

/// Hashes fields so that no two different records give the same bytes.
struct FieldHasher(Sha256);

impl FieldHasher {
    fn new() -> Self {
        Self(Sha256::new())
    }

    fn field(&mut self, tag: u8, bytes: &[u8]) {
        self.0.update([tag]);
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn text(&mut self, tag: u8, text: &str) {
        if !text.is_empty() {
            self.field(tag, text.as_bytes());
        }
    }

    fn flag(&mut self, tag: u8, is_set: bool) {
        if is_set {
            self.field(tag, &[]);
        }
    }

    fn number(&mut self, tag: u8, number: Option<u64>) {
        if let Some(number) = number {
            self.field(tag, &number.to_be_bytes());
        }
    }

    fn named(&mut self, tag: u8, name: &str, priority: i32) {
        self.field(tag, name.as_bytes());
        self.0.update(priority.to_be_bytes());
    }

    fn roles(&mut self, tag: u8, roles: &[RoleAssignment]) {
        for role in roles {
            self.named(tag, &role.name, role.priority);
        }
    }

    fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

// The tags are part of the format: brokers of different versions compare the digests.
fn hash_client(hasher: &mut FieldHasher, client: &Client) {
    hasher.field(1, client.username.as_bytes());
    hasher.text(2, &client.text_name);
    hasher.text(3, &client.text_description);
    hasher.flag(4, client.disabled);
    if let Some(password) = &client.password {
        hasher.text(5, password.as_str());
    }
    hasher.flag(6, client.certificate);
    for pattern in &client.client_ids {
        match pattern {
            ClientIdPattern::Literal(literal) => hasher.field(7, literal.as_bytes()),
            ClientIdPattern::Prefix(prefix) => hasher.field(8, prefix.as_bytes()),
        }
    }
    hasher.roles(9, &client.roles);
    for group in &client.groups {
        hasher.named(10, &group.name, group.priority);
    }
    let Quotas { connections, publishes_per_second, bytes_per_second } = client.quotas;
    hasher.number(11, connections.map(u64::from));
    hasher.number(12, publishes_per_second.map(u64::from));
    hasher.number(13, bytes_per_second);
    if let Some(scram) = &client.scram {
        hasher.text(14, scram.as_str());
    }
}

fn hash_group(hasher: &mut FieldHasher, group: &Group) {
    hasher.field(32, group.name.as_bytes());
    hasher.text(33, &group.text_name);
    hasher.text(34, &group.text_description);
    hasher.roles(35, &group.roles);
}

fn hash_role(hasher: &mut FieldHasher, role: &Role) {
    hasher.field(64, role.name.as_bytes());
    hasher.text(65, &role.text_name);
    hasher.text(66, &role.text_description);
    hasher.flag(67, !role.allow_wildcard_subscriptions);
    for acl in &role.acls {
        let tag = if acl.allow { 68 } else { 69 };
        hasher.field(tag, acl.acl_type.as_str().as_bytes());
        hasher.named(tag, &acl.topic, acl.priority);
    }
}

fn hash_settings(hasher: &mut FieldHasher, settings: &Settings) {
    let access = settings.default_access;
    hasher.flag(96, access.publish_client_send);
    hasher.flag(97, !access.publish_client_receive);
    hasher.flag(98, access.subscribe);
    hasher.flag(99, !access.unsubscribe);
    if let Some(group) = &settings.anonymous_group {
        hasher.field(100, group.as_bytes());
    }
    if let Some(group) = &settings.guest_group {
        hasher.field(101, group.as_bytes());
    }
    for (realm, own) in &settings.realms {
        hash_realm(hasher, realm, own);
    }
}

fn hash_realm(hasher: &mut FieldHasher, realm: &str, own: &RealmSettings) {
    let access = own.default_access;
    hasher.field(102, realm.as_bytes());
    hasher.flag(103, access.publish_client_send);
    hasher.flag(104, !access.publish_client_receive);
    hasher.flag(105, access.subscribe);
    hasher.flag(106, !access.unsubscribe);
    if let Some(group) = &own.anonymous_group {
        hasher.field(107, group.as_bytes());
    }
    if let Some(group) = &own.guest_group {
        hasher.field(108, group.as_bytes());
    }
}
