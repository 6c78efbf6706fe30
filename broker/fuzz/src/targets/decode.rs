//! Bytes -> packets -> bytes.
//!
//! The first byte chooses who sends and in which version, and whether the rest is a packet as it
//! stands or one whose remaining length is to be put in.

use broker_core::codec::{DecodeLimits, Decoded, Packet, Sender, decode, encode, packet_bytes};
use broker_core::types::ProtocolVersion;

use super::{Target, framed, packets, unframed};
use crate::allocation::measure;

pub(super) const TARGET: Target = Target {
    name: "decode",
    check,
    seeds,
    words: &[
        b"\0\x04MQTT\x05",
        b"\0\x04MQTT\x04",
        b"\0\x06MQIsdp\x03",
        b"\0\x01a",
        b"\0\0",
        b"\x01\x01",
        b"\x02\0\0\0\x01",
        b"\x03\0\x01a",
        b"\x08\0\x01a",
        b"\x09\0\x01a",
        b"\x0b\x01",
        b"\x11\0\0\0\x01",
        b"\x15\0\x01a",
        b"\x16\0\x01a",
        b"\x21\0\x01",
        b"\x23\0\x01",
        b"\x26\0\x01a\0\x01b",
        b"\x27\0\0\0\x01",
        b"$share/g/",
        b"\xff\xff\xff\x7f",
    ],
    bytes_max: 2048,
};

/// Largest packet; less than the longest input, so that the limit is met.
const PACKET_BYTES_MAX: usize = 1024;

const FRAMED: u8 = 0x08;

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (level, packet) in packets() {
        let version = if level == 5 { 2 } else { 1 };
        let mode = if packet[0] >> 4 == 1 { 0 } else { version };
        for mode in [mode, mode | 4] {
            seeds.push([&[mode], &packet[..]].concat());
            if let Some((first, body)) = unframed(&packet) {
                seeds.push([&[mode | FRAMED, first], body].concat());
            }
        }
    }
    seeds
}

fn check(input: &[u8]) {
    let Some((&mode, bytes)) = input.split_first() else { return };
    let version = match mode & 3 {
        0 => None,
        1 => Some(ProtocolVersion::V311),
        2 => Some(ProtocolVersion::V5),
        _ => Some(ProtocolVersion::V31),
    };
    let limits = DecodeLimits {
        packet_bytes_max: PACKET_BYTES_MAX,
        topic_levels_max: 8,
        payload_format_checked: mode & 0x10 != 0,
        sender: if mode & 4 == 0 { Sender::Client } else { Sender::Server },
    };
    match bytes.split_first() {
        Some((&first, body)) if mode & FRAMED != 0 => {
            check_wire(&framed(first, body), version, &limits)
        }
        _ => check_wire(bytes, version, &limits),
    }
}

fn check_wire(wire: &[u8], version: Option<ProtocolVersion>, limits: &DecodeLimits) {
    let (decoded, taken) = measure(|| decode(wire, version, limits));
    assert_eq!(taken.allocated, 0, "decoding allocates");
    match decoded {
        Ok(Decoded::Packet { packet, consumed }) => {
            assert!(consumed <= wire.len() && consumed <= limits.packet_bytes_max);
            assert_eq!(packet_bytes(wire), Ok(Some(consumed)));
            arrives_whole_or_not(wire, consumed, version, limits);
            round_trip(packet, consumed, version, limits);
        }
        Ok(Decoded::Incomplete { needed }) => {
            assert!(needed > wire.len(), "it waits for bytes that are there");
            assert!(needed <= limits.packet_bytes_max, "it waits for more than is accepted");
        }
        Err(error) => {
            assert!(error.reason_code().as_u8() >= 0x80, "{error} is no failure");
            let more = [wire, &[0xC0, 0]].concat();
            assert_eq!(decode(&more, version, limits), Err(error), "what follows changes it");
        }
    }
}

/// No part of a packet is taken for something else.
fn arrives_whole_or_not(
    wire: &[u8],
    consumed: usize,
    version: Option<ProtocolVersion>,
    limits: &DecodeLimits,
) {
    for end in [1, 2, consumed / 2, consumed - 1] {
        if end < consumed {
            match decode(&wire[..end], version, limits) {
                Ok(Decoded::Incomplete { needed }) => assert!(needed > end && needed <= consumed),
                other => panic!("{end} of {consumed} bytes are {other:?}"),
            }
        }
    }
}

/// What is written of a packet is read as the same packet, and costs no more than it.
fn round_trip(
    packet: Packet<'_>,
    consumed: usize,
    version: Option<ProtocolVersion>,
    limits: &DecodeLimits,
) {
    let shown = format!("{packet:?}");
    let (connect, version) = match &packet {
        Packet::Connect(connect) => (true, connect.version),
        _ => (false, version.unwrap_or(ProtocolVersion::V5)),
    };
    let mut again = Vec::with_capacity(2 * limits.packet_bytes_max);
    if let Err(error) = encode(&packet, version, &mut again) {
        panic!("{shown} can't be written: {error}");
    }
    // A reason code of 0 may be written that was left out, and the other way round.
    assert!(again.len() <= consumed + 2, "{shown}: {consumed} bytes became {}", again.len());
    let limits = DecodeLimits { packet_bytes_max: usize::MAX, ..*limits };
    let version = (!connect).then_some(version);
    let expected = Decoded::Packet { packet, consumed: again.len() };
    assert_eq!(decode(&again, version, &limits), Ok(expected));
}
