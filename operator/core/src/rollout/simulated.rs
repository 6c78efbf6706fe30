//! A roll that exists only in memory: brokers that are restarted and become ready. For tests.

use jiff::{SignedDuration, Timestamp};

use super::{Instance, NextStep, Observed, Readiness, Settings, Wanted, next_step};
use crate::membership::simulated::SimulatedCluster;

pub(super) fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

/// What runs under a broker's name.
#[derive(Debug, Clone)]
pub(super) struct Running {
    pub(super) version: String,
    pub(super) template: String,
    pub(super) readiness: Readiness,
    pub(super) is_running: bool,
    pub(super) failure: Option<String>,
}

/// A cluster and what is wanted of it.
#[derive(Debug, Clone)]
pub(super) struct Roll {
    pub(super) cluster: SimulatedCluster,
    pub(super) brokers: Vec<Running>,
    pub(super) wanted: Wanted,
    pub(super) settings: Settings,
    pub(super) now: Timestamp,
}

impl Roll {
    /// `count` brokers that have long run what is wanted; `b-0` leads.
    pub(super) fn settled(count: usize) -> Self {
        let running = Running {
            version: "0.1.0".to_owned(),
            template: "t1".to_owned(),
            readiness: Readiness::Ready(Timestamp::UNIX_EPOCH),
            is_running: true,
            failure: None,
        };
        Self {
            cluster: SimulatedCluster::formed(count),
            brokers: vec![running; count],
            wanted: Wanted {
                brokers: count,
                version: "0.1.0".to_owned(),
                template: "t1".to_owned(),
                policy_revision: Some("r1".to_owned()),
                is_membership_aligned: true,
            },
            settings: Settings::default(),
            now: Timestamp::from_second(1_000_000).unwrap(),
        }
    }

    pub(super) fn want_version(&mut self, version: &str) {
        version.clone_into(&mut self.wanted.version);
    }

    pub(super) fn pass(&mut self, time: SignedDuration) {
        self.now += time;
    }

    pub(super) fn observe(&self) -> Vec<Observed> {
        let statuses = self.cluster.observe();
        self.brokers
            .iter()
            .zip(statuses)
            .map(|(running, seen)| Observed {
                name: seen.name,
                instance: running.is_running.then(|| Instance {
                    version: running.version.clone(),
                    template: running.template.clone(),
                    readiness: running.readiness,
                    is_terminating: false,
                    failure: running.failure.clone(),
                }),
                status: seen.status,
            })
            .collect()
    }

    pub(super) fn next_step(&self) -> NextStep {
        next_step(&self.wanted, &self.observe(), &self.settings, self.now)
    }

    pub(super) fn crashes(&mut self, at: usize, failure: &str) {
        self.cluster.brokers[at].is_up = false;
        self.brokers[at].readiness = Readiness::Unready(self.now);
        self.brokers[at].failure = Some(failure.to_owned());
        self.cluster.elect();
    }

    pub(super) fn becomes_ready(&mut self, at: usize) {
        self.cluster.brokers[at].is_up = true;
        self.cluster.elect();
        self.cluster.replicate();
        self.brokers[at].readiness = Readiness::Ready(self.now);
        self.brokers[at].failure = None;
    }

    /// Does what the planner says. Panics when it takes a broker that the quorum needs.
    pub(super) fn take(&mut self, step: &NextStep) {
        match step {
            NextStep::Restart { broker, .. } => {
                let at = self.position(broker);
                let had_quorum = self.cluster.has_quorum();
                self.brokers[at] = Running {
                    version: self.wanted.version.clone(),
                    template: self.wanted.template.clone(),
                    readiness: Readiness::Unready(self.now),
                    is_running: true,
                    failure: None,
                };
                self.cluster.brokers[at].is_up = false;
                self.cluster.brokers[at].is_draining = false;
                self.cluster.brokers[at].connections = 0;
                self.cluster.elect();
                if had_quorum && self.cluster.voters() > 1 {
                    assert!(self.cluster.has_quorum(), "restarting {broker} broke the quorum");
                }
            }
            NextStep::TransferLeadership { broker, to } => {
                let at = self.position(broker);
                assert_eq!(self.cluster.leader, Some(self.cluster.brokers[at].node_id));
                self.cluster.leader = Some(*to);
            }
            NextStep::Drain { broker } => {
                let at = self.position(broker);
                self.cluster.brokers[at].is_draining = true;
                self.brokers[at].readiness = Readiness::Unready(self.now);
            }
            NextStep::EndDrain { broker } => {
                let at = self.position(broker);
                self.cluster.brokers[at].is_draining = false;
            }
            NextStep::Done | NextStep::Wait { .. } | NextStep::Halt { .. } => {}
        }
    }

    fn position(&self, name: &str) -> usize {
        self.cluster.brokers.iter().position(|broker| broker.name == name).unwrap()
    }

    /// Rolls until nothing is left to do, each broker becoming ready after 3 s; what was taken,
    /// in order.
    pub(super) fn run_to_the_end(&mut self) -> Vec<String> {
        let mut taken = Vec::new();
        for _ in 0..2_000 {
            let step = self.next_step();
            self.take(&step);
            match step {
                NextStep::Done | NextStep::Halt { .. } => return taken,
                NextStep::Restart { broker, .. } => taken.push(broker),
                NextStep::TransferLeadership { broker, .. } => {
                    taken.push(format!("transfer from {broker}"));
                }
                NextStep::Drain { broker } => taken.push(format!("drain {broker}")),
                NextStep::EndDrain { broker } => taken.push(format!("end drain {broker}")),
                NextStep::Wait { .. } => {}
            }
            self.pass(seconds(1));
            for broker in self.cluster.brokers.iter_mut().filter(|broker| broker.is_draining) {
                broker.connections = broker.connections.saturating_sub(10);
            }
            for at in 0..self.brokers.len() {
                let is_due = match self.brokers[at].readiness {
                    Readiness::Unready(since) => self.now.duration_since(since) >= seconds(3),
                    Readiness::Ready(_) => false,
                };
                let is_due = is_due && !self.cluster.brokers[at].is_draining;
                if is_due && self.brokers[at].failure.is_none() {
                    self.becomes_ready(at);
                }
            }
        }
        panic!("the roll does not end: {:?}", self.next_step());
    }
}
