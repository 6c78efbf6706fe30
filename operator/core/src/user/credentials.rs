//! What the Secret of a user holds: all that its clients need to connect. Pure.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use broker_policy::{PasswordHash, ScramCredential, scram};
use operator_api::MqttUser;
use operator_api::cluster::{AuthenticationMethod, Listener};

use crate::cluster::ValidatedCluster;
use crate::policy::{PasswordOrigin, Problem, ProblemReason, hash_password, salt_of_user};

/// The entries of a Secret.
pub type SecretData = BTreeMap<String, Vec<u8>>;

/// Random bytes of a generated password: 192 bits, 32 characters.
pub const PASSWORD_RANDOM_BYTES: usize = 24;
/// The longest password that CONNECT carries. Spec: MQTT 5.0 section 1.5.6.
const PASSWORD_LENGTH_MAX: usize = 65_535;

const USERNAME: &str = "username";
const PASSWORD: &str = "password";
const PASSWORD_HASH: &str = "passwordHash";
const SCRAM: &str = "scramCredential";
const URI: &str = "uri";
const CA: &str = "ca.crt";

/// What a user's password Secret is made from.
#[derive(Clone, Copy)]
pub struct PasswordRequest<'a> {
    /// The user.
    pub user: &'a MqttUser,
    /// The identity that was issued to the cluster.
    pub cluster_id: &'a str,
    /// Where its clients connect.
    pub uri: &'a str,
    /// What its clients trust, PEM.
    pub ca: &'a str,
    /// What its Secret holds now.
    pub existing: Option<&'a SecretData>,
    /// The password that a person chose; `None`: one is generated.
    pub chosen: Option<&'a [u8]>,
    /// Random bytes for a new password.
    pub random: [u8; PASSWORD_RANDOM_BYTES],
}

/// The Secret of a user with a password: an existing password is kept, and its hash while it
/// verifies, so that the same input always gives what is there already.
///
/// # Errors
/// The chosen password can't be one.
pub fn password_secret(request: &PasswordRequest<'_>) -> Result<SecretData, Problem> {
    let existing = |key: &str| request.existing.and_then(|data| data.get(key));
    let before = existing(PASSWORD).filter(|password| is_usable(password));
    let (password, origin) = match (request.chosen, before) {
        (Some(chosen), _) => (check_chosen(request.user, chosen)?, PasswordOrigin::Chosen),
        (None, Some(before)) => (before.clone(), PasswordOrigin::Generated),
        (None, None) => {
            let generated = URL_SAFE_NO_PAD.encode(request.random);
            (generated.into_bytes(), PasswordOrigin::Generated)
        }
    };
    let known = existing(PASSWORD_HASH)
        .and_then(|hash| std::str::from_utf8(hash).ok())
        .and_then(|hash| PasswordHash::parse(hash).ok());
    let is_same_chosen = origin == PasswordOrigin::Chosen && before == Some(&password);
    let hash = match known {
        // Verifying a chosen password is slow; that it stands here beside its hash is enough.
        Some(known) if is_same_chosen => known,
        known => {
            let salt = salt_of_user(request.cluster_id, &identity(request.user));
            hash_password(known.as_ref(), &password, &salt, origin).map_err(|error| {
                problem(format!("the password of {} can't be hashed: {error}", name(request.user)))
            })?
        }
    };
    let scram = match wants_scram(request.user) {
        true => Some(scram_credential(request, &password, &hash)?),
        false => None,
    };
    let mut data = SecretData::from([
        (USERNAME.into(), request.user.username().into_bytes()),
        (PASSWORD.into(), password),
        (PASSWORD_HASH.into(), hash.as_str().as_bytes().to_vec()),
        (URI.into(), request.uri.as_bytes().to_vec()),
        (CA.into(), request.ca.as_bytes().to_vec()),
    ]);
    if let Some(scram) = scram {
        data.insert(SCRAM.into(), scram.as_str().as_bytes().to_vec());
    }
    Ok(data)
}

fn wants_scram(user: &MqttUser) -> bool {
    user.spec.authentication.password.as_ref().is_some_and(|password| password.scram)
}

/// What proves the password by SCRAM: what is there stays as long as the hash beside it does, as
/// making it anew takes milliseconds.
fn scram_credential(
    request: &PasswordRequest<'_>,
    password: &[u8],
    hash: &PasswordHash,
) -> Result<ScramCredential, Problem> {
    if let Some((known, Some(scram))) = request.existing.and_then(stored_password)
        && known == *hash
    {
        return Ok(scram);
    }
    let salt = salt_of_user(request.cluster_id, &identity(request.user));
    ScramCredential::derive(password, &salt, scram::ITERATIONS).map_err(|error| {
        let name = name(request.user);
        problem(format!("the password of {name} has no SCRAM credential: {error}"))
    })
}

/// The Secret of a user with a certificate: the leaf's own entries, and what else its clients need.
#[must_use]
pub fn x509_secret(user: &MqttUser, uri: &str, leaf: SecretData) -> SecretData {
    let mut data = leaf;
    data.insert(USERNAME.into(), user.username().into_bytes());
    data.insert(URI.into(), uri.as_bytes().to_vec());
    data
}

/// The password's hash that a user's Secret holds, and its SCRAM credential where there is one;
/// `None` when there is no hash that can be read.
#[must_use]
pub fn stored_password(data: &SecretData) -> Option<(PasswordHash, Option<ScramCredential>)> {
    let text = |key: &str| std::str::from_utf8(data.get(key)?).ok();
    let hash = PasswordHash::parse(text(PASSWORD_HASH)?).ok()?;
    Some((hash, text(SCRAM).and_then(|text| ScramCredential::parse(text).ok())))
}

/// The listener that clients of a way of authentication are sent to: the first one that takes it, by
/// preference an encrypted one.
#[must_use]
pub fn client_listener(
    cluster: &ValidatedCluster,
    method: AuthenticationMethod,
) -> Option<&Listener> {
    let suits =
        || cluster.listeners.iter().filter(|l| l.authentication_methods().contains(&method));
    suits().find(|listener| listener.protocol.is_tls()).or_else(|| suits().next())
}

/// Where clients of a way of authentication connect inside Kubernetes; empty where no listener takes it.
#[must_use]
pub fn uri(cluster: &ValidatedCluster, method: AuthenticationMethod) -> String {
    client_listener(cluster, method).map_or_else(String::new, |listener| {
        format!("{}://{}", listener.protocol.scheme(), cluster.listener_address(listener))
    })
}

fn is_usable(password: &[u8]) -> bool {
    !password.is_empty() && password.len() <= PASSWORD_LENGTH_MAX
}

fn check_chosen(user: &MqttUser, chosen: &[u8]) -> Result<Vec<u8>, Problem> {
    let reference = user.spec.authentication.password.as_ref();
    let secret = reference.and_then(|password| password.secret_ref.as_ref());
    let secret = secret.map(|secret| secret.name.as_str()).unwrap_or_default();
    if !is_usable(chosen) {
        let message = format!("the password in the Secret {secret} must have 1 to 65535 bytes");
        return Err(problem(message));
    }
    if chosen.last().is_some_and(|last| matches!(last, b'\n' | b'\r')) {
        let message =
            format!("the password in the Secret {secret} ends with a line break: remove it");
        return Err(problem(message));
    }
    Ok(chosen.to_vec())
}

fn problem(message: String) -> Problem {
    Problem { reason: ProblemReason::CredentialsMissing, message }
}

fn name(user: &MqttUser) -> &str {
    user.metadata.name.as_deref().unwrap_or_default()
}

/// What names a user for good.
fn identity(user: &MqttUser) -> String {
    let namespace = user.metadata.namespace.as_deref().unwrap_or_default();
    user.metadata.uid.clone().unwrap_or_else(|| format!("{namespace}/{}", name(user)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::fixture::validated;

    fn user(spec: &str) -> MqttUser {
        let mut user = MqttUser::new("pump-17", serde_yaml::from_str(spec).unwrap());
        user.metadata.uid = Some("u1".into());
        user
    }

    fn request<'a>(user: &'a MqttUser, existing: Option<&'a SecretData>) -> PasswordRequest<'a> {
        PasswordRequest {
            user,
            cluster_id: "01K",
            uri: "mqtts://fleet-tls.iot.svc:8883",
            ca: "CA",
            existing,
            chosen: None,
            random: [7; PASSWORD_RANDOM_BYTES],
        }
    }

    #[test]
    fn a_generated_password_is_kept_and_its_hash_verifies() {
        let user = user("{clusterRef: {name: fleet}}");
        let first = password_secret(&request(&user, None)).unwrap();
        assert_eq!(first[PASSWORD].len(), 32);
        assert!(stored_password(&first).unwrap().0.verify(&first[PASSWORD]));
        let again = PasswordRequest { random: [8; 24], ..request(&user, Some(&first)) };
        assert_eq!(password_secret(&again).unwrap(), first);
    }

    #[test]
    fn a_password_edited_in_the_secret_is_hashed_anew() {
        let user = user("{clusterRef: {name: fleet}}");
        let mut edited = password_secret(&request(&user, None)).unwrap();
        edited.insert(PASSWORD.into(), b"another".to_vec());
        let after = password_secret(&request(&user, Some(&edited))).unwrap();
        assert!(stored_password(&after).unwrap().0.verify(b"another"));
    }

    #[test]
    fn a_scram_credential_is_made_where_it_is_asked_for_and_follows_the_password() {
        let user = user("{clusterRef: {name: fleet}, authentication: {password: {scram: true}}}");
        let scram = |data: &SecretData| stored_password(data).unwrap().1.unwrap();
        let first = password_secret(&request(&user, None)).unwrap();
        assert!(scram(&first).is_of(&first[PASSWORD]));
        assert_eq!(password_secret(&request(&user, Some(&first))).unwrap(), first);
        let mut edited = first.clone();
        edited.insert(PASSWORD.into(), b"another".to_vec());
        let after = password_secret(&request(&user, Some(&edited))).unwrap();
        assert!(scram(&after).is_of(b"another"));
        let mut plain = user.clone();
        plain.spec.authentication = Default::default();
        let without = password_secret(&request(&plain, Some(&first))).unwrap();
        assert!(!without.contains_key(SCRAM));
    }

    #[test]
    fn a_chosen_password_must_be_usable() {
        let user =
            user("{clusterRef: {name: fleet}, authentication: {password: {secretRef: {name: s}}}}");
        let with = |chosen| {
            password_secret(&PasswordRequest { chosen: Some(chosen), ..request(&user, None) })
        };
        assert!(with(b"").unwrap_err().message.contains("1 to 65535 bytes"));
        assert!(with(b"secret\n").unwrap_err().message.contains("line break"));
        let data = with(b"secret").unwrap();
        assert!(stored_password(&data).unwrap().0.verify(b"secret"));
    }

    #[test]
    fn clients_are_sent_to_a_listener_that_takes_them() {
        let cluster = validated(
            "{version: 0.1.0, listeners: [
                {name: plain, protocol: mqtt, port: 1883, acknowledgePlaintext: true},
                {name: tls, port: 8883},
                {name: other, port: 8884}]}",
        );
        for method in [AuthenticationMethod::X509, AuthenticationMethod::Password] {
            assert_eq!(uri(&cluster, method), "mqtts://fleet-tls.iot.svc:8883");
        }
    }
}
