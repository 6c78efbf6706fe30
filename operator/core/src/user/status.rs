//! The status of a user. Pure.

use jiff::Timestamp;
use operator_api::user::CertificateReport;
use operator_api::{MqttUser, MqttUserStatus};

use crate::condition::{Finding, set_conditions};
use crate::policy::{Problem, UserFacts};

/// How far the brokers are with the generation of an object that was last compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// Every serving broker enforces a revision that contains it.
    Enforced {
        /// That revision, short.
        revision: String,
    },
    /// Not yet.
    Pending {
        /// Why, as one word.
        reason: &'static str,
        /// What is waited for, in words.
        message: String,
    },
}

/// What a user's status is made from.
#[derive(Clone, Debug)]
pub struct UserStatusInput<'a> {
    /// The user.
    pub user: &'a MqttUser,
    /// What is wrong with its credentials; `None` when they are issued.
    pub credentials: Option<&'a Problem>,
    /// Its certificate, where it has one.
    pub certificate: Option<CertificateReport>,
    /// What the policy's compilation says; `None` before the first one.
    pub facts: Option<&'a UserFacts>,
    /// How far the brokers are.
    pub enforcement: &'a Enforcement,
    /// The time.
    pub now: Timestamp,
}

/// The status of a user.
#[must_use]
pub fn build(input: &UserStatusInput<'_>) -> MqttUserStatus {
    let user = input.user;
    let mut status = user.status.clone().unwrap_or_default();
    let generation = user.metadata.generation;
    let is_new_generation = status.observed_generation != generation;
    status.observed_generation = generation;
    if input.credentials.is_none() {
        status.secret_name = Some(user.secret_name());
    }
    status.certificate.clone_from(&input.certificate);
    let issued = match input.credentials {
        None => Finding::new("CredentialsIssued", true, "Issued", ""),
        Some(problem) => {
            Finding::new("CredentialsIssued", false, problem.reason.as_str(), &*problem.message)
        }
    };
    let invalid = input.facts.and_then(|facts| facts.problems.first());
    let enforced = enforced(input.enforcement);
    if let Enforcement::Enforced { revision } = input.enforcement
        && (is_new_generation || status.revision.is_none())
    {
        status.revision = Some(revision.clone());
    }
    let ready = match (input.credentials, invalid) {
        (Some(problem), _) | (None, Some(problem)) => {
            Finding::new("Ready", false, problem.reason.as_str(), &*problem.message)
        }
        (None, None) => Finding { type_: "Ready", ..enforced.clone() },
    };
    set_conditions(&mut status.conditions, &[ready, issued, enforced], generation, input.now);
    status
}

/// The condition Enforced.
pub(crate) fn enforced(enforcement: &Enforcement) -> Finding {
    match enforcement {
        Enforcement::Enforced { .. } => {
            Finding::new("Enforced", true, "Enforced", "every serving broker enforces it")
        }
        Enforcement::Pending { reason, message } => {
            Finding::new("Enforced", false, *reason, &**message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::is_true;
    use crate::policy::ProblemReason;

    fn user(generation: i64, status: Option<MqttUserStatus>) -> MqttUser {
        let spec = serde_yaml::from_str("{clusterRef: {name: fleet}}").unwrap();
        let mut user = MqttUser::new("pump-17", spec);
        user.metadata.generation = Some(generation);
        user.status = status;
        user
    }

    fn input<'a>(user: &'a MqttUser, enforcement: &'a Enforcement) -> UserStatusInput<'a> {
        UserStatusInput {
            user,
            credentials: None,
            certificate: None,
            facts: None,
            enforcement,
            now: Timestamp::from_second(100).unwrap(),
        }
    }

    fn enforced_by(revision: &str) -> Enforcement {
        Enforcement::Enforced { revision: revision.into() }
    }

    #[test]
    fn the_revision_stays_until_the_generation_changes() {
        let first = build(&input(&user(1, None), &enforced_by("r1")));
        assert!(is_true(&first.conditions, "Ready", Some(1)));
        assert_eq!(first.revision.as_deref(), Some("r1"));

        let same = build(&input(&user(1, Some(first.clone())), &enforced_by("r2")));
        assert_eq!(same, first);

        let next = build(&input(&user(2, Some(first)), &enforced_by("r3")));
        assert_eq!(next.revision.as_deref(), Some("r3"));
        assert!(is_true(&next.conditions, "Ready", Some(2)));
    }

    #[test]
    fn not_ready_before_it_is_enforced() {
        let pending = Enforcement::Pending {
            reason: "Propagating",
            message: "fleet-2 does not enforce it yet".into(),
        };
        let status = build(&input(&user(1, None), &pending));
        let ready = status.conditions.iter().find(|c| c.type_ == "Ready").unwrap();
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "Propagating"));
        assert_eq!(status.revision, None);
    }

    #[test]
    fn a_problem_stands_before_enforcement() {
        let user = user(1, None);
        let problem = Problem {
            reason: ProblemReason::CredentialsMissing,
            message: "the Secret s is not there".into(),
        };
        let enforcement = enforced_by("r1");
        let input = UserStatusInput { credentials: Some(&problem), ..input(&user, &enforcement) };
        let status = build(&input);
        assert!(!is_true(&status.conditions, "Ready", Some(1)));
        assert!(!is_true(&status.conditions, "CredentialsIssued", Some(1)));
        assert_eq!(status.secret_name, None);
    }
}
