//! A state machine for tests: one node, one worker, everybody may do everything.

use std::sync::Arc;

use broker_policy::Policy;

use super::*;
use crate::codec::packet::{Publish, PublishProperties, SubscriptionOptions};
use crate::retained::RetainedChange;
use crate::router::Message;
use crate::session::SubscriptionState;
use crate::stored::{FileRange, Sections, Sink};
use crate::types::{Millis, NodeId, PacketId, QoS};

pub(super) struct Machine {
    pub(super) store: SessionStore,
    policy: Policy,
    pub(super) limits: SessionLimits,
    pub(super) now: Millis,
    pub(super) start: u64,
    seq: u64,
    log_index: u64,
    pub(super) retained: Vec<RetainedChange>,
}

impl Machine {
    pub(super) fn new() -> Self {
        Self {
            store: SessionStore::default(),
            policy: open_policy(),
            limits: SessionLimits::default(),
            now: Millis(1_000_000),
            start: 1,
            seq: 0,
            log_index: 0,
            retained: Vec::new(),
        }
    }

    pub(super) fn batch(&mut self, operations: &[Operation<'_>]) -> SessionBatch {
        self.seq += 1;
        let mut encoded = Vec::new();
        for operation in operations {
            assert!(operation.encode(&mut encoded));
        }
        let (seq, start) = (self.seq, self.start);
        let origin = BatchOrigin { node: NodeId(7), start, seq, settled: seq };
        SessionBatch { origin, now: self.now, limits: self.limits, operations: encoded.into() }
    }

    pub(super) fn apply(&mut self, batch: &SessionBatch) -> Applied {
        self.log_index += 1;
        let retained = &mut self.retained;
        let mut retain = |change| {
            retained.push(change);
            true
        };
        let (log_index, policy) = (self.log_index, &self.policy);
        self.store.apply(
            batch,
            ApplyContext { log_index, policy, retain: &mut retain, is_retained: None },
        )
    }

    pub(super) fn run(&mut self, operations: &[Operation<'_>]) -> Applied {
        let batch = self.batch(operations);
        self.apply(&batch)
    }

    pub(super) fn one(&mut self, operation: Operation<'_>) -> OperationOutcome {
        self.run(&[operation]).outcomes[0]
    }

    /// A client connects, with a session of an hour; gives the attachment.
    pub(super) fn attach(&mut self, client_id: &str) -> u64 {
        self.attach_with(client_id, false, None).0
    }

    pub(super) fn attach_with(
        &mut self,
        client_id: &str,
        clean_start: bool,
        will: Option<WillForm<'_>>,
    ) -> (u64, bool) {
        let outcome = self.one(Operation::Attach {
            client_id,
            username: None,
            worker: 3,
            clean_start,
            expiry_seconds: 3600,
            will,
            subscriptions: Vec::new(),
        });
        match outcome {
            OperationOutcome::Attached { attachment, session_present } => {
                (attachment, session_present)
            }
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn subscribe(&mut self, session: SessionRef<'_>, filter: &str, qos: QoS) {
        let subscriptions = vec![subscription(filter, qos)];
        let outcome = self.one(Operation::Subscribe { session, subscriptions });
        assert_eq!(outcome, OperationOutcome::Done);
    }

    /// To whoever is subscribed.
    pub(super) fn publish(&mut self, topic: &str, payload: &str, qos: QoS) -> OperationOutcome {
        let message = message(topic, payload, qos);
        self.publish_from(None, &message)
    }

    pub(super) fn publish_from(
        &mut self,
        publisher: Option<PublisherForm<'_>>,
        message: &Message,
    ) -> OperationOutcome {
        let mut route = DurableRoute::default();
        self.store.route(message.topic(), &mut route);
        let groups = route.groups.iter().map(|group| &*group.key).collect();
        self.one(Operation::Publish {
            publisher,
            shards: route.shards,
            groups,
            is_retained: false,
            message: MessageForm::of(message),
        })
    }

    /// What waits for a client, in order: numbers and payloads; `-` where PUBREL is to be sent.
    pub(super) fn waiting(&self, client_id: &str) -> Vec<(u64, String)> {
        let shard = self.store.shard(client_id);
        let Some(record) = shard.get(client_id) else { return Vec::new() };
        let mut found = Vec::new();
        let _ = record.read(0, usize::MAX, &mut found);
        let payload = |outbound: &Outbound| match &outbound.message {
            Some(message) => {
                let message = message.load().unwrap();
                String::from_utf8(message.publish().unwrap().payload.to_vec()).unwrap()
            }
            None => "-".to_owned(),
        };
        found.iter().map(|outbound| (outbound.seq, payload(outbound))).collect()
    }

    pub(super) fn payloads(&self, client_id: &str) -> Vec<String> {
        self.waiting(client_id).into_iter().map(|(_, payload)| payload).collect()
    }

    /// The whole state as bytes.
    pub(super) fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.store.snapshot().write(&mut Sink::new(&mut out)).unwrap();
        out
    }

    /// The same state, gone through a snapshot.
    pub(super) fn restore(&mut self) {
        let bytes = bytes::Bytes::from(self.encoded());
        let count = bytes.len() as u64;
        let content = FileRange::new(Arc::new(bytes), 0, count);
        let mut reader = content.reader();
        let snapshot = SessionsSnapshot::read(&mut reader, &mut Sections::new(&content)).unwrap();
        assert_eq!(reader.left(), 0);
        self.store = SessionStore::default();
        self.store.install(snapshot);
    }
}

fn open_policy() -> Policy {
    use broker_policy::{DefaultAccess, Group, Record, Settings};
    let default_access = DefaultAccess {
        publish_client_send: true,
        publish_client_receive: true,
        subscribe: true,
        unsubscribe: true,
    };
    let anonymous_group = Some("anyone".to_owned());
    Policy::from_records([
        Record::Settings(Settings { default_access, anonymous_group, ..Settings::default() }),
        Record::Group(Group { name: "anyone".into(), ..Group::default() }),
    ])
    .unwrap()
}

pub(super) fn message(topic: &str, payload: &str, qos: QoS) -> Message {
    let publish = Publish {
        dup: false,
        qos,
        retain: false,
        topic,
        packet_id: PacketId::new(1),
        properties: PublishProperties::default(),
        payload: payload.as_bytes(),
    };
    Message::new(&publish, Millis::NEVER).unwrap()
}

pub(super) fn subscription(filter: &str, qos: QoS) -> SubscriptionState {
    let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
    SubscriptionState { filter: filter.into(), options, id: None }
}

pub(super) const fn session(client_id: &str, attachment: u64) -> SessionRef<'_> {
    SessionRef { client_id, attachment }
}

pub(super) const fn detach(session: SessionRef<'_>, sent_to: u64) -> Operation<'_> {
    Operation::Detach { session, sent_to, is_will_dropped: false, expiry_seconds: None }
}
