//! SCRAM-SHA-256 for clients that ask for it: the exchange's state, one at most for a socket.

use std::rc::Rc;
use std::sync::Arc;

use broker_core::cluster_state::ClusterSecret;
use broker_core::codec::ReasonCode;
use broker_core::engine::{ExchangeOutcome, ExchangeRequest};
use broker_core::types::ConnectionId;
use broker_policy::ScramCredential;
use broker_policy::realm::{name_of, user_in};
use broker_policy::scram::{ClientFirst, ScramChallenge, ScramError};
use ring::rand::SecureRandom as _;

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

/// Why an exchange ends without success. The client is told the same for all but the first and the
/// last.
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
    #[error("the cluster has no secret yet")]
    NoSecret,
}

impl Worker {
    pub(super) fn begin_exchange(self: &Rc<Self>, id: ConnectionId, request: ExchangeRequest) {
        let Some(socket) = self.socket(id) else { return };
        let takes_passwords =
            self.proofs.get(usize::from(socket.listener.0)).is_some_and(|proofs| proofs.password);
        let begun = match takes_passwords {
            true => begin(request, self.realm_of(socket.listener), self.shared.secret.get()),
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
            Refusal::NoSecret => ReasonCode::ServerBusy,
            _ => ReasonCode::NotAuthorized,
        };
        self.go_on(id, ExchangeOutcome::Refused { reason_code });
    }

    fn go_on(&self, connection: ConnectionId, outcome: ExchangeOutcome) {
        self.engine.borrow_mut().exchanged(self.now(), connection, outcome);
        self.flush.set();
    }
}

/// Without the secret nobody comes in: who is not there could be told from who is.
fn begin(
    request: ExchangeRequest,
    realm: Option<&str>,
    secret: Option<&ClusterSecret>,
) -> Result<(Exchange, String), Refusal> {
    let secret = secret.ok_or(Refusal::NoSecret)?.as_bytes();
    let first = ClientFirst::read(&request.data)?;
    // Of a client that is in, the request has the whole name.
    let named = name_of(request.username.as_deref());
    if request.username.is_some() && named.is_none_or(|named| !first.is_of(named)) {
        return Err(Refusal::OtherUser);
    }
    let policy = &request.policy;
    let whole = |name: &str| match realm {
        None => name.into(),
        Some(realm) => user_in(realm, Some(name)),
    };
    let names = [first.prepared_username(), first.username()];
    let record = names.into_iter().find_map(|name| policy.client(&whole(name)));
    let username: Arc<str> = match record {
        None => whole(first.prepared_username()),
        Some(client) => client.username.as_str().into(),
    };
    let known = record.and_then(|client| client.scram.clone());
    let is_known = known.is_some();
    let credential =
        known.unwrap_or_else(|| ScramCredential::nobody(secret, &username, policy.scram_cost()));
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
