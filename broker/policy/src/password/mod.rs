//! Password hashes as Mosquitto writes them: `$7$`, `$6$` and `$argon2id$`. Pure: salts are given.

mod argon2id;
pub(crate) mod encoding;
mod pbkdf2_sha512;
mod sha512;

#[cfg(test)]
mod password_test;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use argon2id::{Argon2Cost, MEMORY_KIB_MAX, PASSES_MAX};
pub use pbkdf2_sha512::{GENERATED_ITERATIONS, ITERATIONS_MAX, MOSQUITTO_ITERATIONS};

/// Most PBKDF2 iterations that a worker should spend on one connection; some 50 microseconds.
pub const INLINE_ITERATIONS_MAX: u32 = 32;
/// Shortest salt that a hash is made with, in bytes.
pub const SALT_BYTES_MIN: usize = 12;
/// Longest text of a hash, in bytes.
pub const HASH_TEXT_BYTES_MAX: usize = 512;

/// Why a hash was not read or not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Neither of the three forms.
    #[error("the password hash is not $7$, $6$ or $argon2id$; write one of these forms")]
    UnknownForm,
    /// A part is missing or is not what it should be.
    #[error("the password hash is malformed: check its {part}")]
    Malformed {
        /// Which part.
        part: &'static str,
    },
    /// It would take more time or memory than the broker grants.
    #[error("the password hash costs too much to verify: lower its {part} to at most {max}")]
    TooCostly {
        /// Which parameter.
        part: &'static str,
        /// The most that is granted.
        max: u32,
    },
    /// The salt is too short or too long.
    #[error("the salt has {bytes} bytes; give between {SALT_BYTES_MIN} and 64")]
    SaltLength {
        /// Its length.
        bytes: usize,
    },
    /// SCRAM can't take the password.
    #[error(
        "the password is not UTF-8, or holds characters that SASLprep (RFC 4013) prohibits; choose one without them for SCRAM"
    )]
    NotPreparable,
}

/// How much work a verification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerificationCost {
    /// Microseconds: verify where you are.
    Inline,
    /// Milliseconds: verify on a pool beside the workers.
    Pool,
}

/// The hash of a password, checked for its form. Its text is secret: never shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PasswordHash(Arc<str>);

impl PasswordHash {
    /// Reads a hash.
    ///
    /// # Errors
    /// It is of no known form, malformed, or too costly to verify.
    pub fn parse(text: &str) -> Result<Self, PasswordError> {
        Form::parse(text).map(|_| Self(text.into()))
    }

    /// The `$7$` hash of a password: PBKDF2 with HMAC-SHA-512. With
    /// [`GENERATED_ITERATIONS`] for passwords of 160 random bits, [`MOSQUITTO_ITERATIONS`] or more
    /// for others.
    ///
    /// # Errors
    /// `SaltLength`; `TooCostly` if `iterations` is above [`ITERATIONS_MAX`]; `Malformed` if 0.
    pub fn pbkdf2_sha512(
        password: &[u8],
        salt: &[u8],
        iterations: u32,
    ) -> Result<Self, PasswordError> {
        pbkdf2_sha512::create(password, salt, iterations).map(|text| Self(text.into()))
    }

    /// The `$argon2id$` hash of a password, for those that people choose.
    ///
    /// # Errors
    /// `SaltLength`; `TooCostly` or `Malformed` if a parameter is out of range.
    pub fn argon2id(password: &[u8], salt: &[u8], cost: Argon2Cost) -> Result<Self, PasswordError> {
        argon2id::create(password, salt, cost).map(|text| Self(text.into()))
    }

    /// Whether this is the password. Takes as long for a wrong one as for the right one.
    pub fn verify(&self, password: &[u8]) -> bool {
        match Form::parse(&self.0) {
            Ok(Form::Pbkdf2Sha512(form)) => form.verify(password),
            Ok(Form::Sha512(form)) => form.verify(password),
            Ok(Form::Argon2id(form)) => form.verify(password),
            Err(_) => false,
        }
    }

    /// How much work [`verify`](Self::verify) is.
    pub fn cost(&self) -> VerificationCost {
        match Form::parse(&self.0) {
            Ok(Form::Pbkdf2Sha512(form)) if form.iterations > INLINE_ITERATIONS_MAX => {
                VerificationCost::Pool
            }
            Ok(Form::Argon2id(_)) => VerificationCost::Pool,
            _ => VerificationCost::Inline,
        }
    }

    /// The hash's text, to be stored. Secret.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A hash taken apart.
enum Form {
    Pbkdf2Sha512(pbkdf2_sha512::Pbkdf2Sha512),
    Sha512(sha512::SaltedSha512),
    Argon2id(argon2id::Argon2id),
}

impl Form {
    fn parse(text: &str) -> Result<Self, PasswordError> {
        if text.len() > HASH_TEXT_BYTES_MAX {
            return Err(PasswordError::Malformed { part: "length" });
        }
        if let Some(rest) = text.strip_prefix("$7$") {
            pbkdf2_sha512::Pbkdf2Sha512::parse(rest).map(Self::Pbkdf2Sha512)
        } else if let Some(rest) = text.strip_prefix("$6$") {
            sha512::SaltedSha512::parse(rest).map(Self::Sha512)
        } else if let Some(rest) = text.strip_prefix("$argon2id$") {
            argon2id::Argon2id::parse(rest).map(Self::Argon2id)
        } else {
            Err(PasswordError::UnknownForm)
        }
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(redacted)")
    }
}

impl Serialize for PasswordHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PasswordHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
