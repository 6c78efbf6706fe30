//! A password file: `name:hash`, a line each. Pure.
//!
//! Mosquitto leaves out a user whose line it can't read; here the file is refused, so that nobody is
//! locked out, or let in, unnoticed.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_policy::{PasswordError, PasswordHash, ScramCredential, scram};

use crate::conf::{LINE_BYTES_MAX, Position};
use crate::fault::{Fault, Faults};

/// A user of a password file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordEntry {
    /// The user's name.
    pub username: String,
    /// What is kept of the password.
    pub password: StoredPassword,
}

/// What a password is checked by. A user may have a line of each kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredPassword {
    /// Where it is sent in CONNECT.
    Hash(PasswordHash),
    /// Where it is proved by SCRAM-SHA-256. Not in Mosquitto's files: `mqtt-broker scram-password`
    /// and PostgreSQL write it.
    Scram(ScramCredential),
}

impl PasswordEntry {
    const fn is_scram(&self) -> bool {
        matches!(self.password, StoredPassword::Scram(_))
    }
}

/// Reads a password file; `path` is how messages name it.
///
/// # Errors
/// Every line that is no user with the hash of a password, and every user who stands twice.
pub fn read_password_file(path: &str, text: &str) -> Result<Vec<PasswordEntry>, Faults> {
    let file: Arc<str> = path.into();
    let (mut entries, mut faults) = (Vec::new(), Vec::new());
    let mut seen: BTreeMap<(String, bool), u32> = BTreeMap::new();
    for (index, line) in text.split('\n').enumerate() {
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let mut fault = |problem: String| {
            let at = Position { file: Arc::clone(&file), line: number };
            faults.push(Fault::Line { at, problem });
        };
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        match entry(line) {
            Err(problem) => fault(problem),
            Ok(entry) => match seen.insert((entry.username.clone(), entry.is_scram()), number) {
                Some(first) => fault(format!(
                    "user {:?} stands in line {first} already; remove one of the lines",
                    entry.username
                )),
                None => entries.push(entry),
            },
        }
    }
    Faults(faults).into_result().map(|()| entries)
}

fn entry(line: &str) -> Result<PasswordEntry, String> {
    if line.len() > LINE_BYTES_MAX {
        return Err(format!("the line is longer than {LINE_BYTES_MAX} bytes; shorten it"));
    }
    let (username, rest) = line.split_once(':').unwrap_or((line, ""));
    let username = username.trim();
    if username.is_empty() {
        return Err("the line has no user name before `:`; write one".to_owned());
    }
    if username.chars().any(char::is_control) {
        return Err("the user name holds a control character; remove it".to_owned());
    }
    if rest.trim().starts_with(scram::FORM) {
        return match ScramCredential::parse(rest.trim()) {
            Ok(own) => Ok(PasswordEntry {
                username: username.to_owned(),
                password: StoredPassword::Scram(own),
            }),
            Err(error) => Err(format!("user {username:?}: {error}")),
        };
    }
    // Mosquitto reads up to a further colon, which no hash holds.
    let text = rest.split(':').next().unwrap_or_default().trim();
    if text.is_empty() {
        return Err(format!(
            "user {username:?} has no password; give it one with mosquitto_passwd"
        ));
    }
    match PasswordHash::parse(text) {
        Ok(hash) => Ok(PasswordEntry {
            username: username.to_owned(),
            password: StoredPassword::Hash(hash),
        }),
        Err(PasswordError::UnknownForm) => Err(format!(
            "the password of user {username:?} is not hashed; run mosquitto_passwd -U on the file"
        )),
        Err(error) => Err(format!("user {username:?}: {error}")),
    }
}
