//! An engine with the simplest driver.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use broker_core::codec::packet::connect_version;
use broker_core::codec::packet::{
    Connect, ConnectProperties, Packet, SubscriptionOptions, Will, WillProperties,
};
use broker_core::codec::{DecodeLimits, Decoded, ReasonCode, Sender, decode, encode};
use broker_core::engine::{
    AuthOutcome, AuthProof, AutoSubscription, Claim, ClaimOutcome, CommitOutcome, ConnectionOrigin,
    DelayedLimits, Destination, Effect, Engine, EngineConfig, ExchangeOutcome, ListenerRates,
    Pressure,
};
use broker_core::retained::{RetainedMessage, RetainedSearch, RetainedSource};
use broker_core::topic::{Rewrite, RewriteAction, matches};
use broker_core::types::{ConnectionId, Millis, ProtocolVersion, QoS};
use broker_policy::{
    Acl, AclType, Client, DefaultAccess, Group, Policy, Quotas, Record, Role, RoleAssignment,
    Settings,
};

#[derive(Default)]
struct Retained(Mutex<BTreeMap<String, RetainedMessage>>);

impl RetainedSource for Retained {
    fn for_each_match(
        &self,
        filter: &str,
        after: Option<&str>,
        now: Millis,
        budget: &mut usize,
        visit: &mut dyn FnMut(&RetainedMessage) -> ControlFlow<()>,
    ) -> RetainedSearch {
        let Ok(messages) = self.0.lock() else { return RetainedSearch::Done };
        let mut last: Option<Box<str>> = after.map(Box::from);
        for (topic, message) in &*messages {
            if after.is_some_and(|after| topic.as_str() <= after) {
                continue;
            }
            let Some(left) = budget.checked_sub(1) else {
                return RetainedSearch::Stopped { after: last };
            };
            *budget = left;
            let is_meant = message.expires_at() > now && matches(filter, topic);
            if is_meant && visit(message).is_break() {
                return RetainedSearch::Stopped { after: last };
            }
            last = Some(topic.as_str().into());
        }
        RetainedSearch::Done
    }
}

/// Limits that a script can reach.
fn config() -> EngineConfig {
    let quotas = |publishes, bytes| Quotas {
        connections: None,
        publishes_per_second: Some(publishes),
        bytes_per_second: Some(bytes),
    };
    let limited = ListenerRates { client: quotas(2, 100), all: quotas(5, 300) };
    EngineConfig {
        listener_rates: [ListenerRates::default(), limited].into(),
        topic_levels_max: 4,
        retained_expiry_seconds_max: 500,
        packet_bytes_max: 4096,
        receive_maximum: 3,
        inflight_max: 3,
        topic_alias_maximum: 2,
        topic_alias_maximum_outbound: 2,
        session_expiry_seconds_max: 1000,
        queue_messages_max: 8,
        queue_bytes_max: 2048,
        queued_bytes_total_max: 4096,
        subscriptions_max: 8,
        output_bytes_soft_max: 1024,
        delayed: DelayedLimits {
            messages_max: 4,
            bytes_max: 2048,
            seconds_max: 60,
            ..DelayedLimits::NONE
        },
        rewrites: [Rewrite::new(RewriteAction::All, "b/+/#", "a/$2/$1")].into(),
        auto_subscriptions: [AutoSubscription {
            filter: "a/%c".into(),
            options: SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() },
        }]
        .into(),
        ..EngineConfig::default()
    }
}

/// Everybody may do everything, but for what `variant` denies.
fn policy(variant: usize) -> Option<Policy> {
    let default_access = DefaultAccess {
        publish_client_send: variant & 1 == 0,
        publish_client_receive: variant & 2 == 0,
        subscribe: variant & 4 == 0,
        unsubscribe: variant & 8 == 0,
    };
    let mut role = Role::new("role");
    let acl = |acl_type| Acl { acl_type, topic: "a/#".to_owned(), priority: 0, allow: true };
    role.acls = vec![acl(AclType::PublishClientSend), acl(AclType::SubscribePattern)];
    let anyone = Group { name: "anyone".to_owned(), ..Group::default() };
    let anonymous_group = Some("anyone".to_owned());
    let mut records = vec![
        Record::Settings(Settings { default_access, anonymous_group, ..Settings::default() }),
        Record::Group(anyone),
        Record::Role(role),
    ];
    if variant & 16 == 0 {
        let roles = vec![RoleAssignment::new("role")];
        records.push(Record::Client(Client {
            username: "u".to_owned(),
            roles,
            ..Client::default()
        }));
    }
    Policy::from_records(records).ok()
}

pub(super) struct Driver {
    engine: Engine,
    now: Millis,
    retained: Arc<Retained>,
    clients: [Option<ConnectionId>; super::CLIENTS],
    /// What was sent to each connection until its CONNECT was whole, and the version.
    versions: HashMap<ConnectionId, (Vec<u8>, Option<ProtocolVersion>)>,
    effects: Vec<Effect>,
    claims: u64,
    pub(super) answers_at_once: bool,
}

impl Driver {
    pub(super) fn new() -> Self {
        let retained = Arc::new(Retained::default());
        let source: Arc<dyn RetainedSource> = retained.clone();
        let policy = Arc::new(policy(0).unwrap_or_default());
        Self {
            engine: Engine::new(config(), policy, source),
            now: Millis(1_000_000),
            retained,
            clients: [None; super::CLIENTS],
            versions: HashMap::new(),
            effects: Vec::new(),
            claims: 0,
            answers_at_once: true,
        }
    }

    pub(super) fn connection(&self, client: usize) -> Option<ConnectionId> {
        self.clients[client]
    }

    /// A connection of this client, at the listener with quotas or not, to be refused or not.
    pub(super) fn open(&mut self, client: usize, variant: usize) {
        if let Some(id) = self.clients[client] {
            self.lose(id);
        }
        let listener = u8::from(variant & 16 != 0);
        let refusal = (variant & 96 == 96).then_some(ReasonCode::QuotaExceeded);
        let origin = ConnectionOrigin { certificate_name: None, listener, refusal };
        let id = self.engine.connection_opened(self.now, origin);
        self.clients[client] = Some(id);
        self.versions.insert(id, (Vec::new(), None));
    }

    pub(super) fn send(&mut self, id: ConnectionId, bytes: &[u8]) {
        if let Some((sent, version)) = self.versions.get_mut(&id)
            && version.is_none()
            && sent.len() < 64
        {
            sent.extend_from_slice(bytes);
            *version = connect_version(sent);
        }
        let _ = self.engine.receive(self.now, id, bytes);
        self.settle();
    }

    /// A CONNECT: protocol level, Client Identifier, flags (clean, expiry, will).
    pub(super) fn connect(&mut self, id: ConnectionId, bytes: &[u8]) {
        let [level, who, flags, ..] = bytes else { return };
        let version = match level {
            5 => ProtocolVersion::V5,
            3 => ProtocolVersion::V31,
            _ => ProtocolVersion::V311,
        };
        let is_v5 = version.is_v5();
        let properties = ConnectProperties {
            session_expiry_seconds: (is_v5 && flags & 1 != 0).then_some(100),
            receive_maximum: (is_v5 && flags & 4 != 0).then_some(1),
            topic_alias_maximum: (is_v5 && flags & 8 != 0).then_some(2),
            packet_bytes_max: (is_v5 && flags & 16 != 0).then_some(40),
            ..ConnectProperties::default()
        };
        let will = Will {
            topic: "a",
            payload: b"gone",
            qos: QoS::AtLeastOnce,
            retain: flags & 64 != 0,
            properties: WillProperties::default(),
        };
        let connect = Connect {
            version,
            clean_start: flags & 2 != 0,
            keep_alive_seconds: u16::from(flags & 32),
            properties,
            client_id: ["a", "b", "c"][usize::from(who % 3)],
            will: (flags & 128 != 0).then_some(will),
            user_name: (who & 4 != 0).then_some("u"),
            password: None,
        };
        let mut wire = Vec::new();
        if encode(&Packet::Connect(connect), version, &mut wire).is_ok() {
            self.send(id, &wire);
        }
    }

    /// Takes what is written to a client: whole packets of a server, in the client's version.
    pub(super) fn read(&mut self, id: ConnectionId) {
        let output = self.engine.output(id).to_vec();
        self.engine.output_written(self.now, id, output.len());
        let version = self.versions.get(&id).and_then(|(_, version)| *version);
        let limits = DecodeLimits {
            sender: Sender::Server,
            packet_bytes_max: DecodeLimits::PACKET_BYTES_MAX,
            ..DecodeLimits::default()
        };
        let mut rest = &output[..];
        while !rest.is_empty() {
            // A version that is refused is answered in one that the client may know.
            let versions = match version {
                Some(version) => [version, version],
                None => [ProtocolVersion::V311, ProtocolVersion::V5],
            };
            let packet =
                versions.into_iter().find_map(|version| decode(rest, Some(version), &limits).ok());
            match packet {
                Some(Decoded::Packet { consumed, .. }) => rest = &rest[consumed..],
                other => panic!("{version:?}: the engine wrote {other:?}: {rest:02x?}"),
            }
        }
        self.settle();
    }

    pub(super) fn lose(&mut self, id: ConnectionId) {
        self.engine.connection_closed(self.now, id);
        self.clients.iter_mut().filter(|client| **client == Some(id)).for_each(|c| *c = None);
        self.versions.remove(&id);
        self.settle();
    }

    pub(super) fn wait(&mut self, millis: u64) {
        /// Wake-ups in one wait: each must have been for something.
        const STEPS_MAX: u32 = 100_000;
        let end = self.now.plus(millis);
        let mut steps = 0;
        while let Some(at) = self.engine.next_timeout().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.engine.handle_timeout(self.now);
            self.settle();
            steps += 1;
            assert!(steps < STEPS_MAX, "the engine wants to be woken for nothing");
        }
        self.now = end;
    }

    pub(super) fn forwarded(&mut self, batch: &[u8]) {
        self.engine.deliver(self.now, batch);
        self.settle();
    }

    pub(super) fn drain(&mut self, count: usize) {
        self.engine.drain_some(self.now, count);
        self.settle();
    }

    pub(super) fn change_policy(&mut self, variant: usize) {
        if let Some(policy) = policy(variant) {
            self.engine.set_policy(self.now, Arc::new(policy));
        }
        self.settle();
    }

    pub(super) fn press(&mut self, variant: usize) {
        let levels = [Pressure::None, Pressure::Slow, Pressure::Refuse];
        self.engine.set_pressure(self.now, levels[variant % 3]);
        self.settle();
    }

    fn settle(&mut self) {
        self.engine.take_effects(&mut self.effects);
        while self.answers_at_once && !self.effects.is_empty() {
            self.answer_oldest(true);
        }
        let mut touched = Vec::new();
        self.engine.take_touched(&mut touched);
        // Nobody else listens: what is for others must not pile up.
        while let Some(number) = Some(self.engine.pending_forwards()).filter(|&all| all != 0) {
            let number = number.trailing_zeros() as u8;
            let Some(destination) = Destination::new(number) else { break };
            let batch = self.engine.take_forward(destination);
            self.engine.recycle_forward(batch);
        }
    }

    pub(super) fn answer_oldest(&mut self, is_good: bool) {
        if self.effects.is_empty() {
            return;
        }
        let effect = self.effects.remove(0);
        let (now, engine) = (self.now, &mut self.engine);
        match effect {
            Effect::Authenticate { connection, request } => {
                let username = request.username;
                let outcome = match is_good {
                    true => AuthOutcome::Accepted { username, proof: AuthProof::None },
                    false => AuthOutcome::Refused { reason_code: ReasonCode::NotAuthorized },
                };
                engine.authenticated(now, connection, outcome);
            }
            Effect::BeginExchange { connection, .. } if is_good => {
                let data = Box::default();
                engine.exchanged(now, connection, ExchangeOutcome::Continue { data });
            }
            Effect::ContinueExchange { connection, .. } if is_good => {
                let outcome =
                    ExchangeOutcome::Proved { username: "u".into(), data: Box::default() };
                engine.exchanged(now, connection, outcome);
            }
            Effect::BeginExchange { connection, .. }
            | Effect::ContinueExchange { connection, .. } => {
                let reason_code = ReasonCode::NotAuthorized;
                engine.exchanged(now, connection, ExchangeOutcome::Refused { reason_code });
            }
            Effect::Claim { connection, client_id, clean_start } if is_good => {
                let session = engine.take_over(now, &client_id, clean_start);
                self.claims += 1;
                let claim = Claim { term: 1, seq: self.claims };
                engine.claimed(now, connection, ClaimOutcome::Granted { claim, session });
            }
            Effect::Claim { connection, .. } => {
                engine.claimed(now, connection, ClaimOutcome::Superseded);
            }
            Effect::Interest { seq, .. } => engine.interest_confirmed(now, seq),
            Effect::Propose { proposal, change } => {
                if is_good && let Ok(mut store) = self.retained.0.lock() {
                    match change.message {
                        Some(message) => drop(store.insert(change.topic.into(), message)),
                        None => drop(store.remove(&*change.topic)),
                    }
                }
                let outcome =
                    if is_good { CommitOutcome::Committed } else { CommitOutcome::Failed };
                engine.committed(now, proposal, outcome);
            }
            Effect::Close { connection } => {
                self.read(connection);
                return self.lose(connection);
            }
            // The engine here has sessions of its own alone.
            Effect::Withdraw { .. }
            | Effect::Release { .. }
            | Effect::Resume { .. }
            | Effect::ProposeSessions { .. } => {}
        }
        self.engine.take_effects(&mut self.effects);
    }

    /// Everybody leaves, every question is answered, every session expires: nothing is left.
    pub(super) fn end(mut self) {
        self.answers_at_once = true;
        self.press(0);
        for _ in 0..4 {
            self.settle();
            for id in self.clients.into_iter().flatten() {
                self.read(id);
                self.lose(id);
            }
            self.wait(3_000_000);
        }
        let counters = self.engine.counters();
        assert_eq!((counters.connections, counters.sessions), (0, 0), "somebody is left");
        assert_eq!(counters.subscriptions, 0, "subscriptions are left");
        assert_eq!((counters.queued_messages, counters.queued_bytes), (0, 0), "messages are left");
        let delayed = (counters.delayed_messages, counters.delayed_bytes);
        assert_eq!(delayed, (0, 0), "delayed messages are left");
        assert_eq!(counters.in_flight_bytes, 0, "bytes in flight are left");
        assert!(self.engine.interest().is_empty(), "interest is left");
    }
}
