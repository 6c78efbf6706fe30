//! UTF-8 Encoded Strings, MQTT 5.0 section 1.5.4: the same rules in every field that is one.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use broker_core::codec::{DecodeLimits, Decoded, Packet, ReasonCode, decode};
use broker_core::types::ProtocolVersion::{V5, V311};

/// A string with its length before it.
fn text(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

fn packet(first: u8, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    [&[first, u8::try_from(body.len()).unwrap()], &body[..]].concat()
}

/// CONNECT with these flags, and what follows Keep Alive.
fn connect(flags: u8, payload: &[u8]) -> Vec<u8> {
    packet(0x10, &[&text(b"MQTT"), &[5, flags, 0, 60, 0], payload])
}

/// PUBLISH of 5.0 with one property.
fn publish(property: &[u8]) -> Vec<u8> {
    packet(0x30, &[&text(b"t"), &[u8::try_from(property.len()).unwrap()], property])
}

/// A packet with this string, in every field that is one.
fn everywhere(string: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let s = &text(string)[..];
    let empty = &text(b"")[..];
    vec![
        ("client identifier", connect(2, s)),
        ("will topic", connect(6, &[empty, &[0], s, empty].concat())),
        ("user name", connect(0x82, &[empty, s].concat())),
        ("topic name", packet(0x30, &[s, &[0]])),
        ("response topic", publish(&[&[0x08], s].concat())),
        ("content type", publish(&[&[0x03], s].concat())),
        ("user property name", publish(&[&[0x26], s, empty].concat())),
        ("user property value", publish(&[&[0x26], empty, s].concat())),
        ("subscribe topic filter", packet(0x82, &[&[0, 1, 0], s, &[0]])),
        ("unsubscribe topic filter", packet(0xA2, &[&[0, 1, 0], s])),
    ]
}

#[test]
fn no_string_may_be_ill_formed_or_contain_the_null_character() {
    let ill_formed: [&[u8]; 6] = [
        b"a\xff",
        b"\xc0\x80",         // U+0000, too long
        b"\xed\xa0\x80",     // U+D800
        b"\xed\xbf\xbf",     // U+DFFF
        b"\xf4\x90\x80\x80", // beyond U+10FFFF
        b"a\0b",
    ];
    for string in ill_formed {
        for (field, wire) in everywhere(string) {
            let version = (wire[0] != 0x10).then_some(V5);
            let error = decode(&wire, version, &DecodeLimits::default());
            let error = error.expect_err(field);
            assert_eq!(error.reason_code(), ReasonCode::MalformedPacket, "{field}: {error}");
        }
    }
}

#[test]
fn a_byte_order_mark_is_a_character_like_others() {
    for (field, wire) in everywhere(b"\xef\xbb\xbfa") {
        let version = (wire[0] != 0x10).then_some(V5);
        let decoded = decode(&wire, version, &DecodeLimits::default());
        let Ok(Decoded::Packet { packet, consumed }) = decoded else { panic!("{field}") };
        assert_eq!(consumed, wire.len(), "{field}");
        let mut again = Vec::new();
        packet.encode(V5, &mut again).unwrap();
        assert_eq!(again, wire, "{field}");
    }
    let wire = packet(0x30, &[&text(b"\xef\xbb\xbfa")]);
    let decoded = decode(&wire, Some(V311), &DecodeLimits::default());
    let Ok(Decoded::Packet { packet: Packet::Publish(publish), .. }) = decoded else { panic!() };
    assert_eq!(publish.topic, "\u{feff}a");
}
