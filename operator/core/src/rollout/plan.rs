//! The plan for people: what will be done, to which broker and why, before it is done. Pure.

use jiff::Timestamp;
use operator_api::cluster::PlannedStep;

use super::input::{Observed, Settings, Wanted};
use super::planner::{NextStep, RestartReason, Roll, next_step};

/// All steps that are still to come, the next one first, as `status.plan` shows them; empty when
/// every broker is up to date.
///
/// What the first one waits for stands in its message.
#[must_use]
pub fn plan(
    wanted: &Wanted,
    observed: &[Observed],
    settings: &Settings,
    now: Timestamp,
) -> Vec<PlannedStep> {
    let roll = Roll::new(wanted, observed, settings, now);
    let mut order: Vec<(&Observed, RestartReason)> = roll.broken().collect();
    for next in roll.in_order() {
        if !order.iter().any(|(broker, _)| broker.name == next.0.name) {
            order.push(next);
        }
    }
    let mut steps = Vec::new();
    for (broker, reason) in order {
        if broker.is_leader() && roll.heir(broker).is_some() {
            steps.push(step("TransferLeadership", broker, "LeaderGoesLast", String::new()));
        }
        let running = broker.instance.as_ref().map(|i| i.version.as_str()).unwrap_or_default();
        let message = match reason {
            RestartReason::VersionChanged => format!("from {running} to {}", wanted.version),
            RestartReason::TemplateChanged => "its configuration or pod changed".to_owned(),
        };
        steps.push(step("Restart", broker, reason.as_str(), message));
    }
    if let Some(first) = steps.first_mut() {
        let holds = match next_step(wanted, observed, settings, now) {
            NextStep::Wait { message, .. } => Some(format!("waits: {message}")),
            NextStep::Halt { message, .. } => Some(format!("stopped: {message}")),
            _ => None,
        };
        if let Some(holds) = holds {
            first.message = match first.message.as_str() {
                "" => holds,
                what => format!("{what}; {holds}"),
            };
        }
    }
    steps
}

fn step(action: &str, broker: &Observed, reason: &str, message: String) -> PlannedStep {
    PlannedStep {
        action: action.to_owned(),
        broker: Some(broker.name.clone()),
        reason: reason.to_owned(),
        message,
    }
}
