//! Sessions: how long they live, and how they move.

use super::rig::*;
use crate::codec::packet::*;
use crate::engine::*;
use crate::session::SessionState;
use crate::types::{ClientId, PacketId};

#[test]
fn a_session_outlives_its_connection_as_long_as_agreed() {
    let mut rig = Rig::new();
    let a = rig.connect(returning("a"));
    rig.subscribe(a, "t", AtLeastOnce);
    rig.lose(a);
    rig.wait(3600 * 1000 - 1);
    assert_eq!(rig.engine.counters().sessions, 1);
    rig.wait(1);
    let counters = rig.engine.counters();
    assert_eq!((counters.sessions, counters.subscriptions), (0, 0));
    assert!(rig.effects.iter().any(|effect| matches!(effect, Effect::Release { .. })));
    assert!(rig.engine.interest().is_empty());
}

#[test]
fn a_return_in_time_finds_the_session_and_starts_its_expiry_anew() {
    let mut rig = Rig::new();
    for _ in 0..3 {
        let id = rig.open();
        rig.send(id, &Packet::Connect(returning("a")));
        rig.wait(3000 * 1000);
        rig.lose(id);
        rig.wait(3000 * 1000);
        assert_eq!(rig.engine.counters().sessions, 1);
    }
    let id = rig.open();
    rig.send(id, &Packet::Connect(returning("a")));
    assert_eq!(rig.received(id), ["CONNACK 0x00 present"]);
}

#[test]
fn a_clean_start_finds_nothing() {
    let mut rig = Rig::new();
    let a = rig.connect(returning("a"));
    rig.subscribe(a, "t", AtLeastOnce);
    rig.lose(a);
    let id = rig.open();
    rig.send(id, &Packet::Connect(connect("a")));
    assert_eq!(rig.received(id), ["CONNACK 0x00"]);
    assert_eq!(rig.engine.counters().subscriptions, 0);
}

#[test]
fn a_311_session_lasts_unless_it_is_clean() {
    let mut rig = Rig::new();
    let lasting = Connect { version: V311, clean_start: false, ..connect("a") };
    let a = rig.connect(lasting);
    rig.subscribe(a, "t", AtLeastOnce);
    rig.lose(a);
    rig.wait(1_000_000_000);
    let a = rig.open();
    rig.send(a, &Packet::Connect(lasting));
    assert_eq!(rig.received(a), ["CONNACK 0x00 present"]);
    let a = rig.connect(Connect { clean_start: true, ..lasting });
    rig.lose(a);
    assert_eq!(rig.engine.counters().sessions, 0);
}

#[test]
fn disconnect_may_change_the_expiry_but_not_from_zero() {
    let mut rig = Rig::new();
    let a = rig.connect(returning("a"));
    let goodbye =
        |seconds| Disconnect { session_expiry_seconds: Some(seconds), ..Disconnect::default() };
    rig.send(a, &Packet::Disconnect(goodbye(0)));
    assert_eq!(rig.engine.counters().sessions, 0);
    let b = rig.client("b");
    rig.send(b, &Packet::Disconnect(goodbye(5)));
    assert_eq!(rig.received(b), ["DISCONNECT 0x82"]);
}

#[test]
fn another_user_does_not_inherit_a_session() {
    let mut rig = Rig::with(EngineConfig::default(), policy(&["u", "v"], &[]));
    let a = rig.connect(Connect { user_name: Some("u"), ..returning("a") });
    rig.subscribe(a, "t", AtLeastOnce);
    rig.lose(a);
    let id = rig.open();
    rig.send(id, &Packet::Connect(Connect { user_name: Some("v"), ..returning("a") }));
    assert_eq!(rig.received(id), ["CONNACK 0x00"]);
    assert_eq!(rig.engine.counters().subscriptions, 0);
}

fn busy_session(rig: &mut Rig) -> Box<SessionState> {
    let (a, b) = (rig.connect(returning("a")), rig.client("b"));
    let options = SubscriptionOptions { qos: ExactlyOnce, ..SubscriptionOptions::default() };
    rig.send(a, &subscribe_with(1, "t", options, Some(9)));
    for (id, qos) in [(1, AtLeastOnce), (2, ExactlyOnce), (3, ExactlyOnce)] {
        rig.send(b, &Packet::Publish(publish("t", qos, id, "x")));
    }
    rig.send(a, &Packet::PubRec(ack(2)));
    rig.send(a, &Packet::Publish(publish("other", ExactlyOnce, 77, "x")));
    rig.lose(a);
    rig.send(b, &Packet::Publish(publish("t", AtLeastOnce, 4, "queued")));
    rig.engine.take_over(rig.now, &ClientId::new("a"), false).unwrap()
}

#[test]
fn a_session_moves_with_everything_it_has() {
    let mut here = Rig::new();
    let state = busy_session(&mut here);
    here.settle();
    assert_eq!(
        (here.engine.counters().subscriptions, here.engine.counters().queued_messages),
        (0, 0)
    );
    assert_eq!(state.inbound_qos2, [PacketId::new(77).unwrap()]);
    let bytes = postcard::to_stdvec(&state).unwrap();
    let state: Box<SessionState> = postcard::from_bytes(&bytes).unwrap();

    let mut there = Rig::new();
    there.answers.claim = false;
    let a = there.open();
    there.send(a, &Packet::Connect(returning("a")));
    there.grant(a, Some(state));
    there.settle();
    let expected = [
        "CONNACK 0x00 present",
        r#"PUBLISH t q1 #1 dup sub=9 "x""#,
        "PUBREL #2",
        r#"PUBLISH t q2 #3 dup sub=9 "x""#,
        r#"PUBLISH t q1 #4 sub=9 "queued""#,
    ];
    assert_eq!(there.received(a), expected);
    there.send(a, &Packet::Publish(publish("other", ExactlyOnce, 77, "x")));
    assert_eq!(there.received(a), ["PUBREC #77"]);
    for id in [1, 4] {
        there.send(a, &Packet::PubAck(ack(id)));
    }
    there.send(a, &Packet::PubComp(ack(2)));
    there.send(a, &Packet::Publish(publish("t", AtLeastOnce, 1, "y")));
    assert_eq!(there.received(a), [r#"PUBLISH t q1 #5 sub=9 "y""#, "PUBACK #1"]);
}

#[test]
fn a_moved_session_is_announced_before_the_client_hears_of_it() {
    let mut here = Rig::new();
    let state = busy_session(&mut here);
    let mut there = Rig::new();
    (there.answers.claim, there.answers.interest) = (false, false);
    let a = there.open();
    there.send(a, &Packet::Connect(returning("a")));
    there.grant(a, Some(state));
    there.settle();
    assert_eq!(there.received(a), [""; 0]);
    there.engine.interest_confirmed(there.now, InterestSeq(1));
    assert_eq!(there.received(a).len(), 5);
}

#[test]
fn a_session_whose_client_left_meanwhile_waits_where_it_arrived() {
    let mut here = Rig::new();
    let state = busy_session(&mut here);
    let mut there = Rig::new();
    there.answers.claim = false;
    let a = there.open();
    there.send(a, &Packet::Connect(returning("a")));
    there.lose(a);
    there.grant(a, Some(state));
    assert_eq!(there.engine.counters().sessions, 1);
    there.wait(3600 * 1000);
    assert_eq!(there.engine.counters().sessions, 0);
}

#[test]
fn claims_are_known_to_who_asks() {
    let mut rig = Rig::new();
    rig.client("a");
    let claims: Vec<_> = rig.engine.claims().map(|(id, claim)| (id.as_str(), claim.seq)).collect();
    assert_eq!(claims, [("a", 1)]);
}

#[test]
fn a_session_that_is_too_large_to_move_leaves_its_oldest_waiting_messages_behind() {
    let mut rig = Rig::new();
    let a = rig.connect(Connect {
        properties: ConnectProperties {
            session_expiry_seconds: Some(60),
            receive_maximum: Some(2),
            ..ConnectProperties::default()
        },
        ..connect("a")
    });
    let b = rig.client("b");
    rig.subscribe(a, "t", AtLeastOnce);
    for payload in ["1", "2", "3", "4", "5"] {
        let payload = payload.repeat(1000);
        rig.send(b, &Packet::Publish(publish("t", AtLeastOnce, 1, &payload)));
    }
    let firsts = |state: &crate::session::SessionState| -> String {
        let in_flight = state.in_flight.iter().filter_map(|entry| entry.delivery.as_ref());
        let payloads = in_flight.chain(&state.queue).map(|delivery| {
            let publish = delivery.message.publish().unwrap();
            char::from(publish.payload[0])
        });
        payloads.collect()
    };
    let whole = rig.engine.take_over(rig.now, &ClientId::new("a"), false).unwrap();
    for (bytes_max, dropped, left) in
        [(usize::MAX, 0, "12345"), (4500, 1, "1245"), (2500, 3, "12"), (1500, 4, "1"), (9, 5, "")]
    {
        let mut state = whole.clone();
        assert_eq!(state.drop_messages_beyond(bytes_max), dropped);
        assert_eq!(firsts(&state), left);
    }
}
