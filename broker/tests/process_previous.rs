//! Three brokers of the version before this one, upgraded and taken back one at a time under load.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use std::path::{Path, PathBuf};

use broker_policy::Policy;

use support::broker::Broker;
use support::client::{Client, PUBACK, packet};
use support::eventually;
use support::load::Load;
use support::node::policy;
use support::optional::left_out;
use support::pki::CLUSTER_ID;
use support::process::PROGRAM;

/// `mqtt-broker` of the version before; `e2e/previous.sh` builds it.
fn previous() -> Option<PathBuf> {
    let path = std::env::var_os("DUNLIN_PREVIOUS_BROKER").map(PathBuf::from);
    if path.is_none() {
        left_out("DUNLIN_PREVIOUS_BROKER names no program; e2e/previous.sh builds it");
    }
    path
}

/// A cluster under load, whose brokers change their program.
struct Mixed {
    brokers: Vec<Broker>,
    load: Load,
    users: Vec<String>,
    policy: Policy,
    retained: u64,
}

impl Mixed {
    /// Starts a broker anew with another program, and looks at all that a cluster does.
    fn change(&mut self, number: usize, program: &Path, feature_level_max: Option<u16>) {
        let broker = &mut self.brokers[number];
        let before = broker.process.listener("plain");
        broker.process.signal("TERM");
        broker.process.wait();
        broker.program = program.to_owned();
        broker.raw.cluster.as_mut().unwrap().feature_level_max = feature_level_max;
        broker.restart();
        let after = broker.process.listener("plain");
        self.load.broker_moved(before, after);
        self.load.flows();
        self.change_policy(number);
        self.retain(number);
    }

    /// A user more, by way of one broker, is enforced by all.
    fn change_policy(&mut self, number: usize) {
        self.users.push(format!("user-{}", self.users.len()));
        let users: Vec<&str> = self.users.iter().map(String::as_str).collect();
        let wanted = policy(&users);
        self.brokers[number].change_policy(&self.policy, &wanted);
        let revision = wanted.revision().to_string();
        self.brokers.iter().for_each(|broker| broker.until_enforced(&revision));
        self.policy = wanted;
    }

    /// A retained message, by way of one broker, is found at all.
    fn retain(&mut self, number: usize) {
        self.retained += 1;
        let text = self.retained.to_string();
        let body = [&[0, 4][..], b"kept", &[0, 1, 0], text.as_bytes()].concat();
        eventually("a retained message is acknowledged", || {
            let mut client = self.client(number, "keeper")?;
            client.try_send(&packet(0x33, &body)).ok()?;
            let answer = client.receive()?;
            (answer.kind() == PUBACK && answer.body.get(2).is_none_or(|code| *code < 0x80))
                .then_some(())
        });
        for at in 0..self.brokers.len() {
            eventually("the retained message is there", || {
                let mut client = self.client(at, "reader")?;
                client.subscribe("kept", 0);
                // A broker that has not applied it yet sends nothing for this Subscription.
                (client.message_before_ping()?.1 == text.as_bytes()).then_some(())
            });
        }
    }

    fn client(&self, number: usize, client_id: &str) -> Option<Client> {
        let mut client = Client::try_plain(self.brokers[number].process.listener("plain")).ok()?;
        (client.connect(client_id, Some("pump"), b"secret") == 0).then_some(client)
    }

    fn levels(&self) -> Vec<u32> {
        self.brokers.iter().map(|broker| broker.status().cluster_feature_level).collect()
    }
}

#[test]
fn a_cluster_is_upgraded_taken_back_and_upgraded_again_and_nothing_acknowledged_is_lost() {
    let Some(previous) = previous() else { return };
    let (previous, today) = (previous.as_path(), Path::new(PROGRAM));
    let brokers = Broker::cluster_of(previous, 3);
    let places = [[0, 1, 2], [1, 2, 0], [2, 0, 1]]
        .map(|order| order.map(|number| brokers[number].process.listener("plain")).to_vec());
    let load = Load::start(places);
    let mut mixed = Mixed {
        brokers,
        load,
        users: vec!["pump".to_owned()],
        policy: policy(&["pump"]),
        retained: 0,
    };

    (0..3).for_each(|number| mixed.change(number, today, Some(1)));
    assert_eq!(mixed.levels(), [1; 3], "the way back is kept open");
    (0..3).for_each(|number| mixed.change(number, previous, None));
    (0..2).for_each(|number| mixed.change(number, today, None));
    assert_eq!(mixed.levels()[..2], [1; 2], "a member knows no higher one");
    mixed.change(2, today, None);
    eventually("the feature level rises", || (mixed.levels() == [2; 3]).then_some(()));
    mixed.load.flows();

    // There is no way back any more, and who tries it is told so.
    let folder = tempfile::tempdir().unwrap();
    let pki = mixed.brokers[0].pki.same_authority(folder.path());
    let peers = [&mixed.brokers[0]];
    let _late = Broker::stranger(previous, folder, pki, 3, CLUSTER_ID, &peers);
    let line = eventually("the older broker is named", || {
        let lines = mixed.brokers[0].process.lines();
        lines.into_iter().find(|line| line["kind"] == "feature_level")
    });
    assert_eq!(line["common_name"], "fleet-3", "{line}");
    assert!(line["reason"].as_str().unwrap().contains("the cluster is at 2"), "{line}");
    assert!(mixed.brokers[0].metric("peer_refusals_total{reason=\"feature_level\"}") > 0);

    mixed.load.finish();
}
