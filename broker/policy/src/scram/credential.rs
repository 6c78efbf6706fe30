//! What is kept of a password, in the text form of RFC 5803, which PostgreSQL writes too. Pure.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::{Key, hmac, prepare};
use crate::password::encoding::{check_salt, decode, encode};
use crate::password::{HASH_TEXT_BYTES_MAX, PasswordError};

/// How the text form begins.
pub const FORM: &str = "SCRAM-SHA-256$";
/// Iterations of a credential that is made here: the least that RFC 7677 allows, and what clients
/// expect.
pub const ITERATIONS: u32 = 4_096;
/// Fewest iterations that are read. RFC 7677 section 4.
pub const ITERATIONS_MIN: u32 = 4_096;
/// Most iterations that are read: the client is told to do them.
pub const ITERATIONS_MAX: u32 = 1_000_000;

/// What a client sees of a credential: how much work its proof is, and how long the salt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScramCost {
    /// Iterations, from [`ITERATIONS_MIN`] to [`ITERATIONS_MAX`].
    pub iterations: u32,
    /// Length of the salt, in bytes.
    pub salt_bytes: usize,
}

impl Default for ScramCost {
    fn default() -> Self {
        Self { iterations: ITERATIONS, salt_bytes: 16 }
    }
}

/// Salt, iterations, StoredKey and ServerKey of a password. Secret: never shown by `Debug`. The
/// password does not follow from it but by guessing; ServerKey lets its holder pose as the broker.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ScramCredential {
    text: Arc<str>,
    pub(super) salt: Arc<[u8]>,
    pub(super) iterations: u32,
    pub(super) stored_key: Key,
    pub(super) server_key: Key,
}

impl ScramCredential {
    /// The credential of a password.
    ///
    /// # Errors
    /// `SaltLength`; `Malformed` or `TooCostly` if `iterations` is not in [`ITERATIONS_MIN`] to
    /// [`ITERATIONS_MAX`]; `NotPreparable`.
    pub fn derive(password: &[u8], salt: &[u8], iterations: u32) -> Result<Self, PasswordError> {
        check_salt(salt)?;
        check_iterations(iterations)?;
        let text = std::str::from_utf8(password).ok().and_then(prepare);
        let password = text.ok_or(PasswordError::NotPreparable)?;
        let salted: Key =
            pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), salt, iterations);
        let stored_key = Sha256::digest(hmac(&salted, b"Client Key")).into();
        let server_key = hmac(&salted, b"Server Key");
        Ok(Self::new(salt, iterations, stored_key, server_key))
    }

    /// Of a user who is not there: no password fits, the salt is the same each time, and nobody
    /// without `secret` can tell it from that of one who is and whose credential costs as much.
    #[must_use]
    pub fn nobody(secret: &[u8], username: &str, cost: ScramCost) -> Self {
        let part = |name: &[u8]| hmac(secret, &[name, b"\0", username.as_bytes()].concat());
        let salt = [part(b"salt"), part(b"more salt")].concat();
        let salt = &salt[..cost.salt_bytes.min(salt.len())];
        Self::new(salt, cost.iterations, part(b"stored"), part(b"server"))
    }

    /// What its proof costs.
    #[must_use]
    pub fn cost(&self) -> ScramCost {
        ScramCost { iterations: self.iterations, salt_bytes: self.salt.len() }
    }

    fn new(salt: &[u8], iterations: u32, stored_key: Key, server_key: Key) -> Self {
        let (stored, server) = (encode(&stored_key), encode(&server_key));
        let text = format!("{FORM}{iterations}:{}${stored}:{server}", encode(salt));
        Self { text: text.into(), salt: salt.into(), iterations, stored_key, server_key }
    }

    /// Reads `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, the last three in base 64.
    ///
    /// # Errors
    /// It is of another form, malformed, or asks for too much work.
    pub fn parse(text: &str) -> Result<Self, PasswordError> {
        let malformed = |part| PasswordError::Malformed { part };
        let rest = text.strip_prefix(FORM).ok_or(PasswordError::UnknownForm)?;
        if text.len() > HASH_TEXT_BYTES_MAX {
            return Err(malformed("length"));
        }
        let (costs, keys) = rest.split_once('$').ok_or(malformed("number of parts"))?;
        let (iterations, salt) = costs.split_once(':').ok_or(malformed("salt"))?;
        let (stored, server) = keys.split_once(':').ok_or(malformed("keys"))?;
        let iterations = iterations.parse().map_err(|_| malformed("iterations"))?;
        check_iterations(iterations)?;
        let salt = decode(salt, "salt")?;
        check_salt(&salt)?;
        let key = |text, part| {
            decode(text, part)?.try_into().map_err(|_| PasswordError::Malformed { part })
        };
        Ok(Self::new(&salt, iterations, key(stored, "StoredKey")?, key(server, "ServerKey")?))
    }

    /// The text form, to be stored. Secret.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is this password's. As costly as making it.
    #[must_use]
    pub fn is_of(&self, password: &[u8]) -> bool {
        Self::derive(password, &self.salt, self.iterations).is_ok_and(|own| own == *self)
    }
}

fn check_iterations(iterations: u32) -> Result<(), PasswordError> {
    match iterations {
        ITERATIONS_MIN..=ITERATIONS_MAX => Ok(()),
        ..ITERATIONS_MIN => Err(PasswordError::Malformed { part: "iterations, at least 4096" }),
        _ => Err(PasswordError::TooCostly { part: "iterations", max: ITERATIONS_MAX }),
    }
}

impl fmt::Debug for ScramCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramCredential(redacted)")
    }
}

impl Serialize for ScramCredential {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for ScramCredential {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
