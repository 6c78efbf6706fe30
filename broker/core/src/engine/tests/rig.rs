//! An engine under test with the simplest driver: one node, one worker, everybody admitted.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use broker_policy::{
    Acl, AclType, Client, DefaultAccess, Group, Policy, Record, Role, RoleAssignment, Settings,
};

use super::describe::describe;
use super::state::StateRig;
use crate::codec::packet::*;
use crate::codec::{DecodeLimits, Decoded, ReasonCode, Sender, UserProperties};
use crate::codec::{decode, encode};
use crate::engine::*;
use crate::retained::{RetainedMessage, RetainedSearch, RetainedSource};
use crate::session::SessionState;
use crate::types::*;

pub(super) use crate::types::ProtocolVersion::{V5, V311};
pub(super) use crate::types::QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};

/// Retained messages that tests put in themselves.
#[derive(Default)]
pub(super) struct TestRetained(pub(super) Mutex<BTreeMap<String, RetainedMessage>>);

impl RetainedSource for TestRetained {
    fn for_each_match(
        &self,
        filter: &str,
        after: Option<&str>,
        now: Millis,
        budget: &mut usize,
        visit: &mut dyn FnMut(&RetainedMessage) -> ControlFlow<()>,
    ) -> RetainedSearch {
        let messages = self.0.lock().unwrap().clone();
        let mut last: Option<Box<str>> = after.map(Box::from);
        for (topic, message) in messages {
            if after.is_some_and(|after| topic.as_str() <= after) {
                continue;
            }
            let Some(left) = budget.checked_sub(1) else {
                return RetainedSearch::Stopped { after: last };
            };
            *budget = left;
            let is_meant = message.expires_at() > now && crate::topic::matches(filter, &topic);
            if is_meant && visit(&message).is_break() {
                return RetainedSearch::Stopped { after: last };
            }
            last = Some(topic.into());
        }
        RetainedSearch::Done
    }
}

pub(super) struct Rig {
    pub(super) engine: Engine,
    pub(super) now: Millis,
    pub(super) retained: Arc<TestRetained>,
    versions: HashMap<ConnectionId, ProtocolVersion>,
    claims: u64,
    /// Which effects the rig answers by itself.
    pub(super) answers: Answers,
    /// Effects that it did not answer, as text.
    pub(super) effects: Vec<Effect>,
    pub(super) closed: Vec<ConnectionId>,
    pub(super) resumed: Vec<ConnectionId>,
    /// The replicated state, for durable sessions.
    pub(super) state: Option<StateRig>,
}

#[derive(Clone, Copy)]
pub(super) struct Answers {
    pub(super) authenticate: bool,
    pub(super) claim: bool,
    pub(super) interest: bool,
    pub(super) propose: bool,
    pub(super) sessions: bool,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(EngineConfig::default(), open_policy())
    }

    pub(super) fn with(config: EngineConfig, policy: Policy) -> Self {
        let retained = Arc::new(TestRetained::default());
        let source: Arc<dyn RetainedSource> = retained.clone();
        Self {
            engine: Engine::new(config, Arc::new(policy), source),
            now: Millis(1_000_000),
            retained,
            versions: HashMap::new(),
            claims: 0,
            answers: Answers {
                authenticate: true,
                claim: true,
                interest: true,
                propose: true,
                sessions: true,
            },
            effects: Vec::new(),
            closed: Vec::new(),
            resumed: Vec::new(),
            state: None,
        }
    }

    pub(super) fn open(&mut self) -> ConnectionId {
        self.open_by(0)
    }

    /// As [`Self::connect`], by a listener.
    pub(super) fn connect_by(&mut self, listener: u8, connect: Connect<'_>) -> ConnectionId {
        let id = self.open_by(listener);
        self.send(id, &Packet::Connect(connect));
        let packets = self.received(id);
        assert!(packets[0].starts_with("CONNACK 0x00"), "{packets:?}");
        id
    }

    pub(super) fn open_by(&mut self, listener: u8) -> ConnectionId {
        let origin = ConnectionOrigin { listener, ..ConnectionOrigin::default() };
        self.engine.connection_opened(self.now, origin)
    }

    /// Whether a CONNECT was sent there.
    pub(super) fn has_version(&self, at: ConnectionId) -> bool {
        self.versions.contains_key(&at)
    }

    /// Lets time pass in steps of the engine's own choice.
    pub(super) fn wait(&mut self, millis: u64) {
        let end = self.now.plus(millis);
        while let Some(at) = self.engine.next_timeout().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.engine.handle_timeout(self.now);
            self.settle();
        }
        self.now = end;
    }

    pub(super) fn send(&mut self, to: ConnectionId, packet: &Packet<'_>) {
        if let Packet::Connect(connect) = packet {
            self.versions.entry(to).or_insert(connect.version);
        }
        let mut bytes = Vec::new();
        encode(packet, self.versions[&to], &mut bytes).unwrap();
        self.send_bytes(to, &bytes);
    }

    pub(super) fn send_bytes(&mut self, to: ConnectionId, bytes: &[u8]) {
        let _ = self.engine.receive(self.now, to, bytes);
        self.settle();
    }

    /// Answers effects until there are none.
    pub(super) fn settle(&mut self) {
        let mut effects = Vec::new();
        loop {
            self.engine.take_effects(&mut effects);
            if effects.is_empty() {
                return;
            }
            for effect in effects.drain(..) {
                self.answer(effect);
            }
        }
    }

    fn answer(&mut self, effect: Effect) {
        let now = self.now;
        match effect {
            Effect::Authenticate { connection, request } if self.answers.authenticate => {
                let proof = match (&request.username, &request.password) {
                    (Some(_), Some(_)) => AuthProof::Password,
                    _ => AuthProof::None,
                };
                let outcome = AuthOutcome::Accepted { username: request.username.clone(), proof };
                self.engine.authenticated(now, connection, outcome);
            }
            Effect::Claim { connection, client_id, clean_start } if self.answers.claim => {
                let session = self.engine.take_over(now, &client_id, clean_start);
                self.grant(connection, session);
            }
            Effect::Interest { seq, .. } if self.answers.interest => {
                self.engine.interest_confirmed(now, seq);
            }
            Effect::Propose { proposal, change } if self.answers.propose => {
                let mut store = self.retained.0.lock().unwrap();
                match change.message {
                    Some(message) => drop(store.insert(change.topic.into(), message)),
                    None => drop(store.remove(&*change.topic)),
                }
                drop(store);
                self.engine.committed(now, proposal, CommitOutcome::Committed);
            }
            Effect::ProposeSessions { proposal, operations, .. } if self.answers.sessions => {
                self.commit_sessions(proposal, operations);
            }
            Effect::Close { connection } => self.closed.push(connection),
            Effect::Resume { connection } => self.resumed.push(connection),
            other => self.effects.push(other),
        }
    }

    pub(super) fn grant(&mut self, connection: ConnectionId, session: Option<Box<SessionState>>) {
        self.claims += 1;
        let claim = Claim { term: 1, seq: self.claims };
        self.engine.claimed(self.now, connection, ClaimOutcome::Granted { claim, session });
    }

    /// The packets that were sent to a connection since the last call, as text.
    pub(super) fn received(&mut self, at: ConnectionId) -> Vec<String> {
        let version = self.versions.get(&at).copied().unwrap_or(V5);
        let bytes = self.bytes(at);
        let limits = DecodeLimits {
            sender: Sender::Server,
            packet_bytes_max: DecodeLimits::PACKET_BYTES_MAX,
            ..DecodeLimits::default()
        };
        let (mut rest, mut packets) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            match decode(rest, Some(version), &limits) {
                Ok(Decoded::Packet { packet, consumed }) => {
                    packets.push(describe(&packet, version));
                    rest = &rest[consumed..];
                }
                other => panic!("the engine sent {other:?}"),
            }
        }
        packets
    }

    /// The same as bytes.
    pub(super) fn bytes(&mut self, at: ConnectionId) -> Vec<u8> {
        let bytes = self.engine.output(at).to_vec();
        self.engine.output_written(self.now, at, bytes.len());
        bytes
    }

    /// Connects a client and swallows its CONNACK.
    pub(super) fn connect(&mut self, connect: Connect<'_>) -> ConnectionId {
        self.connect_by(0, connect)
    }

    /// Connects a client that comes back to its session; what waits for it stays to be received.
    pub(super) fn connect_returning(&mut self, client_id: &str) -> ConnectionId {
        let id = self.open();
        self.send(id, &Packet::Connect(returning(client_id)));
        id
    }

    /// Connects a 5.0 client whose session ends with the connection.
    pub(super) fn client(&mut self, client_id: &str) -> ConnectionId {
        self.connect(connect(client_id))
    }

    pub(super) fn subscribe(&mut self, at: ConnectionId, filter: &str, qos: QoS) {
        self.send(at, &subscribe(1, filter, qos));
        let expected = [format!("SUBACK #1 {:#04x}", qos.as_u8())];
        assert_eq!(self.received(at), expected);
    }

    /// The connection breaks.
    pub(super) fn lose(&mut self, connection: ConnectionId) {
        self.engine.connection_closed(self.now, connection);
        self.settle();
    }

    pub(super) fn is_closed(&self, connection: ConnectionId) -> bool {
        self.closed.contains(&connection)
    }
}

/// A policy that lets everybody do everything, without names too.
pub(super) fn open_policy() -> Policy {
    policy(&[], &[])
}

/// A policy of these clients, each with a role of its own with these ACLs; what no ACL says is
/// allowed.
pub(super) fn policy(clients: &[&str], acls: &[(AclType, &str, bool)]) -> Policy {
    let default_access = DefaultAccess {
        publish_client_send: true,
        publish_client_receive: true,
        subscribe: true,
        unsubscribe: true,
    };
    let anonymous_group = Some("anyone".to_owned());
    let mut role = Role::new("role");
    role.acls = acls
        .iter()
        .map(|&(acl_type, topic, allow)| Acl { acl_type, topic: topic.into(), priority: 0, allow })
        .collect();
    let mut records = vec![
        Record::Settings(Settings { default_access, anonymous_group, ..Settings::default() }),
        Record::Group(Group { name: "anyone".into(), ..Group::default() }),
        Record::Role(role),
    ];
    records.extend(clients.iter().map(|&username| {
        let roles = vec![RoleAssignment::new("role")];
        Record::Client(Client { username: username.into(), roles, ..Client::default() })
    }));
    Policy::from_records(records).unwrap()
}

pub(super) fn connect(client_id: &str) -> Connect<'_> {
    Connect {
        version: V5,
        clean_start: true,
        keep_alive_seconds: 0,
        properties: ConnectProperties::default(),
        client_id,
        will: None,
        user_name: None,
        password: None,
    }
}

/// A 5.0 client that comes back to its session within an hour.
pub(super) fn returning(client_id: &str) -> Connect<'_> {
    let properties =
        ConnectProperties { session_expiry_seconds: Some(3600), ..ConnectProperties::default() };
    Connect { clean_start: false, properties, ..connect(client_id) }
}

pub(super) fn will<'a>(topic: &'a str, delay_seconds: u32) -> Will<'a> {
    let properties =
        WillProperties { delay_seconds: Some(delay_seconds), ..WillProperties::default() };
    Will { topic, payload: b"gone", qos: AtMostOnce, retain: false, properties }
}

pub(super) fn publish<'a>(topic: &'a str, qos: QoS, id: u16, payload: &'a str) -> Publish<'a> {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic,
        packet_id: PacketId::new(id),
        properties: PublishProperties::default(),
        payload: payload.as_bytes(),
    }
}

pub(super) fn subscribe<'a>(id: u16, filter: &'a str, qos: QoS) -> Packet<'a> {
    let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
    subscribe_with(id, filter, options, None)
}

/// Leaks the filter list: packets borrow, and a test is short.
pub(super) fn subscribe_with<'a>(
    id: u16,
    filter: &'a str,
    options: SubscriptionOptions,
    subscription_id: Option<u32>,
) -> Packet<'a> {
    let filters: &'a [SubscribeFilter<'a>] = vec![SubscribeFilter { filter, options }].leak();
    Packet::Subscribe(Subscribe {
        packet_id: PacketId::new(id).unwrap(),
        subscription_id: subscription_id.and_then(SubscriptionId::new),
        user_properties: UserProperties::NONE,
        filters: SubscribeFilters::from_slice(filters),
    })
}

pub(super) fn unsubscribe(id: u16, filter: &str) -> Packet<'_> {
    let filters: &[&str] = vec![filter].leak();
    Packet::Unsubscribe(Unsubscribe {
        packet_id: PacketId::new(id).unwrap(),
        user_properties: UserProperties::NONE,
        filters: UnsubscribeFilters::from_slice(filters),
    })
}

pub(super) fn ack(id: u16) -> PublishAck<'static> {
    ack_with(id, ReasonCode::Success)
}

pub(super) fn ack_with(id: u16, reason_code: ReasonCode) -> PublishAck<'static> {
    PublishAck::new(PacketId::new(id).unwrap(), reason_code)
}
