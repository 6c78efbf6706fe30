//! One worker's share of the broker: its connections, its sessions, their routing.
//!
//! Pure: bytes, answers and times come in as arguments; bytes, batches and effects go out. The
//! driver owns sockets and clocks. After each call, or each series of calls, it drains
//! [`Engine::take_effects`], [`Engine::take_touched`] and [`Engine::take_forward`].

mod config;
mod counters;
mod effect;

use std::sync::Arc;

use broker_policy::Policy;

pub use config::*;
pub use counters::{Counters, Dropped};
pub use effect::*;

use crate::retained::RetainedSource;
use crate::session::SessionState;
use crate::types::{ClientId, ConnectionId, Millis};

/// The protocol engine of one worker.
pub struct Engine {
}

impl Engine {
    /// An engine without connections.
    #[must_use]
    pub fn new(config: EngineConfig, policy: Arc<Policy>, retained: Arc<dyn RetainedSource>) -> Self { todo!() }

    // ---- inputs ----

    /// A Network Connection is open. CONNECT must come within the connect timeout.
    ///
    /// The engine issues the identifier: its lower 32 bits are a small index that is used again,
    /// so the driver may keep its sockets in a vector by [`ConnectionId`] index.
    pub fn connection_opened(&mut self, now: Millis, origin: ConnectionOrigin) -> ConnectionId { todo!() }

    /// Bytes have arrived. A partial packet at their end is kept.
    pub fn receive(&mut self, now: Millis, connection: ConnectionId, bytes: &[u8]) -> Intake { todo!() }

    /// The Network Connection is closed: by the peer, by an error, or as [`Effect::Close`] asked.
    /// The identifier is free after this.
    pub fn connection_closed(&mut self, now: Millis, connection: ConnectionId) { todo!() }

    /// Answers [`Effect::Authenticate`]. Nothing happens if the connection is gone.
    pub fn authenticated(&mut self, now: Millis, connection: ConnectionId, outcome: AuthOutcome) { todo!() }

    /// Answers [`Effect::Claim`]. If the connection is gone, the session stays, offline.
    pub fn claimed(&mut self, now: Millis, connection: ConnectionId, outcome: ClaimOutcome) { todo!() }

    /// Another connection claims the Client Identifier: its connection here, if any, is closed
    /// with 0x8E, and the session leaves this engine. `None` when there is none to go on with.
    pub fn take_over(&mut self, now: Millis, client_id: &ClientId, clean_start: bool) -> Option<Box<SessionState>> { todo!() }

    /// Every other worker and live node knows the interest changes up to `seq`.
    pub fn interest_confirmed(&mut self, now: Millis, seq: InterestSeq) { todo!() }

    /// Messages from another engine: a batch that its [`take_forward`](Self::take_forward) gave.
    pub fn deliver(&mut self, now: Millis, batch: &[u8]) { todo!() }

    /// A new policy holds: live sessions it concerns are looked at again.
    pub fn set_policy(&mut self, now: Millis, policy: Arc<Policy>) { todo!() }

    /// Answers [`Effect::Propose`].
    pub fn committed(&mut self, now: Millis, proposal: ProposalId, outcome: CommitOutcome) { todo!() }

    /// What other workers and nodes want to hear has changed.
    pub fn set_remote_interest(&mut self, changes: impl IntoIterator<Item = RemoteInterest>) { todo!() }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Millis) { todo!() }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next; may be early, is never
    /// late. Ask again after every pass.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Millis> { todo!() }

    /// Disconnects every client with 0x8B. Sessions stay, to be taken over.
    pub fn drain(&mut self, now: Millis) { todo!() }

    // ---- outputs ----

    /// Appends the effects since the last call to `into`.
    pub fn take_effects(&mut self, into: &mut Vec<Effect>) { todo!() }

    /// Appends the connections that have new output to `into`, each once.
    pub fn take_touched(&mut self, into: &mut Vec<ConnectionId>) { todo!() }

    /// The bytes to write to a connection; empty for an unknown one.
    #[must_use]
    pub fn output(&self, connection: ConnectionId) -> &[u8] { todo!() }

    /// The first `bytes` of [`output`](Self::output) are written.
    pub fn output_written(&mut self, now: Millis, connection: ConnectionId, bytes: usize) { todo!() }

    /// Destinations with messages to forward, as a set of bits by their number.
    #[must_use]
    pub fn pending_forwards(&self) -> u64 { todo!() }

    /// The batch for a destination; empty if there is nothing.
    #[must_use]
    pub fn take_forward(&mut self, destination: Destination) -> Vec<u8> { todo!() }

    /// Gives back the buffer of a batch for reuse.
    pub fn recycle_forward(&mut self, batch: Vec<u8>) { todo!() }

    /// The filters that sessions of this engine hold now: what a new peer or worker is told first.
    pub fn interest(&self) -> impl Iterator<Item = &Arc<str>> { std::iter::empty() }

    /// The latest interest change given out.
    #[must_use]
    pub fn interest_seq(&self) -> InterestSeq { todo!() }

    /// The claims of the sessions here: what a new arbiter is told.
    pub fn claims(&self) -> impl Iterator<Item = (&ClientId, Claim)> { std::iter::empty() }

    /// What the engine has done and holds.
    #[must_use]
    pub fn counters(&self) -> &Counters { todo!() }
}
