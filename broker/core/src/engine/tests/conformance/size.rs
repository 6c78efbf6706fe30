//! Maximum Packet Size: what explains an answer must not make it longer than the client accepts.

use broker_policy::AclType;

use super::super::rig::*;
use crate::codec::packet::*;
use crate::engine::*;

/// A client that accepts its CONNACK as it is today, and nothing longer.
fn narrow(rig: &mut Rig, client_id: &'static str) -> (ConnectionId, usize) {
    let asked = Connect { user_name: Some("u"), ..connect(client_id) };
    let id = rig.open();
    rig.send(id, &Packet::Connect(asked));
    let bytes_max = rig.bytes(id).len().min(32);
    rig.lose(id);
    let properties = ConnectProperties {
        packet_bytes_max: Some(u32::try_from(bytes_max).unwrap()),
        ..ConnectProperties::default()
    };
    let id = rig.open();
    rig.send(id, &Packet::Connect(Connect { properties, ..asked }));
    assert!(rig.bytes(id).len() <= bytes_max);
    (id, bytes_max)
}

#[test]
fn no_answer_is_longer_than_the_client_accepts() {
    let acls = [
        (AclType::PublishClientSend, "no/#", false),
        (AclType::SubscribePattern, "no/#", false),
        (AclType::UnsubscribePattern, "no/#", false),
    ];
    let mut rig = Rig::with(EngineConfig::default(), policy(&["u"], &acls));
    let (a, bytes_max) = narrow(&mut rig, "a");
    let topic = format!("no/{}", "t".repeat(200));
    let answers = [
        (Packet::Publish(publish(&topic, AtLeastOnce, 1, "x")), "PUBACK #1 0x87"),
        (Packet::Publish(publish(&topic, ExactlyOnce, 2, "x")), "PUBREC #2 0x87"),
        (Packet::PubRec(ack(9)), "PUBREL #9 0x92"),
        (Packet::PubRel(ack(9)), "PUBCOMP #9 0x92"),
        (subscribe(3, &topic, AtMostOnce), "SUBACK #3 0x87"),
        (unsubscribe(4, &topic), "UNSUBACK #4 0x87"),
        (Packet::Auth(Auth::default()), "DISCONNECT 0x82"),
    ];
    for (packet, expected) in answers {
        rig.send(a, &packet);
        let bytes = rig.engine.output(a).len();
        assert!(bytes <= bytes_max, "{expected}: {bytes} bytes, at most {bytes_max}");
        assert_eq!(rig.received(a), [expected]);
    }
}

#[test]
fn no_refusal_of_connect_is_longer_than_the_client_accepts() {
    let mut rig = Rig::new();
    let properties = ConnectProperties {
        packet_bytes_max: Some(8),
        authentication_method: Some("SCRAM"),
        ..ConnectProperties::default()
    };
    let id = rig.open();
    rig.send(id, &Packet::Connect(Connect { properties, ..connect("a") }));
    assert!(rig.engine.output(id).len() <= 8);
    assert_eq!(rig.received(id), ["CONNACK 0x8c"]);
}
