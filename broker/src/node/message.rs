//! Messages between the workers and the hub.
//!
//! Two kinds of queue, both bounded. Who meets a full one does this:
//!
//! | queue | sender | when it is full |
//! |---|---|---|
//! | [`ToHub`], one for all workers | worker | the message waits in the worker's outbox, in order; while the outbox is not empty the worker reads no socket, so clients feel it and nothing is lost |
//! | [`ToWorker`], one per worker | hub | control: `send().await`. [`ToWorker::Deliver`]: `try_send` when it is droppable (QoS 0), counted when dropped; else awaited |
//! | [`ToWorker`], one per worker | another worker | [`ToWorker::DeliverLocal`] waits in the sender's outbox, which stops the sender's reads. A worker always goes on taking from its own queue, so two full queues never wait for each other |
//! | [`ToWorker`], one per worker | acceptor | `try_send` of [`ToWorker::Accept`]; the socket is closed, and counted |
//! | [`ToWorker`], one per worker | watch over memory | `send().await` of [`ToWorker::Pressure`] that changes; `try_send` of one that repeats, which the next one makes good |
//!
//! Messages of one sender to one receiver keep their order. All are values: nothing is shared but
//! counters, policies and payloads behind reference counts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use broker_core::engine::{
    Claim, ClaimOutcome, CommitOutcome, Destination, InterestChange, InterestSeq, Pressure,
    ProposalId, Reach, RemoteInterest, SessionsOutcome, SysValue,
};
use broker_core::retained::RetainedChange;
use broker_core::session::SessionState;
use broker_core::shard::{Drops, LiveMessage};
use broker_core::types::{ClientId, ConnectionId};
use broker_policy::{Policy, Revision};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::admission::Place;
use super::counters::{ListenerCounters, WorkerCounters};

/// Bound of the queue from all workers to the hub.
pub const HUB_QUEUE_MESSAGES_MAX: usize = 8_192;

/// Bound of the queue to one worker.
pub const WORKER_QUEUE_MESSAGES_MAX: usize = 4_096;

/// Most workers of one broker: half of the forward destinations, the others are for peer nodes.
pub const WORKERS_MAX: usize = Destination::COUNT / 2;

/// A worker of this broker: 0 to `WORKERS_MAX - 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u8);

impl WorkerId {
    /// The forward destination that stands for this worker in the engines of the others. Peer
    /// nodes get the numbers from [`WORKERS_MAX`] up, assigned by the hub, the same in every
    /// worker.
    #[must_use]
    pub fn destination(self) -> Destination {
        Destination::new(self.0).expect("invariant: a worker's number is below WORKERS_MAX")
    }

    /// The worker that a destination stands for; `None` when it is a peer node.
    #[must_use]
    pub fn from_destination(destination: Destination) -> Option<Self> {
        (usize::from(destination.get()) < WORKERS_MAX).then_some(Self(destination.get()))
    }
}

impl std::fmt::Display for WorkerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Numbers the hub's interest updates: the worker returns it when the update is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterestUpdateId(pub u64);

/// From a worker to the hub.
#[derive(Debug)]
pub enum ToHub {
    /// A connection wants a Client Identifier; answered by [`ToWorker::Claimed`].
    Claim {
        /// Who asks.
        worker: WorkerId,
        /// For which connection.
        connection: ConnectionId,
        /// What it claims.
        client_id: ClientId,
        /// Whether an earlier session is to be discarded.
        clean_start: bool,
    },
    /// The connection has gone that a [`ToHub::Claim`] was for; it is answered all the same.
    Withdraw {
        /// Who asked.
        worker: WorkerId,
        /// For which connection.
        connection: ConnectionId,
        /// What it claimed.
        client_id: ClientId,
    },
    /// The session of this claim is gone from the worker.
    Release {
        /// Who held it.
        worker: WorkerId,
        /// The identifier.
        client_id: ClientId,
        /// The claim that was held; ignored when a newer one exists.
        claim: Claim,
    },
    /// The worker's own filters have changed; answered by [`ToWorker::InterestConfirmed`] once
    /// every other live worker and peer has them.
    Interest {
        /// Whose filters.
        worker: WorkerId,
        /// Without gaps per worker.
        seq: InterestSeq,
        /// What changed, in order.
        changes: Vec<InterestChange>,
    },
    /// A [`ToWorker::InterestUpdate`] is in the worker's routing table.
    InterestApplied {
        /// Whose table.
        worker: WorkerId,
        /// Which update.
        update: InterestUpdateId,
    },
    /// To be committed by the meta group; answered by [`ToWorker::Committed`].
    Propose {
        /// Who asks.
        worker: WorkerId,
        /// Names it in the answer.
        proposal: ProposalId,
        /// The change.
        change: Box<RetainedChange>,
    },
    /// Operations on durable sessions, to be committed; answered by
    /// [`ToWorker::SessionsCommitted`].
    ProposeSessions {
        /// Who asks.
        worker: WorkerId,
        /// Names them in the answer.
        proposal: ProposalId,
        /// In the encoding of `broker_core::shard`.
        operations: Bytes,
        /// How far they must have come before the answer.
        reach: Reach,
    },
    /// Messages for a peer node, in the format of `broker_core::forward`.
    Forward {
        /// The node, by the number that the hub gave it.
        destination: Destination,
        /// One batch.
        batch: Vec<u8>,
    },
    /// Every live session of this worker is held to the revision.
    PolicyEnforced {
        /// Who enforces it.
        worker: WorkerId,
        /// The policy's revision.
        revision: Revision,
    },
}

/// To a worker.
#[derive(Debug)]
pub enum ToWorker {
    /// A socket to serve.
    Accept(AcceptedSocket),
    /// The answer to [`ToHub::Claim`].
    Claimed {
        /// The connection that asked.
        connection: ConnectionId,
        /// What came of it.
        outcome: ClaimOutcome,
    },
    /// A newer connection has the identifier: disconnect the older one (0x8E) and hand out its
    /// session.
    TakeOver {
        /// The identifier.
        client_id: ClientId,
        /// The newer claim.
        claim: Claim,
        /// Whether the session is to be discarded.
        clean_start: bool,
        /// Gets the session; `None` when there is none. Dropped when nobody waits any more.
        reply: oneshot::Sender<Option<Box<SessionState>>>,
    },
    /// What other workers and nodes want to hear; answered by [`ToHub::InterestApplied`].
    InterestUpdate {
        /// Names it in the answer.
        update: InterestUpdateId,
        /// What changed, in order; shared by all workers.
        changes: Arc<[RemoteInterest]>,
    },
    /// The answer to [`ToHub::Interest`]; all changes up to this one are confirmed.
    InterestConfirmed {
        /// The last change that everyone has.
        seq: InterestSeq,
    },
    /// Messages published on a peer node, in the format of `broker_core::forward`.
    Deliver {
        /// One batch; shared by the workers it goes to.
        batch: Bytes,
    },
    /// Messages published on another worker of this node.
    DeliverLocal {
        /// One batch; the receiver keeps the buffer for its own ones.
        batch: Vec<u8>,
    },
    /// The rights to enforce from now on; answered by [`ToHub::PolicyEnforced`].
    Policy(Arc<Policy>),
    /// The answer to [`ToHub::Propose`].
    Committed {
        /// The proposal.
        proposal: ProposalId,
        /// What came of it.
        outcome: CommitOutcome,
    },
    /// The answer to [`ToHub::ProposeSessions`].
    SessionsCommitted {
        /// The proposal.
        proposal: ProposalId,
        /// What came of it.
        outcome: SessionsOutcome,
    },
    /// The replicated state has messages for durable sessions of this worker.
    SessionsReady {
        /// Which; `None` for any of them.
        sessions: Option<Vec<ClientId>>,
    },
    /// A message that the replicated state leaves to those who are not in it.
    PublishLive(Box<LiveMessage>),
    /// Messages that the replicated state has dropped, by what this node proposed.
    SessionDrops(Drops),
    /// Values of the broker that have changed, for whoever is subscribed to them.
    Sys(Arc<[SysValue]>),
    /// Move clients away (0x8B, or 0x9C where another server is named), at most so many a second; 0
    /// ends the drain.
    Drain {
        /// This worker's share of the pace.
        clients_per_second: u32,
        /// Where they are sent, instead of where the configuration says.
        server_reference: Option<Arc<str>>,
    },
    /// How scarce memory is: at each change, and at the end of each interval while it is.
    Pressure(Pressure),
    /// Tell every client (0x8B), flush, close, and end the thread.
    Stop,
}

/// A client's socket, non-blocking.
#[derive(Debug)]
pub enum ClientSocket {
    /// Over a network, or loopback.
    Tcp(std::net::TcpStream),
    /// Of a program of this machine.
    Unix(std::os::unix::net::UnixStream),
}

/// A socket on its way to a worker.
#[derive(Debug)]
pub struct AcceptedSocket {
    /// The socket.
    pub socket: ClientSocket,
    /// Where it came from; `None` for a program of this machine.
    pub address: Option<SocketAddr>,
    /// When it was accepted: the connect timeout runs from then on.
    pub accepted: Instant,
    /// Which listener took it.
    pub listener: ListenerId,
    /// Counts it as open until it is dropped.
    pub slot: ConnectionSlot,
    /// Its place among all connections of the process.
    pub place: Place,
}

/// A listener, by its place in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenerId(pub u8);

/// A place among a listener's connections and a worker's; given back when dropped.
#[derive(Debug)]
pub struct ConnectionSlot {
    listener: Arc<ListenerCounters>,
    worker: Arc<WorkerCounters>,
    is_admitted: bool,
}

impl ConnectionSlot {
    /// Takes a place. Who is not admitted, and only told so, has none among the listener's.
    #[must_use]
    pub fn take(
        listener: &Arc<ListenerCounters>,
        worker: &Arc<WorkerCounters>,
        is_admitted: bool,
    ) -> Self {
        match is_admitted {
            true => listener.connection_opened(),
            false => listener.connection_refused(),
        }
        worker.socket_opened();
        Self { listener: Arc::clone(listener), worker: Arc::clone(worker), is_admitted }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        if self.is_admitted {
            self.listener.connection_closed();
        }
        self.worker.socket_closed();
    }
}

/// How the other threads reach a worker.
#[derive(Debug, Clone)]
pub struct WorkerHandle {
    /// Which one.
    pub id: WorkerId,
    /// Its queue.
    pub inbox: mpsc::Sender<ToWorker>,
    /// What it publishes for `/metrics`.
    pub counters: Arc<WorkerCounters>,
}
