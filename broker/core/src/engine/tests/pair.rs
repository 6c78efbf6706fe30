//! A publisher and a subscriber whose connections break at any point between packets.
//!
//! At QoS 2 each message arrives exactly once, at QoS 1 at least once, both in order.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::rig::*;
use crate::codec::packet::*;
use crate::codec::{DecodeLimits, Decoded, Sender, decode};
use crate::types::{ConnectionId, PacketId, QoS};

/// What a client learns from a packet.
#[derive(Debug, Clone, PartialEq)]
enum Heard {
    Publish(QoS, Option<PacketId>, u32),
    PubAck(PacketId),
    PubRec(PacketId),
    PubRel(PacketId),
    PubComp(PacketId),
    Other,
}

impl Rig {
    /// Takes the next packet off a connection, if there is one.
    fn hear(&mut self, at: ConnectionId) -> Option<Heard> {
        let limits = DecodeLimits { sender: Sender::Server, ..DecodeLimits::default() };
        let output = self.engine.output(at).to_vec();
        if output.is_empty() {
            return None;
        }
        let Ok(Decoded::Packet { packet, consumed }) = decode(&output, Some(V5), &limits) else {
            panic!("the engine sent half a packet");
        };
        let heard = match packet {
            Packet::Publish(publish) => {
                let number = std::str::from_utf8(publish.payload).unwrap().parse().unwrap();
                Heard::Publish(publish.qos, publish.packet_id, number)
            }
            Packet::PubAck(ack) => Heard::PubAck(ack.packet_id),
            Packet::PubRec(ack) => Heard::PubRec(ack.packet_id),
            Packet::PubRel(ack) => Heard::PubRel(ack.packet_id),
            Packet::PubComp(ack) => Heard::PubComp(ack.packet_id),
            _ => Heard::Other,
        };
        self.engine.output_written(self.now, at, consumed);
        Some(heard)
    }
}

/// A message that the publisher has not seen acknowledged.
struct Unacknowledged {
    id: PacketId,
    qos: QoS,
    number: u32,
    is_received: bool,
}

struct Publisher {
    connection: ConnectionId,
    next_id: PacketId,
    unacknowledged: Vec<Unacknowledged>,
    sent: Vec<(QoS, u32)>,
}

impl Publisher {
    fn new(rig: &mut Rig) -> Self {
        let connection = rig.connect(returning("publisher"));
        Self { connection, next_id: PacketId::MIN, unacknowledged: vec![], sent: vec![] }
    }

    fn publish(&mut self, rig: &mut Rig, qos: QoS) {
        if self.unacknowledged.len() >= 20 {
            return;
        }
        let (id, number) = (self.next_id, self.sent.len() as u32);
        self.next_id = id.next();
        self.sent.push((qos, number));
        let message = Unacknowledged { id, qos, number, is_received: false };
        self.send(rig, &message, false);
        self.unacknowledged.push(message);
    }

    fn send(&self, rig: &mut Rig, message: &Unacknowledged, dup: bool) {
        let payload = message.number.to_string();
        let publish = publish("t", message.qos, message.id.get(), &payload);
        rig.send(self.connection, &Packet::Publish(Publish { dup, ..publish }));
    }

    fn listen(&mut self, rig: &mut Rig) -> bool {
        let Some(heard) = rig.hear(self.connection) else { return false };
        match heard {
            Heard::PubAck(id) | Heard::PubComp(id) => {
                self.unacknowledged.retain(|message| message.id != id);
            }
            Heard::PubRec(id) => {
                if let Some(message) = self.unacknowledged.iter_mut().find(|m| m.id == id) {
                    message.is_received = true;
                }
                rig.send(self.connection, &Packet::PubRel(ack(id.get())));
            }
            Heard::Publish(..) | Heard::PubRel(_) => panic!("not a subscriber"),
            Heard::Other => {}
        }
        true
    }

    fn reconnect(&mut self, rig: &mut Rig) {
        rig.lose(self.connection);
        self.connection = rig.connect(returning("publisher"));
        for message in &self.unacknowledged {
            if message.is_received {
                rig.send(self.connection, &Packet::PubRel(ack(message.id.get())));
            } else {
                self.send(rig, message, true);
            }
        }
    }
}

struct Subscriber {
    connection: ConnectionId,
    unreleased: BTreeSet<PacketId>,
    received: Vec<(QoS, u32)>,
}

fn subscriber_connect(receive_maximum: u16) -> Connect<'static> {
    let properties = ConnectProperties {
        session_expiry_seconds: Some(60),
        receive_maximum: Some(receive_maximum),
        ..ConnectProperties::default()
    };
    Connect { clean_start: false, properties, ..connect("subscriber") }
}

impl Subscriber {
    fn new(rig: &mut Rig) -> Self {
        let connection = rig.connect(subscriber_connect(5));
        rig.subscribe(connection, "t", ExactlyOnce);
        Self { connection, unreleased: BTreeSet::new(), received: vec![] }
    }

    /// Hears one packet; `answers` says whether the answer still gets through.
    fn listen(&mut self, rig: &mut Rig, answers: bool) -> bool {
        let Some(heard) = rig.hear(self.connection) else { return false };
        let answer = match heard {
            Heard::Publish(qos, Some(id), number) => {
                if qos == AtLeastOnce || self.unreleased.insert(id) {
                    self.received.push((qos, number));
                }
                match qos {
                    ExactlyOnce => Packet::PubRec(ack(id.get())),
                    _ => Packet::PubAck(ack(id.get())),
                }
            }
            Heard::PubRel(id) => {
                self.unreleased.remove(&id);
                Packet::PubComp(ack(id.get()))
            }
            _ => return true,
        };
        if answers {
            rig.send(self.connection, &answer);
        }
        true
    }

    fn reconnect(&mut self, rig: &mut Rig, receive_maximum: u16) {
        rig.lose(self.connection);
        let id = rig.open();
        rig.send(id, &Packet::Connect(subscriber_connect(receive_maximum)));
        self.connection = id;
        assert_eq!(rig.hear(id), Some(Heard::Other));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Publish(QoS),
    PublisherListens,
    SubscriberListens,
    /// The subscriber hears a packet, but its answer is lost with the connection.
    SubscriberBreaksBeforeAnswer(u16),
    SubscriberBreaks(u16),
    PublisherBreaks,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop_oneof![Just(AtLeastOnce), Just(ExactlyOnce)].prop_map(Step::Publish),
        6 => Just(Step::PublisherListens),
        8 => Just(Step::SubscriberListens),
        1 => (1..8u16).prop_map(Step::SubscriberBreaksBeforeAnswer),
        1 => (1..8u16).prop_map(Step::SubscriberBreaks),
        1 => Just(Step::PublisherBreaks),
        1 => (0..10_000u64).prop_map(Step::Wait),
    ]
}

fn of_qos(messages: &[(QoS, u32)], wanted: QoS) -> Vec<u32> {
    messages.iter().filter(|(qos, _)| *qos == wanted).map(|(_, number)| *number).collect()
}

/// Each number where it came first.
fn first_times(numbers: &[u32]) -> Vec<u32> {
    let mut seen = BTreeSet::new();
    numbers.iter().copied().filter(|number| seen.insert(*number)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_doubled_or_out_of_order(steps in prop::collection::vec(step(), 0..150)) {
        let mut rig = Rig::new();
        let (mut publisher, mut subscriber) = (Publisher::new(&mut rig), Subscriber::new(&mut rig));
        for step in steps {
            match step {
                Step::Publish(qos) => publisher.publish(&mut rig, qos),
                Step::PublisherListens => drop(publisher.listen(&mut rig)),
                Step::SubscriberListens => drop(subscriber.listen(&mut rig, true)),
                Step::SubscriberBreaksBeforeAnswer(receive_maximum) => {
                    subscriber.listen(&mut rig, false);
                    subscriber.reconnect(&mut rig, receive_maximum);
                }
                Step::SubscriberBreaks(receive_maximum) => {
                    subscriber.reconnect(&mut rig, receive_maximum);
                }
                Step::PublisherBreaks => publisher.reconnect(&mut rig),
                Step::Wait(millis) => rig.wait(millis),
            }
        }
        publisher.reconnect(&mut rig);
        subscriber.reconnect(&mut rig, 3);
        while publisher.listen(&mut rig) | subscriber.listen(&mut rig, true) {}
        let (sent, received) = (&publisher.sent, &subscriber.received);
        prop_assert!(publisher.unacknowledged.is_empty());
        prop_assert_eq!(of_qos(received, ExactlyOnce), of_qos(sent, ExactlyOnce));
        let received = of_qos(received, AtLeastOnce);
        prop_assert_eq!(first_times(&received), of_qos(sent, AtLeastOnce));
        let state = rig.engine.counters();
        prop_assert_eq!((state.queued_messages, state.queued_bytes, state.sessions), (0, 0, 2));
    }
}
