//! What of a new status is worth an Event, and how many Events there may be. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use operator_api::{Condition, MqttAclStatus, MqttUserStatus};

/// Events about single objects that a cluster's users and rules may cause at once.
const BURST: f64 = 50.0;
/// How many more a second.
const PER_SECOND: f64 = 0.2;

/// Reasons why something is not ready that pass by themselves, so that nobody must act.
const PASSING: [&str; 6] = [
    "Propagating",
    "NoBrokerServes",
    "NoBrokerTakesPolicy",
    "PolicyContended",
    "NotCompiled",
    "NoRecord",
];

/// What is to be said of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Whether somebody must act.
    pub is_problem: bool,
    /// The reason of its condition Ready.
    pub reason: String,
    /// What happened, in words.
    pub note: String,
}

/// What of a status decides whether there are news.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Said<'a> {
    conditions: &'a [Condition],
    generation: Option<i64>,
    revision: Option<&'a str>,
}

impl<'a> From<&'a MqttUserStatus> for Said<'a> {
    fn from(status: &'a MqttUserStatus) -> Self {
        let revision = status.revision.as_deref();
        Self { conditions: &status.conditions, generation: status.observed_generation, revision }
    }
}

impl<'a> From<&'a MqttAclStatus> for Said<'a> {
    fn from(status: &'a MqttAclStatus) -> Self {
        let revision = status.revision.as_deref();
        Self { conditions: &status.conditions, generation: status.observed_generation, revision }
    }
}

impl<'a> Said<'a> {
    fn ready(&self) -> Option<&'a Condition> {
        self.conditions.iter().find(|condition| condition.type_ == "Ready")
    }
}

/// What an object's new status is worth saying: that a problem came or went, and that a generation
/// is enforced for the first time. What is only on its way is not.
#[must_use]
pub fn news(before: Said<'_>, after: Said<'_>) -> Option<News> {
    let ready = after.ready()?;
    let was = before.ready();
    if ready.status == "True" {
        let revision = after.revision?;
        let is_first = (before.generation, before.revision) != (after.generation, after.revision);
        let generation = after.generation.unwrap_or_default();
        let note = format!(
            "every serving broker enforces generation {generation}, since policy revision {revision}"
        );
        let is_news = is_first || was.is_some_and(is_problem);
        return is_news.then(|| News { is_problem: false, reason: ready.reason.clone(), note });
    }
    let is_news = is_problem(ready) && was.is_none_or(|was| was.reason != ready.reason);
    is_news.then(|| News {
        is_problem: true,
        reason: ready.reason.clone(),
        note: ready.message.clone(),
    })
}

fn is_problem(ready: &Condition) -> bool {
    ready.status != "True" && !PASSING.contains(&ready.reason.as_str())
}

/// How many Events about single objects may still be written: some at once, more as time passes,
/// so that ten thousand new users are not ten thousand Events.
#[derive(Clone, Debug)]
pub struct EventBudget {
    left: f64,
}

impl Default for EventBudget {
    fn default() -> Self {
        Self { left: BURST }
    }
}

impl EventBudget {
    /// Notes that time has passed.
    pub fn refill(&mut self, elapsed: Duration) {
        self.left = (self.left + elapsed.as_secs_f64() * PER_SECOND).min(BURST);
    }

    /// Divides the news of a pass, each with the name of its object, into those that are told
    /// one by one, problems first, and sums of the others, by reason, for the cluster's object.
    pub fn divide<T>(&mut self, news: Vec<(T, News)>, name: fn(&T) -> String) -> Divided<T> {
        let mut divided = Divided { single: Vec::new(), sums: Vec::new() };
        let (problems, others): (Vec<_>, Vec<_>) =
            news.into_iter().partition(|(_, news)| news.is_problem);
        let mut sums: BTreeMap<(bool, String), (usize, String)> = BTreeMap::new();
        for group in [problems, others] {
            let is_within = group.len() as f64 <= self.left;
            for (object, news) in group {
                if is_within {
                    self.left -= 1.0;
                    divided.single.push((object, news));
                    continue;
                }
                let first = || (0, format!("for example {}: {}", name(&object), news.note));
                let key = (!news.is_problem, news.reason.clone());
                sums.entry(key).or_insert_with(first).0 += 1;
            }
        }
        divided.sums = sums
            .into_iter()
            .map(|((is_good, reason), (count, example))| News {
                is_problem: !is_good,
                // A reason of its own: the cluster has Events about itself, too.
                reason: format!("Many{reason}"),
                note: format!("{count} users and rules, {example}"),
            })
            .collect();
        divided
    }
}

/// News, divided by how they are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divided<T> {
    /// Each by an Event on its object.
    pub single: Vec<(T, News)>,
    /// Each by an Event on the cluster's object, problems first.
    pub sums: Vec<News>,
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::condition::{Finding, set_conditions};

    fn status(generation: i64, reason: &str, revision: Option<&str>) -> MqttUserStatus {
        let mut status = MqttUserStatus {
            observed_generation: Some(generation),
            revision: revision.map(str::to_owned),
            ..MqttUserStatus::default()
        };
        let ready = Finding::new("Ready", reason == "Enforced", reason, "the message");
        let now = Timestamp::from_second(1).unwrap();
        set_conditions(&mut status.conditions, &[ready], Some(generation), now);
        status
    }

    fn reasons(before: &MqttUserStatus, after: &MqttUserStatus) -> Option<(bool, String)> {
        news(before.into(), after.into()).map(|news| (news.is_problem, news.reason))
    }

    #[test]
    fn the_first_enforcement_of_a_generation_is_news_and_no_later_one() {
        let new = status(1, "Propagating", None);
        let first = status(1, "Enforced", Some("r1"));
        let good = Some((false, "Enforced".to_owned()));
        assert_eq!(news(Said::default(), (&new).into()), None);
        assert_eq!(reasons(&new, &first), good);
        // Another record of the same generation is on its way, and through.
        let again = status(1, "Propagating", Some("r1"));
        assert_eq!(reasons(&first, &again), None);
        assert_eq!(reasons(&again, &first), None);
        // An edit that changes nothing for the brokers is enforced by the same revision.
        assert_eq!(reasons(&first, &status(2, "Enforced", Some("r1"))), good);
    }

    #[test]
    fn a_problem_is_news_when_it_comes_when_it_changes_and_when_it_goes() {
        let sound = status(1, "Enforced", Some("r1"));
        let taken = status(1, "UsernameTaken", Some("r1"));
        let missing = status(1, "CredentialsMissing", Some("r1"));
        let bad = |reason: &str| Some((true, reason.to_owned()));
        assert_eq!(reasons(&sound, &taken), bad("UsernameTaken"));
        assert_eq!(reasons(&taken, &taken), None);
        assert_eq!(reasons(&taken, &missing), bad("CredentialsMissing"));
        assert_eq!(reasons(&missing, &sound), Some((false, "Enforced".to_owned())));
        let refused = status(1, "PolicyRefused", Some("r1"));
        assert_eq!(reasons(&sound, &refused), bad("PolicyRefused"));
    }

    fn some(count: usize, is_problem: bool) -> Vec<(usize, News)> {
        let reason = if is_problem { "InvalidRule" } else { "Enforced" }.to_owned();
        (0..count)
            .map(|at| (at, News { is_problem, reason: reason.clone(), note: "note".into() }))
            .collect()
    }

    #[test]
    fn few_news_are_told_one_by_one_many_are_summed_and_problems_come_first() {
        let mut budget = EventBudget::default();
        let mut all = some(10_000, false);
        all.extend(some(3, true));
        let told = budget.divide(all, usize::to_string);
        assert!(told.single.len() == 3 && told.single.iter().all(|(_, news)| news.is_problem));
        let sums = told.sums.iter().map(|news| (news.reason.as_str(), news.note.as_str()));
        let sum = ("ManyEnforced", "10000 users and rules, for example 0: note");
        assert_eq!(sums.collect::<Vec<_>>(), [sum]);
    }

    #[test]
    fn many_passes_with_few_news_each_are_bounded_too() {
        let mut budget = EventBudget::default();
        let mut told = 0;
        for _ in 0..1_000 {
            told += budget.divide(some(10, false), usize::to_string).single.len();
            budget.refill(Duration::from_millis(100));
        }
        assert!((50..100).contains(&told), "{told}");
        budget.refill(Duration::from_secs(3_600));
        assert_eq!(budget.divide(some(50, false), usize::to_string).single.len(), 50);
    }
}
