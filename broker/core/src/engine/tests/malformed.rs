//! Every malformed packet of every type, against the specification's answer: the table
//! `tests/vectors/malformed.txt`.

use std::collections::BTreeSet;

use super::rig::*;
use crate::codec::PacketType;
use crate::codec::packet::*;
use crate::engine::EngineConfig;
use crate::types::ProtocolVersion;

const TABLE: &str = include_str!("../../../tests/vectors/malformed.txt");

/// What may be wrong with a packet.
const MALFORMATIONS: [&str; 16] = [
    "truncated",
    "overlong",
    "too_large",
    "length",
    "flags",
    "utf8",
    "null",
    "topic",
    "duplicate_property",
    "forbidden_property",
    "property_value",
    "zero_packet_id",
    "reserved_bits",
    "reason_code",
    "empty",
    "unexpected",
];

struct Row<'a> {
    line: &'a str,
    packet: &'a str,
    malformation: &'a str,
    version: ProtocolVersion,
    is_new: bool,
    bytes: Vec<u8>,
    answer: &'a str,
}

fn rows() -> impl Iterator<Item = Row<'static>> {
    TABLE.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        let [packet, malformation, level, state, hex, answer, _] = fields[..] else {
            panic!("{line}: seven fields are expected");
        };
        let version = match level {
            "4" => V311,
            "5" => V5,
            _ => panic!("{line}: protocol level 4 or 5 is expected"),
        };
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let bytes = (0..hex.len()).step_by(2).map(byte).collect();
        Row { line, packet, malformation, version, is_new: state == "new", bytes, answer }
    })
}

/// A broker whose limits the rows reach.
fn rig() -> Rig {
    let config =
        EngineConfig { packet_bytes_max: 4096, topic_alias_maximum: 2, ..EngineConfig::default() };
    Rig::with(config, open_policy())
}

/// What a client gets, as the table's answers are written.
fn answer(rig: &mut Rig, row: &Row<'_>) -> String {
    let id = if row.is_new {
        rig.open()
    } else {
        let will = Some(will("will", 0));
        rig.connect(Connect { version: row.version, will, ..connect("client") })
    };
    rig.send_bytes(id, &row.bytes);
    let bytes = rig.bytes(id);
    if !rig.is_closed(id) {
        return format!("nothing but {bytes:02x?}");
    }
    rig.lose(id);
    match bytes[..] {
        [] => "close".to_owned(),
        [0x20, _, 0, code, ..] => format!("connack {code:02x}"),
        [0xE0, _, code, ..] => format!("disconnect {code:02x}"),
        _ => format!("{bytes:02x?}"),
    }
}

#[test]
fn every_malformed_packet_gets_the_answer_of_the_specification_and_harms_nobody_else() {
    let mut rig = rig();
    let watch = rig.client("watch");
    rig.subscribe(watch, "will", AtMostOnce);
    let mut wrong = Vec::new();
    for row in rows().filter(|row| row.answer != "-") {
        let answer = answer(&mut rig, &row);
        if answer != row.answer {
            wrong.push(format!("{}\n    {answer}", row.line));
        }
        // Only who was connected has left a will.
        let wills = if row.is_new { vec![] } else { vec![r#"PUBLISH will q0 "gone""#.to_owned()] };
        assert_eq!(rig.received(watch), wills, "{}", row.line);
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(rig.engine.counters().connections, 1);
}

#[test]
fn every_packet_type_has_a_row_for_every_malformation_in_both_versions() {
    let stated: BTreeSet<_> =
        rows().map(|row| (row.packet, row.malformation, row.version.level())).collect();
    let mut missing = Vec::new();
    for packet in PacketType::ALL {
        for malformation in MALFORMATIONS {
            for version in [V311, V5] {
                let cell = (packet.name(), malformation, version.level());
                if !stated.contains(&cell) {
                    missing.push(cell);
                }
            }
        }
    }
    assert!(missing.is_empty(), "no row for {missing:?}");
    let unknown = stated.iter().find(|(_, malformation, _)| !MALFORMATIONS.contains(malformation));
    assert_eq!(unknown, None);
}
