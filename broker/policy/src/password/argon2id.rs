//! `$argon2id$v=19$m=..,t=..,p=..$<salt>$<hash>`: the PHC string of Argon2id. Pure.

use argon2::{Algorithm, Argon2, Params, Version};
use subtle::ConstantTimeEq as _;

use super::PasswordError;
use super::encoding::{check_salt, decode_unpadded, encode_unpadded};

/// Most memory a verification may take, in KiB.
pub const MEMORY_KIB_MAX: u32 = 262_144;
/// Most passes over that memory, and most lanes.
pub const PASSES_MAX: u32 = 16;

const VERSION: &str = "v=19";
const HASH_BYTES: usize = 32;
const HASH_BYTES_READ: std::ops::RangeInclusive<usize> = 16..=64;
/// Salts of other makers may be shorter than ours. Spec: RFC 9106 section 3.1.
const SALT_BYTES_READ: std::ops::RangeInclusive<usize> = 8..=64;

/// What a verification costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argon2Cost {
    /// Memory in KiB, at least eight per lane, at most [`MEMORY_KIB_MAX`].
    pub memory_kib: u32,
    /// Passes, 1 to [`PASSES_MAX`].
    pub passes: u32,
    /// Lanes, 1 to [`PASSES_MAX`].
    pub lanes: u32,
}

impl Default for Argon2Cost {
    /// The smaller of the OWASP recommendations, so that a pool can bear a reconnect storm.
    fn default() -> Self {
        Self { memory_kib: 19_456, passes: 2, lanes: 1 }
    }
}

impl Argon2Cost {
    fn params(self, output: usize) -> Result<Params, PasswordError> {
        for (part, value, max) in [
            ("memory (m)", self.memory_kib, MEMORY_KIB_MAX),
            ("passes (t)", self.passes, PASSES_MAX),
            ("lanes (p)", self.lanes, PASSES_MAX),
        ] {
            if value > max {
                return Err(PasswordError::TooCostly { part, max });
            }
        }
        Params::new(self.memory_kib, self.passes, self.lanes, Some(output))
            .map_err(|_| PasswordError::Malformed { part: "parameters" })
    }
}

pub(super) struct Argon2id {
    params: Params,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl Argon2id {
    /// Reads what follows `$argon2id$`.
    pub(super) fn parse(text: &str) -> Result<Self, PasswordError> {
        let mut parts = text.split('$');
        let (Some(VERSION), Some(params), Some(salt), Some(hash), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(PasswordError::Malformed { part: "version or number of parts" });
        };
        let (salt, hash) = (decode_unpadded(salt, "salt")?, decode_unpadded(hash, "hash")?);
        if !SALT_BYTES_READ.contains(&salt.len()) {
            return Err(PasswordError::Malformed { part: "salt" });
        }
        if !HASH_BYTES_READ.contains(&hash.len()) {
            return Err(PasswordError::Malformed { part: "hash" });
        }
        Ok(Self { params: parse_cost(params)?.params(hash.len())?, salt, hash })
    }

    pub(super) fn verify(&self, password: &[u8]) -> bool {
        let mut hash = vec![0; self.hash.len()];
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone());
        let derived = argon2.hash_password_into(password, &self.salt, &mut hash);
        derived.is_ok() && bool::from(hash.ct_eq(&self.hash))
    }
}

fn parse_cost(text: &str) -> Result<Argon2Cost, PasswordError> {
    let malformed = || PasswordError::Malformed { part: "parameters" };
    let mut cost = Argon2Cost { memory_kib: 0, passes: 0, lanes: 0 };
    for part in text.split(',') {
        let (name, value) = part.split_once('=').ok_or_else(malformed)?;
        let value = value.parse().map_err(|_| malformed())?;
        match name {
            "m" => cost.memory_kib = value,
            "t" => cost.passes = value,
            "p" => cost.lanes = value,
            _ => return Err(malformed()),
        }
    }
    Ok(cost)
}

pub(super) fn create(
    password: &[u8],
    salt: &[u8],
    cost: Argon2Cost,
) -> Result<String, PasswordError> {
    check_salt(salt)?;
    let params = cost.params(HASH_BYTES)?;
    let mut hash = [0; HASH_BYTES];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password, salt, &mut hash)
        .map_err(|_| PasswordError::Malformed { part: "parameters" })?;
    let Argon2Cost { memory_kib, passes, lanes } = cost;
    let (salt, hash) = (encode_unpadded(salt), encode_unpadded(&hash));
    Ok(format!("$argon2id${VERSION}$m={memory_kib},t={passes},p={lanes}${salt}${hash}"))
}
