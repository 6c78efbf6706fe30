//! Packets that must not be accepted, with the reason code that answers each.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use broker_core::codec::packet::connect_version;
use broker_core::codec::{
    DecodeError, DecodeLimits, Decoded, Packet, PacketType, ReasonCode, Sender, decode,
};
use broker_core::types::ProtocolVersion;
use broker_core::types::ProtocolVersion::{V5, V31, V311};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// A packet with this first byte, and a remaining length that fits the body.
fn packet(first: u8, body: &str) -> Vec<u8> {
    let body = bytes(body);
    assert!(body.len() < 128);
    [&[first, body.len() as u8], &body[..]].concat()
}

fn error_of(
    wire: &[u8],
    version: impl Into<Option<ProtocolVersion>>,
    sender: Sender,
) -> DecodeError {
    let limits = DecodeLimits { sender, payload_format_checked: true, ..DecodeLimits::default() };
    match decode(wire, version.into(), &limits) {
        Err(error) => error,
        Ok(decoded) => panic!("{wire:02x?} is accepted as {decoded:?}"),
    }
}

/// Each row: first byte, body, words of the message.
#[track_caller]
fn refused(
    version: impl Into<Option<ProtocolVersion>> + Copy,
    sender: Sender,
    reason_code: ReasonCode,
    rows: &[(u8, &str, &str)],
) {
    for &(first, body, words) in rows {
        let error = error_of(&packet(first, body), version, sender);
        let text = error.to_string();
        assert!(text.contains(words), "{first:02x} {body}: {text:?} lacks {words:?}");
        assert_eq!(error.reason_code(), reason_code, "{first:02x} {body}: {text}");
    }
}

use ReasonCode::{MalformedPacket, ProtocolError};
use Sender::{Client, Server};

#[test]
fn fixed_header_flags_other_than_fixed_ones_are_malformed() {
    for packet_type in PacketType::ALL {
        let sender = match packet_type {
            PacketType::ConnAck | PacketType::SubAck | PacketType::UnsubAck => Server,
            PacketType::PingResp => Server,
            PacketType::Publish => continue,
            _ => Client,
        };
        let version = (packet_type != PacketType::Connect).then_some(V5);
        let fixed = matches!(
            packet_type,
            PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe
        );
        for flags in (0..16).filter(|&flags| flags != if fixed { 2 } else { 0 }) {
            let first = (packet_type as u8) << 4 | flags;
            let error = error_of(&[first, 0], version, sender);
            let expected = DecodeError::FixedHeaderFlags { packet: packet_type, flags };
            assert_eq!(error, expected);
            assert_eq!(error.reason_code(), MalformedPacket);
        }
    }
}

#[test]
fn packet_types_are_checked_by_the_first_byte_alone() {
    let reserved = DecodeError::PacketTypeReserved { packet_type: 0 };
    assert_eq!(error_of(&[0x00], V5, Client), reserved);
    let auth = DecodeError::PacketTypeReserved { packet_type: 15 };
    assert_eq!(error_of(&[0xF0], V311, Client), auth);
    let unexpected = [
        (0x10, Some(V5), Client, PacketType::Connect),
        (0x30, None, Client, PacketType::Publish),
        (0x20, Some(V5), Client, PacketType::ConnAck),
        (0x90, Some(V311), Client, PacketType::SubAck),
        (0xB0, Some(V311), Client, PacketType::UnsubAck),
        (0xD0, Some(V311), Client, PacketType::PingResp),
        (0x82, Some(V5), Server, PacketType::Subscribe),
        (0xC0, Some(V5), Server, PacketType::PingReq),
        (0xE0, Some(V311), Server, PacketType::Disconnect),
        (0x10, None, Server, PacketType::Connect),
    ];
    for (first, version, sender, packet) in unexpected {
        let error = error_of(&[first], version, sender);
        assert_eq!(error, DecodeError::UnexpectedPacket { packet });
        assert_eq!(error.reason_code(), ProtocolError);
    }
}

#[test]
fn remaining_length_of_more_than_four_bytes_or_not_shortest_is_malformed() {
    for wire in ["30 80808080", "30 ffffffff", "30 8000", "30 ff8000", "30 ffff8000"] {
        let error = error_of(&bytes(wire), V5, Client);
        assert_eq!(error, DecodeError::VariableByteInteger { field: "remaining length" });
        assert_eq!(error.reason_code(), MalformedPacket);
    }
}

#[test]
fn an_oversize_packet_is_refused_before_its_body_arrives() {
    let limits = DecodeLimits { packet_bytes_max: 130, ..DecodeLimits::default() };
    let at_limit = bytes("30 7f");
    let needed = 129;
    assert_eq!(decode(&at_limit, Some(V5), &limits), Ok(Decoded::Incomplete { needed }));
    let error = decode(&bytes("30 8001"), Some(V5), &limits).unwrap_err();
    let expected = DecodeError::PacketTooLarge { packet_bytes: 131, packet_bytes_max: 130 };
    assert_eq!(error, expected);
    assert_eq!(error.reason_code(), ReasonCode::PacketTooLarge);
}

#[test]
fn needed_tells_how_long_to_wait() {
    let limits = DecodeLimits::default();
    for (wire, needed) in [("", 2), ("30", 2), ("30 80", 3), ("30 8001", 131), ("30 0a 00", 12)] {
        let wire = bytes(wire);
        let decoded = decode(&wire, Some(V5), &limits);
        assert_eq!(decoded, Ok(Decoded::Incomplete { needed }), "{wire:02x?}");
    }
}

const NAME: &str = "0004 4d515454";

#[test]
fn connect_of_another_protocol_is_refused_as_unsupported() {
    let unsupported = [
        (format!("{NAME} 03 02 003c 0000"), Some(3), Some(V311)),
        (format!("{NAME} 06 02 003c 0000"), Some(6), Some(V5)),
        (format!("{NAME} 84 02 003c 0000"), Some(0x84), Some(V311)),
        ("0006 4d5149736470 83 02 003c 0000".to_owned(), Some(0x83), Some(V311)),
        ("0006 4d5149736470 04 02 003c 0000".to_owned(), Some(4), Some(V311)),
        ("0004 6d717474 04 02 003c 0000".to_owned(), None, None),
        ("0000 04 02 003c 0000".to_owned(), None, None),
    ];
    for (body, level, refusal) in unsupported {
        let error = error_of(&packet(0x10, &body), None, Client);
        let expected = level.map_or(DecodeError::ProtocolName, |level| {
            DecodeError::UnsupportedProtocolVersion { level }
        });
        assert_eq!(error, expected, "{body}");
        assert_eq!(error.reason_code(), ReasonCode::UnsupportedProtocolVersion);
        assert_eq!(error.refusal_version(), refusal, "{body}");
    }
}

#[test]
fn connect_version_is_readable_though_the_rest_is_malformed() {
    let version = |body: &str| connect_version(&packet(0x10, body));
    assert_eq!(version(&format!("{NAME} 05 ff")), Some(V5));
    assert_eq!(version(&format!("{NAME} 04 ff")), Some(V311));
    assert_eq!(version(&format!("{NAME} 03 ff")), None);
    assert_eq!(version("0006 4d5149736470 03 ff"), Some(V31));
    assert_eq!(version(NAME), None);
    assert_eq!(connect_version(&packet(0x20, &format!("{NAME} 05"))), None);
}

#[test]
fn connect_flags_must_agree() {
    let rows = |level: &str, properties: &str| {
        let row = |flags: &str| format!("{NAME} {level} {flags} 003c {properties} 0000");
        [
            (row("01"), "connect flags has reserved bits"),
            (row("1c"), "will qos must not be 3"),
            (row("08"), "will qos is set without a will"),
            (row("20"), "will retain is set without a will"),
        ]
    };
    for (level, properties) in [("04", ""), ("05", "00")] {
        for (body, words) in rows(level, properties) {
            refused(None, Client, MalformedPacket, &[(0x10, &body, words)]);
        }
    }
    let body = format!("{NAME} 04 42 003c 0000 0001 70");
    refused(None, Client, MalformedPacket, &[(0x10, &body, "password needs a user name")]);
}

#[test]
fn connect_fields_must_fit_and_fill_the_packet() {
    let rows = [
        ("00", "protocol name"),
        ("0004 4d5154", "protocol name"),
        ("0004 4d515454", "protocol version"),
        ("0004 4d515454 04", "connect flags"),
        ("0004 4d515454 04 02 00", "keep alive"),
        ("0004 4d515454 04 02 003c 0002 63", "client identifier"),
        ("0004 4d515454 04 06 003c 0000 0001", "will topic"),
        ("0004 4d515454 04 06 003c 0000 0001 77 00", "will payload"),
        ("0004 4d515454 04 82 003c 0000", "user name"),
        ("0004 4d515454 04 c2 003c 0000 0000 0001", "password"),
        ("0004 4d515454 04 02 003c 0000 00", "1 bytes after its last field"),
        ("0004 4d515454 04 02 003c 0001 00", "client identifier contains the null"),
        ("0004 4d515454 04 02 003c 0003 eda080", "client identifier is not valid utf-8"),
        ("0004 4d515454 04 82 003c 0000 0002 c080", "user name is not valid utf-8"),
        ("0004 4d515454 04 06 003c 0000 0000 0000", "will topic is empty"),
        ("0004 4d515454 04 06 003c 0000 0001 23 0000", "will topic contains a wildcard"),
        ("0004 4d515454 05 02 003c", "property length"),
        ("0004 4d515454 05 02 003c 05 11", "property length"),
        ("0004 4d515454 05 02 003c 03 110000 0000", "session expiry interval"),
    ];
    for (body, words) in rows {
        refused(None, Client, MalformedPacket, &[(0x10, body, words)]);
    }
}

fn connect_with(properties: &str) -> String {
    let len = bytes(properties).len();
    format!("{NAME} 05 02 003c {len:02x} {properties} 0000")
}

#[test]
fn connect_properties_have_ranges() {
    let rows = [
        ("210000", "receive maximum is not allowed to be 0"),
        ("2700000000", "maximum packet size is not allowed to be 0"),
        ("1902", "request response information is not allowed to be 2"),
        ("17ff", "request problem information is not allowed to be 255"),
        ("16000164", "authentication data needs an authentication method"),
        ("210001 210001", "repeats the property receive maximum"),
        ("1100000000 26000161000162 1100000000", "repeats the property session expiry"),
    ];
    for (properties, words) in rows {
        refused(None, Client, ProtocolError, &[(0x10, &connect_with(properties), words)]);
    }
    let rows = [
        ("00", "property identifier 0 is not defined"),
        ("2b", "property identifier 43 is not defined"),
        ("8002", "property identifier 256 is not defined"),
        ("a600", "property identifier is not a valid variable byte integer"),
        ("1f000161", "must not carry the property reason string"),
        ("1800000001", "must not carry the property will delay interval"),
        ("26000161", "user property value"),
        ("26000100000161", "user property name contains the null"),
    ];
    for (properties, words) in rows {
        refused(None, Client, MalformedPacket, &[(0x10, &connect_with(properties), words)]);
    }
}

#[test]
fn will_properties_are_checked() {
    let with = |properties: &str| {
        let len = bytes(properties).len();
        format!("{NAME} 05 06 003c 00 0000 {len:02x} {properties} 0001 77 0001 ff")
    };
    let malformed = [
        ("1100000000", "must not carry the property session expiry interval"),
        ("0800012b", "response topic contains a wildcard"),
        ("080000", "response topic is empty"),
    ];
    for (properties, words) in malformed {
        refused(None, Client, MalformedPacket, &[(0x10, &with(properties), words)]);
    }
    refused(None, Client, ProtocolError, &[(0x10, &with("0102"), "payload format indicator")]);
    let format = ReasonCode::PayloadFormatInvalid;
    refused(None, Client, format, &[(0x10, &with("0101"), "will payload is not valid utf-8")]);
}

#[test]
fn publish_is_checked_in_both_versions() {
    let malformed = [
        (0x36, "0001 61 0001", "publish qos must not be 3"),
        (0x38, "0001 61", "dup is set with qos 0"),
        (0x30, "00", "publish topic name is cut short"),
        (0x30, "0003 61 00", "publish topic name is cut short"),
        (0x32, "0001 61 00", "packet identifier is cut short"),
        (0x30, "0001 2b", "publish topic name contains a wildcard"),
        (0x30, "0003 612f23", "publish topic name contains a wildcard"),
        (0x30, "0002 6100", "publish topic name contains the null character"),
        (0x30, "0003 edbfbf", "publish topic name is not valid utf-8"),
        (0x30, "0001 ff", "publish topic name is not valid utf-8"),
    ];
    for version in [V311, V5] {
        for (first, body, words) in malformed {
            refused(version, Client, MalformedPacket, &[(first, body, words)]);
        }
        let zero_id = (0x32, "0001 61 0000 00", "PUBLISH packet identifier is 0");
        let no_topic = (0x30, "0000 00", "topic name is empty and there is no topic alias");
        refused(version, Client, ProtocolError, &[zero_id, no_topic]);
    }
}

#[test]
fn publish_properties_are_checked() {
    let body =
        |properties: &str| format!("0001 61 {:02x} {properties} ff", bytes(properties).len());
    let malformed = [
        ("0800022b61", "response topic contains a wildcard"),
        ("1100000000", "must not carry the property session expiry interval"),
        ("0b8080808001", "subscription identifier is not a valid variable byte integer"),
        ("0300", "content type is cut short"),
        ("03000400", "content type is cut short"),
    ];
    for (properties, words) in malformed {
        refused(V5, Client, MalformedPacket, &[(0x30, &body(properties), words)]);
    }
    let disallowed = [
        ("0102", "payload format indicator is not allowed to be 2"),
        ("0b00", "subscription identifier is not allowed to be 0"),
        ("0b01", "a client must not publish with a subscription identifier"),
        ("0100 0100", "repeats the property payload format indicator"),
        ("230001 230001", "repeats the property topic alias"),
    ];
    for (properties, words) in disallowed {
        refused(V5, Client, ProtocolError, &[(0x30, &body(properties), words)]);
    }
    let alias = ReasonCode::TopicAliasInvalid;
    refused(V5, Client, alias, &[(0x30, &body("230000"), "topic alias is 0")]);
    let format = ReasonCode::PayloadFormatInvalid;
    refused(V5, Client, format, &[(0x30, &body("0101"), "publish payload is not valid utf-8")]);
}

#[test]
fn a_topic_with_too_many_levels_is_well_formed_but_not_accepted() {
    let limits = DecodeLimits { topic_levels_max: 3, ..DecodeLimits::default() };
    let deep = packet(0x30, "0007 612f622f632f64");
    let error = decode(&deep, Some(V311), &limits).unwrap_err();
    assert_eq!(error.to_string(), "publish topic name has more than 3 levels");
    assert_eq!(error.reason_code(), ReasonCode::TopicNameInvalid);
    let accepted = packet(0x30, "0005 612f622f63");
    assert!(decode(&accepted, Some(V311), &limits).is_ok());
}

#[test]
fn acknowledgements_are_checked() {
    for first in [0x40, 0x50, 0x62, 0x70] {
        let zero = [(first, "0000", "packet identifier is 0")];
        refused(V311, Client, ProtocolError, &zero);
        refused(V5, Client, ProtocolError, &zero);
        refused(V311, Client, MalformedPacket, &[(first, "0001 00", "1 bytes after")]);
        let rows = [
            (first, "00", "packet identifier is cut short"),
            (first, "0001 00 00 00", "1 bytes after"),
            (first, "0001 00 01 11", "must not carry the property session expiry interval"),
        ];
        refused(V5, Client, MalformedPacket, &rows);
        refused(V5, Client, ProtocolError, &[(first, "0001 8e", "reason code 0x8e")]);
        refused(V5, Client, ProtocolError, &[(first, "0001 7f", "reason code 0x7f")]);
    }
    let success_only = [(0x62, "0001 10", "PUBREL reason code 0x10")];
    refused(V5, Client, ProtocolError, &success_only);
}

#[test]
fn subscribe_is_checked_in_both_versions() {
    let malformed = [
        ("0000 00", "topic filter is empty"),
        ("0001 61", "subscription options is cut short"),
        ("0002 6123 00", "has a # that is not its whole last level"),
        ("0003 232f61 00", "has a # that is not its whole last level"),
        ("0002 2b61 00", "has a + that does not fill its level"),
        ("0004 612f2b62 00", "has a + that does not fill its level"),
        ("0002 6100 00", "null character"),
        ("0001 ff 00", "utf-8"),
        ("0007 2473686172652f 00", "share name that is empty"),
        ("0009 2473686172652f2f61 00", "share name that is empty"),
        ("000a 2473686172652f2b2f61 00", "share name that is empty or contains a wildcard"),
        ("0008 2473686172652f67 00", "no topic filter after the share name"),
        ("0009 2473686172652f672f 00", "no topic filter after the share name"),
        ("0001 61 40", "reserved bits"),
        ("0001 61 80", "reserved bits"),
    ];
    for (version, properties) in [(V311, ""), (V5, "00")] {
        for (body, words) in malformed {
            let body = format!("0001 {properties} {body}");
            refused(version, Client, MalformedPacket, &[(0x82, &body, words)]);
        }
        let disallowed = [
            (0x82, &*format!("0001 {properties}"), "SUBSCRIBE has no topic filter"),
            (
                0x82,
                &*format!("0001 {properties} 0001 61 03"),
                "requested qos is not allowed to be 3",
            ),
            (0x82, &*format!("0000 {properties} 0001 61 00"), "SUBSCRIBE packet identifier is 0"),
        ];
        refused(version, Client, ProtocolError, &disallowed);
    }
}

#[test]
fn subscription_options_of_5_0_are_reserved_in_3_1_1() {
    for options in ["04", "08", "10", "20"] {
        let body = format!("0001 0001 61 {options}");
        refused(V311, Client, MalformedPacket, &[(0x82, &body, "requested qos has reserved bits")]);
    }
}

#[test]
fn subscribe_of_5_0_checks_options_and_properties() {
    let shared = "0001 00 000a 2473686172652f672f61 04";
    let rows = [
        (0x82, "0001 00 0001 61 30", "retain handling is not allowed to be 3"),
        (0x82, shared, "no local is not allowed on a shared subscription"),
        (0x82, "0001 02 0b00 0001 61 00", "subscription identifier is not allowed to be 0"),
        (0x82, "0001 04 0b01 0b02 0001 61 00", "repeats the property subscription identifier"),
    ];
    refused(V5, Client, ProtocolError, &rows);
}

#[test]
fn unsubscribe_is_checked() {
    for (version, properties) in [(V311, ""), (V5, "00")] {
        let rows = [
            (0xA2, &*format!("0001 {properties}"), "UNSUBSCRIBE has no topic filter"),
            (0xA2, &*format!("0000 {properties} 0001 61"), "packet identifier is 0"),
        ];
        refused(version, Client, ProtocolError, &rows);
        let rows = [
            (0xA2, &*format!("0001 {properties} 0000"), "topic filter is empty"),
            (0xA2, &*format!("0001 {properties} 0001 61 00"), "topic filter is cut short"),
            (0xA2, &*format!("0001 {properties} 0003 232f23"), "has a # that"),
        ];
        refused(version, Client, MalformedPacket, &rows);
    }
    let subscription_id = "0001 02 0b01 0001 61";
    let words = "UNSUBSCRIBE must not carry the property subscription identifier";
    refused(V5, Client, MalformedPacket, &[(0xA2, subscription_id, words)]);
}

#[test]
fn pings_have_no_body() {
    for version in [V311, V5] {
        refused(version, Client, MalformedPacket, &[(0xC0, "00", "PINGREQ has 1 bytes after")]);
        refused(version, Server, MalformedPacket, &[(0xD0, "00", "PINGRESP has 1 bytes after")]);
    }
}

#[test]
fn disconnect_is_checked() {
    refused(V311, Client, MalformedPacket, &[(0xE0, "00", "DISCONNECT has 1 bytes after")]);
    let rows = [
        (0xE0, "05", "DISCONNECT reason code 0x05"),
        (0xE0, "86", "DISCONNECT reason code 0x86"),
        (0xE0, "00 04 1c000165", "a client must not send a server reference"),
        (0xE0, "00 0a 1100000001 1100000001", "repeats the property session expiry"),
    ];
    refused(V5, Client, ProtocolError, &rows);
    let rows = [(0xE0, "00 05 1100000001", "a server must not send a session expiry interval")];
    refused(V5, Server, ProtocolError, &rows);
    refused(V5, Client, MalformedPacket, &[(0xE0, "00 00 00", "1 bytes after")]);
}

#[test]
fn auth_is_checked() {
    let rows = [
        (0xF0, "18 00", "auth needs an authentication method"),
        (0xF0, "00 04 16000164", "auth needs an authentication method"),
        (0xF0, "01 00", "AUTH reason code 0x01"),
    ];
    refused(V5, Client, ProtocolError, &rows);
    let rows = [(0xF0, "18", "property length"), (0xF0, "18 01 21", "receive maximum")];
    refused(V5, Client, MalformedPacket, &rows);
}

#[test]
fn packets_of_a_server_are_checked() {
    let malformed = [
        (0x20, "02 00 00", "connect acknowledge flags has reserved bits"),
        (0x20, "01 87 00", "session present is set in a refusal"),
        (0x20, "00 00", "property length"),
    ];
    refused(V5, Server, MalformedPacket, &malformed);
    let disallowed = [
        (0x20, "00 01 00", "CONNACK reason code 0x01"),
        (0x20, "00 00 02 2402", "maximum qos is not allowed to be 2"),
        (0x90, "0001 00 03", "SUBACK reason code 0x03"),
        (0xB0, "0001 00 01", "UNSUBACK reason code 0x01"),
    ];
    refused(V5, Server, ProtocolError, &disallowed);
    let disallowed =
        [(0x20, "00 06", "CONNACK reason code 0x06"), (0x90, "0001 87", "SUBACK reason code 0x87")];
    refused(V311, Server, ProtocolError, &disallowed);
    refused(V311, Server, MalformedPacket, &[(0xB0, "0001 00", "UNSUBACK has 1 bytes after")]);
}

#[test]
fn a_password_without_user_name_is_accepted_in_5_0() {
    let wire = packet(0x10, &format!("{NAME} 05 42 003c 00 0000 0001 70"));
    let decoded = decode(&wire, None, &DecodeLimits::default());
    assert!(matches!(decoded, Ok(Decoded::Packet { packet: Packet::Connect(_), .. })));
}
