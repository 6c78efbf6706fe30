//! Base 64 as the hash forms use it: with padding in Mosquitto's own, without in PHC strings. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::PasswordError;

pub(crate) fn decode(text: &str, part: &'static str) -> Result<Vec<u8>, PasswordError> {
    STANDARD.decode(text).map_err(|_| PasswordError::Malformed { part })
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn decode_unpadded(text: &str, part: &'static str) -> Result<Vec<u8>, PasswordError> {
    STANDARD_NO_PAD.decode(text).map_err(|_| PasswordError::Malformed { part })
}

pub(crate) fn encode_unpadded(bytes: &[u8]) -> String {
    STANDARD_NO_PAD.encode(bytes)
}

pub(crate) fn check_salt(salt: &[u8]) -> Result<(), PasswordError> {
    if (super::SALT_BYTES_MIN..=64).contains(&salt.len()) {
        Ok(())
    } else {
        Err(PasswordError::SaltLength { bytes: salt.len() })
    }
}
