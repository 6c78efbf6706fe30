//! SCRAM-SHA-256 for clients that ask for it: the exchange's state, one at most for a socket.

use std::rc::Rc;
use std::sync::Arc;

use broker_core::codec::ReasonCode;
use broker_core::engine::{ExchangeOutcome, ExchangeRequest};
use broker_core::types::ConnectionId;
use broker_policy::ScramCredential;
use broker_policy::realm::name_of;
use broker_policy::scram::{ClientFirst, ScramChallenge, ScramError};
use ring::rand::SecureRandom as _;

use super::authentication::user_of;
use super::state::Worker;

/// Random bytes of the broker's part of the nonce.
const NONCE_BYTES: usize = 18;

/// An exchange that waits for the client's second message.
pub(super) struct Exchange {
    challenge: ScramChallenge,
    request: ExchangeRequest,
    username: Arc<str>,
    /// Whether the user has a credential: if not, one that fits no password stands in for it.
    is_known: bool,
}

/// Why an exchange ends without success. The client is told the same for all but the first.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the listener takes no passwords")]
    NotOffered,
    #[error(transparent)]
    Exchange(#[from] ScramError),
    #[error("the exchange names another user than connect did")]
    OtherUser,
    #[error("the user has no SCRAM credential")]
    NoCredential,
    #[error(transparent)]
    Policy(#[from] broker_policy::RefusalReason),
    #[error("the system gives no random bytes")]
    NoRandomness,
    #[error("there is no exchange to go on with")]
    NoExchange,
}

impl Worker {
    pub(super) fn begin_exchange(self: &Rc<Self>, id: ConnectionId, request: ExchangeRequest) {
        let Some(socket) = self.socket(id) else { return };
        let takes_passwords =
            self.proofs.get(usize::from(socket.listener.0)).is_some_and(|proofs| proofs.password);
        let begun = match takes_passwords {
            true => {
                let realm = self.realm_of(socket.listener);
                begin(request, realm, &self.shared.scram_secret)
            }
            false => Err(Refusal::NotOffered),
        };
        match begun {
            Ok((exchange, message)) => {
                socket.set_exchange(Some(Box::new(exchange)));
                self.go_on(id, ExchangeOutcome::Continue { data: message.into_bytes().into() });
            }
            Err(refusal) => self.refuse_exchange(id, &refusal),
        }
    }

    pub(super) fn continue_exchange(self: &Rc<Self>, id: ConnectionId, data: &[u8]) {
        let Some(socket) = self.socket(id) else { return };
        let exchange = socket.set_exchange(None).ok_or(Refusal::NoExchange);
        let client_id = exchange.as_ref().ok().map(|exchange| exchange.request.client_id.clone());
        match exchange.and_then(|exchange| finish(*exchange, data)) {
            Ok((username, message)) => {
                self.handle.counters.exchange_verified();
                if client_id.is_some_and(|id| !self.may_enter(&socket, &username, &id)) {
                    let reason_code = ReasonCode::QuotaExceeded;
                    return self.go_on(id, ExchangeOutcome::Refused { reason_code });
                }
                let data = message.into_bytes().into();
                self.go_on(id, ExchangeOutcome::Proved { username, data });
            }
            Err(refusal) => self.refuse_exchange(id, &refusal),
        }
    }

    fn refuse_exchange(&self, id: ConnectionId, refusal: &Refusal) {
        self.handle.counters.authentication_refused();
        tracing::debug!(reason = %refusal, "exchange refused");
        let reason_code = match refusal {
            Refusal::NotOffered => ReasonCode::BadAuthenticationMethod,
            _ => ReasonCode::NotAuthorized,
        };
        self.go_on(id, ExchangeOutcome::Refused { reason_code });
    }

    fn go_on(&self, connection: ConnectionId, outcome: ExchangeOutcome) {
        self.engine.borrow_mut().exchanged(self.now(), connection, outcome);
        self.flush.set();
    }
}

fn begin(
    request: ExchangeRequest,
    realm: Option<&str>,
    secret: &[u8],
) -> Result<(Exchange, String), Refusal> {
    let first = ClientFirst::read(&request.data)?;
    let name: Arc<str> = first.username().into();
    // Of a client that is in, the request has the whole name.
    if request.username.is_some() && name_of(request.username.as_deref()) != Some(&*name) {
        return Err(Refusal::OtherUser);
    }
    let username = user_of(realm, Some(&name)).unwrap_or(name);
    let known = request.policy.client(&username).and_then(|client| client.scram.clone());
    let is_known = known.is_some();
    let credential = known.unwrap_or_else(|| ScramCredential::nobody(secret, &username));
    let (challenge, message) = first.challenge(credential, &nonce()?);
    Ok((Exchange { challenge, request, username, is_known }, message))
}

fn finish(exchange: Exchange, data: &[u8]) -> Result<(Arc<str>, String), Refusal> {
    let Exchange { challenge, request, username, is_known } = exchange;
    let message = challenge.finish(data)?;
    if !is_known {
        return Err(Refusal::NoCredential);
    }
    request.policy.admits(Some(&username), request.client_id.as_str())?;
    Ok((username, message))
}

fn nonce() -> Result<String, Refusal> {
    let mut bytes = [0; NONCE_BYTES];
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| Refusal::NoRandomness)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
