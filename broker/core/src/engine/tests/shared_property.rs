//! Members of a group come and go, on two engines that learn of each other late. Against the plain
//! statement: a message is for one member; one that waits for an acknowledgement is never lost.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::bus::*;
use super::rig::*;
use crate::codec::packet::*;
use crate::codec::{DecodeLimits, Decoded, Sender, decode};
use crate::engine::SharedSubscriptionStrategy as Choice;
use crate::types::{ConnectionId, PacketId, QoS};

const FILTER: &str = "$share/g/t";
const ENGINES: usize = 2;
/// Of each engine. The first one's session never ends, so that there always is a group.
const MEMBERS: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Publish(usize, QoS),
    Connect(usize, usize, bool),
    Lose(usize, usize),
    Unsubscribe(usize, usize),
    /// Hears all it was sent, and answers so many of them.
    Listen(usize, usize, usize),
    CarryInterest,
    CarryMessages,
}

fn step() -> impl Strategy<Value = Step> {
    let engine = 0..ENGINES;
    let member = (0..ENGINES, 0..MEMBERS);
    prop_oneof![
        8 => (engine, 0..3u8).prop_map(|(e, qos)| Step::Publish(e, QoS::from_u8(qos).unwrap())),
        3 => (member.clone(), any::<bool>()).prop_map(|((e, m), p)| Step::Connect(e, m, p)),
        2 => member.clone().prop_map(|(e, m)| Step::Lose(e, m)),
        1 => member.clone().prop_map(|(e, m)| Step::Unsubscribe(e, m)),
        6 => (member, 0..4usize).prop_map(|((e, m), n)| Step::Listen(e, m, n)),
        5 => Just(Step::CarryInterest),
        5 => Just(Step::CarryMessages),
    ]
}

/// What became of a message.
#[derive(Debug, Default)]
struct Fate {
    qos: QoS,
    /// Times that a member was sent it, and that one has acknowledged it.
    sent: usize,
    acknowledged: usize,
    /// Members that were sent it, with their sessions' numbers.
    receivers: std::collections::BTreeSet<(usize, usize, usize)>,
}

#[derive(Default, Clone, Copy)]
struct Member {
    connection: Option<ConnectionId>,
    is_persistent: bool,
    /// Tells its sessions apart.
    session: usize,
}

struct World {
    bus: Bus,
    publishers: Vec<ConnectionId>,
    members: [[Member; MEMBERS]; ENGINES],
    fates: Vec<Fate>,
}

impl World {
    fn new(strategy: Choice) -> Self {
        let mut bus = Bus::new(ENGINES, strategy);
        let publishers = (0..ENGINES)
            .map(|engine| bus.rigs[engine].client(&format!("publisher-{engine}")))
            .collect();
        let members = [[Member::default(); MEMBERS]; ENGINES];
        let mut world = Self { bus, publishers, members, fates: Vec::new() };
        world.connect(0, 0, true);
        world.bus.carry();
        world.listen(0, 0, usize::MAX);
        world
    }

    fn publish(&mut self, engine: usize, qos: QoS) {
        let payload = self.fates.len().to_string();
        self.fates.push(Fate { qos, ..Fate::default() });
        let from = self.publishers[engine];
        let rig = &mut self.bus.rigs[engine];
        rig.send(from, &Packet::Publish(publish("t", qos, u16::from(qos != AtMostOnce), &payload)));
        if qos == ExactlyOnce {
            rig.send(from, &Packet::PubRel(ack(1)));
        }
        rig.received(from);
    }

    fn is_anchor(engine: usize, member: usize) -> bool {
        (engine, member) == (0, 0)
    }

    fn connect(&mut self, engine: usize, number: usize, is_persistent: bool) {
        let is_persistent = is_persistent || Self::is_anchor(engine, number);
        let member = &mut self.members[engine][number];
        if member.connection.is_some() {
            return;
        }
        let properties = ConnectProperties {
            session_expiry_seconds: is_persistent.then_some(3600),
            receive_maximum: Some(2),
            ..ConnectProperties::default()
        };
        let client_id = format!("member-{engine}-{number}");
        let clean_start = !is_persistent;
        let connect = Connect { properties, clean_start, ..connect(&client_id) };
        if !is_persistent || !member.is_persistent {
            member.session += 1;
        }
        let rig = &mut self.bus.rigs[engine];
        let at = rig.open();
        rig.send(at, &Packet::Connect(connect));
        (member.connection, member.is_persistent) = (Some(at), is_persistent);
        // CONNACK waits until others know that the member is back.
        while self.bus.carry_interest() {}
        self.bus.rigs[engine].send(at, &subscribe(9, FILTER, ExactlyOnce));
    }

    fn lose(&mut self, engine: usize, number: usize) {
        if let Some(at) = self.members[engine][number].connection.take() {
            self.bus.rigs[engine].lose(at);
        }
    }

    fn unsubscribe(&mut self, engine: usize, number: usize) {
        let connection = self.members[engine][number].connection;
        if let Some(at) = connection.filter(|_| !Self::is_anchor(engine, number)) {
            self.bus.rigs[engine].send(at, &unsubscribe(8, FILTER));
        }
    }

    /// Gives whether there was anything to hear.
    fn listen(&mut self, engine: usize, number: usize, mut answers: usize) -> bool {
        let member = self.members[engine][number];
        let Some(at) = member.connection else { return false };
        let bytes = self.bus.rigs[engine].engine.output(at).to_vec();
        let now = self.bus.rigs[engine].now;
        self.bus.rigs[engine].engine.output_written(now, at, bytes.len());
        let limits = DecodeLimits { sender: Sender::Server, ..DecodeLimits::default() };
        let mut rest = &bytes[..];
        while let Ok(Decoded::Packet { packet, consumed }) = decode(rest, Some(V5), &limits) {
            rest = &rest[consumed..];
            let id = |id: PacketId| ack(id.get());
            let answer = match packet {
                Packet::Publish(publish) => {
                    let text = std::str::from_utf8(publish.payload).unwrap();
                    let fate = &mut self.fates[text.parse::<usize>().unwrap()];
                    fate.sent += usize::from(!publish.dup);
                    fate.receivers.insert((engine, number, member.session));
                    let Some(packet_id) = publish.packet_id else { continue };
                    if answers > 0 {
                        fate.acknowledged += 1;
                    }
                    match publish.qos {
                        ExactlyOnce => Packet::PubRec(id(packet_id)),
                        _ => Packet::PubAck(id(packet_id)),
                    }
                }
                Packet::PubRel(ack) => Packet::PubComp(id(ack.packet_id)),
                _ => continue,
            };
            if matches!(answer, Packet::PubComp(_)) || answers > 0 {
                answers -= usize::from(!matches!(answer, Packet::PubComp(_)));
                self.bus.rigs[engine].send(at, &answer);
            }
        }
        assert!(rest.is_empty(), "half a packet");
        !bytes.is_empty()
    }

    /// All come back and hear everything.
    fn settle(&mut self) {
        self.bus.carry();
        for engine in 0..ENGINES {
            for number in 0..MEMBERS {
                // What was sent and not answered is sent again on the next connection only.
                self.lose(engine, number);
                let is_persistent = self.members[engine][number].is_persistent;
                if is_persistent {
                    self.connect(engine, number, true);
                }
            }
        }
        loop {
            self.bus.carry();
            let mut has_heard = false;
            for engine in 0..ENGINES {
                for number in 0..MEMBERS {
                    has_heard |= self.listen(engine, number, usize::MAX);
                }
            }
            if !has_heard {
                return;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn each_message_has_one_member_and_none_that_is_acknowledged_is_lost(
        strategy in prop::sample::select(vec![
            Choice::RoundRobin,
            Choice::Random,
            Choice::LocalFirst,
            Choice::Sticky,
            Choice::HashClient,
            Choice::HashTopic,
        ]),
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut world = World::new(strategy);
        for step in steps {
            match step {
                Step::Publish(engine, qos) => world.publish(engine, qos),
                Step::Connect(engine, member, persistent) => {
                    world.connect(engine, member, persistent);
                }
                Step::Lose(engine, member) => world.lose(engine, member),
                Step::Unsubscribe(engine, member) => world.unsubscribe(engine, member),
                Step::Listen(engine, member, answers) => {
                    world.listen(engine, member, answers);
                }
                Step::CarryInterest => drop(world.bus.carry_interest()),
                Step::CarryMessages => drop(world.bus.carry_messages()),
            }
        }
        world.settle();
        let (mut queued, mut dropped) = (BTreeMap::new(), 0);
        for (number, fate) in world.fates.iter().enumerate() {
            match fate.qos {
                AtMostOnce => prop_assert!(fate.sent <= 1, "{number}: {fate:?}"),
                AtLeastOnce => prop_assert_eq!(fate.acknowledged, 1, "{}: {:?}", number, fate),
                // Nobody else gets it, also when the one who was sent it never comes back.
                ExactlyOnce => {
                    prop_assert!(fate.receivers.len() <= 1, "{number}: {fate:?}");
                }
            }
        }
        for rig in &world.bus.rigs {
            let counters = rig.engine.counters();
            *queued.entry(counters.queued_messages).or_insert(0) += counters.queued_bytes;
            dropped += counters.dropped.no_shared_member;
        }
        prop_assert_eq!(queued, BTreeMap::from([(0, 0)]));
        let droppable = world.fates.iter().filter(|fate| fate.qos == AtMostOnce).count();
        prop_assert!(dropped <= droppable as u64, "{dropped}");
    }
}
