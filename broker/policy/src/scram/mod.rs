//! SCRAM-SHA-256: a password proved without being sent, and the broker proved to the client. Pure:
//! salts and nonces are given.
//!
//! Spec: RFC 5802, RFC 7677; MQTT 5.0 section 4.12. Without channel binding. User names and passwords
//! are prepared by SASLprep (RFC 4013).

mod credential;
mod exchange;
mod message;
mod prepare;

#[cfg(test)]
mod scram_test;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

pub use credential::{
    FORM, ITERATIONS, ITERATIONS_MAX, ITERATIONS_MIN, ScramCost, ScramCredential,
};
pub use exchange::{ClientFirst, ScramChallenge, ScramError};
pub use prepare::prepare;

/// The Authentication Method's name.
pub const METHOD: &str = "SCRAM-SHA-256";

/// A key or a signature.
type Key = [u8; 32];

fn hmac(key: &[u8], text: &[u8]) -> Key {
    let mac = Hmac::<Sha256>::new_from_slice(key);
    let mut mac = mac.expect("invariant: HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}
