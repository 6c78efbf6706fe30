//! One worker's share of the broker: its connections, its sessions, their routing.
//!
//! Pure: bytes, answers and times come in as arguments; bytes, batches and effects go out. The
//! driver owns sockets and clocks. After each call, or each series of calls, it drains
//! [`Engine::take_effects`], [`Engine::take_touched`] and [`Engine::take_forward`].
//!
//! Steps, a file each: `receive` cuts packets, `exchange` asks on who somebody is, `connect`, `attach` and `connack` begin a session's time
//! on a connection, `close` ends it, `redirect` sends clients
//! elsewhere, `publish`, `delayed` and `ack` take messages
//! in, `route`, `deliver` and `frames` send
//! them out, `shared` and `redispatch` choose members of groups, `subscribe` and `retained` serve
//! Subscriptions, `durable` has what concerns sessions that the replicated state keeps, `rate` and
//! `pressure` hold publishers back, `timeout`, `policy` and `commit` react to what happens elsewhere;
//! `reason` has the words of refusals; `sys` says what the broker tells of itself; `topics` puts other
//! topics in place of clients' own, and `listener` has what differs between listeners.

mod ack;
mod attach;
mod close;
mod commit;
mod config;
mod connack;
mod connect;
mod counters;
mod delayed;
mod deliver;
mod durability;
mod durable;
mod effect;
mod exchange;
mod forwarding;
mod frames;
mod interest;
mod listener;
mod outgoing;
mod output;
mod policy;
mod pressure;
mod publish;
mod random;
mod rate;
mod reason;
mod receive;
mod redirect;
mod redispatch;
mod retained;
mod route;
mod shared;
mod subscribe;
mod sys;
mod take_over;
mod timeout;
mod timers;
mod topics;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use broker_policy::Policy;

pub use config::*;
pub(crate) use counters::DropReason;
pub use counters::{Counters, Dropped, Limits};
pub use delayed::DelayedLimits;
pub(crate) use durability::DurabilityRules;
pub use durability::{AcknowledgeWhen, DurabilityRule};
pub(crate) use durable::DurableView;
pub use durable::Reach;
pub use effect::*;
pub use forwarding::FORWARD_BATCH_BYTES_MAX;
pub use interest::*;
pub use listener::ListenerOptions;
pub use pressure::Pressure;
pub use rate::ListenerRates;
pub use sys::{SYS_PREFIX, SysValue};
pub use topics::AutoSubscription;

use crate::connection::{Connections, RateLimit};
use crate::retained::RetainedSource;
use crate::router::{Holder, Router};
use crate::session::Sessions;
use crate::types::{ClientId, ConnectionId, Millis};

/// The protocol engine of one worker.
pub struct Engine {
    config: EngineConfig,
    policy: Arc<Policy>,
    retained: Arc<dyn RetainedSource>,
    connections: Connections,
    sessions: Sessions,
    router: Router,
    timers: timers::Timers,
    searches: retained::Searches,
    frames: frames::Frames,
    forwards: forwarding::Forwards,
    delayed: delayed::Delayed,
    /// Answers that wait for an interest change to be known elsewhere.
    waiting: BTreeMap<(InterestSeq, u64), subscribe::Waiting>,
    waiting_count: u64,
    /// Connections with acknowledgements that wait for a proposal.
    proposals: HashMap<ProposalId, ConnectionId>,
    proposal_count: u64,
    /// Claims whose connection went before the answer came.
    orphaned_claims: HashMap<ConnectionId, ClientId>,
    assigned_ids: u64,
    random: random::Random,
    /// Quotas of all clients of a listener together, by its number.
    listener_limits: Vec<Option<Box<RateLimit>>>,
    pressure: pressure::PressureState,
    /// Where clients are sent that a drain moves away.
    drain_reference: Option<Arc<str>>,
    /// Where sessions that outlive their connections are kept by the replicated state.
    durable: Option<Box<durable::Durable>>,
    effects: Vec<Effect>,
    counters: Counters,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("counters", self.counters()).finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine without connections.
    #[must_use]
    pub fn new(
        config: EngineConfig,
        policy: Arc<Policy>,
        retained: Arc<dyn RetainedSource>,
    ) -> Self {
        let rules = DurabilityRules::new(&config.durability_rules, config.seed);
        let here = Holder { node: config.node, worker: config.worker };
        let router = Router::new(config.seed, here).with_durability(rules);
        Self {
            random: random::Random::new(config.seed),
            listener_limits: rate::listener_limits(&config.listener_rates),
            pressure: pressure::PressureState::default(),
            drain_reference: None,
            config,
            policy,
            retained,
            connections: Connections::default(),
            sessions: Sessions::default(),
            router,
            timers: timers::Timers::default(),
            searches: retained::Searches::default(),
            frames: frames::Frames::default(),
            forwards: forwarding::Forwards::default(),
            delayed: delayed::Delayed::default(),
            waiting: BTreeMap::new(),
            waiting_count: 0,
            proposals: HashMap::new(),
            proposal_count: 0,
            orphaned_claims: HashMap::new(),
            assigned_ids: 0,
            durable: None,
            effects: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// A Network Connection is open that was accepted at `accepted`, handshakes of other layers are
    /// over: CONNECT must have come, and be answered, within the connect timeout from then on.
    ///
    /// The engine issues the identifier: its lower 32 bits are a small index that is used again,
    /// so the driver may keep its sockets in a vector by it. The upper bits never repeat.
    pub fn connection_opened(
        &mut self,
        accepted: Millis,
        origin: ConnectionOrigin,
    ) -> ConnectionId {
        let id = self.connections.open(accepted, origin);
        self.counters.connections = self.connections.len() as u64;
        let at = accepted.plus(self.config.connect_timeout_millis);
        self.arm_connection(id, at);
        id
    }

    /// Appends the effects since the last call to `into`.
    pub fn take_effects(&mut self, into: &mut Vec<Effect>) {
        if let Some((seq, changes)) = self.router.issue_interest() {
            self.effects.push(Effect::Interest { seq, changes });
        }
        self.propose_batches();
        into.append(&mut self.effects);
    }

    /// What other workers and nodes want to hear has changed.
    pub fn set_remote_interest(&mut self, changes: impl IntoIterator<Item = RemoteInterest>) {
        for change in changes {
            self.router.set_remote(change);
        }
    }

    /// The filters that sessions of this engine hold now, those of changes not yet given out
    /// included: what a new peer or worker is told first. Costs a pass over all filters.
    #[must_use]
    pub fn interest(&self) -> Vec<Arc<str>> {
        self.router.local_filters()
    }

    /// The latest interest change given out.
    #[must_use]
    pub const fn interest_seq(&self) -> InterestSeq {
        self.router.issued()
    }

    /// The claims of the sessions here: what a new arbiter is told.
    pub fn claims(&self) -> impl Iterator<Item = (&ClientId, Claim)> {
        self.sessions.iter().map(|(_, session)| (&session.client_id, session.claim))
    }

    /// The policy that is in force.
    #[must_use]
    pub const fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// What the engine has done and holds.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }
}
