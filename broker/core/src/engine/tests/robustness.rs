//! Whatever clients send and in whatever order answers come, the engine neither panics nor leaks.

use proptest::prelude::*;

use super::rig::*;
use crate::codec::ReasonCode;
use crate::codec::packet::*;
use crate::engine::*;
use crate::types::{ConnectionId, Millis, QoS};

#[derive(Debug, Clone)]
enum Step {
    Open,
    Connect(usize, u8, bool, u16),
    Subscribe(usize, u8, u8),
    Unsubscribe(usize, u8),
    Publish(usize, u8, u8, u16, bool),
    Ack(usize, u8, u16),
    Bytes(usize, Vec<u8>),
    Disconnect(usize),
    Read(usize),
    Lose(usize),
    /// Answers the oldest effect that waits, or lets it fail.
    Answer(bool),
    Forwarded(Vec<u8>),
    Wait(u64),
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    let at = 0..4usize;
    prop_oneof![
        2 => Just(Step::Open),
        3 => (at.clone(), 0..3u8, any::<bool>(), 0..3u16)
            .prop_map(|(at, who, is_v5, expiry)| Step::Connect(at, who, is_v5, expiry)),
        4 => (at.clone(), 0..4u8, 0..3u8).prop_map(|(at, f, qos)| Step::Subscribe(at, f, qos)),
        2 => (at.clone(), 0..4u8).prop_map(|(at, filter)| Step::Unsubscribe(at, filter)),
        8 => (at.clone(), 0..4u8, 0..3u8, 1..4u16, any::<bool>())
            .prop_map(|(at, t, qos, id, retain)| Step::Publish(at, t, qos, id, retain)),
        6 => (at.clone(), 0..4u8, 1..4u16).prop_map(|(at, kind, id)| Step::Ack(at, kind, id)),
        1 => (at.clone(), prop::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(at, bytes)| Step::Bytes(at, bytes)),
        1 => at.clone().prop_map(Step::Disconnect),
        3 => at.clone().prop_map(Step::Read),
        1 => at.prop_map(Step::Lose),
        8 => prop::bool::weighted(0.8).prop_map(Step::Answer),
        1 => prop::collection::vec(any::<u8>(), 0..20).prop_map(Step::Forwarded),
        2 => (0..5000u64).prop_map(Step::Wait),
        1 => prop::bool::weighted(0.1).prop_map(|yes| if yes { Step::Drain } else { Step::Open }),
    ]
}

const TOPICS: [&str; 4] = ["a", "a/b", "b", "$x"];
const FILTERS: [&str; 4] = ["a", "a/#", "+", "$share/g/a"];
const CLIENT_IDS: [&str; 3] = ["one", "two", ""];

struct World {
    rig: Rig,
    connections: Vec<ConnectionId>,
}

impl World {
    fn new(is_durable: bool) -> Self {
        let config = EngineConfig {
            output_bytes_soft_max: 60,
            queue_messages_max: 3,
            receive_maximum: 3,
            ..EngineConfig::default()
        };
        let mut rig = match is_durable {
            true => Rig::durable_with(config),
            false => Rig::with(config, open_policy()),
        };
        rig.answers = Answers {
            authenticate: false,
            claim: false,
            interest: false,
            propose: false,
            sessions: false,
        };
        Self { rig, connections: Vec::new() }
    }

    fn at(&self, number: usize) -> Option<ConnectionId> {
        self.connections.iter().rev().nth(number).copied()
    }

    fn send(&mut self, number: usize, packet: &Packet<'_>) {
        if let Some(id) = self.at(number)
            && (self.rig.has_version(id) || matches!(packet, Packet::Connect(_)))
        {
            self.rig.send(id, packet);
        }
    }

    fn connect(&mut self, number: usize, who: u8, is_v5: bool, expiry: u16) {
        let properties = ConnectProperties {
            session_expiry_seconds: is_v5.then_some(u32::from(expiry)),
            receive_maximum: is_v5.then_some(2),
            ..ConnectProperties::default()
        };
        let connect = Connect {
            version: if is_v5 { V5 } else { V311 },
            clean_start: expiry == 0 || !is_v5,
            keep_alive_seconds: 3,
            properties,
            will: Some(will("a", u32::from(expiry))),
            ..connect(CLIENT_IDS[usize::from(who)])
        };
        self.send(number, &Packet::Connect(connect));
    }

    fn answer(&mut self, is_good: bool) {
        if self.rig.effects.is_empty() {
            return;
        }
        let (now, effect) = (self.rig.now, self.rig.effects.remove(0));
        let engine = &mut self.rig.engine;
        match effect {
            Effect::Authenticate { connection, .. } => {
                let outcome = match is_good {
                    true => AuthOutcome::Accepted { username: None, proof: AuthProof::None },
                    false => AuthOutcome::Refused { reason_code: ReasonCode::NotAuthorized },
                };
                engine.authenticated(now, connection, outcome);
            }
            Effect::BeginExchange { connection, .. }
            | Effect::ContinueExchange { connection, .. } => {
                let reason_code = ReasonCode::NotAuthorized;
                engine.exchanged(now, connection, ExchangeOutcome::Refused { reason_code });
            }
            Effect::Claim { connection, client_id, clean_start } if is_good => {
                let session = engine.take_over(now, &client_id, clean_start);
                self.rig.grant(connection, session);
            }
            Effect::Claim { connection, .. } => {
                engine.claimed(now, connection, ClaimOutcome::Superseded);
            }
            Effect::Interest { seq, .. } => engine.interest_confirmed(now, seq),
            Effect::Propose { proposal, .. } => {
                let outcome =
                    if is_good { CommitOutcome::Committed } else { CommitOutcome::Failed };
                engine.committed(now, proposal, outcome);
            }
            Effect::ProposeSessions { proposal, operations, .. } if is_good => {
                self.rig.commit_sessions(proposal, operations);
            }
            Effect::ProposeSessions { proposal, .. } => {
                engine.sessions_committed(now, proposal, SessionsOutcome::Unknown);
            }
            Effect::Withdraw { .. }
            | Effect::Release { .. }
            | Effect::Close { .. }
            | Effect::Resume { .. } => {}
        }
        self.rig.settle();
    }

    fn step(&mut self, step: Step) {
        let qos = |number| QoS::from_u8(number).unwrap();
        match step {
            Step::Open => {
                let id = self.rig.open();
                self.connections.push(id);
            }
            Step::Connect(at, who, is_v5, expiry) => self.connect(at, who, is_v5, expiry),
            Step::Subscribe(at, filter, number) => {
                self.send(at, &subscribe(1, FILTERS[usize::from(filter)], qos(number)));
            }
            Step::Unsubscribe(at, filter) => {
                self.send(at, &unsubscribe(1, FILTERS[usize::from(filter)]));
            }
            Step::Publish(at, topic, number, id, retain) => {
                let id = if number == 0 { 0 } else { id };
                let publish = publish(TOPICS[usize::from(topic)], qos(number), id, "payload");
                self.send(at, &Packet::Publish(Publish { retain, ..publish }));
            }
            Step::Ack(at, kind, id) => {
                let packets = [Packet::PubAck, Packet::PubRec, Packet::PubRel, Packet::PubComp];
                self.send(at, &packets[usize::from(kind)](ack(id)));
            }
            Step::Bytes(at, bytes) => {
                if let Some(id) = self.at(at) {
                    self.rig.send_bytes(id, &bytes);
                }
            }
            Step::Disconnect(at) => self.send(at, &Packet::Disconnect(Disconnect::default())),
            Step::Read(at) => {
                if let Some(id) = self.at(at) {
                    self.rig.received(id);
                }
            }
            Step::Lose(at) => {
                if let Some(id) = self.at(at) {
                    self.rig.lose(id);
                }
            }
            Step::Answer(is_good) => self.answer(is_good),
            Step::Forwarded(bytes) => self.rig.engine.deliver(self.rig.now, &bytes),
            Step::Wait(millis) => self.rig.wait(millis),
            Step::Drain => self.rig.engine.drain(self.rig.now),
        }
        self.rig.settle();
    }

    /// Everybody leaves, every question is answered, every session expires.
    fn end(&mut self) {
        for _ in 0..3 {
            self.connections.clone().into_iter().for_each(|id| self.rig.lose(id));
            while !self.rig.effects.is_empty() {
                self.answer(true);
            }
            self.rig.wait(100_000);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_left_when_everybody_is_gone(
        steps in prop::collection::vec(step(), 0..120),
        is_durable in any::<bool>(),
    ) {
        let mut world = World::new(is_durable);
        for step in steps {
            world.step(step);
        }
        world.end();
        let engine = &world.rig.engine;
        let counters = engine.counters();
        prop_assert_eq!((counters.connections, counters.sessions), (0, 0));
        prop_assert_eq!((counters.subscriptions, counters.queued_messages), (0, 0));
        prop_assert_eq!(counters.queued_bytes, 0);
        prop_assert_eq!(counters.in_flight_bytes, 0);
        prop_assert!(engine.interest().is_empty());
        prop_assert!(engine.waiting.is_empty() && engine.proposals.is_empty());
        prop_assert!(engine.orphaned_claims.is_empty());
        prop_assert!(engine.durable.as_ref().is_none_or(|durable| durable.is_settled()));
        prop_assert_eq!(engine.next_timeout().filter(|&at| at < Millis::NEVER), None);
    }
}
