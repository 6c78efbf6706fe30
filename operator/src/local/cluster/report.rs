//! What is said of a cluster after a pass: the object's status, lines at the terminal. IO.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use operator_api::MqttCluster;
use operator_api::cluster::{Endpoint, PlannedStep};
use operator_core::cluster::ValidatedCluster;
use operator_core::cluster::status::{self, StatusInput};
use operator_core::condition::is_true;
use operator_core::membership::Step;
use operator_core::rollout::{NextStep, Observed, Wanted};

use super::super::console::human;
use super::super::manifest::{Identity, Kind};
use super::desired::Edit;
use super::summary::Summary;
use super::{ClusterTask, now};

/// What passes within this time is not told: an election, a status that is a moment behind.
const PASSING: Duration = Duration::from_secs(1);

/// What one pass found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) observed: Vec<Observed>,
    pub(super) wanted: Wanted,
    pub(super) membership: Step,
    pub(super) rollout: NextStep,
    pub(super) plan: Vec<PlannedStep>,
}

/// What was told already, so that it is told once.
#[derive(Debug, Default)]
pub(super) struct Told {
    is_ready: bool,
    was_ever_ready: bool,
    /// Since when it is not Ready though it is told to be.
    unready_since: Option<Instant>,
    serving: BTreeSet<String>,
    membership: String,
    /// Since when the membership planner refuses.
    refused_since: Option<Instant>,
    halt: String,
    objects: BTreeSet<String>,
    /// Of which compilation those were told.
    objects_of: u64,
}

impl ClusterTask {
    /// Writes what differs and says what is new.
    pub(super) fn report(&mut self, cluster: &ValidatedCluster, found: &Found, is_enforced: bool) {
        self.tell_brokers(found);
        self.tell_edits(found, is_enforced);
        let store = self.platform.store.clone();
        let now = now();
        self.rights.write_statuses(&store, &self.desired, &self.brokers, &mut self.statuses, now);
        let endpoints = self.endpoints(cluster);
        let policy = self.rights.state();
        let before = self.statuses.cluster.clone().unwrap_or_default();
        let mut status = status::build(&StatusInput {
            cluster,
            before: &before,
            brokers: &found.observed,
            wanted: &found.wanted,
            membership: &found.membership,
            rollout: &found.rollout,
            plan: &found.plan,
            policy: &policy,
            certificate_problems: &self.certificate_problems,
            endpoints: &endpoints,
            now,
        });
        status.founded = self.record.as_ref().is_some_and(|record| record.founded);
        let generation = self.desired.cluster.metadata.generation;
        let is_ready = is_true(&status.conditions, "Ready", generation);
        let problem = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == "Ready")
            .map(|condition| condition.message.clone());
        let mut object = MqttCluster::clone(&self.desired.cluster);
        object.status = Some(status.clone());
        self.statuses.cluster = Some(status);
        self.put_cluster(&object);
        self.tell_readiness(cluster, is_ready, problem.as_deref());
    }

    pub(super) fn put_cluster(&self, object: &MqttCluster) {
        let namespace = self.namespace.clone();
        let identity = Identity { kind: Kind::Cluster, namespace, name: self.name() };
        match self.platform.store.write(&identity, object) {
            Ok(true) => self.platform.metrics.writes.with_label_values(&["MqttCluster"]).inc(),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "the cluster's status was not written"),
        }
    }

    fn endpoints(&self, cluster: &ValidatedCluster) -> Vec<Endpoint> {
        let mut endpoints = Vec::new();
        for listener in &cluster.listeners {
            for broker in self.brokers.configured() {
                let Some(port) = broker.ports.listeners.get(&listener.name) else { continue };
                endpoints.push(Endpoint {
                    listener: listener.name.clone(),
                    address: format!("localhost:{port}"),
                });
            }
        }
        endpoints
    }

    /// The first certificates are one line; later each has its own.
    pub(super) fn tell_issued(&self, issued: &[String]) {
        if self.certificates.is_none() && issued.len() > 1 {
            let text =
                format!("made a certificate authority and {} certificates", issued.len() - 1);
            self.say(&text);
        } else {
            issued.iter().for_each(|line| self.say(line));
        }
    }

    fn tell_brokers(&mut self, found: &Found) {
        let serving: BTreeSet<String> = found
            .observed
            .iter()
            .filter(|broker| broker.status.as_ref().is_ok_and(|status| status.ready))
            .map(|broker| broker.name.clone())
            .collect();
        for broker in serving.difference(&self.told.serving) {
            self.platform.console.step(broker, "serves");
        }
        self.told.serving = serving;
        if let Step::Refuse { message, .. } = &found.membership {
            let since = self.told.refused_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= PASSING && self.told.membership != *message {
                self.told.membership.clone_from(message);
                self.say(message);
            }
        } else {
            self.told.refused_since = None;
        }
        let halt = match &found.rollout {
            NextStep::Halt { message, .. } => message.as_str(),
            _ => "",
        };
        if self.told.halt != halt {
            halt.clone_into(&mut self.told.halt);
            if !halt.is_empty() {
                self.say(halt);
            }
        }
    }

    /// What came of edits, once it is known: for rights when they are enforced, for the cluster when its brokers run with it.
    fn tell_edits(&mut self, found: &Found, is_enforced: bool) {
        self.tell_objects();
        if self.edits.is_empty() || !is_enforced || !self.told.was_ever_ready {
            return;
        }
        let is_rolling = !matches!(found.rollout, NextStep::Done | NextStep::Halt { .. })
            || found.membership != Step::Aligned;
        let is_halted = matches!(found.rollout, NextStep::Halt { .. });
        let (of_cluster, of_rights): (Vec<Edit>, Vec<Edit>) = std::mem::take(&mut self.edits)
            .into_iter()
            .partition(|edit| edit.kind == "MqttCluster");
        if is_rolling {
            self.edits = of_cluster;
        } else if !of_cluster.is_empty() && !is_halted {
            let took = human(self.edits_noticed.elapsed());
            self.say(&format!("{}: in force after {took}", describe(&of_cluster)));
        }
        if of_rights.is_empty() {
            return;
        }
        let took = self.edits_noticed.elapsed();
        let brokers = self.rights.enforced_by(&self.brokers);
        let revision = self.rights.revision().map(|revision| revision.short()).unwrap_or_default();
        self.platform.metrics.policy_push_seconds.observe(took.as_secs_f64());
        self.say(&format!(
            "{}: enforced by all {brokers} brokers in {} (policy {revision})",
            describe(&of_rights),
            human(took)
        ));
    }

    /// Objects that are not in force as they are written, each once.
    fn tell_objects(&mut self) {
        let Some(compiled) = self.rights.compiled() else { return };
        // Nothing about them is new before they are compiled again.
        if self.told.objects_of == self.rights.compilations() {
            return;
        }
        let mut lines = BTreeSet::new();
        for (name, facts) in &compiled.users {
            let credentials = self.rights.credentials.get(name);
            let issue = credentials.and_then(|known| known.problem.as_ref());
            if let Some(problem) = issue.or(facts.problems.first()) {
                lines.insert(format!("MqttUser {name} is not in force: {problem}"));
            }
        }
        for (name, facts) in &compiled.acls {
            for problem in &facts.problems {
                lines.insert(format!("MqttAcl {name} is not in force: {problem}"));
            }
            for conflict in &facts.conflicts {
                lines.insert(format!("MqttAcl {name}: {conflict}"));
            }
        }
        for line in lines.difference(&self.told.objects) {
            self.say(line);
        }
        self.told.objects = lines;
        self.told.objects_of = self.rights.compilations();
    }

    fn tell_readiness(
        &mut self,
        cluster: &ValidatedCluster,
        is_ready: bool,
        problem: Option<&str>,
    ) {
        if is_ready == self.told.is_ready {
            self.told.unready_since = None;
            return;
        }
        if !is_ready {
            let since = self.told.unready_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= PASSING {
                self.told.is_ready = false;
                self.say(&format!("not Ready: {}", problem.unwrap_or_default()));
            }
            return;
        }
        self.told.is_ready = true;
        let revision = self.rights.revision().map(|revision| revision.short()).unwrap_or_default();
        let text = format!(
            "Ready: all {} brokers serve and enforce policy {revision} ({} users, {} ACLs)",
            self.told.serving.len(),
            self.desired.users.len(),
            self.desired.acls.len()
        );
        self.say(&text);
        if !std::mem::replace(&mut self.told.was_ever_ready, true) {
            self.edits.clear();
            self.tell_summary(cluster);
        }
    }

    fn tell_summary(&self, cluster: &ValidatedCluster) {
        let Some(compiled) = self.rights.compiled() else { return };
        let summary = Summary {
            cluster,
            desired: &self.desired,
            compiled,
            brokers: self.brokers.configured().collect(),
            store: &self.platform.store,
            manifests: &self.platform.manifests,
        };
        self.platform.console.text(&format!("\n{}\n", summary.text()));
    }
}

/// Edits in words: `MqttAcl pumps changed (acl.yaml)`, or how many.
fn describe(edits: &[Edit]) -> String {
    const LISTED_MAX: usize = 3;
    if edits.len() <= LISTED_MAX {
        let each: Vec<String> = edits
            .iter()
            .map(|edit| format!("{} {} {} ({})", edit.kind, edit.name, edit.verb, edit.source))
            .collect();
        return each.join(", ");
    }
    let count = |verb| edits.iter().filter(|edit| edit.verb == verb).count();
    let counts = [
        ("created", count("created")),
        ("changed", count("changed")),
        ("deleted", count("deleted")),
    ];
    let each: Vec<String> = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(verb, count)| format!("{count} {verb}"))
        .collect();
    format!("{} objects: {}", edits.len(), each.join(", "))
}
