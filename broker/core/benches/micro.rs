//! What the hot path is made of, without sockets: decode, encode, match, rights. `make bench-micro`.

#![expect(clippy::unwrap_used, reason = "a benchmark that can't be set up ends")]

use broker_core::codec::packet::{Publish, PublishProperties};
use broker_core::codec::{
    DecodeLimits, Decoded, Packet, PublishFrame, PublishHeader, decode, encode,
};
use broker_core::topic::FilterTrie;
use broker_core::types::{PacketId, ProtocolVersion, QoS};
use broker_policy::{
    Acl, AclType, Action, Authorizer, Client, DecisionCache, Policy, Record, Role, RoleAssignment,
};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

const TOPIC: &str = "fleet/pump-17/telemetry/pressure";
/// Packets in one buffer, as a read of a busy socket gives them.
const BATCH: usize = 100;

fn main() {
    divan::main();
}

fn message(payload: &[u8], has_properties: bool) -> Publish<'_> {
    let mut properties = PublishProperties::default();
    if has_properties {
        properties.content_type = Some("application/json");
        properties.message_expiry_seconds = Some(60);
    }
    Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: TOPIC,
        packet_id: PacketId::new(7),
        properties,
        payload,
    }
}

fn batch(version: ProtocolVersion, has_properties: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..BATCH {
        let publish = message(&[b'x'; 64], has_properties);
        encode(&Packet::Publish(publish), version, &mut bytes).unwrap();
    }
    bytes
}

fn decode_all(bencher: Bencher<'_, '_>, version: ProtocolVersion, bytes: &[u8]) {
    let limits = DecodeLimits::default();
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        let mut unread = black_box(bytes);
        while let Ok(Decoded::Packet { packet, consumed }) = decode(unread, Some(version), &limits)
        {
            black_box(&packet);
            unread = &unread[consumed..];
        }
        assert!(unread.is_empty());
    });
}

#[divan::bench]
fn decode_publish_3_1_1(bencher: Bencher<'_, '_>) {
    decode_all(bencher, ProtocolVersion::V311, &batch(ProtocolVersion::V311, false));
}

#[divan::bench]
fn decode_publish_5_0_with_properties(bencher: Bencher<'_, '_>) {
    decode_all(bencher, ProtocolVersion::V5, &batch(ProtocolVersion::V5, true));
}

#[divan::bench]
fn decode_puback(bencher: Bencher<'_, '_>) {
    let bytes: Vec<u8> = [0x40, 2, 0, 7].repeat(BATCH);
    decode_all(bencher, ProtocolVersion::V311, &bytes);
}

/// A message is encoded once and appended for each subscriber.
#[divan::bench(args = [1, 50])]
fn encode_publish_to_subscribers(bencher: Bencher<'_, '_>, subscribers: usize) {
    let publish = message(&[b'x'; 64], false);
    let (mut frame, mut out) = (PublishFrame::new(), Vec::with_capacity(1 << 20));
    bencher.counter(ItemsCount::new(subscribers)).bench_local(|| {
        out.clear();
        frame.encode(black_box(&publish), ProtocolVersion::V311).unwrap();
        let mut packet_id = PacketId::MIN;
        for _ in 0..subscribers {
            packet_id = packet_id.next();
            let header = PublishHeader { packet_id: Some(packet_id), ..publish.header() };
            frame.append_to(header, &mut out);
        }
        black_box(&out);
    });
}

/// One topic against many filters, of which two match.
#[divan::bench(args = [100, 10_000, 1_000_000])]
fn match_topic_among_filters(bencher: Bencher<'_, '_>, filters: usize) {
    let mut trie = FilterTrie::with_seed(1);
    for n in 0..filters {
        trie.insert(&format!("fleet/pump-{n}/telemetry/+"), n);
    }
    trie.insert("fleet/+/telemetry/#", 0);
    bencher.bench_local(|| {
        let mut found = 0;
        trie.for_each_match(black_box(TOPIC), |_| found += 1);
        assert_eq!(found, 2);
    });
}

/// A pump with a role of its kind, among `rules` rules for other topics.
fn pump(rules: usize) -> Authorizer {
    let acl = |topic: String| Acl {
        acl_type: AclType::PublishClientSend,
        topic,
        priority: 0,
        allow: true,
    };
    let mut role = Role::new("pumps");
    role.acls = (0..rules).map(|n| acl(format!("plant-{n}/+/state"))).collect();
    role.acls.push(acl("fleet/%u/telemetry/#".to_owned()));
    let client = Client {
        username: "pump-17".to_owned(),
        roles: vec![RoleAssignment::new("pumps")],
        ..Client::default()
    };
    let policy = Policy::from_records([Record::Role(role), Record::Client(client)]).unwrap();
    policy.authorizer(Some("pump-17"), "pump-17")
}

#[divan::bench(args = [1, 100, 10_000])]
fn right_evaluated_among_rules(bencher: Bencher<'_, '_>, rules: usize) {
    let pump = pump(rules);
    bencher.bench_local(|| assert!(pump.allows(Action::Publish, black_box(TOPIC))));
}

#[divan::bench]
fn right_remembered(bencher: Bencher<'_, '_>) {
    let (pump, mut cache) = (pump(100), DecisionCache::default());
    bencher.bench_local(|| assert!(cache.allows(&pump, Action::Publish, black_box(TOPIC))));
}
