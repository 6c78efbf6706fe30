//! Network Connections: what ends with them. Pure.

mod exchange;
mod outbound_alias;
mod output;
mod pending_ack;
mod rate_limit;
mod topic_alias;

use std::sync::Arc;

use slab::Slab;

pub(crate) use exchange::{Exchange, ExchangeStep};
pub(crate) use outbound_alias::OutboundAliases;
pub(crate) use output::{BufferPool, Output};
pub(crate) use pending_ack::{AckKind, PendingAck, PendingAcks};
pub(crate) use rate_limit::{RateLimit, least};
pub(crate) use topic_alias::TopicAliases;

use crate::codec::ReasonCode;
use crate::engine::ConnectionOrigin;
use crate::router::Message;
use crate::session::SessionSlot;
use crate::types::{ClientId, ConnectionId, Millis, ProtocolVersion};

/// Index of a connection in its engine.
pub(crate) type ConnectionSlot = u32;

/// What the client asked for in CONNECT, until the session is there.
#[derive(Debug)]
pub(crate) struct PendingConnect {
    pub(crate) client_id: ClientId,
    pub(crate) is_client_id_assigned: bool,
    pub(crate) clean_start: bool,
    pub(crate) keep_alive_seconds: u16,
    /// Request Response Information.
    pub(crate) wants_response_information: bool,
    /// As asked; `None` where 3.1.1 or the client says nothing.
    pub(crate) session_expiry_seconds: u32,
    pub(crate) will: Option<Box<Will>>,
    /// The policy that the client is checked against.
    pub(crate) policy: Arc<broker_policy::Policy>,
    pub(crate) identity: Option<Identity>,
    pub(crate) session_present: bool,
    /// Authentication Data for CONNACK, after an exchange.
    pub(crate) authentication_data: Option<Box<[u8]>>,
}

/// Who a client proved to be.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) username: Option<Arc<str>>,
    pub(crate) proof: crate::engine::AuthProof,
}

/// A Will Message. Spec: MQTT 5.0 section 3.1.2.5.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Will {
    pub(crate) message: Message,
    /// Message Expiry Interval, which starts when the will is published.
    pub(crate) message_expiry_seconds: Option<u32>,
    pub(crate) delay_seconds: u32,
}

/// How far a connection has come.
#[derive(Debug)]
pub(crate) enum Stage {
    /// Nothing or half a CONNECT has arrived.
    AwaitConnect,
    /// The driver checks who it is.
    Authenticating(Box<PendingConnect>),
    /// The driver asks for the Client Identifier.
    Claiming(Box<PendingConnect>),
    /// The replicated state gives the session to this connection.
    Attaching(Box<PendingConnect>),
    /// The session is attached; peers do not yet know its filters.
    Settling(Box<PendingConnect>),
    /// CONNACK is sent.
    Open,
    /// The driver closes it.
    Closing,
}

/// A Network Connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    pub(crate) version: ProtocolVersion,
    pub(crate) stage: Stage,
    pub(crate) session: Option<SessionSlot>,
    pub(crate) output: Output,
    /// Whether it stands in the list of touched ones.
    pub(crate) is_touched: bool,
    /// Whether packets wait in `input` although they are whole.
    pub(crate) is_paused: bool,
    /// A packet that has not arrived whole, or what arrived while paused.
    pub(crate) input: Vec<u8>,
    pub(crate) last_received: Millis,
    /// One and a half times the Keep Alive; 0 for none.
    pub(crate) keep_alive_millis: u32,
    /// The client's Maximum Packet Size.
    pub(crate) packet_bytes_max: u32,
    /// Request Problem Information.
    pub(crate) wants_problem_information: bool,
    /// The client's Receive Maximum, or ours if that is less.
    pub(crate) send_window: u16,
    /// `None` until the client sets one.
    pub(crate) topic_aliases: Option<Box<TopicAliases>>,
    /// `None` for a client that takes none.
    pub(crate) outbound_aliases: Option<Box<OutboundAliases>>,
    pub(crate) pending_acks: Option<Box<PendingAcks>>,
    /// Stamps of routes that the client may publish to, latest first.
    pub(crate) publish_rights: [u64; 2],
    pub(crate) rate_limit: Option<Box<RateLimit>>,
    /// Input waits until then for the client's quota.
    pub(crate) quota_at: Option<Millis>,
    /// Input waits until memory is less scarce.
    pub(crate) is_pressed: bool,
    /// Bytes published since memory is scarce, in the current interval.
    pub(crate) pressed_bytes: u32,
    pub(crate) certificate_name: Option<Arc<str>>,
    /// The listener's number.
    pub(crate) listener: u8,
    /// What CONNECT is to be refused with.
    pub(crate) refusal: Option<ReasonCode>,
    /// `None` for a client whose CONNECT named no Authentication Method.
    pub(crate) exchange: Option<Box<Exchange>>,
    /// When its entry in the timers is due.
    pub(crate) timer_at: Millis,
}

impl Connection {
    fn new(id: ConnectionId, now: Millis, origin: ConnectionOrigin) -> Self {
        let ConnectionOrigin { certificate_name, listener, refusal } = origin;
        Self {
            id,
            version: ProtocolVersion::V311,
            stage: Stage::AwaitConnect,
            session: None,
            output: Output::default(),
            is_touched: false,
            is_paused: false,
            input: Vec::new(),
            last_received: now,
            keep_alive_millis: 0,
            packet_bytes_max: u32::MAX,
            wants_problem_information: true,
            send_window: u16::MAX,
            topic_aliases: None,
            outbound_aliases: None,
            pending_acks: None,
            publish_rights: [0; 2],
            rate_limit: None,
            quota_at: None,
            is_pressed: false,
            pressed_bytes: 0,
            certificate_name,
            listener,
            refusal,
            exchange: None,
            timer_at: Millis::NEVER,
        }
    }

    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    pub(crate) const fn is_closing(&self) -> bool {
        matches!(self.stage, Stage::Closing)
    }
}

/// What it takes to write a packet for a client.
#[derive(Debug)]
pub(crate) struct Outlet<'a> {
    pub(crate) version: ProtocolVersion,
    /// The listener's number.
    pub(crate) listener: u8,
    /// The client's Maximum Packet Size.
    pub(crate) packet_bytes_max: u32,
    /// The aliases of topics sent to it, if it takes any.
    pub(crate) aliases: Option<&'a mut OutboundAliases>,
    /// The buffer to append to.
    pub(crate) out: &'a mut Vec<u8>,
}

/// The connections of an engine.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    slots: Slab<Connection>,
    generation: u32,
    pub(crate) touched: Vec<ConnectionId>,
    pub(crate) pool: BufferPool,
}

/// The slot that an identifier names.
pub(crate) const fn slot_of(id: ConnectionId) -> ConnectionSlot {
    id.0 as u32
}

impl Connections {
    pub(crate) fn open(&mut self, now: Millis, origin: ConnectionOrigin) -> ConnectionId {
        self.generation = self.generation.wrapping_add(1);
        let entry = self.slots.vacant_entry();
        let id = ConnectionId(u64::from(self.generation) << 32 | entry.key() as u64);
        entry.insert(Connection::new(id, now, origin));
        id
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.slots.get(slot_of(id) as usize).filter(|connection| connection.id == id)
    }

    pub(crate) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.slots.get_mut(slot_of(id) as usize).filter(|connection| connection.id == id)
    }

    pub(crate) fn at(&self, slot: ConnectionSlot) -> Option<&Connection> {
        self.slots.get(slot as usize)
    }

    pub(crate) fn at_mut(&mut self, slot: ConnectionSlot) -> Option<&mut Connection> {
        self.slots.get_mut(slot as usize)
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        self.get(id)?;
        let mut connection = self.slots.try_remove(slot_of(id) as usize)?;
        connection.output.release(&mut self.pool);
        Some(connection)
    }

    /// The way out to a client; its connection counts as touched.
    #[inline]
    pub(crate) fn outlet(&mut self, slot: ConnectionSlot) -> Option<Outlet<'_>> {
        let connection = self.slots.get_mut(slot as usize)?;
        if !connection.is_touched {
            connection.is_touched = true;
            self.touched.push(connection.id);
        }
        Some(Outlet {
            version: connection.version,
            listener: connection.listener,
            packet_bytes_max: connection.packet_bytes_max,
            aliases: connection.outbound_aliases.as_deref_mut(),
            out: connection.output.tail(&mut self.pool),
        })
    }

    /// Notes that output is written; gives how much is left.
    pub(crate) fn consume(&mut self, id: ConnectionId, bytes: usize) -> usize {
        let Some(connection) = self.slots.get_mut(slot_of(id) as usize) else { return 0 };
        if connection.id != id {
            return 0;
        }
        connection.output.consume(bytes, &mut self.pool);
        connection.output.len()
    }

    /// Bytes in buffers of connections. Costs a pass over all of them.
    pub(crate) fn buffered_bytes(&self) -> u64 {
        let bytes = |state: &Connection| state.input.capacity() + state.output.len();
        self.slots.iter().map(|(_, state)| bytes(state) as u64).sum()
    }

    /// Packets that wait to be written, and their bytes. Costs a pass over all connections.
    pub(crate) fn waiting(&self) -> (u64, u64) {
        self.slots.iter().fold((0, 0), |(packets, bytes), (_, state)| match state.output.len() {
            0 => (packets, bytes),
            len => (packets + state.output.packets(), bytes + len as u64),
        })
    }

    /// At most so many connections that are not about to be closed.
    pub(crate) fn not_closing(&self, count_max: usize) -> Vec<ConnectionId> {
        let open = self.slots.iter().filter(|(_, connection)| !connection.is_closing());
        open.take(count_max).map(|(_, connection)| connection.id).collect()
    }
}
