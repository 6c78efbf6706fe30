//! Brokers as processes, and what their operator does with them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker_admin_api::{
    AddLearnerRequest, BootstrapRequest, BrokerState, BrokerStatus, PromoteRequest, Role, path,
};
use broker_config::{RawConfig, RawDiscovery, RawStaticPeer};
use broker_policy::{Policy, PolicyChange, Record};
use rustls::ClientConfig;

use super::client::Client;
use super::eventually;
use super::node::policy;
use super::pki::{CLUSTER_ID, Pki};
use super::process::{PROGRAM, Process, config, request, request_bytes, write_config};

/// One broker of a cluster called `fleet`.
pub(crate) struct Broker {
    pub(crate) process: Process,
    pub(crate) pki: Arc<Pki>,
    pub(crate) raw: RawConfig,
    /// The file that it runs.
    pub(crate) program: PathBuf,
    name: String,
    administrator: Arc<ClientConfig>,
    folder: Arc<tempfile::TempDir>,
}

impl Broker {
    /// A broker alone: started, not founded.
    pub(crate) fn start() -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let pki = Arc::new(Pki::new(folder.path(), 1));
        let raw = config(&pki);
        Self::spawn(Path::new(PROGRAM), &folder, &pki, raw, 0)
    }

    fn spawn(
        program: &Path,
        folder: &Arc<tempfile::TempDir>,
        pki: &Arc<Pki>,
        raw: RawConfig,
        ordinal: usize,
    ) -> Self {
        let name = format!("fleet-{ordinal}");
        let path = write_config(pki, &raw, &name);
        let process = Process::start_program(program, &raw, &path, &name);
        let program = program.to_owned();
        let (pki, folder) = (Arc::clone(pki), Arc::clone(folder));
        Self { process, raw, program, name, administrator: pki.administrator(), pki, folder }
    }

    /// Brokers that know each other's addresses; the first founds the cluster, the others become
    /// voters, one step at a time, and the policy has the user `pump`.
    pub(crate) fn cluster(size: usize) -> Vec<Self> {
        Self::cluster_of(Path::new(PROGRAM), size)
    }

    /// The same, with another configuration.
    pub(crate) fn cluster_with(size: usize, change: impl Fn(&mut RawConfig)) -> Vec<Self> {
        Self::founded_from(Self::unfounded(Path::new(PROGRAM), size, change), size)
    }

    /// The same, of another program.
    pub(crate) fn cluster_of(program: &Path, size: usize) -> Vec<Self> {
        Self::founded_from(Self::unfounded(program, size, |_| {}), size)
    }

    /// The same; the last ones stay without a vote.
    pub(crate) fn cluster_with_voters(size: usize, voters: usize) -> Vec<Self> {
        Self::founded_from(Self::unfounded(Path::new(PROGRAM), size, |_| {}), voters)
    }

    /// Brokers whose first one makes itself a cluster as it is told; the others become voters.
    pub(crate) fn cluster_founded_by(size: usize, found: impl FnOnce(&Self)) -> Vec<Self> {
        let brokers = Self::unfounded(Path::new(PROGRAM), size, |_| {});
        found(&brokers[0]);
        brokers[0].admit_all(&brokers[1..], size);
        brokers
    }

    fn unfounded(program: &Path, size: usize, change: impl Fn(&mut RawConfig)) -> Vec<Self> {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let pki = Arc::new(Pki::new(folder.path(), size));
        let mut raws: Vec<RawConfig> = (0..size).map(|_| config(&pki)).collect();
        let peers: Vec<RawStaticPeer> = (0..).zip(&raws).map(peer).collect();
        for (ordinal, raw) in raws.iter_mut().enumerate() {
            change(raw);
            raw.data_dir = folder.path().join(format!("data-{ordinal}"));
            raw.peers.as_mut().unwrap().discovery = RawDiscovery::Static(peers.clone());
        }
        let raws = raws.into_iter().enumerate();
        raws.map(|(ordinal, raw)| Self::spawn(program, &folder, &pki, raw, ordinal)).collect()
    }

    fn founded_from(brokers: Vec<Self>, voters: usize) -> Vec<Self> {
        brokers[0].found();
        brokers[0].admit_all(&brokers[1..], voters);
        brokers[0].set_policy(&policy(&["pump"]));
        let wanted = policy(&["pump"]).revision().to_string();
        for broker in &brokers {
            eventually("the policy is enforced everywhere", || {
                let status = broker.status();
                let serves = status.state == BrokerState::Serving;
                (serves && status.policy.enforced_revision == wanted).then_some(())
            });
        }
        brokers
    }

    fn admit_all(&self, others: &[Self], voters: usize) {
        for (number, other) in (1..).zip(others) {
            self.admit(other, number < voters);
        }
    }

    /// A broker that doesn't belong to the cluster whose brokers' addresses it is given: its
    /// cluster id is another, or the authority of its certificates is.
    pub(crate) fn stranger(
        program: &Path,
        folder: tempfile::TempDir,
        pki: Pki,
        ordinal: usize,
        cluster_id: &str,
        peers: &[&Self],
    ) -> Self {
        pki.issue_peer(ordinal, cluster_id);
        let mut raw = config(&pki);
        raw.cluster.as_mut().unwrap().id = cluster_id.to_owned();
        let own = (ordinal, &raw);
        let peers = peers.iter().map(|broker| broker.as_peer()).chain([peer(own)]).collect();
        raw.peers.as_mut().unwrap().discovery = RawDiscovery::Static(peers);
        Self::spawn(program, &Arc::new(folder), &Arc::new(pki), raw, ordinal)
    }

    /// How others find it.
    pub(crate) fn as_peer(&self) -> RawStaticPeer {
        let address = self.raw.peers.as_ref().unwrap().listen.to_string();
        RawStaticPeer { name: self.name.clone(), address }
    }

    /// A cluster of one, whose policy has the user `pump`.
    pub(crate) fn founded() -> Self {
        let broker = Self::start();
        broker.found();
        broker.set_policy(&policy(&["pump"]));
        broker
    }

    /// The same with another configuration.
    pub(crate) fn founded_with(change: impl FnOnce(&mut RawConfig)) -> Self {
        let mut broker = Self::founded();
        broker.process.signal("TERM");
        broker.process.wait();
        change(&mut broker.raw);
        broker.restart();
        broker
    }

    /// Starts the process again, with what is on its disk.
    pub(crate) fn restart(&mut self) {
        let path = write_config(&self.pki, &self.raw, &self.name);
        self.process = Process::start_program(&self.program, &self.raw, &path, &self.name);
    }

    /// The same without waiting until it has started.
    pub(crate) fn try_restart(&mut self) {
        let path = write_config(&self.pki, &self.raw, &self.name);
        self.process = Process::spawn(&self.raw, &path, &self.name);
    }

    /// Makes `other` a voter, whoever leads.
    pub(crate) fn admit_again(brokers: &[Self], other: usize) {
        let leads = |broker: &&Self| broker.status().raft.role == Role::Leader;
        let leader = eventually("one broker leads", || brokers.iter().find(leads));
        leader.admit(&brokers[other], true);
    }

    pub(crate) fn call(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        request(self.process.admin, &self.administrator, method, path, body).unwrap()
    }

    /// The same for bodies of any bytes.
    pub(crate) fn call_bytes(&self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        request_bytes(self.process.admin, &self.administrator, method, path, body).unwrap()
    }

    /// The value of a metric, with its labels.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let (code, text) = self.call("GET", "/metrics", "");
        assert_eq!(code, 200);
        let prefix = format!("mqtt_broker_{name} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&prefix));
        value.unwrap_or_else(|| panic!("no {name} in:\n{text}")).parse().unwrap()
    }

    pub(crate) fn status(&self) -> BrokerStatus {
        let (code, body) = self.call("GET", path::STATUS, "");
        assert_eq!(code, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    pub(crate) fn found(&self) {
        let node_id = self.status().node_id;
        let body = BootstrapRequest { cluster_id: CLUSTER_ID.to_owned(), node_id };
        let (code, answer) =
            self.call("POST", path::BOOTSTRAP, &serde_json::to_string(&body).unwrap());
        assert_eq!(code, 200, "{answer}");
    }

    /// Makes `other` a member, and a voter where it is to vote; this broker leads.
    fn admit(&self, other: &Self, votes: bool) {
        let status = other.status();
        let (node_id, name) = (status.node_id, status.name);
        let learner = AddLearnerRequest { node_id, name, expected_membership_log_index: None };
        self.until_accepted(path::LEARNERS, &serde_json::to_string(&learner).unwrap());
        if !votes {
            return;
        }
        let voter = PromoteRequest { node_id, expected_membership_log_index: None };
        self.until_accepted(path::VOTERS, &serde_json::to_string(&voter).unwrap());
    }

    fn until_accepted(&self, path: &str, body: &str) {
        let mut last = String::new();
        eventually(&format!("{path} accepts {body}"), || {
            let (code, answer) = self.call("POST", path, body);
            last = answer;
            (code == 200).then_some(())
        });
    }

    /// Replaces the policy, and waits until every worker here enforces it.
    pub(crate) fn set_policy(&self, wanted: &Policy) {
        let records = wanted.records().records().map(|record| (**record).clone());
        let change: PolicyChange = Policy::default().change(records.collect(), Vec::new()).unwrap();
        self.until_accepted(path::POLICY_CHANGES, &serde_json::to_string(&change).unwrap());
        self.until_enforced(&wanted.revision().to_string());
    }

    /// Makes the policy `wanted` where it is `before`; a leader may be missing for a while.
    pub(crate) fn change_policy(&self, before: &Policy, wanted: &Policy) {
        let is_new = |record: &Record| before.records().get(&record.key()).is_none();
        let records = wanted.records().records().map(|record| (**record).clone());
        let change = before.change(records.filter(is_new).collect(), Vec::new()).unwrap();
        let body = serde_json::to_string(&change).unwrap();
        let revision = wanted.revision().to_string();
        eventually("the policy is changed", || {
            let (code, _) = self.call("POST", path::POLICY_CHANGES, &body);
            // What could not be answered may have been done all the same.
            (code == 200 || self.status().policy.applied_revision == revision).then_some(())
        });
    }

    pub(crate) fn until_enforced(&self, revision: &str) {
        eventually("the policy is enforced", || {
            (self.status().policy.enforced_revision == revision).then_some(())
        });
    }

    /// A client on the listener without TLS, logged in as `pump`.
    pub(crate) fn plain(&self, client_id: &str) -> Client {
        Client::plain(self.process.listener("plain")).log_in(client_id)
    }
}

fn peer((ordinal, raw): (usize, &RawConfig)) -> RawStaticPeer {
    RawStaticPeer {
        name: format!("fleet-{ordinal}"),
        address: raw.peers.as_ref().unwrap().listen.to_string(),
    }
}
