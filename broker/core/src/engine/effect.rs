//! What the engine and its driver tell each other beside bytes. Pure data.

use std::fmt;
use std::sync::Arc;

use broker_policy::Policy;
use serde::{Deserialize, Serialize};

use super::{InterestChange, Reach};
use crate::codec::ReasonCode;
use crate::retained::RetainedChange;
use crate::session::SessionState;
use crate::shard::OperationOutcome;
use crate::types::{ClientId, ConnectionId, ProtocolVersion};

/// What the driver knows of a Network Connection before its first byte.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectionOrigin {
    /// Name found in a verified client certificate; `None` without one.
    pub certificate_name: Option<Arc<str>>,
    /// Number of its listener, in [`EngineConfig::listener_rates`](super::EngineConfig).
    pub listener: u8,
    /// A limit of the driver is reached: CONNECT is answered with this Connect Reason Code.
    pub refusal: Option<ReasonCode>,
}

/// The right to hold a Client Identifier, granted by the cluster's arbiter. A later one is greater.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Claim {
    /// The arbiter's term.
    pub term: u64,
    /// Position among the claims of that term.
    pub seq: u64,
}

/// Names one proposal of one engine until its outcome is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProposalId(pub u64);

/// Numbers one engine's interest changes: 1, 2, 3 and so on without a gap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterestSeq(pub u64);

/// Something the driver must do. Effects are in order and each is handed out once.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Write out what [`output`](super::Engine::output) still holds, close the Network Connection,
    /// then call [`connection_closed`](super::Engine::connection_closed). Until that call the
    /// identifier stays taken; bytes that still arrive are ignored.
    Close {
        /// The connection.
        connection: ConnectionId,
    },
    /// Check who it is; answer with [`authenticated`](super::Engine::authenticated).
    Authenticate {
        /// The connection.
        connection: ConnectionId,
        /// What the client presents.
        request: Box<AuthRequest>,
    },
    /// An exchange of AUTH packets begins: say what comes next by
    /// [`exchanged`](super::Engine::exchanged).
    BeginExchange {
        /// The connection.
        connection: ConnectionId,
        /// What the client presents. Its method is SCRAM-SHA-256.
        request: Box<ExchangeRequest>,
    },
    /// The client goes on: answer as before.
    ContinueExchange {
        /// The connection.
        connection: ConnectionId,
        /// Its Authentication Data.
        data: Box<[u8]>,
    },
    /// Ask the arbiter for the Client Identifier, have an earlier holder's engine
    /// [`take_over`](super::Engine::take_over), and answer with
    /// [`claimed`](super::Engine::claimed).
    Claim {
        /// The connection.
        connection: ConnectionId,
        /// What it claims.
        client_id: ClientId,
        /// Whether an earlier session is to be discarded: pass it on to `take_over`.
        clean_start: bool,
    },
    /// The connection has gone before its claim was answered: nobody waits for the identifier any
    /// more. The claim is answered all the same, with [`ClaimOutcome::Granted`] where it was too
    /// late.
    Withdraw {
        /// Who claimed it.
        connection: ConnectionId,
        /// The identifier.
        client_id: ClientId,
    },
    /// The session is gone from this engine; the claim may be forgotten if it is still the newest.
    Release {
        /// The identifier.
        client_id: ClientId,
        /// The claim that was held.
        claim: Claim,
    },
    /// The set of filters that sessions of this engine hold has changed: tell the other workers
    /// and nodes; when all have it, answer with
    /// [`interest_confirmed`](super::Engine::interest_confirmed).
    Interest {
        /// The number of this change.
        seq: InterestSeq,
        /// What changed, in order.
        changes: Vec<InterestChange>,
    },
    /// Have the cluster commit the change; answer with [`committed`](super::Engine::committed).
    Propose {
        /// Names it in the answer.
        proposal: ProposalId,
        /// The change.
        change: Box<RetainedChange>,
    },
    /// Have the cluster carry out operations on durable sessions; answer with
    /// [`sessions_committed`](super::Engine::sessions_committed), in the order of the effects.
    ProposeSessions {
        /// Names them in the answer.
        proposal: ProposalId,
        /// [`Operation`](crate::shard::Operation)s one behind the other.
        operations: Vec<u8>,
        /// How far they must have come before the answer.
        reach: Reach,
    },
    /// Reading from this connection, which [`receive`](super::Engine::receive) paused, may go on.
    Resume {
        /// The connection.
        connection: ConnectionId,
    },
}

/// Whether the driver should go on reading from a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Intake {
    /// Read on.
    Open,
    /// Stop reading until [`Effect::Resume`] or [`Effect::Close`]; the bytes handed in are kept.
    Paused,
}

/// What a client presents in CONNECT.
#[derive(Clone)]
pub struct AuthRequest {
    /// The policy to check against. If another one holds when the answer comes, the engine looks
    /// whether the answer still does.
    pub policy: Arc<Policy>,
    /// Client Identifier, assigned by the engine when the client sent none.
    pub client_id: ClientId,
    /// Protocol version.
    pub version: ProtocolVersion,
    /// User Name.
    pub username: Option<Arc<str>>,
    /// Password. Secret: the driver drops it as soon as it is checked.
    pub password: Option<Box<[u8]>>,
    /// Name found in a verified client certificate.
    pub certificate_name: Option<Arc<str>>,
}

impl PartialEq for AuthRequest {
    /// Compares what the client presents.
    fn eq(&self, other: &Self) -> bool {
        let key = |r: &Self| {
            (r.client_id.clone(), r.version, r.username.clone(), r.certificate_name.clone())
        };
        key(self) == key(other) && self.password == other.password
    }
}

impl fmt::Debug for AuthRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthRequest")
            .field("client_id", &self.client_id)
            .field("version", &self.version)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "redacted"))
            .field("certificate_name", &self.certificate_name)
            .finish()
    }
}

/// What a client presents at the beginning of an exchange.
#[derive(Clone)]
pub struct ExchangeRequest {
    /// The policy to check against, to the exchange's end. If another one holds by then, the engine
    /// looks whether the answer still does.
    pub policy: Arc<Policy>,
    /// Client Identifier.
    pub client_id: ClientId,
    /// User Name of CONNECT, or of the user that is in already: the exchange must prove that one.
    pub username: Option<Arc<str>>,
    /// Authentication Data; empty where the client sent none.
    pub data: Box<[u8]>,
}

impl PartialEq for ExchangeRequest {
    /// Compares what the client presents.
    fn eq(&self, other: &Self) -> bool {
        let key = |r: &Self| (r.client_id.clone(), r.username.clone());
        key(self) == key(other) && self.data == other.data
    }
}

impl fmt::Debug for ExchangeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExchangeRequest")
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// The answer to [`Effect::BeginExchange`] and [`Effect::ContinueExchange`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExchangeOutcome {
    /// The client is to go on.
    Continue {
        /// Authentication Data for it.
        data: Box<[u8]>,
    },
    /// The client is who it says.
    Proved {
        /// The policy's client it acts as.
        username: Arc<str>,
        /// Authentication Data for it.
        data: Box<[u8]>,
    },
    /// It is refused.
    Refused {
        /// One that CONNACK and DISCONNECT have.
        reason_code: ReasonCode,
    },
}

/// The answer to [`Effect::Authenticate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthOutcome {
    /// The client is who it says.
    Accepted {
        /// The policy's client it acts as; `None` for an anonymous one.
        username: Option<Arc<str>>,
        /// What proved it.
        proof: AuthProof,
    },
    /// It is refused with this Connect Reason Code.
    Refused {
        /// 0x80 or above.
        reason_code: ReasonCode,
    },
}

/// What a client proved its identity with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthProof {
    /// The password of the record.
    Password,
    /// Knowledge of the password, in an exchange.
    Exchange,
    /// A client certificate.
    Certificate,
    /// Nothing: an anonymous client.
    None,
}

/// The answer to [`Effect::Claim`].
#[derive(Debug, Clone, PartialEq)]
pub enum ClaimOutcome {
    /// The identifier is this connection's.
    Granted {
        /// The claim.
        claim: Claim,
        /// The earlier session, when there was one and the client did not ask for a clean start.
        session: Option<Box<SessionState>>,
    },
    /// A newer connection took the identifier meanwhile: CONNACK 0x89.
    Superseded,
    /// There is no arbiter: CONNACK 0x88.
    Unavailable,
}

/// The answer to [`Effect::Propose`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitOutcome {
    /// It is committed.
    Committed,
    /// It was not, and will not be: the publisher is told so.
    Failed,
    /// As many messages are retained as there may be: the publisher is told so.
    Refused,
}

/// The answer to [`Effect::ProposeSessions`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionsOutcome {
    /// They are committed, and have come as far as was asked.
    Applied(Vec<OperationOutcome>),
    /// They were not proposed: too much waits.
    Refused,
    /// They were not confirmed in time, and may be carried out still.
    Unknown,
}
