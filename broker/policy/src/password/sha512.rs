//! `$6$<salt>$<hash>`: SHA-512 over password and salt, from old Mosquitto password files. Pure.

use sha2::{Digest as _, Sha512};
use subtle::ConstantTimeEq as _;

use super::PasswordError;
use super::encoding::decode;

pub(super) struct SaltedSha512 {
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl SaltedSha512 {
    /// Reads what follows `$6$`.
    pub(super) fn parse(text: &str) -> Result<Self, PasswordError> {
        let parts = text.split_once('$').filter(|(_, hash)| !hash.contains('$'));
        let (salt, hash) = parts.ok_or(PasswordError::Malformed { part: "number of parts" })?;
        let (salt, hash) = (decode(salt, "salt")?, decode(hash, "hash")?);
        if salt.is_empty() {
            return Err(PasswordError::Malformed { part: "salt" });
        }
        if hash.len() != 64 {
            return Err(PasswordError::Malformed { part: "hash" });
        }
        Ok(Self { salt, hash })
    }

    pub(super) fn verify(&self, password: &[u8]) -> bool {
        let hash = Sha512::new().chain_update(password).chain_update(&self.salt).finalize();
        hash.as_slice().ct_eq(&self.hash).into()
    }
}
