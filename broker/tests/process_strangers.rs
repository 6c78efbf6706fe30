//! Brokers that don't belong to a cluster, at addresses where its brokers look for each other.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use std::path::Path;

use broker_config::RawDiscovery;
use serde_json::Value;

use support::broker::Broker;
use support::client::Client;
use support::eventually;
use support::node::policy;
use support::pki::{CLUSTER_ID, Pki};
use support::process::PROGRAM;

const OTHER_CLUSTER_ID: &str = "01KOTHER";

const DIALLED_FROM_HERE: &str = "no link with a peer dialled from here";
const DIALLED_HERE: &str = "refused a peer that dialled here";

fn refusals(broker: &Broker, message: &str, common_name: &str) -> Vec<Value> {
    let lines = broker.process.lines().into_iter();
    let is_refusal = |line: &Value| {
        line["message"] == message && line["level"] == "WARN" && line["common_name"] == common_name
    };
    lines.filter(is_refusal).collect()
}

/// Of another cluster, with certificates of the same authority.
fn foreigner(cluster: &[Broker]) -> Broker {
    let folder = tempfile::tempdir().unwrap();
    let pki = cluster[0].pki.same_authority(folder.path());
    Broker::stranger(Path::new(PROGRAM), folder, pki, 7, OTHER_CLUSTER_ID, &[&cluster[0]])
}

/// Says that it is of this cluster, with certificates of another authority.
fn impostor(cluster: &[Broker]) -> Broker {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::new(folder.path(), 0);
    Broker::stranger(Path::new(PROGRAM), folder, pki, 8, CLUSTER_ID, &[&cluster[0]])
}

#[test]
fn peers_of_another_cluster_or_authority_are_named_in_the_log_and_the_cluster_goes_on() {
    let mut brokers = Broker::cluster(3);
    let (foreigner, impostor) = (foreigner(&brokers), impostor(&brokers));
    let peers = brokers[2].raw.peers.as_mut().unwrap();
    let RawDiscovery::Static(peers) = &mut peers.discovery else { panic!("static") };
    peers.extend([foreigner.as_peer(), impostor.as_peer()]);
    brokers[2].process.signal("TERM");
    brokers[2].process.wait();
    brokers[2].restart();

    let refused = |name: &str| {
        eventually(&format!("{name} is named"), || {
            refusals(&brokers[2], DIALLED_FROM_HERE, name).pop()
        })
    };
    for (stranger, cluster_id) in [("fleet-7", OTHER_CLUSTER_ID), ("fleet-8", CLUSTER_ID)] {
        let line = refused(stranger);
        assert_eq!(line["cluster_id"], cluster_id.to_ascii_lowercase(), "{line}");
        assert!(line["reason"].as_str().unwrap().starts_with("certificate refused: "), "{line}");
    }
    assert!(refused("fleet-8")["reason"].as_str().unwrap().contains("peer authority"));
    // The impostor ends the handshake before it shows who it is; that it came is told all the same.
    let came = eventually("the impostor's call is told", || {
        let mut unnamed = refusals(&brokers[0], DIALLED_HERE, "");
        unnamed.pop()
    });
    let reason = came["reason"].as_str().unwrap();
    assert!(reason.contains("does not accept this broker's certificate"), "{came}");
    // They don't take this cluster for theirs either.
    for stranger in [&foreigner, &impostor] {
        eventually("the stranger names who it is not with", || {
            refusals(stranger, DIALLED_FROM_HERE, "fleet-0").pop()
        });
    }

    let (before, wanted) = (policy(&["pump"]), policy(&["pump", "valve"]));
    brokers[2].change_policy(&before, &wanted);
    for broker in &brokers {
        broker.until_enforced(&wanted.revision().to_string());
        assert_eq!(broker.status().raft.members.len(), 3);
    }
    let mut subscriber = brokers[2].plain("subscriber");
    subscriber.subscribe("news", 0);
    let mut publisher = Client::plain(brokers[0].process.listener("plain"));
    assert_eq!(publisher.connect("publisher", Some("valve"), b"secret"), 0);
    publisher.publish("news", b"x");
    assert_eq!(subscriber.message(), ("news".to_owned(), b"x".to_vec()));
}
