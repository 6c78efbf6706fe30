//! Properties of the codec over generated packets and bytes.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use broker_core::codec::packet::{
    Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect, PropertyOrder,
    Publish, PublishAck, PublishProperties, ReasonCodes, SubAck, Subscribe, SubscribeFilter,
    SubscribeFilters, SubscriptionOptions, UnsubAck, Unsubscribe, UnsubscribeFilters, Will,
    WillProperties,
};
use broker_core::codec::{
    DecodeError, DecodeLimits, Decoded, Packet, PacketType, PublishFrame, PublishHeader,
    ReasonCode, ReceiverProperties, Sender, Sensitive, SubscriptionIds, TopicAlias, UserProperties,
    decode, encode, packet_bytes,
};
use broker_core::types::{PacketId, ProtocolVersion, QoS, SubscriptionId};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Packets borrow; what a test case generates may live until the process ends.
fn leak<T: ?Sized>(value: Box<T>) -> &'static T {
    Box::leak(value)
}

fn text() -> impl Strategy<Value = &'static str> {
    "[^\u{0}]{0,12}".prop_map(|text| leak(text.into_boxed_str()))
}

fn binary() -> impl Strategy<Value = &'static [u8]> {
    vec(any::<u8>(), 0..12).prop_map(|bytes| leak(bytes.into_boxed_slice()))
}

fn secret() -> impl Strategy<Value = Sensitive<'static>> {
    binary().prop_map(Sensitive)
}

fn topic() -> impl Strategy<Value = &'static str> {
    "[^\u{0}+#]{1,12}".prop_map(|text| leak(text.into_boxed_str()))
}

fn filter() -> impl Strategy<Value = &'static str> {
    "(\\$share/[a-zé]{1,3}/)?((\\+|[a-z$é]{0,3})/){0,4}(#|\\+|[a-zé]{1,3})"
        .prop_map(|text| leak(text.into_boxed_str()))
}

fn user_properties() -> impl Strategy<Value = UserProperties<'static>> {
    vec((text(), text()), 0..3)
        .prop_map(|pairs| UserProperties::from_pairs(leak(pairs.into_boxed_slice())))
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|value| PacketId::new(value).unwrap())
}

fn subscription_id() -> impl Strategy<Value = SubscriptionId> {
    (1..=SubscriptionId::VALUE_MAX).prop_map(|value| SubscriptionId::new(value).unwrap())
}

fn qos() -> impl Strategy<Value = QoS> {
    (0_u8..3).prop_map(|value| QoS::from_u8(value).unwrap())
}

fn reason_code(packet: PacketType) -> impl Strategy<Value = ReasonCode> {
    let codes: Vec<_> =
        ReasonCode::ALL.iter().copied().filter(|code| code.is_allowed_in(packet)).collect();
    proptest::sample::select(codes)
}

fn publish(sender: Sender) -> impl Strategy<Value = Publish<'static>> {
    let ids = vec(subscription_id(), 0..if sender == Sender::Server { 4 } else { 1 })
        .prop_map(|ids| SubscriptionIds::from_slice(leak(ids.into_boxed_slice())));
    let properties = (
        option::of(any::<bool>()),
        option::of(any::<u32>()),
        option::of(1..=u16::MAX),
        option::of(topic()),
        option::of(binary()),
        user_properties(),
        ids,
        option::of(text()),
    );
    let payload = vec(any::<u8>(), 0..300);
    (any::<bool>(), qos(), any::<bool>(), topic(), any::<bool>(), packet_id(), properties, payload)
        .prop_map(|(dup, qos, retain, topic, hides_topic, packet_id, all, payload)| Publish {
            dup: dup && qos != QoS::AtMostOnce,
            qos,
            retain,
            topic: if hides_topic && all.2.is_some() { "" } else { topic },
            packet_id: (qos != QoS::AtMostOnce).then_some(packet_id),
            properties: PublishProperties {
                payload_is_utf8: all.0,
                message_expiry_seconds: all.1,
                topic_alias: all.2,
                response_topic: all.3,
                correlation_data: all.4,
                user_properties: all.5,
                subscription_ids: all.6,
                content_type: all.7,
            },
            payload: leak(payload.into_boxed_slice()),
        })
}

fn connect() -> impl Strategy<Value = Packet<'static>> {
    let properties = (
        option::of(any::<u32>()),
        option::of(1..=u16::MAX),
        option::of(1..=u32::MAX),
        option::of(any::<u16>()),
        option::of(any::<bool>()),
        option::of(any::<bool>()),
        user_properties(),
        option::of((text(), option::of(secret()))),
    )
        .prop_map(|all| ConnectProperties {
            session_expiry_seconds: all.0,
            receive_maximum: all.1,
            packet_bytes_max: all.2,
            topic_alias_maximum: all.3,
            request_response_information: all.4,
            request_problem_information: all.5,
            user_properties: all.6,
            authentication_method: all.7.map(|method| method.0),
            authentication_data: all.7.and_then(|method| method.1),
        });
    let head = (any::<bool>(), any::<u16>(), text());
    (head, properties, option::of(will()), option::of(text()), option::of(secret())).prop_map(
        |((clean_start, keep_alive_seconds, client_id), properties, will, user_name, password)| {
            Packet::Connect(Connect {
                version: ProtocolVersion::V5,
                clean_start,
                keep_alive_seconds,
                properties,
                client_id,
                will,
                user_name,
                password,
            })
        },
    )
}

fn will() -> impl Strategy<Value = Will<'static>> {
    let properties = (
        option::of(any::<u32>()),
        option::of(any::<bool>()),
        option::of(any::<u32>()),
        option::of(text()),
        option::of(topic()),
        option::of(binary()),
        user_properties(),
    );
    (topic(), binary(), qos(), any::<bool>(), properties).prop_map(
        |(topic, payload, qos, retain, all)| {
            let properties = WillProperties {
                delay_seconds: all.0,
                payload_is_utf8: all.1,
                message_expiry_seconds: all.2,
                content_type: all.3,
                response_topic: all.4,
                correlation_data: all.5,
                user_properties: all.6,
            };
            Will { topic, payload, qos, retain, properties }
        },
    )
}

fn connack() -> impl Strategy<Value = Packet<'static>> {
    let numbers = (
        option::of(any::<u32>()),
        option::of(1..=u16::MAX),
        option::of(1..=u32::MAX),
        option::of(any::<u16>()),
        option::of(any::<u16>()),
    );
    let texts = vec(option::of(text()), 5);
    let flags = vec(option::of(any::<bool>()), 5);
    let code = reason_code(PacketType::ConnAck);
    (any::<bool>(), code, numbers, texts, flags, option::of(secret()), user_properties()).prop_map(
        |(session_present, reason_code, numbers, texts, flags, secret, user_properties)| {
            let qos = |is_one| if is_one { QoS::AtLeastOnce } else { QoS::AtMostOnce };
            let properties = ConnAckProperties {
                session_expiry_seconds: numbers.0,
                receive_maximum: numbers.1,
                packet_bytes_max: numbers.2,
                topic_alias_maximum: numbers.3,
                server_keep_alive_seconds: numbers.4,
                assigned_client_id: texts[0],
                reason_string: texts[1],
                response_information: texts[2],
                server_reference: texts[3],
                authentication_method: texts[4],
                maximum_qos: flags[0].map(qos),
                retain_available: flags[1],
                wildcard_subscription_available: flags[2],
                subscription_ids_available: flags[3],
                shared_subscription_available: flags[4],
                authentication_data: secret,
                user_properties,
                order: PropertyOrder::Listed,
            };
            let session_present = session_present && reason_code == ReasonCode::Success;
            Packet::ConnAck(ConnAck { session_present, reason_code, properties })
        },
    )
}

fn acknowledgement() -> impl Strategy<Value = Packet<'static>> {
    let kinds = [PacketType::PubAck, PacketType::PubRec, PacketType::PubRel, PacketType::PubComp];
    proptest::sample::select(kinds.to_vec())
        .prop_flat_map(|kind| {
            (Just(kind), packet_id(), reason_code(kind), option::of(text()), user_properties())
        })
        .prop_map(|(kind, packet_id, reason_code, reason_string, user_properties)| {
            let ack = PublishAck { packet_id, reason_code, reason_string, user_properties };
            match kind {
                PacketType::PubAck => Packet::PubAck(ack),
                PacketType::PubRec => Packet::PubRec(ack),
                PacketType::PubRel => Packet::PubRel(ack),
                _ => Packet::PubComp(ack),
            }
        })
}

fn subscribe() -> impl Strategy<Value = Packet<'static>> {
    let options = (0_u8..64).prop_filter_map("valid options", SubscriptionOptions::from_u8);
    let entry = (filter(), options).prop_map(|(filter, options)| {
        let no_local = options.no_local && !filter.starts_with("$share/");
        SubscribeFilter { filter, options: SubscriptionOptions { no_local, ..options } }
    });
    let id = option::of(subscription_id());
    (packet_id(), id, user_properties(), vec(entry, 1..5)).prop_map(
        |(packet_id, subscription_id, user_properties, filters)| {
            let filters = SubscribeFilters::from_slice(leak(filters.into_boxed_slice()));
            Packet::Subscribe(Subscribe { packet_id, subscription_id, user_properties, filters })
        },
    )
}

fn unsubscribe() -> impl Strategy<Value = Packet<'static>> {
    (packet_id(), user_properties(), vec(filter(), 1..5)).prop_map(
        |(packet_id, user_properties, filters)| {
            let filters = UnsubscribeFilters::from_slice(leak(filters.into_boxed_slice()));
            Packet::Unsubscribe(Unsubscribe { packet_id, user_properties, filters })
        },
    )
}

fn codes(packet: PacketType) -> impl Strategy<Value = ReasonCodes<'static>> {
    vec(reason_code(packet), 1..5)
        .prop_map(|codes| ReasonCodes::from_slice(leak(codes.into_boxed_slice())))
}

fn suback() -> impl Strategy<Value = Packet<'static>> {
    (packet_id(), option::of(text()), user_properties(), codes(PacketType::SubAck)).prop_map(
        |(packet_id, reason_string, user_properties, reason_codes)| {
            Packet::SubAck(SubAck { packet_id, reason_string, user_properties, reason_codes })
        },
    )
}

fn unsuback() -> impl Strategy<Value = Packet<'static>> {
    (packet_id(), option::of(text()), user_properties(), codes(PacketType::UnsubAck)).prop_map(
        |(packet_id, reason_string, user_properties, reason_codes)| {
            Packet::UnsubAck(UnsubAck { packet_id, reason_string, user_properties, reason_codes })
        },
    )
}

fn disconnect(sender: Sender) -> impl Strategy<Value = Packet<'static>> {
    let code = reason_code(PacketType::Disconnect);
    (code, option::of(any::<u32>()), option::of(text()), user_properties(), option::of(text()))
        .prop_map(move |(reason_code, expiry, reason_string, user_properties, reference)| {
            Packet::Disconnect(Disconnect {
                reason_code,
                session_expiry_seconds: expiry.filter(|_| sender == Sender::Client),
                reason_string,
                user_properties,
                server_reference: reference.filter(|_| sender == Sender::Server),
            })
        })
}

fn auth() -> impl Strategy<Value = Packet<'static>> {
    let code = reason_code(PacketType::Auth);
    (code, text(), option::of(secret()), option::of(text()), user_properties()).prop_map(
        |(reason_code, method, authentication_data, reason_string, user_properties)| {
            Packet::Auth(Auth {
                reason_code,
                authentication_method: Some(method),
                authentication_data,
                reason_string,
                user_properties,
            })
        },
    )
}

/// A packet of 5.0 and who sends it.
fn any_packet() -> impl Strategy<Value = (Sender, Packet<'static>)> {
    let by = |sender: Sender| move |packet| (sender, packet);
    let (client, server) = (by(Sender::Client), by(Sender::Server));
    prop_oneof![
        connect().prop_map(client),
        connack().prop_map(server),
        publish(Sender::Client).prop_map(Packet::Publish).prop_map(client),
        publish(Sender::Server).prop_map(Packet::Publish).prop_map(server),
        acknowledgement().prop_map(client),
        subscribe().prop_map(client),
        suback().prop_map(server),
        unsubscribe().prop_map(client),
        unsuback().prop_map(server),
        disconnect(Sender::Client).prop_map(client),
        disconnect(Sender::Server).prop_map(server),
        auth().prop_map(client),
        Just((Sender::Client, Packet::PingReq)),
        Just((Sender::Server, Packet::PingResp)),
    ]
}

fn version_for(packet: &Packet<'_>, version: ProtocolVersion) -> Option<ProtocolVersion> {
    (!matches!(packet, Packet::Connect(_))).then_some(version)
}

fn decode_from<'a>(
    sender: Sender,
    version: Option<ProtocolVersion>,
    wire: &'a [u8],
) -> Result<Decoded<'a>, DecodeError> {
    decode(wire, version, &DecodeLimits { sender, ..DecodeLimits::default() })
}

/// Every way of looking at these bytes, with every lazy view walked to its end.
fn decode_all_ways(wire: &[u8]) {
    for sender in [Sender::Client, Sender::Server] {
        for version in [None, Some(ProtocolVersion::V311), Some(ProtocolVersion::V5)] {
            if let Ok(Decoded::Packet { packet, consumed }) = decode_from(sender, version, wire) {
                assert!(consumed <= wire.len());
                assert_eq!(packet_bytes(wire), Ok(Some(consumed)));
                let _ = format!("{packet:?}");
                let version = match &packet {
                    Packet::Connect(connect) => connect.version,
                    _ => version.unwrap_or(ProtocolVersion::V5),
                };
                let mut again = Vec::new();
                encode(&packet, version, &mut again).unwrap();
                let decoded = decode_from(sender, version_for(&packet, version), &again);
                let consumed = again.len();
                assert_eq!(decoded, Ok(Decoded::Packet { packet, consumed }));
            }
        }
    }
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_itself((sender, packet) in any_packet()) {
        let mut wire = Vec::new();
        encode(&packet, ProtocolVersion::V5, &mut wire).unwrap();
        let version = version_for(&packet, ProtocolVersion::V5);
        let consumed = wire.len();
        prop_assert_eq!(
            decode_from(sender, version, &wire),
            Ok(Decoded::Packet { packet, consumed })
        );
        for end in 0..wire.len() {
            let decoded = decode_from(sender, version, &wire[..end]);
            match decoded {
                Ok(Decoded::Incomplete { needed }) => {
                    prop_assert!(needed > end && needed <= wire.len());
                }
                other => prop_assert!(false, "{end} of {} bytes: {other:?}", wire.len()),
            }
        }
    }

    #[test]
    fn a_3_1_1_packet_is_a_5_0_packet_less_what_3_1_1_lacks((sender, packet) in any_packet()) {
        let version = ProtocolVersion::V311;
        let mut wire = Vec::new();
        let is_for_5_0_only = match packet {
            Packet::Auth(_) | Packet::Connect(_) => true,
            Packet::Publish(publish) => publish.topic.is_empty(),
            Packet::Disconnect(_) => sender == Sender::Server,
            _ => false,
        };
        if is_for_5_0_only {
            return Ok(());
        }
        encode(&packet, version, &mut wire).unwrap();
        let decoded = decode_from(sender, Some(version), &wire).unwrap();
        let Decoded::Packet { packet: decoded, consumed } = decoded else {
            panic!("{packet:?} became incomplete");
        };
        prop_assert_eq!(consumed, wire.len());
        prop_assert_eq!(decoded.packet_type(), packet.packet_type());
        let mut again = Vec::new();
        encode(&decoded, version, &mut again).unwrap();
        prop_assert_eq!(again, wire);
    }

    #[test]
    fn arbitrary_bytes_never_panic(wire in vec(any::<u8>(), 0..64)) {
        decode_all_ways(&wire);
    }

    #[test]
    fn arbitrary_bodies_never_panic(first in any::<u8>(), body in vec(any::<u8>(), 0..100)) {
        let wire = [&[first, body.len() as u8], &body[..]].concat();
        decode_all_ways(&wire);
    }

    #[test]
    fn mutated_packets_never_panic(
        (_, packet) in any_packet(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        end in any::<prop::sample::Index>(),
    ) {
        let mut wire = Vec::new();
        encode(&packet, ProtocolVersion::V5, &mut wire).unwrap();
        for (at, byte) in changes {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        decode_all_ways(&wire);
        wire.truncate(end.index(wire.len()) + 1);
        if let [_, length, body @ ..] = &mut wire[..] {
            *length = body.len().min(127) as u8;
        }
        decode_all_ways(&wire);
    }

    #[test]
    fn a_frame_equals_the_packet_it_stands_for(
        publish in publish(Sender::Server),
        is_v5 in any::<bool>(),
        dup in any::<bool>(),
        retain in any::<bool>(),
        packet_id in packet_id(),
        ids in vec(subscription_id(), 0..4),
        alias in proptest::option::of((1..=u16::MAX, any::<bool>())),
    ) {
        let version = if is_v5 { ProtocolVersion::V5 } else { ProtocolVersion::V311 };
        let properties =
            PublishProperties { subscription_ids: SubscriptionIds::NONE, ..publish.properties };
        let publish = Publish { properties, ..publish };
        let has_packet_id = publish.qos != QoS::AtMostOnce;
        let header = PublishHeader {
            dup: dup && has_packet_id,
            qos: publish.qos,
            retain,
            packet_id: has_packet_id.then_some(packet_id),
        };
        let PublishHeader { dup, packet_id, .. } = header;
        let mut frame = PublishFrame::new();
        frame.encode(&publish, version).unwrap();
        let mut out = vec![0xEE];
        frame.append_to(header, &mut out);
        let expected = Publish { dup, retain, packet_id, ..publish };
        let mut encoded = vec![0xEE];
        expected.encode(version, &mut encoded).unwrap();
        prop_assert_eq!(&out, &encoded);
        prop_assert_eq!(frame.packet_bytes(), encoded.len() - 1);

        if is_v5 {
            out.truncate(1);
            let alias = alias.filter(|_| publish.properties.topic_alias.is_none());
            let topic_alias = alias.map(|(value, is_known)| TopicAlias { value, is_known });
            let own = ReceiverProperties { topic_alias, subscription_ids: &ids };
            frame.append_with(header, &own, &mut out).unwrap();
            let properties = PublishProperties {
                subscription_ids: SubscriptionIds::from_slice(&ids),
                topic_alias: alias.map(|(value, _)| value).or(expected.properties.topic_alias),
                ..expected.properties
            };
            let topic = if matches!(alias, Some((_, true))) { "" } else { expected.topic };
            let packet = Packet::Publish(Publish { topic, properties, ..expected });
            let consumed = out.len() - 1;
            prop_assert_eq!(
                decode_from(Sender::Server, Some(version), &out[1..]),
                Ok(Decoded::Packet { packet, consumed })
            );
        }
    }
}
