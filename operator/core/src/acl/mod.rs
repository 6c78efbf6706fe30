//! An `MqttAcl`: its status. What it compiles to is in [`crate::policy`]. Pure.

use jiff::Timestamp;
use operator_api::{MqttAcl, MqttAclStatus};

use crate::condition::{Finding, set_conditions};
use crate::policy::{AclFacts, Enforcement};
use crate::user::status::enforced;

/// What the status of an MqttAcl is made from.
#[derive(Clone, Debug)]
pub struct AclStatusInput<'a> {
    /// The object; its own status is not looked at.
    pub acl: &'a MqttAcl,
    /// Its status until now.
    pub before: Option<&'a MqttAclStatus>,
    /// What the policy's compilation says; `None` before the first one.
    pub facts: Option<&'a AclFacts>,
    /// How far the brokers are.
    pub enforcement: &'a Enforcement,
    /// The time.
    pub now: Timestamp,
}

/// The status of an MqttAcl where it is another than before.
#[must_use]
pub fn changed(input: &AclStatusInput<'_>) -> Option<MqttAclStatus> {
    let status = status(input);
    (input.before != Some(&status)).then_some(status)
}

/// The status of an MqttAcl.
#[must_use]
pub fn status(input: &AclStatusInput<'_>) -> MqttAclStatus {
    let mut status = input.before.cloned().unwrap_or_default();
    let generation = input.acl.metadata.generation;
    if status.observed_generation != generation {
        status.revision = None;
    }
    status.observed_generation = generation;
    let compiled = compiled(input);
    let enforced = enforced(input.enforcement);
    if let Enforcement::Enforced { revision } = input.enforcement {
        status.revision.get_or_insert_with(|| revision.clone());
    }
    let ready = if compiled.verdict == true.into() {
        Finding { type_: "Ready", ..enforced.clone() }
    } else {
        Finding { type_: "Ready", ..compiled.clone() }
    };
    if let Some(facts) = input.facts {
        status.subjects = i64::try_from(facts.subjects).ok();
    }
    let findings = [ready, compiled, enforced, conflicts(input)];
    set_conditions(&mut status.conditions, &findings, generation, input.now);
    status
}

fn compiled(input: &AclStatusInput<'_>) -> Finding {
    let type_ = "Compiled";
    let Some(facts) = input.facts else {
        let message = "the cluster's policy was not compiled with it yet";
        return Finding::new(type_, false, "NotCompiled", message);
    };
    match facts.problems.first() {
        None => Finding::new(type_, true, "Compiled", facts.notes.join("; ")),
        Some(first) => {
            let messages: Vec<&str> = facts.problems.iter().map(|p| p.message.as_str()).collect();
            Finding::new(type_, false, first.reason.as_str(), messages.join("; "))
        }
    }
}

fn conflicts(input: &AclStatusInput<'_>) -> Finding {
    let conflicts = input.facts.map(|facts| facts.conflicts.as_slice()).unwrap_or_default();
    if conflicts.is_empty() {
        return Finding::new("Conflicts", false, "NoConflicts", "");
    }
    let messages: Vec<String> = conflicts.iter().map(ToString::to_string).collect();
    Finding::new("Conflicts", true, "RuleAlwaysLoses", messages.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::condition::is_true;
    use crate::policy::{Problem, ProblemReason};

    fn acl() -> MqttAcl {
        let spec = "{clusterRef: {name: fleet}, subjects: [{user: u}],
            rules: [{effect: Allow, actions: [Publish], topics: [a]}]}";
        let mut acl = MqttAcl::new("pumps", serde_yaml::from_str(spec).unwrap());
        acl.metadata.generation = Some(1);
        acl
    }

    #[test]
    fn the_revision_of_an_earlier_generation_goes_when_the_new_one_is_still_on_its_way() {
        let mut acl = acl();
        let sound = AclFacts::default();
        let mut revision_after = |generation, enforcement: Enforcement| {
            acl.metadata.generation = Some(generation);
            let now = Timestamp::from_second(1).unwrap();
            let status = status(&AclStatusInput {
                acl: &acl,
                before: acl.status.as_ref(),
                facts: Some(&sound),
                enforcement: &enforcement,
                now,
            });
            acl.status = Some(status.clone());
            status.revision
        };
        let enforced = |revision: &str| Enforcement::Enforced { revision: revision.into() };
        let pending = Enforcement::Pending { reason: "Propagating", message: String::new() };
        assert_eq!(revision_after(1, enforced("r1")).as_deref(), Some("r1"));
        assert_eq!(revision_after(1, enforced("r2")).as_deref(), Some("r1"));
        assert_eq!(revision_after(2, pending), None);
        assert_eq!(revision_after(2, enforced("r3")).as_deref(), Some("r3"));
    }

    #[test]
    fn ready_needs_both_to_be_compiled_and_to_be_enforced() {
        let acl = acl();
        let enforced = Enforcement::Enforced { revision: "r1".into() };
        let pending = Enforcement::Pending { reason: "Propagating", message: String::new() };
        let sound = AclFacts { subjects: 3, ..AclFacts::default() };
        let broken = AclFacts {
            problems: vec![Problem {
                reason: ProblemReason::InvalidTopic,
                message: "rules[0].topics[0]: …".into(),
            }],
            ..AclFacts::default()
        };
        let ready = |facts, enforcement| {
            let now = Timestamp::from_second(1).unwrap();
            let status =
                status(&AclStatusInput { acl: &acl, before: None, facts, enforcement, now });
            is_true(&status.conditions, "Ready", Some(1))
        };
        assert!(ready(Some(&sound), &enforced));
        assert!(!ready(Some(&sound), &pending));
        assert!(!ready(Some(&broken), &enforced));
        assert!(!ready(None, &enforced));
    }
}
