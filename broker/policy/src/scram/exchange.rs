//! The server's side of one exchange: two messages in, two out. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::message::{read_final, read_first};
use super::{Key, ScramCredential, hmac, prepare};

/// Why an exchange is over without success. The client is told one thing for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// A message is not what RFC 5802 says.
    #[error("the client's message is no SCRAM message")]
    Malformed,
    /// Channel binding, which is not offered.
    #[error("the client asks for channel binding, which is not offered: use SCRAM without it")]
    ChannelBinding,
    /// The client wants to act as somebody else.
    #[error("the client asks to act as another user")]
    OtherIdentity,
    /// The user name is none.
    #[error("the user name holds characters that SASLprep (RFC 4013) prohibits")]
    Username,
    /// The second message does not go on from the first one.
    #[error("the client's second message does not belong to its first")]
    OtherExchange,
    /// The proof is wrong.
    #[error("the client does not know the password")]
    WrongProof,
}

/// The client's first message.
#[derive(Debug)]
pub struct ClientFirst {
    header: String,
    bare: String,
    username: String,
    prepared: String,
    nonce: String,
}

impl ClientFirst {
    /// Reads client-first-message.
    ///
    /// # Errors
    /// [`ScramError`]: it can't be read, or asks for what is not offered.
    pub fn read(message: &[u8]) -> Result<Self, ScramError> {
        let first = read_first(message)?;
        let prepared = prepare(&first.username).ok_or(ScramError::Username)?.into_owned();
        Ok(Self {
            prepared,
            header: STANDARD.encode(first.header),
            bare: first.bare.to_owned(),
            nonce: first.nonce.to_owned(),
            username: first.username,
        })
    }

    /// Whom the client says to be, as it says it.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The same by SASLprep.
    #[must_use]
    pub fn prepared_username(&self) -> &str {
        &self.prepared
    }

    /// Whether a name is the same but for its spelling.
    #[must_use]
    pub fn is_of(&self, username: &str) -> bool {
        username == self.username || prepare(username).is_some_and(|name| *name == *self.prepared)
    }

    /// server-first-message, and what waits for its answer. `nonce`: printable ASCII without a comma,
    /// new for each exchange and not to be foreseen.
    #[must_use]
    pub fn challenge(self, credential: ScramCredential, nonce: &str) -> (ScramChallenge, String) {
        let Self { header, bare, nonce: client_nonce, .. } = self;
        let nonce = format!("{client_nonce}{nonce}");
        let (salt, iterations) = (STANDARD.encode(&credential.salt), credential.iterations);
        let message = format!("r={nonce},s={salt},i={iterations}");
        let signed = format!("{bare},{message}");
        (ScramChallenge { credential, header, nonce, signed }, message)
    }
}

/// An exchange that waits for the client's second message.
#[derive(Debug)]
pub struct ScramChallenge {
    credential: ScramCredential,
    /// As the client must repeat it.
    header: String,
    nonce: String,
    /// What both sides sign, up to the client's second message.
    signed: String,
}

impl ScramChallenge {
    /// Takes client-final-message; gives server-final-message. Takes as long for a wrong proof as for
    /// the right one.
    ///
    /// # Errors
    /// [`ScramError`]: it can't be read, belongs elsewhere, or proves nothing.
    pub fn finish(self, message: &[u8]) -> Result<String, ScramError> {
        let last = read_final(message)?;
        if last.binding != self.header || last.nonce != self.nonce {
            return Err(ScramError::OtherExchange);
        }
        let signed = format!("{},{}", self.signed, last.without_proof);
        let proof: Key = STANDARD
            .decode(last.proof)
            .ok()
            .and_then(|proof| proof.try_into().ok())
            .ok_or(ScramError::Malformed)?;
        let mut client_key = hmac(&self.credential.stored_key, signed.as_bytes());
        client_key.iter_mut().zip(proof).for_each(|(byte, proof)| *byte ^= proof);
        let stored_key: Key = Sha256::digest(client_key).into();
        if !bool::from(stored_key.ct_eq(&self.credential.stored_key)) {
            return Err(ScramError::WrongProof);
        }
        let signature = hmac(&self.credential.server_key, signed.as_bytes());
        Ok(format!("v={}", STANDARD.encode(signature)))
    }
}
