//! What is written and read by hand, against the broker's codec.

use broker_core::codec::packet::{ConnAck, ConnAckProperties, Publish, PublishProperties};
use broker_core::codec::{DecodeLimits, Decoded, Packet, Sender, decode, encode};
use broker_core::types::{PacketId, ProtocolVersion, QoS};
use proptest::prelude::*;

use crate::stamp::Stamp;
use crate::wire::{
    self, Frame, Login, Malformed, PublishTemplate, SessionKeeping, Version, next_frame,
};

const BOTH: [(Version, ProtocolVersion); 2] =
    [(Version::V311, ProtocolVersion::V311), (Version::V5, ProtocolVersion::V5)];

/// Decodes one packet as the broker does; `bytes` holds nothing else.
fn read(bytes: &[u8], version: Option<ProtocolVersion>) -> Packet<'_> {
    let limits = DecodeLimits { packet_bytes_max: 64 << 20, ..DecodeLimits::default() };
    match decode(bytes, version, &limits).unwrap() {
        Decoded::Packet { packet, consumed } => {
            assert_eq!(consumed, bytes.len());
            packet
        }
        Decoded::Incomplete { needed } => panic!("{needed} bytes needed"),
    }
}

fn written(packet: &Packet<'_>, version: ProtocolVersion) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(packet, version, &mut bytes).unwrap();
    bytes
}

fn frame(bytes: &[u8]) -> Frame<'_> {
    let (frame, length) = next_frame(bytes).unwrap().unwrap();
    assert_eq!(length, bytes.len());
    frame
}

#[test]
fn connect_says_who_logs_in_and_starts_clean() {
    for (version, expected) in BOTH {
        for password in [None, Some("secret".to_owned())] {
            let login = Login { username: "pump".into(), password: password.clone() };
            let mut bytes = Vec::new();
            wire::connect(
                version,
                "bench-1",
                Some(&login),
                (300, SessionKeeping::Clean),
                &mut bytes,
            );
            let Packet::Connect(connect) = read(&bytes, None) else { panic!("{bytes:?}") };
            assert_eq!(connect.version, expected);
            assert_eq!((connect.client_id, connect.keep_alive_seconds), ("bench-1", 300));
            assert!(connect.clean_start && connect.properties.session_expiry_seconds.is_none());
            assert_eq!(connect.user_name, Some("pump"));
            assert_eq!(connect.password.is_some(), password.is_some());
        }
        let mut bytes = Vec::new();
        wire::connect(version, "bench-1", None, (0, SessionKeeping::Clean), &mut bytes);
        let Packet::Connect(connect) = read(&bytes, None) else { panic!("{bytes:?}") };
        assert!(connect.user_name.is_none() && connect.password.is_none());
    }
}

#[test]
fn connect_asks_for_a_session_that_outlives_the_connection() {
    for (version, expected) in BOTH {
        let mut bytes = Vec::new();
        let keeping = SessionKeeping::Kept { seconds: 3600 };
        wire::connect(version, "bench-1", None, (0, keeping), &mut bytes);
        let Packet::Connect(connect) = read(&bytes, None) else { panic!("{bytes:?}") };
        let seconds = (version == Version::V5).then_some(3600);
        assert_eq!(connect.version, expected);
        assert_eq!(connect.properties.session_expiry_seconds, seconds);
        assert_eq!(connect.clean_start, version == Version::V5);
        let mut bytes = Vec::new();
        let keeping = SessionKeeping::Resumed { seconds: 3600 };
        wire::connect(version, "bench-1", None, (0, keeping), &mut bytes);
        let Packet::Connect(connect) = read(&bytes, None) else { panic!("{bytes:?}") };
        assert_eq!(connect.properties.session_expiry_seconds, seconds);
        assert!(!connect.clean_start, "the session goes on");
    }
}

#[test]
fn subscribe_holds_every_filter_with_its_qos() {
    for (version, expected) in BOTH {
        let filters: Vec<String> = (0..100).map(|n| format!("bench/{n}/+")).collect();
        let mut bytes = Vec::new();
        wire::subscribe(version, 7, filters.iter().map(String::as_str), 2, &mut bytes);
        let Packet::Subscribe(packet) = read(&bytes, Some(expected)) else { panic!("{bytes:?}") };
        assert_eq!(packet.packet_id.get(), 7);
        let found: Vec<_> =
            packet.filters.iter().map(|f| (f.filter.to_owned(), f.options.qos)).collect();
        let wanted: Vec<_> = filters.into_iter().map(|f| (f, QoS::ExactlyOnce)).collect();
        assert_eq!(found, wanted);
    }
}

#[test]
fn acknowledgements_are_what_the_broker_reads() {
    for (_, version) in BOTH {
        let ack = |first| {
            let mut bytes = Vec::new();
            wire::acknowledge(first, 513, &mut bytes);
            match read(&bytes, Some(version)) {
                Packet::PubAck(ack) => ("PUBACK", ack.packet_id.get()),
                Packet::PubRec(ack) => ("PUBREC", ack.packet_id.get()),
                Packet::PubRel(ack) => ("PUBREL", ack.packet_id.get()),
                Packet::PubComp(ack) => ("PUBCOMP", ack.packet_id.get()),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(ack(wire::PUBACK), ("PUBACK", 513));
        assert_eq!(ack(wire::PUBREC), ("PUBREC", 513));
        assert_eq!(ack(wire::PUBREL), ("PUBREL", 513));
        assert_eq!(ack(wire::PUBCOMP), ("PUBCOMP", 513));
    }
}

#[test]
fn the_receive_maximum_is_found_among_the_other_properties_of_connack() {
    let properties = ConnAckProperties {
        session_expiry_seconds: Some(9),
        receive_maximum: Some(17),
        assigned_client_id: Some("assigned"),
        topic_alias_maximum: Some(10),
        reason_string: Some("why"),
        ..ConnAckProperties::default()
    };
    let connack = ConnAck { properties, ..ConnAck::default() };
    let bytes = written(&Packet::ConnAck(connack), ProtocolVersion::V5);
    assert_eq!(frame(&bytes).connack(Version::V5), Ok((0, 17)));
    let bytes = written(&Packet::ConnAck(ConnAck::default()), ProtocolVersion::V5);
    assert_eq!(frame(&bytes).connack(Version::V5), Ok((0, u16::MAX)));
    assert_eq!(frame(&[0x20, 2, 0, 5]).connack(Version::V311), Ok((5, u16::MAX)));
    assert_eq!(frame(&[0x20, 1, 0]).connack(Version::V311), Err(Malformed::Short { first: 0x20 }));
}

#[test]
fn a_property_of_any_shape_may_stand_before_the_receive_maximum() {
    let shapes: [&[u8]; 7] = [
        &[0x24, 1],
        &[0x13, 0, 60],
        &[0x22, 0, 10],
        &[0x11, 0, 0, 0, 9],
        &[0x27, 0, 1, 0, 0],
        &[0x1F, 0, 2, b'n', b'o'],
        &[0x26, 0, 1, b'a', 0, 2, b'b', b'c'],
    ];
    for shape in shapes {
        let mut bytes = vec![0x20, shape.len() as u8 + 6, 0, 0, shape.len() as u8 + 3];
        bytes.extend_from_slice(shape);
        bytes.extend([0x21, 0, 17]);
        let limits = DecodeLimits { sender: Sender::Server, ..DecodeLimits::default() };
        let decoded = decode(&bytes, Some(ProtocolVersion::V5), &limits).unwrap();
        let Decoded::Packet { packet: Packet::ConnAck(connack), .. } = decoded else {
            panic!("{decoded:?}")
        };
        assert_eq!(connack.properties.receive_maximum, Some(17));
        assert_eq!(frame(&bytes).connack(Version::V5), Ok((0, 17)), "{shape:?}");
    }
}

#[test]
fn the_codes_of_suback_stand_behind_its_properties() {
    assert_eq!(frame(&[0x90, 4, 0, 1, 1, 0x80]).suback_codes(Version::V311), Ok(&[1, 0x80][..]));
    assert_eq!(frame(&[0x90, 4, 0, 1, 0, 0x87]).suback_codes(Version::V5), Ok(&[0x87][..]));
    assert!(frame(&[0x90, 2, 0, 1]).suback_codes(Version::V5).is_err());
}

#[test]
fn a_length_of_five_bytes_is_malformed() {
    assert_eq!(next_frame(&[0x30, 0x80, 0x80, 0x80, 0x80, 0]), Err(Malformed::VariableByteInteger));
    assert_eq!(next_frame(&[0x30, 0x80, 0x80, 0x80, 0x80]), Err(Malformed::VariableByteInteger));
    assert_eq!(next_frame(&[0x30, 0x80, 0x80, 0x80]), Ok(None));
}

fn versions() -> impl Strategy<Value = (Version, ProtocolVersion)> {
    prop_oneof![Just(BOTH[0]), Just(BOTH[1])]
}

proptest! {
    #[test]
    fn a_message_reads_as_it_was_meant(
        (version, expected) in versions(),
        topic in "[a-z]{1,20}(/[a-z]{1,90}){0,3}",
        qos in 0u8..=2,
        payload_bytes in 0usize..40_000,
        packet_id in 1u16..,
        sent_nanos: u64,
        sequence: u64,
        publisher: u32,
    ) {
        let stamp = Stamp { sent_nanos, sequence, publisher };
        let template = PublishTemplate::new(version, &topic, qos, payload_bytes);
        let mut bytes = Vec::new();
        template.append(packet_id, stamp, &mut bytes);
        prop_assert_eq!(bytes.len(), template.packet_bytes());
        let Packet::Publish(publish) = read(&bytes, Some(expected)) else { panic!("{bytes:?}") };
        prop_assert_eq!(publish.topic, &topic);
        prop_assert_eq!(publish.qos.as_u8(), qos);
        prop_assert_eq!(publish.packet_id.map(PacketId::get), (qos > 0).then_some(packet_id));
        prop_assert_eq!(publish.payload.len(), payload_bytes.max(Stamp::BYTES));
        prop_assert_eq!(Stamp::read(publish.payload), Some(stamp));
    }

    #[test]
    fn what_the_broker_sends_is_scanned_frame_by_frame_wherever_the_reads_cut_it(
        (version, expected) in versions(),
        messages in proptest::collection::vec(
            (0u8..=2, 1u16.., proptest::collection::vec(any::<u8>(), 0..300), any::<bool>()), 1..20),
        cut in 1usize..200,
    ) {
        let mut bytes = Vec::new();
        for (qos, packet_id, payload, has_properties) in &messages {
            let mut properties = PublishProperties::default();
            if *has_properties {
                properties.content_type = Some("text/plain");
                properties.message_expiry_seconds = Some(60);
            }
            let publish = Publish {
                dup: false,
                qos: QoS::from_u8(*qos).unwrap(),
                retain: false,
                topic: "bench/load/0",
                packet_id: (*qos > 0).then(|| PacketId::new(*packet_id).unwrap()),
                properties,
                payload,
            };
            encode(&Packet::Publish(publish), expected, &mut bytes).unwrap();
        }
        let (mut unread, mut found) = (Vec::new(), Vec::new());
        for part in bytes.chunks(cut) {
            unread.extend_from_slice(part);
            while let Some((frame, length)) = next_frame(&unread).unwrap() {
                let delivery = frame.delivery(version).unwrap();
                found.push((delivery.qos, delivery.packet_id, delivery.payload.to_vec()));
                unread.drain(..length);
            }
        }
        prop_assert!(unread.is_empty());
        let wanted: Vec<_> = messages
            .into_iter()
            .map(|(qos, id, payload, _)| (qos, if qos > 0 { id } else { 0 }, payload))
            .collect();
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn no_bytes_make_the_scanner_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(Some((frame, length))) = next_frame(&bytes) {
            prop_assert!(length <= bytes.len());
            for version in [Version::V311, Version::V5] {
                let _ = frame.delivery(version);
                let _ = frame.connack(version);
                let _ = frame.suback_codes(version);
            }
            let _ = frame.acknowledgement();
        }
    }

    #[test]
    fn what_is_scanned_as_a_message_is_what_the_codec_reads(
        (version, expected) in versions(),
        flags in 0u8..16,
        body in proptest::collection::vec(0u8..5, 0..40),
    ) {
        let mut bytes = vec![0x30 | flags, body.len() as u8];
        bytes.extend(&body);
        let limits = DecodeLimits { sender: Sender::Server, ..DecodeLimits::default() };
        if let Ok(Decoded::Packet { packet: Packet::Publish(publish), .. }) =
            decode(&bytes, Some(expected), &limits)
        {
            let delivery = frame(&bytes).delivery(version).unwrap();
            prop_assert_eq!(delivery.qos, publish.qos.as_u8());
            prop_assert_eq!(delivery.payload, publish.payload);
            prop_assert_eq!(delivery.packet_id, publish.packet_id.map_or(0, PacketId::get));
        }
    }
}
