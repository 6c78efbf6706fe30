//! The window, and exactly-once delivery as a property.

use std::sync::Arc;

use proptest::prelude::*;

use super::delivery::Delivery;
use super::in_flight::{AckError, InFlight, Resend};
use crate::codec::packet::{Publish, PublishProperties};
use crate::router::Message;
use crate::types::{Millis, PacketId, QoS};

fn delivery(qos: QoS) -> Delivery {
    let publish = Publish {
        dup: false,
        qos,
        retain: false,
        topic: "t",
        packet_id: None,
        properties: PublishProperties::default(),
        payload: b"x",
    };
    let message = Arc::new(Message::new(&publish, Millis::NEVER).unwrap());
    Delivery { message, qos, retain: false, subscription_ids: None, share: None }
}

fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

fn push(window: &mut InFlight, qos: QoS) -> PacketId {
    window.push(qos, Some(delivery(qos)))
}

fn resend_all(window: &mut InFlight) -> Vec<String> {
    let mut sent = Vec::new();
    while let Some(resend) = window.resend(u16::MAX, |_| false) {
        sent.push(match resend {
            Resend::Publish(id, _) => format!("publish {id}"),
            Resend::PubRel(id) => format!("pubrel {id}"),
        });
    }
    sent
}

#[test]
fn identifiers_come_round_without_hitting_one_in_use() {
    let mut window = InFlight::default();
    assert_eq!(push(&mut window, QoS::AtLeastOnce), id(1));
    for value in 2..=65_535 {
        assert!(window.has_room(u16::MAX));
        assert_eq!(push(&mut window, QoS::AtLeastOnce), id(value));
        window.acknowledge(id(value)).unwrap();
    }
    assert!(!window.has_room(u16::MAX), "1 is still in use");
    window.acknowledge(id(1)).unwrap();
    assert!(window.has_room(u16::MAX));
    assert_eq!(push(&mut window, QoS::AtLeastOnce), id(1));
}

#[test]
fn a_rewound_window_sends_what_is_owed_in_order() {
    let mut window = InFlight::default();
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::ExactlyOnce, QoS::AtLeastOnce] {
        push(&mut window, qos);
    }
    window.receive(id(2)).unwrap();
    window.acknowledge(id(4)).unwrap();
    window.rewind();
    assert!(!window.has_room(u16::MAX), "older ones first");
    assert_eq!(resend_all(&mut window), ["publish 1", "pubrel 2", "publish 3"]);
    assert!(window.has_room(4) && !window.has_room(3));
}

#[test]
fn a_window_that_moved_leaves_gaps_behind() {
    let mut window = InFlight::default();
    for _ in 1..=5 {
        push(&mut window, QoS::AtLeastOnce);
    }
    window.acknowledge(id(2)).unwrap();
    window.acknowledge(id(4)).unwrap();
    let (state, next) = window.into_state();
    let mut window = InFlight::from_state(state, next);
    assert_eq!(resend_all(&mut window), ["publish 1", "publish 3", "publish 5"]);
    assert_eq!(window.acknowledge(id(5)), Ok(()));
    assert_eq!(window.acknowledge(id(4)), Err(AckError::UnknownPacketId));
    assert_eq!(window.acknowledge(id(3)), Ok(()));
    assert_eq!(push(&mut window, QoS::ExactlyOnce), id(6));
    assert_eq!(window.acknowledge(id(6)), Err(AckError::WrongKind));
    assert_eq!(window.complete(id(6)), Err(AckError::WrongKind));
}

#[test]
fn a_withdrawn_message_leaves_no_trace() {
    let mut window = InFlight::default();
    let first = push(&mut window, QoS::AtLeastOnce);
    let second = push(&mut window, QoS::AtLeastOnce);
    window.withdraw(second);
    assert_eq!(push(&mut window, QoS::AtLeastOnce), second);
    window.withdraw(first);
    assert!(window.has_room(2) && !window.has_room(1));
    assert_eq!(window.acknowledge(first), Err(AckError::UnknownPacketId));
}

#[derive(Debug, Clone)]
enum Step {
    Push(bool),
    PubAck(u16),
    PubRec(u16),
    PubComp(u16),
    Refuse(u16),
    Reconnect,
    Resend,
    Move,
    WithdrawLast,
}

fn step() -> impl Strategy<Value = Step> {
    let id = 1..12u16;
    prop_oneof![
        3 => any::<bool>().prop_map(Step::Push),
        2 => id.clone().prop_map(Step::PubAck),
        2 => id.clone().prop_map(Step::PubRec),
        2 => id.clone().prop_map(Step::PubComp),
        1 => id.prop_map(Step::Refuse),
        1 => Just(Step::Reconnect),
        2 => Just(Step::Resend),
        1 => Just(Step::Move),
        1 => Just(Step::WithdrawLast),
    ]
}

/// What the window should hold: identifier, QoS 2 or not, received or not.
type Model = Vec<(u16, bool, bool)>;

fn settle(
    model: &mut Model,
    id: u16,
    is_right: impl Fn(bool, bool) -> bool,
) -> Result<(), AckError> {
    match model.iter().position(|entry| entry.0 == id) {
        None => Err(AckError::UnknownPacketId),
        Some(at) if is_right(model[at].1, model[at].2) => {
            model.remove(at);
            Ok(())
        }
        Some(_) => Err(AckError::WrongKind),
    }
}

proptest! {
    /// Whatever comes in whatever order, the window owes exactly what the plain model owes.
    #[test]
    fn the_window_agrees_with_a_plain_list(steps in prop::collection::vec(step(), 0..80)) {
        let (mut window, mut model, mut last) = (InFlight::default(), Model::new(), None);
        for step in steps {
            match step {
                Step::Push(is_qos2) if window.has_room(8) => {
                    let qos = if is_qos2 { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
                    let id = push(&mut window, qos).get();
                    prop_assert!(model.iter().all(|entry| entry.0 != id));
                    model.push((id, is_qos2, false));
                    last = Some(id);
                    continue;
                }
                Step::Push(_) => {}
                Step::PubAck(n) => prop_assert_eq!(
                    window.acknowledge(id(n)),
                    settle(&mut model, n, |is_qos2, _| !is_qos2)
                ),
                Step::PubComp(n) => prop_assert_eq!(
                    window.complete(id(n)),
                    settle(&mut model, n, |is_qos2, received| is_qos2 && received)
                ),
                Step::Refuse(n) => prop_assert_eq!(
                    window.refuse(id(n)),
                    settle(&mut model, n, |is_qos2, received| is_qos2 && !received)
                ),
                Step::PubRec(n) => {
                    let expected = match model.iter_mut().find(|entry| entry.0 == n) {
                        None => Err(AckError::UnknownPacketId),
                        Some(entry) if entry.1 => { entry.2 = true; Ok(()) }
                        Some(_) => Err(AckError::WrongKind),
                    };
                    prop_assert_eq!(window.receive(id(n)), expected);
                }
                Step::Reconnect => window.rewind(),
                Step::Resend => drop(window.resend(8, |_| false)),
                Step::Move => {
                    let (state, next) = std::mem::take(&mut window).into_state();
                    window = InFlight::from_state(state, next);
                }
                Step::WithdrawLast => {
                    if let Some(n) = last {
                        window.withdraw(id(n));
                        model.retain(|entry| entry.0 != n);
                    }
                }
            }
            last = None;
        }
        window.rewind();
        let expected: Vec<_> = model
            .iter()
            .map(|(id, _, received)| format!("{} {id}", if *received { "pubrel" } else { "publish" }))
            .collect();
        prop_assert_eq!(resend_all(&mut window), expected);
    }
}
