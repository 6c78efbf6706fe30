//! The window of QoS 1 and 2 messages that the client has not completely acknowledged. Pure.
//!
//! Spec: MQTT 5.0 sections 4.3, 4.4, 4.6 and 4.9.

use std::collections::VecDeque;

use super::delivery::Delivery;
use super::on_demand::Unwritten;
use super::state::InFlightState;
use crate::types::{PacketId, QoS};

/// What the client owes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaits {
    PubAck,
    PubRec,
    PubComp,
    /// Nothing; it keeps its place until those before it are done.
    Nothing,
}

#[derive(Debug)]
struct Entry {
    packet_id: PacketId,
    awaits: Awaits,
    /// Kept only where the session can outlive the connection.
    delivery: Option<Delivery>,
}

impl Entry {
    /// Drops the message; gives how many bytes it had.
    fn let_go(&mut self) -> usize {
        self.delivery.take().map_or(0, |delivery| delivery.message.bytes())
    }
}

/// An acknowledgement that does not fit the message with its Packet Identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AckError {
    /// No message in flight has it.
    UnknownPacketId,
    /// The message is of another QoS, or not that far.
    WrongKind,
}

/// Something to send again on a new connection.
#[derive(Debug)]
pub(crate) enum Resend<'a> {
    Publish(PacketId, &'a Delivery),
    PubRel(PacketId),
}

/// Messages in flight, in the order of sending.
///
/// Packet Identifiers are given in sequence, so an identifier tells its place; a message that is
/// acknowledged before an earlier one leaves a gap until that one is done.
#[derive(Debug)]
pub(crate) struct InFlight {
    entries: VecDeque<Entry>,
    next_packet_id: PacketId,
    /// Sent on this connection and not done: counts against the client's Receive Maximum.
    unacknowledged: usize,
    /// Entries before this place are sent on this connection.
    sent: usize,
    /// Bytes of the messages that are kept.
    bytes: usize,
}

/// Identifiers that exist: 1 to 65,535.
const PACKET_IDS: usize = 65_535;

impl Default for InFlight {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl Unwritten for InFlight {
    const UNWRITTEN: &'static Self = &Self::EMPTY;
}

impl InFlight {
    const EMPTY: Self = Self {
        entries: VecDeque::new(),
        next_packet_id: PacketId::MIN,
        unacknowledged: 0,
        sent: 0,
        bytes: 0,
    };

    pub(crate) fn from_state(state: Vec<InFlightState>, next_packet_id: PacketId) -> Self {
        let mut bytes = 0;
        let entries = state.into_iter().map(|entry| {
            let delivery = entry.delivery.map(Delivery::from_state);
            bytes += delivery.as_ref().map_or(0, |delivery| delivery.message.bytes());
            let awaits = delivery.as_ref().map_or(Awaits::PubComp, |delivery| awaits(delivery.qos));
            Entry { packet_id: entry.packet_id, awaits, delivery }
        });
        let entries = entries.collect();
        Self { entries, next_packet_id, unacknowledged: 0, sent: 0, bytes }
    }

    pub(crate) fn into_state(self) -> (Vec<InFlightState>, PacketId) {
        let entries = self.entries.into_iter().filter_map(|entry| {
            let delivery = entry.delivery.map(Delivery::into_state);
            match entry.awaits {
                Awaits::Nothing => None,
                // Without its message it could not be sent again.
                Awaits::PubAck | Awaits::PubRec if delivery.is_none() => None,
                _ => Some(InFlightState { packet_id: entry.packet_id, delivery }),
            }
        });
        (entries.collect(), self.next_packet_id)
    }

    /// The messages of Shared Subscriptions that another client may get instead: of QoS 1 and not
    /// acknowledged. [MQTT-4.8.2-5]
    pub(crate) fn into_shared(self) -> impl Iterator<Item = Delivery> {
        let is_owed = |entry: &Entry| entry.awaits == Awaits::PubAck;
        let deliveries = self.entries.into_iter().filter(is_owed).filter_map(|e| e.delivery);
        deliveries.filter(|delivery| delivery.share.is_some())
    }

    /// Whether a new message may be sent: everything older is sent, the client's window has room,
    /// and the next identifier is free.
    pub(crate) fn has_room(&self, window: u16) -> bool {
        self.unacknowledged < usize::from(window)
            && self.sent == self.entries.len()
            && self.entries.front().is_none_or(|front| front.packet_id != self.next_packet_id)
    }

    /// Bytes of the messages that are kept until they are acknowledged.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a message of so many bytes may be kept as well. One always may: whatever its size,
    /// it must be possible to send it.
    pub(crate) const fn keeps(&self, bytes: usize, bytes_max: usize) -> bool {
        self.bytes == 0 || self.bytes + bytes <= bytes_max
    }

    /// Takes in a message that is being sent now; [`Self::has_room`] must have said so.
    pub(crate) fn push(&mut self, qos: QoS, delivery: Option<Delivery>) -> PacketId {
        let packet_id = self.next_packet_id;
        self.next_packet_id = packet_id.next();
        self.bytes += delivery.as_ref().map_or(0, |delivery| delivery.message.bytes());
        self.entries.push_back(Entry { packet_id, awaits: awaits(qos), delivery });
        self.sent += 1;
        self.unacknowledged += 1;
        packet_id
    }

    /// Takes in a message of a durable session, whose place gives its identifier; what is sent
    /// again comes the same way.
    pub(crate) fn push_at(&mut self, packet_id: PacketId, qos: QoS) {
        self.push_entry(packet_id, awaits(qos));
    }

    /// As [`Self::push_at`], for one that the client has: PUBREL is being sent.
    pub(crate) fn push_received(&mut self, packet_id: PacketId) {
        self.push_entry(packet_id, Awaits::PubComp);
    }

    fn push_entry(&mut self, packet_id: PacketId, awaits: Awaits) {
        self.next_packet_id = packet_id.next();
        self.entries.push_back(Entry { packet_id, awaits, delivery: None });
        self.sent += 1;
        self.unacknowledged += 1;
    }

    /// How many more messages the client's window has room for.
    pub(crate) fn room(&self, window: u16) -> usize {
        usize::from(window).saturating_sub(self.unacknowledged)
    }

    /// A new connection: everything is to be sent again.
    pub(crate) fn rewind(&mut self) {
        self.unacknowledged = 0;
        self.sent = 0;
        self.trim();
    }

    /// The next thing to send again, if the window has room; counts as sent then.
    ///
    /// `is_dead` tells of a message that cannot be sent any more; it is let go. (One whose Message
    /// Expiry Interval has passed meanwhile is sent: its delivery has begun.)
    pub(crate) fn resend(
        &mut self,
        window: u16,
        mut is_dead: impl FnMut(&Delivery) -> bool,
    ) -> Option<Resend<'_>> {
        let at = loop {
            let entry = self.entries.get_mut(self.sent)?;
            match (entry.awaits, &entry.delivery) {
                (Awaits::Nothing, _) => self.sent += 1,
                (Awaits::PubComp, _) => break self.sent,
                (_, Some(delivery)) if !is_dead(delivery) => break self.sent,
                _ => {
                    entry.awaits = Awaits::Nothing;
                    self.bytes -= entry.let_go();
                    self.sent += 1;
                }
            }
        };
        if self.unacknowledged >= usize::from(window) {
            return None;
        }
        self.sent += 1;
        self.unacknowledged += 1;
        let entry = &self.entries[at];
        Some(match &entry.delivery {
            Some(delivery) if entry.awaits != Awaits::PubComp => {
                Resend::Publish(entry.packet_id, delivery)
            }
            _ => Resend::PubRel(entry.packet_id),
        })
    }

    /// Whether everything in the window is sent on this connection.
    pub(crate) fn is_sent(&self) -> bool {
        self.sent == self.entries.len()
    }

    /// Takes back a message that could not be sent after all.
    pub(crate) fn withdraw(&mut self, packet_id: PacketId) {
        let Some(at) = self.place(packet_id) else { return };
        if at < self.sent {
            self.unacknowledged -= 1;
        }
        if at + 1 == self.entries.len() {
            let entry = self.entries.pop_back();
            self.bytes -= entry.map_or(0, |mut entry| entry.let_go());
            self.sent = self.sent.min(at);
            self.next_packet_id = packet_id;
        } else {
            let entry = &mut self.entries[at];
            entry.awaits = Awaits::Nothing;
            self.bytes -= entry.let_go();
            self.trim();
        }
    }

    /// PUBACK.
    pub(crate) fn acknowledge(&mut self, packet_id: PacketId) -> Result<(), AckError> {
        self.finish(packet_id, Awaits::PubAck)
    }

    /// PUBREC that takes the message: PUBREL is to be sent.
    pub(crate) fn receive(&mut self, packet_id: PacketId) -> Result<(), AckError> {
        let at = self.place(packet_id).ok_or(AckError::UnknownPacketId)?;
        let entry = &mut self.entries[at];
        match entry.awaits {
            Awaits::PubRec | Awaits::PubComp => {
                entry.awaits = Awaits::PubComp;
                self.bytes -= entry.let_go();
                Ok(())
            }
            Awaits::PubAck => Err(AckError::WrongKind),
            Awaits::Nothing => Err(AckError::UnknownPacketId),
        }
    }

    /// PUBREC that refuses the message: it is done.
    pub(crate) fn refuse(&mut self, packet_id: PacketId) -> Result<(), AckError> {
        self.finish(packet_id, Awaits::PubRec)
    }

    /// PUBCOMP.
    pub(crate) fn complete(&mut self, packet_id: PacketId) -> Result<(), AckError> {
        self.finish(packet_id, Awaits::PubComp)
    }

    fn finish(&mut self, packet_id: PacketId, expected: Awaits) -> Result<(), AckError> {
        let at = self.place(packet_id).ok_or(AckError::UnknownPacketId)?;
        let entry = &mut self.entries[at];
        if entry.awaits != expected {
            let is_done = entry.awaits == Awaits::Nothing;
            return Err(if is_done { AckError::UnknownPacketId } else { AckError::WrongKind });
        }
        entry.awaits = Awaits::Nothing;
        self.bytes -= entry.let_go();
        if at < self.sent {
            self.unacknowledged -= 1;
        }
        self.trim();
        Ok(())
    }

    fn trim(&mut self) {
        while self.entries.front().is_some_and(|entry| entry.awaits == Awaits::Nothing) {
            self.entries.pop_front();
            self.sent = self.sent.saturating_sub(1);
        }
        if self.entries.is_empty() && self.entries.capacity() > IDLE_CAPACITY_MAX {
            self.entries = VecDeque::new();
        }
    }

    /// Where the entry with this identifier is.
    fn place(&self, packet_id: PacketId) -> Option<usize> {
        let first = self.entries.front()?.packet_id;
        let has_it = |at: usize| self.entries.get(at).is_some_and(|e| e.packet_id == packet_id);
        let guess = distance(first, packet_id);
        if has_it(guess) {
            return Some(guess);
        }
        let last = self.entries.back()?.packet_id;
        if distance(first, last) + 1 == self.entries.len() {
            return None;
        }
        // A session that moved here has left its gaps behind.
        self.entries.iter().position(|entry| entry.packet_id == packet_id)
    }
}

/// A window that was larger than this gives its memory back when it is empty.
const IDLE_CAPACITY_MAX: usize = 32;

/// Steps from one identifier to another.
fn distance(from: PacketId, to: PacketId) -> usize {
    (usize::from(to.get()) + PACKET_IDS - usize::from(from.get())) % PACKET_IDS
}

const fn awaits(qos: QoS) -> Awaits {
    match qos {
        QoS::ExactlyOnce => Awaits::PubRec,
        _ => Awaits::PubAck,
    }
}
