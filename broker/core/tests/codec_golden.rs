//! Every packet of both versions as the bytes on the wire, decoded and encoded.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use broker_core::codec::packet::{
    Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect, PropertyOrder,
    Publish, PublishAck, PublishProperties, ReasonCodes, RetainHandling, SubAck, Subscribe,
    SubscribeFilter, SubscribeFilters, SubscriptionOptions, UnsubAck, Unsubscribe,
    UnsubscribeFilters, Will, WillProperties,
};
use broker_core::codec::{
    DecodeLimits, Decoded, EncodeError, Packet, PacketType, PublishFrame, ReasonCode, Sender,
    Sensitive, SubscriptionIds, UserProperties, decode, encode,
};
use broker_core::types::ProtocolVersion::{V5, V31, V311};
use broker_core::types::{PacketId, ProtocolVersion, QoS, SubscriptionId};

const PAIRS: &[(&str, &str)] = &[("a", "b"), ("a", "c")];

fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

const fn with_qos(qos: QoS) -> SubscriptionOptions {
    SubscriptionOptions {
        qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::SendAtSubscribe,
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// The packet encodes to these bytes, which decode to the packet.
#[track_caller]
fn both_ways(sender: Sender, version: ProtocolVersion, packet: Packet<'_>, hex: &str) {
    let wire = bytes(hex);
    let mut encoded = vec![0xEE];
    encode(&packet, version, &mut encoded).unwrap();
    assert_eq!(encoded[1..], wire, "encoded {:02x?}", &encoded[1..]);
    let limits = DecodeLimits { sender, ..DecodeLimits::default() };
    let version = (!matches!(packet, Packet::Connect(_))).then_some(version);
    let mut with_next = wire.clone();
    with_next.push(0xC0);
    let expected = Decoded::Packet { packet, consumed: wire.len() };
    assert_eq!(decode(&with_next, version, &limits), Ok(expected));
}

fn from_client(version: ProtocolVersion, packet: Packet<'_>, hex: &str) {
    both_ways(Sender::Client, version, packet, hex);
}

fn from_server(version: ProtocolVersion, packet: Packet<'_>, hex: &str) {
    both_ways(Sender::Server, version, packet, hex);
}

fn connect(version: ProtocolVersion) -> Connect<'static> {
    Connect {
        version,
        clean_start: true,
        keep_alive_seconds: 60,
        properties: ConnectProperties::default(),
        client_id: "c1",
        will: None,
        user_name: None,
        password: None,
    }
}

#[test]
fn connect_without_options() {
    let v311 = "10 0e 0004 4d515454 04 02 003c 0002 6331";
    from_client(V311, Packet::Connect(connect(V311)), v311);
    let v5 = "10 0f 0004 4d515454 05 02 003c 00 0002 6331";
    from_client(V5, Packet::Connect(connect(V5)), v5);
}

#[test]
fn connect_of_3_1_1_with_will_user_name_and_password() {
    let will = Will {
        topic: "w",
        payload: &[0, 1],
        qos: QoS::ExactlyOnce,
        retain: true,
        properties: WillProperties::default(),
    };
    let packet = Connect {
        clean_start: false,
        will: Some(will),
        user_name: Some("u"),
        password: Some(Sensitive(&[0xFF])),
        ..connect(V311)
    };
    let hex = "10 1b 0004 4d515454 04 f4 003c 0002 6331 0001 77 0002 0001 0001 75 0001 ff";
    from_client(V311, Packet::Connect(packet), hex);
}

#[test]
fn connect_of_5_0_with_every_property() {
    let properties = WillProperties {
        delay_seconds: Some(1),
        payload_is_utf8: Some(true),
        message_expiry_seconds: Some(2),
        content_type: Some("t"),
        response_topic: Some("r"),
        correlation_data: Some(&[9]),
        user_properties: UserProperties::from_pairs(PAIRS),
    };
    let qos = QoS::AtLeastOnce;
    let will = Will { topic: "w", payload: b"", qos, retain: false, properties };
    let packet = Connect {
        properties: ConnectProperties {
            session_expiry_seconds: Some(u32::MAX),
            receive_maximum: Some(10),
            packet_bytes_max: Some(256),
            topic_alias_maximum: Some(3),
            request_response_information: Some(true),
            request_problem_information: Some(false),
            user_properties: UserProperties::from_pairs(&PAIRS[..1]),
            authentication_method: Some("m"),
            authentication_data: Some(Sensitive(b"d")),
        },
        will: Some(will),
        password: Some(Sensitive(b"p")),
        ..connect(V5)
    };
    let hex = "10 61 0004 4d515454 05 4e 003c \
        23 11ffffffff 21000a 2700000100 220003 1901 1700 26000161000162 1500016d 16000164 \
        0002 6331 \
        26 1800000001 0101 0200000002 03000174 08000172 09000109 26000161000162 26000161000163 \
        0001 77 0000 0001 70";
    from_client(V5, Packet::Connect(packet), hex);
}

#[test]
fn connack() {
    let mut packet = ConnAck { session_present: true, ..ConnAck::default() };
    from_server(V311, Packet::ConnAck(packet), "20 02 01 00");
    from_server(V5, Packet::ConnAck(packet), "20 03 01 00 00");
    packet = ConnAck::refusal(ReasonCode::NotAuthorized);
    from_server(V311, Packet::ConnAck(packet), "20 02 00 05");
    from_server(V5, Packet::ConnAck(packet), "20 03 00 87 00");
    // 3.1 has no Session Present: the byte is reserved, whatever stands in it.
    let limits = DecodeLimits { sender: Sender::Server, ..DecodeLimits::default() };
    let expected = Decoded::Packet { packet: Packet::ConnAck(ConnAck::default()), consumed: 4 };
    assert_eq!(decode(&bytes("20 02 01 00"), Some(V31), &limits), Ok(expected));
}

#[test]
fn connack_with_every_property() {
    let packet = ConnAck {
        session_present: false,
        reason_code: ReasonCode::Success,
        properties: ConnAckProperties {
            session_expiry_seconds: Some(1),
            receive_maximum: Some(2),
            maximum_qos: Some(QoS::AtLeastOnce),
            retain_available: Some(true),
            packet_bytes_max: Some(3),
            assigned_client_id: Some("i"),
            topic_alias_maximum: Some(4),
            reason_string: Some("s"),
            user_properties: UserProperties::from_pairs(PAIRS),
            wildcard_subscription_available: Some(true),
            subscription_ids_available: Some(false),
            shared_subscription_available: Some(true),
            server_keep_alive_seconds: Some(5),
            response_information: Some("r"),
            server_reference: Some("e"),
            authentication_method: Some("m"),
            authentication_data: Some(Sensitive(b"d")),
            order: PropertyOrder::Listed,
        },
    };
    let hex = "20 46 00 00 43 1100000001 210002 2401 2501 2700000003 12000169 220004 1f000173 \
        26000161000162 26000161000163 2801 2900 2a01 130005 1a000172 1c000165 1500016d 16000164";
    from_server(V5, Packet::ConnAck(packet), hex);
}

fn publish() -> Publish<'static> {
    Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: "a/b",
        packet_id: None,
        properties: PublishProperties::default(),
        payload: b"hi",
    }
}

#[test]
fn publish_of_each_qos() {
    from_client(V311, Packet::Publish(publish()), "30 07 0003 612f62 6869");
    from_client(V5, Packet::Publish(publish()), "30 08 0003 612f62 00 6869");
    let qos1 = Publish {
        dup: true,
        qos: QoS::AtLeastOnce,
        retain: true,
        packet_id: Some(id(0x1234)),
        ..publish()
    };
    from_client(V311, Packet::Publish(qos1), "3b 09 0003 612f62 1234 6869");
    let packet_id = Some(id(65535));
    let qos2 = Publish { qos: QoS::ExactlyOnce, packet_id, payload: b"", ..publish() };
    from_client(V5, Packet::Publish(qos2), "34 08 0003 612f62 ffff 00");
}

#[test]
fn publish_with_every_property() {
    let ids = [SubscriptionId::new(1).unwrap(), SubscriptionId::new(128).unwrap()];
    let properties = PublishProperties {
        payload_is_utf8: Some(false),
        message_expiry_seconds: Some(7),
        topic_alias: Some(8),
        response_topic: Some("r"),
        correlation_data: Some(b"c"),
        user_properties: UserProperties::from_pairs(PAIRS),
        subscription_ids: SubscriptionIds::from_slice(&ids),
        content_type: Some("t"),
    };
    let packet = Publish { topic: "", properties, ..publish() };
    let hex = "30 2e 0000 29 0100 0200000007 230008 08000172 09000163 \
        26000161000162 26000161000163 0b01 0b8001 03000174 6869";
    from_server(V5, Packet::Publish(packet), hex);
}

#[test]
fn publish_longer_than_127_bytes() {
    let payload = [b'x'; 200];
    let packet = Publish { payload: &payload, ..publish() };
    let hex = format!("30 cd01 0003 612f62 {}", "78".repeat(200));
    from_client(V311, Packet::Publish(packet), &hex);
}

#[test]
fn acknowledgements_of_publish() {
    let success = PublishAck::new(id(1), ReasonCode::Success);
    for version in [V311, V5] {
        from_client(version, Packet::PubAck(success), "40 02 0001");
        from_client(version, Packet::PubRec(success), "50 02 0001");
        from_client(version, Packet::PubRel(success), "62 02 0001");
        from_client(version, Packet::PubComp(success), "70 02 0001");
    }
    let failure = PublishAck::new(id(1), ReasonCode::NotAuthorized);
    from_server(V5, Packet::PubAck(failure), "40 03 0001 87");
    let unknown = PublishAck::new(id(1), ReasonCode::PacketIdentifierNotFound);
    from_server(V5, Packet::PubRel(unknown), "62 03 0001 92");
    let reason_string = Some("no");
    let full =
        PublishAck { reason_string, user_properties: UserProperties::from_pairs(PAIRS), ..failure };
    let hex = "50 17 0001 87 13 1f00026e6f 26000161000162 26000161000163";
    from_server(V5, Packet::PubRec(full), hex);
}

#[test]
fn subscribe() {
    let options = SubscriptionOptions {
        qos: QoS::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
    };
    let filters = [
        SubscribeFilter { filter: "a/+", options },
        SubscribeFilter { filter: "$share/g/#", options: with_qos(QoS::AtLeastOnce) },
    ];
    let packet = Subscribe {
        packet_id: id(2),
        subscription_id: SubscriptionId::new(5),
        user_properties: UserProperties::from_pairs(&PAIRS[..1]),
        filters: SubscribeFilters::from_slice(&filters),
    };
    let hex = "82 1f 0002 09 0b05 26000161000162 0003 612f2b 2e 000a 2473686172652f672f23 01";
    from_client(V5, Packet::Subscribe(packet), hex);

    let filters =
        filters.map(|entry| SubscribeFilter { options: with_qos(entry.options.qos), ..entry });
    let packet = Subscribe {
        subscription_id: None,
        user_properties: UserProperties::NONE,
        filters: SubscribeFilters::from_slice(&filters),
        ..packet
    };
    let hex = "82 15 0002 0003 612f2b 02 000a 2473686172652f672f23 01";
    from_client(V311, Packet::Subscribe(packet), hex);
}

#[test]
fn suback() {
    let codes = [ReasonCode::Success, ReasonCode::GrantedQoS2, ReasonCode::UnspecifiedError];
    let packet = SubAck {
        packet_id: id(2),
        reason_string: None,
        user_properties: UserProperties::NONE,
        reason_codes: ReasonCodes::from_slice(&codes),
    };
    from_server(V311, Packet::SubAck(packet), "90 05 0002 00 02 80");
    let packet = SubAck { reason_string: Some("s"), ..packet };
    from_server(V5, Packet::SubAck(packet), "90 0a 0002 04 1f000173 00 02 80");
}

#[test]
fn suback_of_3_1_1_says_every_failure_as_0x80() {
    let codes = [ReasonCode::NotAuthorized];
    let packet = SubAck {
        packet_id: id(2),
        reason_string: Some("left out"),
        user_properties: UserProperties::from_pairs(PAIRS),
        reason_codes: ReasonCodes::from_slice(&codes),
    };
    let mut out = Vec::new();
    packet.encode(V311, &mut out).unwrap();
    assert_eq!(out, bytes("90 03 0002 80"));
}

#[test]
fn unsubscribe_and_unsuback() {
    let packet = Unsubscribe {
        packet_id: id(3),
        user_properties: UserProperties::NONE,
        filters: UnsubscribeFilters::from_slice(&["a", "b/#"]),
    };
    from_client(V311, Packet::Unsubscribe(packet), "a2 0a 0003 0001 61 0003 622f23");
    let user_properties = UserProperties::from_pairs(&PAIRS[..1]);
    let packet = Unsubscribe { user_properties, ..packet };
    let hex = "a2 12 0003 07 26000161000162 0001 61 0003 622f23";
    from_client(V5, Packet::Unsubscribe(packet), hex);

    let ack = UnsubAck {
        packet_id: id(3),
        reason_string: None,
        user_properties: UserProperties::NONE,
        reason_codes: ReasonCodes::from_slice(&[]),
    };
    from_server(V311, Packet::UnsubAck(ack), "b0 02 0003");
    let codes = [ReasonCode::Success, ReasonCode::NoSubscriptionExisted];
    let ack = UnsubAck { reason_codes: ReasonCodes::from_slice(&codes), ..ack };
    from_server(V5, Packet::UnsubAck(ack), "b0 05 0003 00 00 11");
}

#[test]
fn pings() {
    for version in [V311, V5] {
        from_client(version, Packet::PingReq, "c0 00");
        from_server(version, Packet::PingResp, "d0 00");
    }
}

#[test]
fn disconnect() {
    for version in [V311, V5] {
        from_client(version, Packet::Disconnect(Disconnect::default()), "e0 00");
    }
    let packet = Disconnect::new(ReasonCode::SessionTakenOver);
    from_server(V5, Packet::Disconnect(packet), "e0 01 8e");
    let session_expiry_seconds = Some(0);
    let packet = Disconnect { session_expiry_seconds, ..Disconnect::default() };
    from_client(V5, Packet::Disconnect(packet), "e0 07 00 05 1100000000");
    let packet = Disconnect {
        reason_string: Some("s"),
        user_properties: UserProperties::from_pairs(&PAIRS[..1]),
        server_reference: Some("e"),
        ..Disconnect::new(ReasonCode::UseAnotherServer)
    };
    let hex = "e0 11 9c 0f 1f000173 26000161000162 1c000165";
    from_server(V5, Packet::Disconnect(packet), hex);
}

#[test]
fn auth() {
    from_server(V5, Packet::Auth(Auth::default()), "f0 00");
    let packet = Auth {
        reason_code: ReasonCode::ContinueAuthentication,
        authentication_method: Some("m"),
        authentication_data: Some(Sensitive(b"d")),
        reason_string: Some("s"),
        user_properties: UserProperties::from_pairs(&PAIRS[..1]),
    };
    let hex = "f0 15 18 13 1500016d 16000164 1f000173 26000161000162";
    from_client(V5, Packet::Auth(packet), hex);
}

#[test]
fn properties_between_repeated_ones_do_not_disturb_them() {
    let hex = "30 1f 0000 1c 26000161000162 230008 26000161000163 0b01 0101 0b02 0200000001";
    let wire = bytes(hex);
    let limits = DecodeLimits { sender: Sender::Server, ..DecodeLimits::default() };
    let Ok(Decoded::Packet { packet: Packet::Publish(publish), .. }) =
        decode(&wire, Some(V5), &limits)
    else {
        panic!("the packet is valid");
    };
    let pairs: Vec<_> = publish.properties.user_properties.iter().collect();
    assert_eq!(pairs, PAIRS);
    let ids: Vec<_> = publish.properties.subscription_ids.iter().map(SubscriptionId::get).collect();
    assert_eq!(ids, [1, 2]);
}

#[test]
fn secrets_do_not_appear_in_debug_output() {
    let packet = Connect { password: Some(Sensitive(b"hunter2")), ..connect(V5) };
    let debug = format!("{packet:?}");
    assert!(debug.contains("<7 bytes redacted>"), "{debug}");
}

/// The lengths at which the remaining length, or a guess of it, changes its size.
#[test]
fn lengths_at_every_boundary_are_written_in_their_shortest_form() {
    for boundary in [1 << 7, 1 << 14, 1 << 21] {
        for payload_bytes in boundary - 20..boundary + 20 {
            let payload = vec![b'x'; payload_bytes];
            let publish = Publish { payload: &payload, ..publish() };
            let mut wire = Vec::new();
            publish.encode(V5, &mut wire).unwrap();
            let limits = DecodeLimits { packet_bytes_max: usize::MAX, ..DecodeLimits::default() };
            let consumed = wire.len();
            let packet = Packet::Publish(publish);
            assert_eq!(decode(&wire, Some(V5), &limits), Ok(Decoded::Packet { packet, consumed }));
            let mut frame = PublishFrame::new();
            frame.encode(&publish, V5).unwrap();
            assert_eq!(frame.as_bytes(), wire);
        }
    }
}

#[test]
fn a_property_block_of_any_length_decodes_to_itself() {
    for bytes in [100, 118, 119, 120, 121, 200, 16_374, 16_375, 16_376, 16_377, 20_000] {
        let value = "v".repeat(bytes);
        let pairs = [("k", &*value)];
        let user_properties = UserProperties::from_pairs(&pairs);
        let ack = PublishAck {
            user_properties,
            ..PublishAck::new(id(1), ReasonCode::NoMatchingSubscribers)
        };
        let packet = Packet::PubAck(ack);
        let mut wire = Vec::new();
        encode(&packet, V5, &mut wire).unwrap();
        let consumed = wire.len();
        let decoded = decode(&wire, Some(V5), &DecodeLimits::default());
        assert_eq!(decoded, Ok(Decoded::Packet { packet, consumed }));
    }
}

#[test]
fn what_cannot_be_encoded_leaves_the_buffer_as_it_was() {
    let long = "x".repeat(65_536);
    let mut out = vec![1, 2, 3];
    let packet = Packet::Publish(Publish { topic: &long, ..publish() });
    let error = EncodeError::FieldTooLong { field: "publish topic name", bytes: 65_536 };
    assert_eq!(encode(&packet, V5, &mut out), Err(error));
    let packet = Packet::Publish(Publish { qos: QoS::AtLeastOnce, ..publish() });
    assert_eq!(encode(&packet, V5, &mut out), Err(EncodeError::PacketIdMissing));
    let error = EncodeError::NotInVersion { packet: PacketType::Auth };
    assert_eq!(encode(&Packet::Auth(Auth::default()), V311, &mut out), Err(error));
    assert_eq!(out, [1, 2, 3]);

    let mut frame = PublishFrame::new();
    frame.encode(&publish(), V5).unwrap();
    assert!(frame.encode(&Publish { topic: &long, ..publish() }, V5).is_err());
    assert!(frame.as_bytes().is_empty());
}
