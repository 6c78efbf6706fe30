//! A line of a password file, made from a password.

use broker_policy::scram::ITERATIONS;
use broker_policy::{PasswordError, ScramCredential};
use ring::rand::SecureRandom as _;

/// Why there is no line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScramLineError {
    /// A name that can't stand in the file.
    #[error("the user name is empty, or holds a colon or a control character: choose another one")]
    Username,
    /// Nothing was given.
    #[error("the password is empty: give it in the first line of standard input")]
    NoPassword,
    /// The system gives no salt.
    #[error("the system gives no random bytes")]
    NoRandomness,
    /// The credential can't be made.
    #[error("make the credential")]
    Credential {
        /// Why.
        source: PasswordError,
    },
}

/// The line of a user with this password, with a salt of its own.
///
/// # Errors
/// [`ScramLineError`].
pub fn scram_line(username: &str, password: &str) -> Result<String, ScramLineError> {
    let is_plain = |character: char| character != ':' && !character.is_control();
    if username.trim().is_empty() || !username.chars().all(is_plain) {
        return Err(ScramLineError::Username);
    }
    if password.is_empty() {
        return Err(ScramLineError::NoPassword);
    }
    let mut salt = [0; 16];
    let filled = ring::rand::SystemRandom::new().fill(&mut salt);
    filled.map_err(|_| ScramLineError::NoRandomness)?;
    let credential = ScramCredential::derive(password.as_bytes(), &salt, ITERATIONS)
        .map_err(|source| ScramLineError::Credential { source })?;
    Ok(format!("{username}:{}", credential.as_str()))
}
