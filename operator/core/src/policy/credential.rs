//! Password hashes of users. Pure: the same password and user always give the same hash, so an
//! operator that restarts changes nothing.

use broker_policy::password::{Argon2Cost, GENERATED_ITERATIONS};
use broker_policy::{Digest, PasswordError, PasswordHash};

const SALT_BYTES: usize = 16;

/// Who chose a password, and thereby how hard it is to guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordOrigin {
    /// The operator: 160 random bits or more, so one round of a salted hash serves.
    Generated,
    /// A person, through a Secret that the user names: a hash that is slow to guess against.
    Chosen,
}

/// The salt of a user: another one for every user and cluster, the same at every time.
///
/// `cluster_id` is the cluster's issued id, `user` what names the user for good: the object's UID,
/// or its namespace and name where it has none.
pub fn salt_of_user(cluster_id: &str, user: &str) -> [u8; SALT_BYTES] {
    let digest = Digest::of(format!("dunlin user salt\0{cluster_id}\0{user}").as_bytes());
    let mut salt = [0; SALT_BYTES];
    salt.copy_from_slice(&digest.as_bytes()[..SALT_BYTES]);
    salt
}

/// The hash of a user's password: the one that is `known` if it still verifies, so that a hash
/// made elsewhere or at another cost stays, otherwise a new one.
///
/// A chosen password costs some 20 milliseconds, both to verify and to hash: keep the outcome.
///
/// # Errors
/// The hash could not be made; with the parameters here that does not happen.
pub fn hash_password(
    known: Option<&PasswordHash>,
    password: &[u8],
    salt: &[u8; SALT_BYTES],
    origin: PasswordOrigin,
) -> Result<PasswordHash, PasswordError> {
    if let Some(known) = known.filter(|known| known.verify(password)) {
        return Ok(known.clone());
    }
    match origin {
        PasswordOrigin::Generated => {
            PasswordHash::pbkdf2_sha512(password, salt, GENERATED_ITERATIONS)
        }
        PasswordOrigin::Chosen => PasswordHash::argon2id(password, salt, Argon2Cost::default()),
    }
}

#[cfg(test)]
mod tests {
    use broker_policy::VerificationCost;

    use super::*;

    #[test]
    fn the_same_password_gives_the_same_hash_and_users_differ() {
        let hash = |user: &str| {
            let salt = salt_of_user("01K", user);
            hash_password(None, b"p", &salt, PasswordOrigin::Generated).unwrap()
        };
        assert_eq!(hash("a"), hash("a"));
        assert_ne!(hash("a"), hash("b"));
        assert_eq!(hash("a").cost(), VerificationCost::Inline);
    }

    #[test]
    fn a_known_hash_stays_while_it_verifies() {
        let salt = salt_of_user("01K", "a");
        let known = PasswordHash::pbkdf2_sha512(b"p", b"another salt", 101).unwrap();
        let hash = |password: &[u8]| {
            hash_password(Some(&known), password, &salt, PasswordOrigin::Generated).unwrap()
        };
        assert_eq!(hash(b"p"), known);
        assert_ne!(hash(b"q"), known);
        assert!(hash(b"q").verify(b"q"));
    }
}
