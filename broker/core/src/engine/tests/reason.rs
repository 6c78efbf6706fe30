//! Reason Strings of refusals.

use broker_policy::AclType;

use super::rig::*;
use crate::codec::packet::*;
use crate::codec::{DecodeLimits, Decoded, ReasonCode, Sender, decode};
use crate::engine::*;
use crate::types::{ConnectionId, QoS};

/// Type, first refusal and Reason String of each packet that has one or refuses something.
fn refusals(rig: &mut Rig, at: ConnectionId) -> Vec<(String, u8, Option<String>)> {
    let bytes = rig.bytes(at);
    let limits = DecodeLimits { sender: Sender::Server, ..DecodeLimits::default() };
    let (mut at, mut all) = (0, Vec::new());
    while at < bytes.len() {
        let Ok(Decoded::Packet { packet, consumed }) = decode(&bytes[at..], Some(V5), &limits)
        else {
            panic!("half a packet");
        };
        at += consumed;
        let first = |codes: ReasonCodes<'_>| codes.iter().find(|code| code.is_error());
        let (code, text) = match packet {
            Packet::ConnAck(packet) => (Some(packet.reason_code), packet.properties.reason_string),
            Packet::PubAck(packet) | Packet::PubRec(packet) => {
                (Some(packet.reason_code), packet.reason_string)
            }
            Packet::SubAck(packet) => (first(packet.reason_codes), packet.reason_string),
            Packet::UnsubAck(packet) => (first(packet.reason_codes), packet.reason_string),
            Packet::Disconnect(packet) => (Some(packet.reason_code), packet.reason_string),
            _ => continue,
        };
        let code = code.unwrap_or_default();
        if code.is_error() || text.is_some() {
            let name = packet.packet_type().name().to_owned();
            all.push((name, code.as_u8(), text.map(str::to_owned)));
        }
    }
    all
}

/// A client that is refused something in each way, last a packet that is too large.
fn refused(config: EngineConfig, properties: ConnectProperties<'_>) -> Vec<(String, u8, String)> {
    let acls = [
        (AclType::PublishClientSend, "secret", false),
        (AclType::SubscribePattern, "secret", false),
        (AclType::UnsubscribePattern, "secret", false),
    ];
    let mut rig = Rig::with(config, policy(&["u"], &acls));
    let id = rig.open();
    let connect = Connect { user_name: Some("u"), properties, ..connect("a") };
    let properties = ConnectProperties { authentication_method: Some("x"), ..properties };
    rig.send(id, &Packet::Connect(Connect { properties, ..connect }));
    let mut all = refusals(&mut rig, id);
    let id = rig.open();
    rig.send(id, &Packet::Connect(connect));
    rig.send(id, &Packet::Publish(publish("secret", QoS::AtLeastOnce, 1, "x")));
    rig.send(id, &Packet::Publish(publish("secret", ExactlyOnce, 2, "x")));
    rig.send(id, &Packet::Publish(publish("open", ExactlyOnce, 3, "x")));
    rig.send(id, &subscribe(4, "open", AtMostOnce));
    rig.send(id, &subscribe(5, "secret", AtMostOnce));
    rig.send(id, &subscribe(6, "more", AtMostOnce));
    rig.send(id, &unsubscribe(7, "secret"));
    rig.send(id, &Packet::Publish(publish("t", AtMostOnce, 0, &"x".repeat(100))));
    all.extend(refusals(&mut rig, id));
    all.into_iter().map(|(name, code, text)| (name, code, text.unwrap_or_default())).collect()
}

fn config() -> EngineConfig {
    EngineConfig { packet_bytes_max: 90, subscriptions_max: 1, ..EngineConfig::default() }
}

#[test]
fn a_refusal_says_what_to_change() {
    let expected = [
        (
            "CONNACK",
            0x8C,
            "this authentication method is not offered here: use SCRAM-SHA-256 where passwords are \
             taken, or connect without one",
        ),
        ("PUBACK", 0x87, "not allowed to publish to this topic"),
        ("PUBREC", 0x87, "not allowed to publish to this topic"),
        ("SUBACK", 0x87, "not allowed to subscribe to this topic filter"),
        ("SUBACK", 0x97, "a session has at most 1 subscriptions"),
        ("UNSUBACK", 0x87, "not allowed to unsubscribe from this topic filter"),
        ("DISCONNECT", 0x95, "packet of 106 bytes exceeds the maximum of 90"),
    ];
    let all = refused(config(), ConnectProperties::default());
    let all: Vec<_> = all.iter().map(|(name, code, text)| (&**name, *code, &**text)).collect();
    assert_eq!(all, expected);
}

/// [MQTT-3.1.2-29]
#[test]
fn who_wants_no_problem_information_gets_none_and_mosquitto_has_none() {
    let unwanted = ConnectProperties {
        request_problem_information: Some(false),
        ..ConnectProperties::default()
    };
    let mosquitto = EngineConfig { profile: Profile::Mosquitto, ..config() };
    for all in [refused(config(), unwanted), refused(mosquitto, ConnectProperties::default())] {
        assert_eq!(all.len(), 7);
        assert!(all.iter().all(|(_, _, text)| text.is_empty()), "{all:?}");
    }
}

/// [MQTT-3.2.2-19] [MQTT-3.4.2-2] [MQTT-3.5.2-2] [MQTT-3.9.2-1] [MQTT-3.11.2-1] [MQTT-3.14.2-3]
#[test]
fn a_reason_that_does_not_fit_is_left_out_and_the_refusal_is_not() {
    let small = ConnectProperties { packet_bytes_max: Some(30), ..ConnectProperties::default() };
    let all = refused(config(), small);
    let codes: Vec<_> = all.iter().map(|(_, code, _)| *code).collect();
    assert_eq!(codes, [0x8C, 0x87, 0x87, 0x87, 0x97, 0x87, 0x95]);
    assert!(all.iter().all(|(_, _, text)| text.is_empty()), "{all:?}");
}

#[test]
fn a_protocol_error_says_which() {
    let mut rig = Rig::new();
    let cases: [(&[u8], u8, &str); 6] = [
        (&[0x30, 6, 0, 0, 3, 0x23, 0, 1], 0x82, "stands for no topic yet"),
        (&[0x30, 6, 0, 0, 3, 0x23, 0, 11], 0x94, "must lie in 1 to 10"),
        (&[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 9], 0x82, "session expiry interval in connect"),
        (&[0xF0, 0], 0x82, "authentication method in connect"),
        (&[0x82, 0], 0x81, "cut short"),
        (&[0x36, 0], 0x81, "qos"),
    ];
    for (bytes, code, part) in cases {
        let id = rig.client("a");
        rig.send_bytes(id, bytes);
        let all = refusals(&mut rig, id);
        let [(name, told, Some(text))] = &all[..] else { panic!("{bytes:x?}: {all:?}") };
        assert_eq!((&**name, *told), ("DISCONNECT", code), "{bytes:x?}");
        assert!(text.contains(part), "{bytes:x?}: {text}");
    }
}

#[test]
fn a_disconnect_of_the_server_says_why() {
    let mut rig = Rig::new();
    let id = rig.client("a");
    rig.client("a");
    let all = refusals(&mut rig, id);
    assert!(all[0].2.as_deref().is_some_and(|text| text.contains("its own")), "{all:?}");
    let id = rig.connect(Connect { keep_alive_seconds: 10, ..connect("b") });
    rig.wait(15_000);
    let all = refusals(&mut rig, id);
    assert_eq!(all[0].1, ReasonCode::KeepAliveTimeout.as_u8());
    assert!(all[0].2.as_deref().is_some_and(|text| text.contains("pingreq")), "{all:?}");
}
