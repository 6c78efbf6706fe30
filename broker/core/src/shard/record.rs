//! One durable session. Pure.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::Holder;
use super::batch::SessionLimits;
use crate::router::Message;
use crate::session::{SubscriptionState, Subscriptions};
use crate::stored::StoredMessage;
use crate::types::{ClientId, Millis, PacketId, QoS, SubscriptionId};

/// How far a message is on its way to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Progress {
    /// Not acknowledged; perhaps not sent.
    Waiting,
    /// QoS 2: PUBREC has come, PUBREL is what is sent again.
    Received,
    /// Over; it keeps its place until those before it are.
    Done,
}

/// A message in the session's queue. Small: there are many.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) progress: Progress,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    /// Until the client has it.
    pub(super) message: Option<StoredMessage>,
    origin: Option<Box<Origin>>,
}

/// What few messages have: why the session got it.
#[derive(Debug, Clone, PartialEq)]
struct Origin {
    subscription_ids: Option<Box<[SubscriptionId]>>,
    share: Option<Arc<str>>,
}

impl Entry {
    /// A message with how it is to be delivered, that nobody has sent yet.
    pub(super) const fn new(message: StoredMessage, qos: QoS, retain: bool) -> Self {
        let progress = Progress::Waiting;
        Self { progress, qos, retain, message: Some(message), origin: None }
    }

    /// An entry as a snapshot has it: one of which the client has had something, or one that waits.
    pub(super) const fn restored(
        message: Option<StoredMessage>,
        progress: Progress,
        (qos, retain): (QoS, bool),
    ) -> Self {
        Self { progress, qos, retain, message, origin: None }
    }

    /// With the Subscription Identifiers that it matched, and the Shared Subscription that it was
    /// given to the session for.
    pub(super) fn by(
        self,
        subscription_ids: Option<Box<[SubscriptionId]>>,
        share: Option<Arc<str>>,
    ) -> Self {
        let has_origin = subscription_ids.is_some() || share.is_some();
        let origin = has_origin.then(|| Box::new(Origin { subscription_ids, share }));
        Self { origin, ..self }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.message.as_ref().map_or(0, |message| message.bytes() as u64)
    }

    pub(super) fn subscription_ids(&self) -> Option<&[SubscriptionId]> {
        self.origin.as_ref()?.subscription_ids.as_deref()
    }

    /// The Shared Subscription that it was given to the session for.
    pub(super) fn share(&self) -> Option<&Arc<str>> {
        self.origin.as_ref()?.share.as_ref()
    }

    fn drop_message(&mut self) {
        (self.message, self.origin) = (None, None);
    }
}

/// A will with what it needs to be published.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StoredWill {
    pub(super) message: Arc<Message>,
    pub(super) message_expiry_seconds: Option<u32>,
    pub(super) delay_seconds: u32,
}

/// Something to send to the client.
#[derive(Debug, Clone, PartialEq)]
pub struct Outbound {
    /// Position in the session's queue; [`super::packet_id_of`] makes the Packet Identifier of it.
    pub seq: u64,
    /// The message; `None` when the client has it and PUBREL is to be sent.
    pub message: Option<StoredMessage>,
    /// QoS of the delivery.
    pub qos: QoS,
    /// RETAIN of the delivery.
    pub retain: bool,
    /// Identifiers of the Subscriptions that it matched.
    pub subscription_ids: Option<Box<[SubscriptionId]>>,
}

/// A durable session.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    pub(super) client_id: ClientId,
    pub(super) username: Option<Arc<str>>,
    pub(super) expiry_seconds: u32,
    /// The latest connection that had it.
    pub(super) attachment: u64,
    /// Where its client is connected.
    pub(super) holder: Option<Holder>,
    /// When it ends; `NEVER` while its client is connected.
    pub(super) expires_at: Millis,
    pub(super) will: Option<StoredWill>,
    /// When the will is published; `NEVER` while its client is connected.
    pub(super) will_at: Millis,
    pub(super) subscriptions: Subscriptions<SubscriptionState>,
    /// Messages, with gaps filled by those that are done.
    pub(super) queue: VecDeque<Entry>,
    /// Number of the first one in the queue.
    pub(super) first_seq: u64,
    /// The last one that may have been sent on an earlier connection.
    pub(super) sent_to: u64,
    /// Messages that are not done, and their bytes.
    pub(super) messages: u64,
    pub(super) bytes: u64,
    /// QoS 2 messages that the client has published and not released.
    pub(super) inbound: BTreeSet<PacketId>,
    /// The log entry that told the client's worker of new messages last; of this node alone.
    pub(super) told_at: u64,
}

/// Numbers that a session's queue may span: as many as there are Packet Identifiers.
const SPAN_MAX: usize = 65_535;

impl Record {
    pub(super) fn new(client_id: ClientId) -> Self {
        Self {
            client_id,
            username: None,
            expiry_seconds: 0,
            attachment: 0,
            holder: None,
            expires_at: Millis::NEVER,
            will: None,
            will_at: Millis::NEVER,
            subscriptions: Subscriptions::default(),
            queue: VecDeque::new(),
            first_seq: 1,
            sent_to: 0,
            messages: 0,
            bytes: 0,
            inbound: BTreeSet::new(),
            told_at: 0,
        }
    }

    /// When something is due; `NEVER` for nothing.
    pub(super) fn due_at(&self) -> Millis {
        self.expires_at.min(self.will_at)
    }

    /// Number of the next message.
    pub(super) fn next_seq(&self) -> u64 {
        self.first_seq + self.queue.len() as u64
    }

    /// Whether a message of so many bytes may be added. A connected client may have as many more
    /// on their way as its window holds.
    pub(super) fn has_room(&self, bytes: u64, limits: &SessionLimits) -> bool {
        let in_flight = if self.holder.is_some() { limits.in_flight_max } else { 0 };
        self.messages < limits.messages_max.saturating_add(in_flight)
            && self.bytes.saturating_add(bytes) <= limits.bytes_max
            && self.queue.len() < SPAN_MAX
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.messages += 1;
        self.bytes += entry.bytes();
        self.queue.push_back(entry);
    }

    /// Drops what has expired and was never sent; gives how many messages and bytes that were.
    /// A client that is connected may have been sent anything.
    pub(super) fn drop_expired(&mut self, now: Millis) -> (u64, u64) {
        if self.holder.is_some() {
            return (0, 0);
        }
        let before = (self.messages, self.bytes);
        let places = (self.first_seq..).zip(&self.queue);
        let has_expired = |entry: &Entry| {
            entry.message.as_ref().is_some_and(|message| message.expires_at() <= now)
        };
        let gone = places.filter(|(seq, entry)| *seq > self.sent_to && has_expired(entry));
        let gone: Vec<u64> = gone.map(|(seq, _)| seq).collect();
        for seq in gone {
            self.finish(seq);
        }
        self.trim();
        (before.0 - self.messages, before.1 - self.bytes)
    }

    fn place(&self, seq: u64) -> Option<usize> {
        let place = usize::try_from(seq.checked_sub(self.first_seq)?).ok()?;
        (place < self.queue.len()).then_some(place)
    }

    /// The message is done with; gives it back if it was not before.
    pub(super) fn finish(&mut self, seq: u64) -> Option<Entry> {
        let place = self.place(seq)?;
        let entry = self.queue.get_mut(place)?;
        if entry.progress == Progress::Done {
            return None;
        }
        let finished = entry.clone();
        entry.progress = Progress::Done;
        entry.drop_message();
        self.messages -= 1;
        self.bytes -= finished.bytes();
        Some(finished)
    }

    /// The client has a message of QoS 2; gives how many bytes that sets free.
    pub(super) fn receive(&mut self, seq: u64) -> u64 {
        let Some(place) = self.place(seq) else { return 0 };
        let Some(entry) = self.queue.get_mut(place) else { return 0 };
        if entry.progress != Progress::Waiting || entry.qos != QoS::ExactlyOnce {
            return 0;
        }
        let bytes = entry.bytes();
        entry.progress = Progress::Received;
        entry.drop_message();
        self.bytes -= bytes;
        bytes
    }

    /// Forgets what is done at the front of the queue.
    pub(super) fn trim(&mut self) {
        while self.queue.front().is_some_and(|entry| entry.progress == Progress::Done) {
            self.queue.pop_front();
            self.first_seq += 1;
        }
        if self.queue.is_empty() && self.queue.capacity() > IDLE_CAPACITY_MAX {
            self.queue = VecDeque::new();
        }
    }

    /// Appends what is to be sent from `from` on, at most so many; gives where to go on.
    pub(super) fn read(&self, from: u64, count_max: usize, into: &mut Vec<Outbound>) -> u64 {
        let start = from.max(self.first_seq);
        let skip = usize::try_from(start - self.first_seq).unwrap_or(usize::MAX);
        let mut next = start;
        let mut left = count_max;
        for entry in self.queue.iter().skip(skip) {
            if left == 0 {
                break;
            }
            if entry.progress != Progress::Done {
                left -= 1;
                into.push(Outbound {
                    seq: next,
                    message: entry.message.clone(),
                    qos: entry.qos,
                    retain: entry.retain,
                    subscription_ids: entry.subscription_ids().map(Box::from),
                });
            }
            next += 1;
        }
        next
    }
}

/// A queue that was larger than this gives its memory back when it is empty.
const IDLE_CAPACITY_MAX: usize = 32;
