//! What the conditions of a cluster say, from what was found. Pure.

use broker_admin_api::{BrokerState, BrokerStatus, Role};

use super::refused::certificates_invalid;
use super::status::{StatusInput, short_revision};
use crate::condition::{Finding, Verdict};
use crate::membership::{Step, majority};
use crate::rollout::{NextStep, Observed};

/// The reason while a broker that serves as far as is known gives no answer.
const BROKER_SILENT: &str = "BrokerSilent";

fn serves(answer: &BrokerStatus) -> bool {
    answer.state == BrokerState::Serving && answer.ready
}

/// What was found, with what the findings ask for more than once.
pub(super) struct Found<'a> {
    input: &'a StatusInput<'a>,
    /// Brokers that serve clients.
    serving: Vec<&'a BrokerStatus>,
    /// The leader's answer.
    leader: Option<&'a BrokerStatus>,
}

impl<'a> Found<'a> {
    /// What there is to say is gathered once.
    pub(super) fn of(input: &'a StatusInput<'a>) -> Self {
        let answers = || input.brokers.iter().filter_map(|broker| broker.status.as_ref().ok());
        Self {
            input,
            serving: answers().filter(|answer| serves(answer)).collect(),
            leader: answers()
                .filter(|answer| answer.raft.role == Role::Leader)
                .max_by_key(|answer| answer.raft.term),
        }
    }

    /// The brokers' answers, of those that give one.
    pub(super) fn answers(&self) -> impl Iterator<Item = &'a BrokerStatus> + use<'a> {
        self.input.brokers.iter().filter_map(|broker| broker.status.as_ref().ok())
    }

    /// The version of all brokers, when all answer and run the same.
    pub(super) fn common_version(&self) -> Option<String> {
        let mut versions = self.answers().map(|answer| &answer.version);
        let first = versions.next()?;
        let is_common = self.input.brokers.iter().all(|broker| broker.status.is_ok())
            && versions.all(|version| version == first);
        is_common.then(|| first.clone())
    }

    /// How many brokers serve and are known to the platform as ready: only to those does a Service lead clients.
    pub(super) fn ready_count(&self) -> usize {
        let is_ready = |broker: &&Observed| {
            broker.is_ready_for_platform() && broker.status.as_ref().is_ok_and(serves)
        };
        self.input.brokers.iter().filter(is_ready).count()
    }

    /// Whether every broker runs what it shall.
    pub(super) fn all_current(&self) -> bool {
        let wanted = self.input.wanted;
        self.input.brokers.iter().all(|broker| {
            broker.instance.as_ref().is_some_and(|instance| {
                instance.version == wanted.version && instance.template == wanted.template
            })
        })
    }

    /// The revision that every serving broker enforces.
    pub(super) fn common_revision(&self) -> Option<String> {
        let first = &self.serving.first()?.policy.enforced_revision;
        let is_common = self.serving.iter().all(|answer| answer.policy.enforced_revision == *first);
        (is_common && !first.is_empty()).then(|| first.clone())
    }

    /// All conditions, `Ready` first.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let others = [
            self.available(),
            self.quorum_healthy(),
            self.members_aligned(),
            self.policy_in_sync(),
            self.certificates_valid(),
        ];
        let upgrading = self.upgrading();
        let mut findings = vec![self.ready(&others, &upgrading)];
        findings.extend(others);
        findings.push(upgrading);
        findings.push(self.paused());
        findings
    }

    /// Ready: every broker serves, and nothing is wrong or under way.
    fn ready(&self, others: &[Finding], upgrading: &Finding) -> Finding {
        let wanted = usize::from(self.input.cluster.replicas);
        let because = |finding: &Finding| {
            Finding::new("Ready", false, finding.reason.clone(), finding.message.clone())
        };
        let mut failing = others.iter().filter(|finding| finding.verdict != true.into());
        // That a broker gives no answer is said as that it doesn't serve, unless it isn't wanted.
        if let Some(failing) = failing.clone().find(|finding| finding.reason != BROKER_SILENT) {
            return because(failing);
        }
        if upgrading.verdict == true.into() {
            let (reason, message) = (upgrading.reason.clone(), upgrading.message.clone());
            return Finding::new("Ready", false, reason, message);
        }
        if self.ready_count() < wanted {
            let message = format!("{} of {wanted} brokers serve", self.ready_count());
            return Finding::new("Ready", false, "BrokersNotServing", message);
        }
        if let Some(failing) = failing.next() {
            return because(failing);
        }
        Finding::new("Ready", true, "Serving", format!("all {wanted} brokers serve"))
    }

    /// Available: clients can connect somewhere.
    fn available(&self) -> Finding {
        if self.serving.is_empty() {
            let troubles: Vec<String> = self.troubles().collect();
            let message = if troubles.is_empty() {
                "no broker serves yet".to_owned()
            } else {
                format!("no broker serves: {}", troubles.join("; "))
            };
            return Finding::new("Available", false, "NoBrokerServes", message);
        }
        let message = format!("{} brokers take clients", self.serving.len());
        Finding::new("Available", true, "BrokersServe", message)
    }

    /// What keeps brokers from starting, in words.
    fn troubles(&self) -> impl Iterator<Item = String> + use<'a> {
        self.input.brokers.iter().filter_map(|broker| {
            let failure = broker.instance.as_ref().and_then(|instance| instance.failure.as_ref());
            Some(format!("{}: {}", broker.name, failure?))
        })
    }

    fn quorum_healthy(&self) -> Finding {
        let Some(leader) = self.leader else {
            return Finding::new("QuorumHealthy", false, "NoLeader", "no broker leads");
        };
        let voters: Vec<_> = leader.raft.members.iter().filter(|member| member.voter).collect();
        let missing: Vec<&str> = voters
            .iter()
            .filter(|voter| !self.answers().any(|answer| answer.node_id == voter.node_id))
            .map(|voter| voter.name.as_str())
            .collect();
        let alive = voters.len() - missing.len();
        if alive < majority(voters.len()) {
            let message = format!("{alive} of {} voters answer", voters.len());
            return Finding::new("QuorumHealthy", false, "QuorumLost", message);
        }
        if missing.is_empty() {
            let message = format!("{} leads, all {alive} voters answer", leader.name);
            return Finding::new("QuorumHealthy", true, "AllVotersAnswer", message);
        }
        let message = format!("{} leads, no answer from {}", leader.name, missing.join(", "));
        Finding::new("QuorumHealthy", true, "MajorityAnswers", message)
    }

    fn members_aligned(&self) -> Finding {
        let (verdict, reason, message) = match self.input.membership {
            Step::Aligned => (true, "Aligned", self.aligned()),
            Step::Wait { reason, message } => (false, reason.as_str(), message.clone()),
            Step::Refuse { reason, message } => (false, reason.as_str(), message.clone()),
            step => (false, step.as_str(), format!("{} is under way", step.as_str())),
        };
        Finding::new("MembersAligned", verdict, reason, message)
    }

    fn aligned(&self) -> String {
        let cluster = self.input.cluster;
        if cluster.voters == cluster.replicas {
            return "every broker has its vote".to_owned();
        }
        format!("{} of {} brokers vote, the others follow", cluster.voters, cluster.replicas)
    }

    fn policy_in_sync(&self) -> Finding {
        let type_ = "PolicyInSync";
        let policy = self.input.policy;
        if let Some(problem) = &policy.problem {
            return Finding::new(type_, false, "PolicyNotApplied", problem.clone());
        }
        let Some(wanted) = &policy.wanted_revision else {
            return self.policy_as_before(type_);
        };
        let behind: Vec<&str> = self
            .serving
            .iter()
            .filter(|answer| answer.policy.enforced_revision != *wanted)
            .map(|answer| answer.name.as_str())
            .collect();
        if self.serving.is_empty() {
            return Finding::new(type_, false, "NoBrokerServes", "no broker serves yet");
        }
        let short = short_revision(wanted);
        let silent = |broker: &&Observed| broker.status.is_err() && broker.is_ready_for_platform();
        let silent: Vec<&str> =
            self.input.brokers.iter().filter(silent).map(|broker| broker.name.as_str()).collect();
        if behind.is_empty() && !silent.is_empty() {
            let names = silent.join(", ");
            let message =
                format!("whether {short} is enforced is not known: no answer from {names}");
            return Finding::new(type_, false, BROKER_SILENT, message);
        }
        if behind.is_empty() {
            let message = format!("every serving broker enforces {short}");
            return Finding::new(type_, true, "Enforced", message);
        }
        let message = format!("{short} is not enforced yet by {}", behind.join(", "));
        Finding::new(type_, false, "Propagating", message)
    }

    /// A restarted operator has not compiled the policy yet: what was said before stays.
    fn policy_as_before(&self, type_: &'static str) -> Finding {
        let before = self.input.before.conditions.iter().find(|before| before.type_ == type_);
        match before {
            Some(before) => {
                let verdict = match before.status.as_str() {
                    "True" => Verdict::True,
                    "False" => Verdict::False,
                    _ => Verdict::Unknown,
                };
                Finding::new(type_, verdict, before.reason.clone(), before.message.clone())
            }
            None => Finding::new(type_, false, "NotCompiled", "the policy is not compiled yet"),
        }
    }

    fn certificates_valid(&self) -> Finding {
        let type_ = "CertificatesValid";
        if !self.input.certificate_problems.is_empty() {
            return certificates_invalid(self.input.certificate_problems);
        }
        let refused = self.answers().find_map(|answer| {
            let error = answer.certificates.last_reload_error.as_ref()?;
            Some(format!("{} keeps its old certificate: {}", answer.name, error.message))
        });
        if let Some(message) = refused {
            return Finding::new(type_, false, "CertificateRefused", message);
        }
        let now = self.input.now.as_second();
        let ends = self.answers().filter_map(|answer| {
            Some((answer.certificates.server.as_ref()?.not_after, answer.name.as_str()))
        });
        match ends.min() {
            Some((end, broker)) if end <= now => {
                let message = format!("the certificate that {broker} serves has ended");
                Finding::new(type_, false, "Expired", message)
            }
            _ => Finding::new(type_, true, "Valid", "all certificates are valid"),
        }
    }

    fn upgrading(&self) -> Finding {
        let type_ = "Upgrading";
        let wanted = self.input.wanted;
        let outdated = self.input.brokers.iter().filter(|broker| {
            broker.instance.as_ref().is_some_and(|instance| {
                instance.version != wanted.version || instance.template != wanted.template
            })
        });
        let outdated = outdated.count();
        match self.input.rollout {
            NextStep::Halt { reason, message, .. } => {
                Finding::new(type_, true, reason.as_str(), message.clone())
            }
            _ if outdated == 0 => {
                let message = format!("every broker runs {}", wanted.version);
                Finding::new(type_, false, "UpToDate", message)
            }
            NextStep::Wait { reason, message } => {
                let message = format!("{outdated} brokers to replace; {message}");
                Finding::new(type_, true, reason.as_str(), message)
            }
            _ => {
                let message = format!("{outdated} brokers to replace");
                Finding::new(type_, true, "RollingOut", message)
            }
        }
    }

    fn paused(&self) -> Finding {
        if self.input.cluster.rollout.paused {
            let message = "rollout.paused is true: nothing disruptive is done";
            Finding::new("Paused", true, "PausedBySpec", message)
        } else {
            Finding::new("Paused", false, "NotPaused", "")
        }
    }
}
