//! What a cluster's status says when something it was asked for can't be done: what is in force
//! stays, and `Ready` says what to change. Pure.

use jiff::Timestamp;
use operator_api::{MqttCluster, MqttClusterStatus};

use super::validate::Problem;
use crate::condition::{Finding, set_conditions};

/// The status of a cluster whose spec can't be acted upon: what was true of the brokers stays.
#[must_use]
pub fn invalid(cluster: &MqttCluster, problems: &[Problem], now: Timestamp) -> MqttClusterStatus {
    let mut status = cluster.status.clone().unwrap_or_default();
    refuse_spec(&mut status, problems, cluster.metadata.generation, now);
    status
}

/// Says that the spec of a generation can't be acted upon, and why.
pub fn refuse_spec(
    status: &mut MqttClusterStatus,
    problems: &[Problem],
    generation: Option<i64>,
    now: Timestamp,
) {
    let reason = problems.first().map_or("Invalid", |problem| problem.reason.as_str());
    let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
    refuse(status, (reason, &messages.join("; ")), generation, now);
}

/// Says that a cluster is not what the spec of a generation wants: the reason as one word, and what
/// to change in words.
pub fn refuse(
    status: &mut MqttClusterStatus,
    (reason, message): (&str, &str),
    generation: Option<i64>,
    now: Timestamp,
) {
    let finding = Finding::new("Ready", false, reason, message);
    set_conditions(&mut status.conditions, &[finding], generation, now);
    status.observed_generation = generation;
}

/// Says that a cluster's certificates can't be used or issued, so that nothing can be done with its
/// brokers; the problems in words.
pub fn refuse_certificates(
    status: &mut MqttClusterStatus,
    problems: &[String],
    generation: Option<i64>,
    now: Timestamp,
) {
    let finding = certificates_invalid(problems);
    let ready = Finding { type_: "Ready", ..finding.clone() };
    set_conditions(&mut status.conditions, &[ready, finding], generation, now);
    status.observed_generation = generation;
}

/// What is wrong with certificates.
pub(super) fn certificates_invalid(problems: &[String]) -> Finding {
    let message = match problems {
        [] => "the certificates can't be used".to_owned(),
        [only] => only.clone(),
        [first, more @ ..] => format!("{first} (and {} more)", more.len()),
    };
    Finding::new("CertificatesValid", false, "CertificateProblem", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::ProblemReason;
    use crate::cluster::fixture::cluster;

    #[test]
    fn a_refusal_leaves_what_was_true_of_the_brokers() {
        let mut edited = cluster("{version: 0.2.0}");
        edited.metadata.generation = Some(4);
        let mut status = MqttClusterStatus { founded: true, ..MqttClusterStatus::default() };
        let available = Finding::new("Available", true, "BrokersServe", "3 brokers");
        set_conditions(&mut status.conditions, &[available], Some(3), Timestamp::UNIX_EPOCH);
        edited.status = Some(status);
        let problems = [
            Problem::new(ProblemReason::SecretMissing, "create it"),
            Problem::new(ProblemReason::InvalidValue, "write it as in 10s"),
        ];
        let refused = invalid(&edited, &problems, Timestamp::UNIX_EPOCH);
        assert!(refused.founded);
        assert_eq!(refused.observed_generation, Some(4));
        assert_eq!(refused.conditions[0].observed_generation, Some(3));
        assert_eq!(refused.conditions[1].reason, "SecretMissing");
        assert_eq!(refused.conditions[1].message, "create it; write it as in 10s");
    }

    #[test]
    fn unusable_certificates_are_said_twice_and_counted() {
        let mut status = MqttClusterStatus::default();
        let problems = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        refuse_certificates(&mut status, &problems, Some(1), Timestamp::UNIX_EPOCH);
        let said: Vec<_> =
            status.conditions.iter().map(|c| (&*c.type_, &*c.status, &*c.message)).collect();
        let message = "a (and 2 more)";
        assert_eq!(said, [("Ready", "False", message), ("CertificatesValid", "False", message)]);
    }
}
