//! The status of a user. Pure.

use jiff::Timestamp;
use operator_api::user::CertificateReport;
use operator_api::{Condition, MqttUser, MqttUserStatus};

use crate::condition::{Finding, set_conditions};
use crate::policy::{Enforcement, Problem, UserFacts};

/// What a user's status is made from.
#[derive(Clone, Debug)]
pub struct UserStatusInput<'a> {
    /// The user; its own status is not looked at.
    pub user: &'a MqttUser,
    /// Its status until now.
    pub before: Option<&'a MqttUserStatus>,
    /// What is wrong with its credentials; `None` when they are issued.
    pub credentials: Option<&'a Problem>,
    /// Its certificate, where it has one.
    pub certificate: Option<&'a CertificateReport>,
    /// What the policy's compilation says; `None` before the first one.
    pub facts: Option<&'a UserFacts>,
    /// How far the brokers are.
    pub enforcement: &'a Enforcement,
    /// The time.
    pub now: Timestamp,
}

/// The status of a user where it is another than before.
#[must_use]
pub fn changed(input: &UserStatusInput<'_>) -> Option<MqttUserStatus> {
    if is_settled(input) {
        return None;
    }
    let status = build(input);
    (input.before != Some(&status)).then_some(status)
}

/// Whether the status can't differ: all was well, and is. Cheaper than to build it: of many users
/// nearly all are settled.
fn is_settled(input: &UserStatusInput<'_>) -> bool {
    let generation = input.user.metadata.generation;
    let Some(before) = input.before else { return false };
    let is_sound = input.credentials.is_none()
        && input.facts.is_some_and(|facts| facts.problems.is_empty())
        && matches!(input.enforcement, Enforcement::Enforced { .. });
    is_sound
        && before.observed_generation == generation
        && before.revision.is_some()
        && before.certificate.as_ref() == input.certificate
        && before.secret_name.as_ref().is_some_and(|name| *name == input.user.secret_name())
        && has_all_good(&before.conditions, generation)
}

/// Whether the conditions are those of a user with whom all is well.
fn has_all_good(conditions: &[Condition], generation: Option<i64>) -> bool {
    let good = [
        ("Ready", ENFORCED, ENFORCED_MESSAGE),
        ("CredentialsIssued", "Issued", ""),
        ("Enforced", ENFORCED, ENFORCED_MESSAGE),
    ];
    good.iter().all(|(type_, reason, message)| {
        conditions.iter().any(|condition| {
            condition.type_ == *type_
                && condition.status == "True"
                && condition.reason == *reason
                && condition.message == *message
                && condition.observed_generation == generation
        })
    })
}

const ENFORCED: &str = "Enforced";
const ENFORCED_MESSAGE: &str = "every serving broker enforces it";

/// The status of a user.
#[must_use]
pub fn build(input: &UserStatusInput<'_>) -> MqttUserStatus {
    let user = input.user;
    let mut status = input.before.cloned().unwrap_or_default();
    let generation = user.metadata.generation;
    if status.observed_generation != generation {
        status.revision = None;
    }
    status.observed_generation = generation;
    if input.credentials.is_none() {
        status.secret_name = Some(user.secret_name());
    }
    status.certificate = input.certificate.cloned();
    let issued = match input.credentials {
        None => Finding::new("CredentialsIssued", true, "Issued", ""),
        Some(problem) => {
            Finding::new("CredentialsIssued", false, problem.reason.as_str(), &*problem.message)
        }
    };
    let invalid = input.facts.and_then(|facts| facts.problems.first());
    let enforced = enforced(input.enforcement);
    if let Enforcement::Enforced { revision } = input.enforcement {
        status.revision.get_or_insert_with(|| revision.clone());
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
        Enforcement::Enforced { .. } => Finding::new("Enforced", true, ENFORCED, ENFORCED_MESSAGE),
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
            before: user.status.as_ref(),
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
    fn the_revision_of_an_earlier_generation_goes_when_the_new_one_is_still_on_its_way() {
        let pending = Enforcement::Pending { reason: "Propagating", message: String::new() };
        let first = build(&input(&user(1, None), &enforced_by("r1")));
        let on_its_way = build(&input(&user(2, Some(first)), &pending));
        assert_eq!(on_its_way.revision, None);
        let through = build(&input(&user(2, Some(on_its_way)), &enforced_by("r2")));
        assert_eq!(through.revision.as_deref(), Some("r2"));
    }

    #[test]
    fn a_status_counts_as_changed_exactly_when_another_one_is_built() {
        let problem = Problem { reason: ProblemReason::UsernameTaken, message: "taken".into() };
        let sound = UserFacts { has_record: true, ..UserFacts::default() };
        let broken = UserFacts { problems: vec![problem.clone()], ..sound.clone() };
        let certificate = CertificateReport::default();
        let pending = Enforcement::Pending { reason: "Propagating", message: String::new() };
        let enforced = enforced_by("r1");
        let mut inputs = Vec::new();
        let users = [user(1, None), user(2, None)];
        for user in &users {
            for facts in [&sound, &broken] {
                for enforcement in [&enforced, &pending] {
                    for credentials in [None, Some(&problem)] {
                        for certificate in [None, Some(&certificate)] {
                            let facts = Some(facts);
                            let input = input(user, enforcement);
                            inputs.push(UserStatusInput {
                                facts,
                                credentials,
                                certificate,
                                ..input
                            });
                        }
                    }
                }
            }
        }
        let mut unchanged = 0;
        for first in &inputs {
            let before = build(first);
            for next in &inputs {
                let next = UserStatusInput { before: Some(&before), ..next.clone() };
                let built = build(&next);
                let expected = (built != before).then_some(built);
                assert_eq!(changed(&next), expected, "{before:#?} {next:#?}");
                unchanged += usize::from(is_settled(&next));
            }
        }
        // Each of two users, with and without a certificate, after itself.
        assert_eq!(unchanged, 4);
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
