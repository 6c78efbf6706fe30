//! A client as the specification wants it: its session, apart from any connection.

use std::collections::{BTreeMap, BTreeSet};

use super::Chance;
use crate::codec::packet::*;
use crate::codec::{DecodeLimits, Decoded, ReasonCode, Sender, decode, encode};
use crate::engine::tests::rig::*;
use crate::types::{Millis, PacketId, ProtocolVersion, QoS};

pub(super) const KEEP_ALIVE_SECONDS: u16 = 10;
pub(super) const EXPIRY_SECONDS: u32 = 60;
/// Unacknowledged messages that the broker takes, and a client of 3.1.1 sends.
pub(super) const WINDOW: usize = 4;

/// A message that was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) publisher: usize,
    pub(super) topic: u64,
    pub(super) qos: QoS,
}

struct Outbound {
    id: PacketId,
    message: (Name, u32),
    is_received: bool,
}

pub(super) struct Client {
    number: usize,
    version: ProtocolVersion,
    receive_maximum: u16,
    pub(super) has_session: bool,
    pub(super) is_subscribed: bool,
    pub(super) is_in: bool,
    outbound: Vec<Outbound>,
    /// Messages of QoS 2 that were received and not released.
    unreleased: BTreeSet<PacketId>,
    /// What the broker has sent and this client has not answered for good.
    open: BTreeSet<PacketId>,
    /// The part of it that came on this connection.
    here: BTreeSet<PacketId>,
    /// Bytes of half a packet.
    input: Vec<u8>,
    pub(super) output: Vec<u8>,
    pub(super) sent_at: Millis,
    /// By name, how many were published.
    pub(super) sent: BTreeMap<Name, u32>,
    /// By name, in the order of arrival.
    pub(super) received: BTreeMap<Name, Vec<u32>>,
    pub(super) duplicates: u64,
    pub(super) resumed: u64,
}

impl Client {
    pub(super) fn new(number: usize, chance: &mut Chance) -> Self {
        Self {
            number,
            version: if chance.once_in(2) { V311 } else { V5 },
            receive_maximum: 1 + chance.below(5) as u16,
            has_session: false,
            is_subscribed: false,
            is_in: false,
            outbound: Vec::new(),
            unreleased: BTreeSet::new(),
            open: BTreeSet::new(),
            here: BTreeSet::new(),
            input: Vec::new(),
            output: Vec::new(),
            sent_at: Millis(0),
            sent: BTreeMap::new(),
            received: BTreeMap::new(),
            duplicates: 0,
            resumed: 0,
        }
    }

    fn send(&mut self, packet: &Packet<'_>) {
        encode(packet, self.version, &mut self.output).unwrap();
    }

    /// A new connection: what was half read is gone.
    pub(super) fn connect(&mut self, chance: &mut Chance) {
        self.input.clear();
        self.output.clear();
        self.here.clear();
        self.is_in = false;
        self.receive_maximum = 1 + chance.below(5) as u16;
        let is_v5 = self.version == V5;
        let properties = ConnectProperties {
            session_expiry_seconds: is_v5.then_some(EXPIRY_SECONDS),
            receive_maximum: is_v5.then_some(self.receive_maximum),
            ..ConnectProperties::default()
        };
        let id = format!("client-{}", self.number);
        let connect = Connect {
            version: self.version,
            clean_start: false,
            keep_alive_seconds: KEEP_ALIVE_SECONDS,
            properties,
            ..connect(&id)
        };
        self.send(&Packet::Connect(connect));
    }

    /// Whether its session ends by itself: 3.1.1 has no word for it.
    pub(super) fn expires(&self) -> bool {
        self.version == V5
    }

    pub(super) fn ping(&mut self) {
        self.send(&Packet::PingReq);
    }

    pub(super) fn is_done(&self) -> bool {
        self.is_in && self.outbound.is_empty() && self.open.is_empty() && self.unreleased.is_empty()
    }

    pub(super) fn publish(&mut self, chance: &mut Chance) {
        let qos = [AtMostOnce, AtLeastOnce, ExactlyOnce][chance.below(3) as usize];
        if qos != AtMostOnce && self.outbound.len() >= WINDOW {
            return;
        }
        let name = Name { publisher: self.number, topic: chance.below(2), qos };
        let count = self.sent.entry(name).or_default();
        let message = (name, *count);
        *count += 1;
        // The least that is free: it is used again as soon as may be.
        let is_free = |id: &PacketId| self.outbound.iter().all(|other| other.id != *id);
        let id = (1..).filter_map(PacketId::new).find(is_free).unwrap();
        self.send_publish(message, id, false);
        if qos != AtMostOnce {
            self.outbound.push(Outbound { id, message, is_received: false });
        }
    }

    fn send_publish(&mut self, (name, number): (Name, u32), id: PacketId, dup: bool) {
        let payload = format!("{} {} {} {number}", name.publisher, name.topic, name.qos.as_u8());
        let topic = format!("t/{}/{}", name.publisher, name.topic);
        let id = if name.qos == AtMostOnce { 0 } else { id.get() };
        let publish = publish(&topic, name.qos, id, &payload);
        self.send(&Packet::Publish(Publish { dup, ..publish }));
    }

    /// Takes bytes in; answers go to `output`.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        let input = std::mem::take(&mut self.input);
        let limits = DecodeLimits { sender: Sender::Server, ..DecodeLimits::default() };
        let mut rest = &input[..];
        while !rest.is_empty() {
            match decode(rest, Some(self.version), &limits) {
                Ok(Decoded::Packet { packet, consumed }) => {
                    self.hear(&packet);
                    rest = &rest[consumed..];
                }
                Ok(Decoded::Incomplete { .. }) => break,
                Err(error) => panic!("the broker sent {rest:02x?}: {error}"),
            }
        }
        self.input = rest.to_vec();
    }

    fn hear(&mut self, packet: &Packet<'_>) {
        match packet {
            Packet::ConnAck(connack) => self.come_in(connack),
            Packet::SubAck(_) => self.is_subscribed = true,
            Packet::Publish(publish) => self.hear_publish(publish),
            Packet::PubAck(ack) => self.acknowledged(ack.packet_id, AtLeastOnce),
            Packet::PubComp(ack) => self.acknowledged(ack.packet_id, ExactlyOnce),
            Packet::PubRec(ack) => {
                let outbound = self.outbound.iter_mut().find(|out| out.id == ack.packet_id);
                let outbound = outbound.expect("PUBREC of what was sent");
                assert!(outbound.message.0.qos == ExactlyOnce && !outbound.is_received);
                outbound.is_received = true;
                self.send(&Packet::PubRel(PublishAck::new(ack.packet_id, ReasonCode::Success)));
            }
            Packet::PubRel(ack) => {
                self.unreleased.remove(&ack.packet_id);
                self.open.remove(&ack.packet_id);
                self.here.remove(&ack.packet_id);
                self.send(&Packet::PubComp(PublishAck::new(ack.packet_id, ReasonCode::Success)));
            }
            Packet::PingResp => {}
            other => panic!("client {} gets {other:?}", self.number),
        }
    }

    /// [MQTT-3.2.2-2] [MQTT-4.4.0-1]
    fn come_in(&mut self, connack: &ConnAck<'_>) {
        assert_eq!(connack.reason_code, ReasonCode::Success);
        // One that it has not heard of began with a CONNACK that was lost.
        assert!(connack.session_present || !self.has_session, "client {}", self.number);
        self.is_in = true;
        self.has_session = true;
        self.resumed += u64::from(connack.session_present);
        if !self.is_subscribed {
            self.send(&subscribe(1000, "t/#", ExactlyOnce));
        }
        let again: Vec<_> =
            self.outbound.iter().map(|out| (out.id, out.message, out.is_received)).collect();
        for (id, message, is_received) in again {
            match is_received {
                true => self.send(&Packet::PubRel(PublishAck::new(id, ReasonCode::Success))),
                false => self.send_publish(message, id, true),
            }
        }
    }

    fn acknowledged(&mut self, id: PacketId, qos: QoS) {
        let at = self.outbound.iter().position(|out| out.id == id && out.message.0.qos == qos);
        let outbound = self.outbound.remove(at.expect("an acknowledgement of what was sent"));
        assert_eq!(outbound.is_received, qos == ExactlyOnce);
    }

    fn hear_publish(&mut self, publish: &Publish<'_>) {
        let Some(id) = publish.packet_id else { return self.take(publish) };
        // What the broker believes open includes all that is; it may use the others again.
        assert!(publish.dup || !self.open.contains(&id), "identifier {id} is in flight");
        self.duplicates += u64::from(publish.dup);
        self.open.insert(id);
        self.here.insert(id);
        // [MQTT-3.3.4-9]
        let is_limited = self.version == V5;
        let is_within = self.here.len() <= usize::from(self.receive_maximum);
        assert!(!is_limited || is_within, "more than {} at a time", self.receive_maximum);
        let ack = PublishAck::new(id, ReasonCode::Success);
        match publish.qos {
            AtLeastOnce => {
                self.take(publish);
                self.open.remove(&id);
                self.here.remove(&id);
                self.send(&Packet::PubAck(ack));
            }
            _ => {
                if self.unreleased.insert(id) {
                    self.take(publish);
                }
                self.send(&Packet::PubRec(ack));
            }
        }
    }

    fn take(&mut self, publish: &Publish<'_>) {
        let text = std::str::from_utf8(publish.payload).unwrap();
        let parts: Vec<u32> = text.split(' ').map(|part| part.parse().unwrap()).collect();
        let [publisher, topic, qos, number] = parts[..] else { panic!("{text}") };
        assert_eq!(publish.topic, format!("t/{publisher}/{topic}"));
        assert_eq!(u32::from(publish.qos.as_u8()), qos);
        let name = Name { publisher: publisher as usize, topic: topic.into(), qos: publish.qos };
        self.received.entry(name).or_default().push(number);
    }
}
