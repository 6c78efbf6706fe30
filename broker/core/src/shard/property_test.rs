//! The state machine against a model that keeps lists, against itself applied twice, and against
//! itself gone through snapshots.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::testing::*;
use super::*;
use crate::types::{PacketId, QoS};

const CLIENTS: [&str; 4] = ["a", "b", "c", "d"];
const TOPICS: [&str; 3] = ["t/1", "t/2", "u"];
const FILTERS: [&str; 4] = ["t/+", "t/1", "u", "#"];

#[derive(Debug, Clone)]
enum Step {
    Attach(usize, bool),
    Detach(usize),
    Subscribe(usize, usize, u8),
    Unsubscribe(usize, usize),
    Publish(usize, usize, u8, u16),
    Acknowledge(usize, usize),
    Receive(usize, usize),
    Release(usize, u16),
    Snapshot,
}

fn step() -> impl Strategy<Value = Step> {
    let (client, filter, topic) = (0..CLIENTS.len(), 0..FILTERS.len(), 0..TOPICS.len());
    prop_oneof![
        2 => (client.clone(), any::<bool>()).prop_map(|(c, clean)| Step::Attach(c, clean)),
        1 => client.clone().prop_map(Step::Detach),
        2 => (client.clone(), filter.clone(), 0..3u8).prop_map(|(c, f, q)| Step::Subscribe(c, f, q)),
        1 => (client.clone(), filter).prop_map(|(c, f)| Step::Unsubscribe(c, f)),
        6 => (client.clone(), topic, 1..3u8, 1..4u16).prop_map(|(c, t, q, i)| Step::Publish(c, t, q, i)),
        3 => (client.clone(), 0..6usize).prop_map(|(c, n)| Step::Acknowledge(c, n)),
        2 => (client.clone(), 0..6usize).prop_map(|(c, n)| Step::Receive(c, n)),
        2 => (client, 1..4u16).prop_map(|(c, i)| Step::Release(c, i)),
        1 => Just(Step::Snapshot),
    ]
}

/// A session as lists.
#[derive(Debug, Default, Clone)]
struct Naive {
    attachment: Option<u64>,
    subscriptions: BTreeMap<&'static str, QoS>,
    /// Payload, QoS, and whether the client has it.
    queue: Vec<(String, QoS, bool)>,
    inbound: BTreeSet<u16>,
}

#[derive(Default)]
struct Model {
    sessions: BTreeMap<usize, Naive>,
    published: u32,
}

fn qos(number: u8) -> QoS {
    QoS::from_u8(number).unwrap()
}

impl Model {
    fn connected(&mut self, client: usize) -> Option<(&mut Naive, u64)> {
        let session = self.sessions.get_mut(&client)?;
        let attachment = session.attachment?;
        Some((session, attachment))
    }
}

/// What two machines are told: one of them everything twice.
struct Pair {
    once: Machine,
    twice: Machine,
}

impl Pair {
    fn run(&mut self, operation: &Operation<'_>) -> OperationOutcome {
        let batch = self.once.batch(std::slice::from_ref(operation));
        let outcome = self.once.apply(&batch).outcomes[0];
        let batch = self.twice.batch(std::slice::from_ref(operation));
        for _ in 0..2 {
            assert_eq!(self.twice.apply(&batch).outcomes, [outcome]);
        }
        outcome
    }
}

fn carry_out(step: &Step, model: &mut Model, pair: &mut Pair) {
    match *step {
        Step::Attach(client, clean_start) => attach(client, clean_start, model, pair),
        Step::Detach(client) => {
            let Some((session_model, attachment)) = model.connected(client) else { return };
            session_model.attachment = None;
            pair.run(&detach(session(CLIENTS[client], attachment), 0));
        }
        Step::Subscribe(client, filter, number) => {
            let Some((naive, attachment)) = model.connected(client) else { return };
            naive.subscriptions.insert(FILTERS[filter], qos(number));
            let subscriptions = vec![subscription(FILTERS[filter], qos(number))];
            let session = session(CLIENTS[client], attachment);
            pair.run(&Operation::Subscribe { session, subscriptions });
        }
        Step::Unsubscribe(client, filter) => {
            let Some((naive, attachment)) = model.connected(client) else { return };
            naive.subscriptions.remove(FILTERS[filter]);
            let session = session(CLIENTS[client], attachment);
            pair.run(&Operation::Unsubscribe { session, filters: vec![FILTERS[filter]] });
        }
        Step::Publish(client, topic, number, id) => {
            publish(client, topic, (number, id), model, pair)
        }
        Step::Acknowledge(client, place) => {
            settle(client, place, model, pair, |session, seqs| Operation::Acknowledge {
                session,
                seqs,
            });
        }
        Step::Receive(client, place) => {
            settle(client, place, model, pair, |session, seqs| Operation::Receive {
                session,
                seqs,
            });
        }
        Step::Release(client, id) => {
            let Some((naive, attachment)) = model.connected(client) else { return };
            naive.inbound.remove(&id);
            let packet_ids = vec![PacketId::new(id).unwrap()];
            let session = session(CLIENTS[client], attachment);
            pair.run(&Operation::Release { session, packet_ids });
        }
        Step::Snapshot => pair.twice.restore(),
    }
}

fn attach(client: usize, clean_start: bool, model: &mut Model, pair: &mut Pair) {
    if clean_start {
        model.sessions.remove(&client);
    }
    let was_present = model.sessions.contains_key(&client);
    let outcome = pair.run(&Operation::Attach {
        client_id: CLIENTS[client],
        username: None,
        worker: 0,
        clean_start,
        expiry_seconds: 100,
        will: None,
        subscriptions: Vec::new(),
    });
    let OperationOutcome::Attached { attachment, session_present } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(session_present, was_present);
    model.sessions.entry(client).or_default().attachment = Some(attachment);
}

fn publish(
    client: usize,
    topic: usize,
    (number, id): (u8, u16),
    model: &mut Model,
    pair: &mut Pair,
) {
    model.published += 1;
    let payload = model.published.to_string();
    let published = qos(number);
    let mut is_new = true;
    let mut publisher = None;
    if let Some((naive, attachment)) = model.connected(client) {
        let is_qos2 = published == QoS::ExactlyOnce;
        is_new = !is_qos2 || naive.inbound.insert(id);
        let packet_id = PacketId::new(id).filter(|_| is_qos2);
        publisher =
            Some(PublisherForm { session: session(CLIENTS[client], attachment), packet_id });
    }
    for naive in model.sessions.values_mut().filter(|_| is_new) {
        let matching = naive.subscriptions.iter();
        let matching = matching.filter(|(f, _)| crate::topic::matches(f, TOPICS[topic]));
        let granted = matching.map(|(_, qos)| *qos).max().map(|granted| granted.min(published));
        if let Some(granted) = granted.filter(|qos| *qos != QoS::AtMostOnce) {
            naive.queue.push((payload.clone(), granted, false));
        }
    }
    let message = message(TOPICS[topic], &payload, published);
    let operation = Operation::Publish {
        publisher,
        shards: ALL_SHARDS,
        groups: Vec::new(),
        is_retained: false,
        message: MessageForm::of(&message),
    };
    assert_eq!(pair.run(&operation), OperationOutcome::Done);
}

/// Acknowledges or receives the message at a place among those that wait.
fn settle(
    client: usize,
    place: usize,
    model: &mut Model,
    pair: &mut Pair,
    operation: fn(SessionRef<'static>, Vec<u64>) -> Operation<'static>,
) {
    let waiting = pair.once.waiting(CLIENTS[client]);
    let Some((naive, attachment)) = model.connected(client) else { return };
    let Some((seq, _)) = waiting.get(place) else { return };
    let operation = operation(session(CLIENTS[client], attachment), vec![*seq]);
    match operation {
        Operation::Acknowledge { .. } => drop(naive.queue.remove(place)),
        _ => {
            let (_, qos, is_received) = &mut naive.queue[place];
            *is_received |= *qos == QoS::ExactlyOnce;
        }
    }
    pair.run(&operation);
}

fn compare(model: &Model, machine: &Machine) {
    let (mut messages, mut sessions) = (0, 0);
    for (client, name) in CLIENTS.iter().enumerate() {
        let naive = model.sessions.get(&client);
        assert_eq!(machine.store.contains(name), naive.is_some());
        let Some(naive) = naive else { continue };
        sessions += 1;
        messages += naive.queue.len() as u64;
        let expected: Vec<&str> = naive
            .queue
            .iter()
            .map(|(payload, _, is_received)| if *is_received { "-" } else { payload })
            .collect();
        assert_eq!(machine.payloads(name), expected, "{name}");
        let Some(attachment) = naive.attachment else { continue };
        let view = machine.store.view(name, attachment).unwrap();
        let inbound: BTreeSet<u16> = view.inbound_qos2.iter().map(|id| id.get()).collect();
        assert_eq!(inbound, naive.inbound);
        let filters: BTreeSet<&str> = view.subscriptions.iter().map(|s| &*s.filter).collect();
        assert_eq!(filters, naive.subscriptions.keys().copied().collect());
    }
    let totals = machine.store.totals();
    assert_eq!((totals.sessions, totals.messages), (sessions, messages));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn sessions_hold_what_lists_hold_applied_twice_and_gone_through_snapshots(
        steps in prop::collection::vec(step(), 1..80)
    ) {
        let mut model = Model::default();
        let mut pair = Pair { once: Machine::new(), twice: Machine::new() };
        for step in &steps {
            carry_out(step, &mut model, &mut pair);
            compare(&model, &pair.once);
        }
        compare(&model, &pair.twice);
        prop_assert_eq!(pair.once.encoded(), pair.twice.encoded());
    }
}
