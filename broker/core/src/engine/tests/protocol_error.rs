//! What a client must not do, statement by statement: 5.0 says why, 3.1.1 closes.

use super::rig::*;
use crate::codec::packet::*;
use crate::engine::EngineConfig;
use crate::types::ProtocolVersion;

/// What is sent by a connected client, and the reason code of the DISCONNECT.
struct Case {
    statement: &'static str,
    bytes: &'static [u8],
    reason_code: u8,
}

const fn case(statement: &'static str, bytes: &'static [u8], reason_code: u8) -> Case {
    Case { statement, bytes, reason_code }
}

/// Sends each case to a broker with small limits, in a connection of its own.
fn check(version: ProtocolVersion, cases: &[Case]) {
    let config = EngineConfig {
        packet_bytes_max: 64,
        receive_maximum: 1,
        topic_alias_maximum: 2,
        ..EngineConfig::default()
    };
    for Case { statement, bytes, reason_code } in cases {
        let mut rig = Rig::with(config.clone(), open_policy());
        let watch = rig.client("watch");
        rig.subscribe(watch, "will", AtMostOnce);
        let will = Some(will("will", 0));
        let id = rig.connect(Connect { version, will, ..connect("a") });
        rig.send_bytes(id, bytes);
        let answers = rig.received(id);
        let expected = format!("DISCONNECT {reason_code:#04x}");
        match version {
            V5 => assert_eq!(answers.last(), Some(&expected), "{statement}"),
            _ => assert!(!answers.iter().any(|text| text.contains("DISC")), "{statement}"),
        }
        assert!(rig.is_closed(id), "{statement}");
        assert_eq!(rig.received(watch), [r#"PUBLISH will q0 "gone""#], "{statement}");
    }
}

/// A CONNECT, which is one too many.
const CONNECT: &[u8] = &[0x10, 14, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 60, 0, 0, 1, b'a'];
/// The first bytes of a PUBLISH of 200 bytes.
const TOO_LARGE: &[u8] = &[0x30, 200, 1];

#[test]
fn a_5_0_client_that_breaks_a_rule_is_told_which_code_and_its_will_is_published() {
    check(
        V5,
        &[
            case("[MQTT-3.1.0-2] second CONNECT", CONNECT, 0x82),
            case("[MQTT-3.2.2-15] Maximum Packet Size", TOO_LARGE, 0x95),
            case(
                "[MQTT-3.2.2-17] Topic Alias Maximum",
                b"\x30\x08\x00\x01t\x03\x23\x00\x03x",
                0x94,
            ),
            case("[MQTT-3.3.2-8] Topic Alias 0", b"\x30\x08\x00\x01t\x03\x23\x00\x00x", 0x94),
            case(
                "section 3.3.2.3.4, alias that is unset",
                b"\x30\x06\x00\x00\x03\x23\x00\x01",
                0x82,
            ),
            case(
                "[MQTT-3.3.4-7] Receive Maximum",
                b"\x34\x06\x00\x01t\x00\x01\x00\x34\x06\x00\x01t\x00\x02\x00",
                0x93,
            ),
            case(
                "[MQTT-3.3.4-6] Subscription Identifier in PUBLISH",
                b"\x30\x06\x00\x01t\x02\x0b\x01",
                0x82,
            ),
            case(
                "section 3.8.2.1.2, Subscription Identifier 0",
                b"\x82\x09\x00\x01\x02\x0b\x00\x00\x01t\x00",
                0x82,
            ),
            case(
                "[MQTT-3.8.3-4] No Local in a Shared Subscription",
                b"\x82\x10\x00\x01\x00\x00\x0a$share/g/t\x04",
                0x82,
            ),
            case("[MQTT-3.8.3-2] no Topic Filter", b"\x82\x03\x00\x01\x00", 0x82),
            case(
                "section 3.14.2.2.2, Session Expiry Interval after none",
                b"\xe0\x07\x00\x05\x11\x00\x00\x00\x05",
                0x82,
            ),
            case("[MQTT-4.12.0-6] AUTH without a method", b"\xf0\x00", 0x82),
            case("section 2.1.2, CONNACK of a client", b"\x20\x03\x00\x00\x00", 0x82),
        ],
    );
}

#[test]
fn a_311_client_that_breaks_a_rule_is_closed_and_its_will_is_published() {
    check(
        V311,
        &[
            case("[MQTT-3.1.0-2] second CONNECT", CONNECT, 0),
            case("larger than the broker takes", TOO_LARGE, 0),
            case("[MQTT-3.8.3-3] no Topic Filter", b"\x82\x02\x00\x01", 0),
            case("[MQTT-3.8.3-4] QoS 3", b"\x82\x06\x00\x01\x00\x01t\x03", 0),
            case("[MQTT-3.14.1-1] reserved bits", b"\xe1\x00", 0),
        ],
    );
}
