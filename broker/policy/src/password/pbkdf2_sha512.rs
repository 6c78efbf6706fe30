//! `$7$<iterations>$<salt>$<hash>`: PBKDF2 with HMAC-SHA-512, as Mosquitto makes it. Pure.

use sha2::Sha512;
use subtle::ConstantTimeEq as _;

use super::PasswordError;
use super::encoding::{check_salt, decode, encode};

/// Iterations for a generated password of 160 bits or more: guessing it is hopeless anyhow.
pub const GENERATED_ITERATIONS: u32 = 1;
/// Iterations that Mosquitto 2.1 uses.
pub const MOSQUITTO_ITERATIONS: u32 = 1_000;
/// Most iterations that are read; about two seconds of work.
pub const ITERATIONS_MAX: u32 = 1_000_000;

const HASH_BYTES: usize = 64;

pub(super) struct Pbkdf2Sha512 {
    pub(super) iterations: u32,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl Pbkdf2Sha512 {
    /// Reads what follows `$7$`. Mosquitto 2.0 has salts of 12 bytes, 2.1 of 64.
    pub(super) fn parse(text: &str) -> Result<Self, PasswordError> {
        let mut parts = text.split('$');
        let (Some(iterations), Some(salt), Some(hash), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(PasswordError::Malformed { part: "number of parts" });
        };
        let iterations =
            iterations.parse().map_err(|_| PasswordError::Malformed { part: "iterations" })?;
        check_iterations(iterations)?;
        let (salt, hash) = (decode(salt, "salt")?, decode(hash, "hash")?);
        check_salt(&salt)?;
        if hash.len() != HASH_BYTES {
            return Err(PasswordError::Malformed { part: "hash" });
        }
        Ok(Self { iterations, salt, hash })
    }

    pub(super) fn verify(&self, password: &[u8]) -> bool {
        derive(password, &self.salt, self.iterations).ct_eq(&self.hash).into()
    }
}

pub(super) fn create(
    password: &[u8],
    salt: &[u8],
    iterations: u32,
) -> Result<String, PasswordError> {
    check_salt(salt)?;
    check_iterations(iterations)?;
    let hash = derive(password, salt, iterations);
    Ok(format!("$7${iterations}${}${}", encode(salt), encode(&hash)))
}

fn derive(password: &[u8], salt: &[u8], iterations: u32) -> [u8; HASH_BYTES] {
    pbkdf2::pbkdf2_hmac_array::<Sha512, HASH_BYTES>(password, salt, iterations)
}

fn check_iterations(iterations: u32) -> Result<(), PasswordError> {
    match iterations {
        0 => Err(PasswordError::Malformed { part: "iterations" }),
        1..=ITERATIONS_MAX => Ok(()),
        _ => Err(PasswordError::TooCostly { part: "iterations", max: ITERATIONS_MAX }),
    }
}
