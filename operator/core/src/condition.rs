//! Conditions of an object's status. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    True,
    /// It doesn't.
    False,
    /// Nobody can tell now.
    Unknown,
}

impl Verdict {
    /// As Kubernetes writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Verdict {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// One condition as it is found now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The condition, such as `Ready`.
    pub type_: &'static str,
    /// Whether it holds.
    pub verdict: Verdict,
    /// Why, as one word in CamelCase.
    pub reason: String,
    /// Why, in words, and what to change where something can be changed.
    pub message: String,
}

impl Finding {
    /// A finding.
    pub fn new(
        type_: &'static str,
        verdict: impl Into<Verdict>,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { type_, verdict: verdict.into(), reason: reason.into(), message: message.into() }
    }
}

/// The longest message that Kubernetes accepts in a condition, in bytes.
const MESSAGE_LENGTH_MAX: usize = 32_768;

/// Writes what was found into the conditions, about one generation of the object.
///
/// `lastTransitionTime` moves only when a condition's status does, so that writing the same
/// findings again changes nothing. Conditions that were not looked at stay as they are.
pub fn set_conditions(
    conditions: &mut Vec<Condition>,
    findings: &[Finding],
    generation: Option<i64>,
    now: Timestamp,
) {
    for finding in findings {
        let mut message = finding.message.clone();
        if message.len() > MESSAGE_LENGTH_MAX {
            let end = (0..=MESSAGE_LENGTH_MAX).rev().find(|at| message.is_char_boundary(*at));
            message.truncate(end.unwrap_or(0));
        }
        let status = finding.verdict.as_str();
        let at = conditions.iter().position(|condition| condition.type_ == finding.type_);
        let last_transition_time = match at.map(|at| &conditions[at]) {
            Some(before) if before.status == status => before.last_transition_time.clone(),
            _ => Time(whole_seconds(now)),
        };
        let condition = Condition {
            type_: finding.type_.to_owned(),
            status: status.to_owned(),
            reason: finding.reason.clone(),
            message,
            observed_generation: generation,
            last_transition_time,
        };
        match at {
            Some(at) => conditions[at] = condition,
            None => conditions.push(condition),
        }
    }
}

/// Whether a condition is True for this generation of the object.
#[must_use]
pub fn is_true(conditions: &[Condition], type_: &str, generation: Option<i64>) -> bool {
    conditions.iter().any(|condition| {
        condition.type_ == type_
            && condition.status == "True"
            && condition.observed_generation == generation
    })
}

/// The API server keeps whole seconds only.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn transition_time_moves_only_with_the_status() {
        let mut conditions = Vec::new();
        let down = Finding::new("Ready", false, "Starting", "waiting for brokers");
        set_conditions(&mut conditions, std::slice::from_ref(&down), Some(1), at(10));
        let before = conditions.clone();
        set_conditions(&mut conditions, std::slice::from_ref(&down), Some(1), at(20));
        assert_eq!(conditions, before);

        let slow = Finding { reason: "Slow".into(), ..down };
        set_conditions(&mut conditions, &[slow], Some(2), at(30));
        assert_eq!(conditions[0].last_transition_time.0, at(10));
        assert_eq!(conditions[0].reason, "Slow");

        let up = Finding::new("Ready", true, "Serving", "");
        set_conditions(&mut conditions, &[up], Some(2), at(40));
        assert_eq!(conditions[0].last_transition_time.0, at(40));
        assert!(is_true(&conditions, "Ready", Some(2)));
        assert!(!is_true(&conditions, "Ready", Some(3)));
    }

    #[test]
    fn other_conditions_stay() {
        let mut conditions = Vec::new();
        set_conditions(&mut conditions, &[Finding::new("A", true, "R", "")], None, at(1));
        set_conditions(&mut conditions, &[Finding::new("B", true, "R", "")], None, at(2));
        assert_eq!(conditions.len(), 2);
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let mut conditions = Vec::new();
        let message = "é".repeat(MESSAGE_LENGTH_MAX);
        set_conditions(&mut conditions, &[Finding::new("A", true, "R", message)], None, at(1));
        assert_eq!(conditions[0].message.len(), MESSAGE_LENGTH_MAX);
    }
}
