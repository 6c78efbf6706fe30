//! One pass of a cluster's task. IO.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::ResourceExt as _;
use operator_api::MqttCluster;
use operator_api::cluster::AuthenticationMethod;
use operator_core::cluster::{ClusterFacts, Problem, ProblemReason, ValidatedCluster, validate};
use operator_core::membership::{self, Step};
use operator_core::rollout::{self, HaltReason, NextStep, Observed, Settings, Wanted};
use operator_core::user::credentials::client_listener;

use super::configuration::{Request, assign_ports, write};
use super::record::ClusterRecord;
use super::report::Found;
use super::{
    AT_REST, CERTIFICATES_EVERY, ClusterTask, EDIT_FRESH, EDIT_UNDER_WAY, UNDER_WAY, certificates,
    credentials, now, program,
};
use crate::broker_admin::{AdminIdentity, BrokerEndpoint, HttpsAdmin};
use crate::error_chain::chain;
use crate::membership_change::{self, Changed};

/// What brokers are started from is told apart by their configuration alone.
const TEMPLATE: &str = "current";

impl ClusterTask {
    /// One look at everything; returns how long nothing more needs to be looked at.
    pub(super) async fn pass(&mut self) -> Duration {
        if self.is_desired_new {
            self.is_desired_new = false;
            if let Err(problems) = self.adopt() {
                self.refuse(&problems);
            }
        }
        let Some(cluster) = self.cluster.clone() else { return AT_REST };
        self.prepare(&cluster);
        self.brokers.start(&program(&self.platform, &self.namespace));
        let Some(admin) = self.admin.clone() else { return AT_REST };
        let pushed = self.rights.push(&*admin, &self.brokers).await;
        self.platform.metrics.records_sent(pushed.upserts, pushed.removals);
        self.brokers.observe(&*admin).await;
        let is_enforced = self.rights.note(&self.brokers);
        let found = self.found(&cluster);
        self.shrink(&cluster, &found);
        let acted = self.act(&admin, &cluster, &found).await;
        self.report(&cluster, &found, is_enforced);
        if acted {
            return Duration::ZERO;
        }
        self.pause(&found, is_enforced)
    }

    fn pause(&self, found: &Found, is_enforced: bool) -> Duration {
        let behind = self.rights.behind_since().map(|since| since.elapsed());
        let is_settled =
            found.membership == Step::Aligned && found.rollout == NextStep::Done && is_enforced;
        match behind {
            Some(elapsed) if elapsed < EDIT_FRESH && found.membership == Step::Aligned => {
                EDIT_UNDER_WAY
            }
            _ if is_settled => AT_REST,
            _ if matches!(found.rollout, NextStep::Halt { .. }) && is_enforced => AT_REST,
            _ => UNDER_WAY,
        }
    }

    /// Takes the newest spec as the one to act upon.
    fn adopt(&mut self) -> Result<(), Vec<Problem>> {
        let manifest = Arc::clone(&self.desired.cluster);
        let internal = |message: String| vec![Problem::new(ProblemReason::InvalidValue, message)];
        if self.record.is_none() {
            let replicas = u16::try_from(manifest.spec.replicas).unwrap_or(1);
            let record = ClusterRecord::open(&self.platform.state, &self.scoped_name, replicas)
                .map_err(internal)?;
            self.record = Some(record);
        }
        let Some(record) = &self.record else { return Ok(()) };
        let authority = manifest.spec.tls.authority.secret_name.as_ref();
        let facts = ClusterFacts {
            cluster_id: record.cluster_id.clone(),
            has_authority_secret: authority
                .is_some_and(|name| self.desired.secrets.contains_key(name)),
            ..ClusterFacts::default()
        };
        let cluster = validate(&manifest, &facts)?;
        let replicas = self.brokers_now(&cluster);
        self.configure(&cluster, replicas)
            .map_err(|message| vec![Problem::new(ProblemReason::InvalidConfiguration, message)])?;
        self.certificates_at = None;
        self.cluster = Some(cluster);
        Ok(())
    }

    /// How many brokers shall run now.
    fn brokers_now(&self, cluster: &ValidatedCluster) -> u16 {
        let (running, is_founded) = self.record.as_ref().map_or((0, false), |record| {
            // Nothing runs yet that a cluster which was not founded could lose.
            (if record.founded { record.replicas } else { 0 }, record.founded)
        });
        membership::brokers_now(cluster, running, is_founded, self.brokers.statuses())
    }

    /// Brokers that are no members any more stop.
    fn shrink(&mut self, cluster: &ValidatedCluster, found: &Found) {
        let replicas = self.brokers_now(cluster);
        if found.observed.len() <= usize::from(replicas) {
            return;
        }
        if let Err(problem) = self.configure(cluster, replicas) {
            self.say(&format!("brokers that are not wanted go on: {problem}"));
        }
    }

    /// Ports and configurations of so many brokers; others stop.
    fn configure(&mut self, cluster: &ValidatedCluster, replicas: u16) -> Result<(), String> {
        let Some(record) = &mut self.record else { return Ok(()) };
        let platform = &self.platform;
        let request = Request {
            state: &platform.state,
            store: &platform.store,
            cluster,
            scoped_name: &self.scoped_name,
            listener_port_base: platform.listener_port_base,
            are_running: self.brokers.is_any_running(),
        };
        let before = record.clone();
        record.replicas = replicas;
        assign_ports(&request, record)?;
        let path_exists =
            platform.state.path(format!("clusters/{}/cluster.json", self.scoped_name)).exists();
        if *record != before || !path_exists {
            record.save(&platform.state, &self.scoped_name).map_err(|error| chain(&error))?;
        }
        self.brokers.configure(write(&request, record)?);
        Ok(())
    }

    /// A spec that can't be acted upon: said; what runs goes on as it was.
    fn refuse(&mut self, problems: &[Problem]) {
        let mut object = MqttCluster::clone(&self.desired.cluster);
        object.status.clone_from(&self.statuses.cluster);
        let status = operator_core::cluster::refused::invalid(&object, problems, now());
        self.statuses.cluster = Some(status.clone());
        object.status = Some(status);
        self.put_cluster(&object);
        for problem in problems {
            self.say(&format!("not in force: {}: {}", problem.reason.as_str(), problem.message));
        }
        self.edits.clear();
    }

    /// Certificates and credentials, where they are due, and rights, where they changed.
    fn prepare(&mut self, cluster: &ValidatedCluster) {
        let is_due = self.certificates_at.is_none_or(|at| at.elapsed() >= CERTIFICATES_EVERY);
        if !is_due {
            return;
        }
        let is_new = self.certificates_at.replace(Instant::now()).is_none();
        self.ensure_certificates(cluster);
        let Some(made) = &self.certificates else { return };
        let uris = (
            self.uri(cluster, AuthenticationMethod::Password),
            self.uri(cluster, AuthenticationMethod::X509),
        );
        let request = credentials::Request {
            store: &self.platform.store,
            authority: &made.authority,
            cluster_id: &cluster.cluster_id,
            namespace: &self.namespace,
            secrets: &self.desired.secrets,
            uris: (&uris.0, &uris.1),
        };
        let is_changed = self.rights.credentials.ensure(&request, &self.desired.users, now());
        if is_new || is_changed || self.rights.compiled().is_none() {
            self.rights.compile(cluster, &self.desired);
        }
    }

    fn ensure_certificates(&mut self, cluster: &ValidatedCluster) {
        let Some(record) = &self.record else { return };
        let spec = &self.desired.cluster.spec;
        let given = cluster.authority_secret.as_ref();
        let request = certificates::Request {
            store: &self.platform.store,
            state: &self.platform.state,
            cluster,
            scoped_name: &self.scoped_name,
            names: &spec.tls.subject_alt_names,
            given_authority: given.and_then(|name| self.desired.secrets.get(name)),
            brokers: record.replicas,
        };
        match certificates::ensure(&request, now()) {
            Ok(made) => {
                self.certificate_problems.clear();
                self.tell_issued(&made.issued);
                let is_admin_new =
                    self.certificates.as_ref().is_none_or(|before| before.admin != made.admin);
                if is_admin_new || self.admin.is_none() {
                    match AdminIdentity::from_secret_data(&made.admin) {
                        Ok(identity) => self.admin = Some(Arc::new(HttpsAdmin::new(identity))),
                        Err(error) => self.certificate_problems.push(chain(&error)),
                    }
                }
                self.certificates = Some(made);
            }
            Err(problem) => {
                if !self.certificate_problems.contains(&problem) {
                    self.say(&format!("certificates: {problem}"));
                }
                self.certificate_problems = vec![problem];
                self.keep_admin(cluster);
            }
        }
    }

    /// The operator's certificate that is there already serves while no new one can be made.
    fn keep_admin(&mut self, cluster: &ValidatedCluster) {
        if self.admin.is_some() {
            return;
        }
        let data = self.platform.store.secret(&self.namespace, &cluster.names.admin_secret());
        let identity = data.and_then(|data| AdminIdentity::from_secret_data(&data).ok());
        self.admin = identity.map(|identity| Arc::new(HttpsAdmin::new(identity)));
    }

    /// Where clients of a way of authentication connect on this machine.
    fn uri(&self, cluster: &ValidatedCluster, method: AuthenticationMethod) -> String {
        let listener = client_listener(cluster, method);
        let first = self.brokers.configured().next();
        let port = listener.zip(first).and_then(|(l, first)| first.ports.listeners.get(&l.name));
        match listener.zip(port) {
            Some((listener, port)) => format!("{}://localhost:{port}", listener.protocol.scheme()),
            None => String::new(),
        }
    }

    /// What the brokers report, and what the planners make of it.
    fn found(&self, cluster: &ValidatedCluster) -> Found {
        let observed = self.brokers.observed(&self.platform.version, TEMPLATE);
        let now = now();
        let asked: Vec<_> = observed.iter().map(|broker| broker.for_membership(now)).collect();
        let desired = membership::Desired {
            cluster_id: cluster.cluster_id.clone(),
            brokers: (0..cluster.replicas).map(|ordinal| cluster.names.broker(ordinal)).collect(),
            voters: cluster.voters,
            is_founded: self.record.as_ref().is_some_and(|record| record.founded),
            awaits_backup: cluster.awaits_backup,
        };
        let membership = membership::next_step(&desired, &asked);
        let wanted = Wanted {
            brokers: usize::from(cluster.replicas),
            version: self.platform.version.clone(),
            template: TEMPLATE.to_owned(),
            policy_revision: self.rights.revision().map(|revision| revision.to_string()),
            is_membership_aligned: membership == Step::Aligned,
        };
        let (rollout, plan) = self.roll(cluster, &wanted, &observed);
        Found { observed, wanted, membership, rollout, plan }
    }

    fn roll(
        &self,
        cluster: &ValidatedCluster,
        wanted: &Wanted,
        observed: &[Observed],
    ) -> (NextStep, Vec<operator_api::cluster::PlannedStep>) {
        let settings = Settings::of(cluster);
        let halt =
            |reason, message: String| NextStep::Halt { broker: String::new(), reason, message };
        let available = &self.platform.version;
        let plan = rollout::plan(wanted, observed, &settings, now());
        if cluster.version != *available {
            let message = format!(
                "laptop mode has the version of its broker program only, which is {available}: set spec.version to that, \
                 or start `local up` with --broker-binary"
            );
            return (halt(HaltReason::VersionNotAvailable, message), plan);
        }
        (rollout::next_step(wanted, observed, &settings, now()), plan)
    }

    /// Takes one step at most; whether one was taken.
    async fn act(&mut self, admin: &HttpsAdmin, cluster: &ValidatedCluster, found: &Found) -> bool {
        if found.membership == Step::RecordFounded {
            self.set_founded();
            return true;
        }
        if found.membership.is_act() {
            let step = &found.membership;
            let at = |name: &str| self.endpoint(name);
            match membership_change::change(admin, at, cluster, step).await {
                Ok(Some(Changed { broker, what })) => {
                    self.platform.console.step(&broker, &what);
                    if matches!(step, Step::Remove { .. }) {
                        self.platform.metrics.disruptions.with_label_values(&["Remove"]).inc();
                    }
                    if matches!(step, Step::Bootstrap { .. }) {
                        self.set_founded();
                    }
                    return true;
                }
                Ok(None) => {}
                // Most of these pass by themselves: a leader that has just changed, a link that is not up yet.
                Err(problem) => tracing::info!(step = step.as_str(), problem, "try again"),
            }
            return false;
        }
        match &found.rollout {
            NextStep::TransferLeadership { broker, .. }
            | NextStep::Drain { broker }
            | NextStep::EndDrain { broker } => {
                let at = |name: &str| self.endpoint(name);
                match membership_change::make_way(admin, at, cluster, &found.rollout).await {
                    Ok(Some(changed)) => {
                        self.platform.console.step(&changed.broker, &changed.what);
                    }
                    Ok(None) => {}
                    Err(problem) => tracing::warn!(broker, problem, "no transfer or drain"),
                }
                false
            }
            NextStep::Restart { broker, reason } => {
                let text = format!("is restarted: {}", reason.as_str());
                self.platform.console.step(broker, &text);
                let disruptions = &self.platform.metrics.disruptions;
                disruptions.with_label_values(&[reason.as_str()]).inc();
                self.brokers.restart(broker);
                true
            }
            NextStep::Done | NextStep::Wait { .. } | NextStep::Halt { .. } => false,
        }
    }

    fn endpoint(&self, broker: &str) -> Result<BrokerEndpoint, String> {
        let found = self.brokers.endpoint(broker).cloned();
        found.ok_or_else(|| format!("{broker} is not one of the brokers"))
    }

    fn set_founded(&mut self) {
        let Some(record) = &mut self.record else { return };
        record.founded = true;
        if let Err(error) = record.save(&self.platform.state, &self.scoped_name) {
            tracing::error!(%error, "that the cluster was founded was not recorded");
        }
    }

    /// The name of the cluster's object.
    pub(super) fn name(&self) -> String {
        self.desired.cluster.name_any()
    }
}
