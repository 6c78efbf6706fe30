//! Rules that never decide because another one, with the opposite effect, always comes first.
//! Pure.

use std::collections::HashMap;
use std::fmt;

use operator_api::acl::{RuleAction, TopicMatch};

use super::CONFLICTS_MAX;
use super::cover::CoverIndex;
use super::rule::ValidRule;
use super::subjects::Subjects;

/// Of the rules with one topic, so many are looked at for each one that they might beat.
const CANDIDATES_MAX: usize = 32;

/// A topic of a rule that never decides, and who decides instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The rule's place in `spec.rules`.
    pub rule: usize,
    /// What it allows or denies in vain.
    pub action: RuleAction,
    /// Its topic.
    pub topic: String,
    /// Whether it allows.
    pub allows: bool,
    /// The rule that decides instead.
    pub winner: RuleRef,
}

/// A rule of an MqttAcl.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleRef {
    /// The MqttAcl's name; `None`: the same one.
    pub acl: Option<String>,
    /// The rule's place in `spec.rules`.
    pub rule: usize,
    /// Its topic.
    pub topic: String,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, action, topic, allows, winner } = self;
        let (effect, opposite) = if *allows { ("Allow", "Deny") } else { ("Deny", "Allow") };
        write!(f, "spec.rules[{rule}] never applies to {action:?} {topic}: {opposite}")?;
        write!(f, " {} in spec.rules[{}]", winner.topic, winner.rule)?;
        if let Some(acl) = &winner.acl {
            write!(f, " of MqttAcl {acl:?}")?;
        }
        write!(f, " always comes before this {effect}; change a priority or remove one")
    }
}

/// What a MqttAcl contributes, as far as conflicts are concerned.
pub(super) struct Contribution<'a> {
    pub(super) name: &'a str,
    pub(super) rules: Vec<ValidRule<'a>>,
    pub(super) subjects: Subjects,
}

/// One topic of one action of one rule.
struct Claim<'a> {
    /// Place of the MqttAcl and of the rule within it, in evaluation order.
    at: (usize, usize),
    index: usize,
    topic: &'a str,
}

/// The conflicts of each contribution, which are in evaluation order.
pub(super) fn find_conflicts(contributions: &[Contribution<'_>]) -> Vec<Vec<Conflict>> {
    let claims = Claims::of(contributions);
    let numbered = contributions.iter().enumerate();
    numbered.map(|(acl, _)| claims.conflicts_of(contributions, acl)).collect()
}

#[derive(Default)]
struct Claims<'a> {
    claims: Vec<Claim<'a>>,
    by_kind: HashMap<(RuleKey, bool), CoverIndex>,
}

/// An action as a number: the API's type has no hash.
type RuleKey = u8;

fn key(action: RuleAction) -> RuleKey {
    match action {
        RuleAction::Publish => 0,
        RuleAction::Receive => 1,
        RuleAction::Subscribe => 2,
        RuleAction::Unsubscribe => 3,
    }
}

impl<'a> Claims<'a> {
    fn of(contributions: &'a [Contribution<'a>]) -> Self {
        let mut claims = Self::default();
        for (acl, contribution) in contributions.iter().enumerate() {
            for (position, rule) in contribution.rules.iter().enumerate() {
                // A literal with wildcards decides over that one filter only.
                let is_literal = rule.topic_match == TopicMatch::Literal;
                let wide = |t: &&str| !is_literal || !broker_policy::topic::has_wildcard(t);
                for topic in rule.topics.iter().copied().filter(wide) {
                    let claim = Claim { at: (acl, position), index: rule.index, topic };
                    claims.add(rule, claim);
                }
            }
        }
        claims
    }

    fn add(&mut self, rule: &ValidRule<'a>, claim: Claim<'a>) {
        let value = self.claims.len();
        for action in &rule.actions {
            let index = self.by_kind.entry((key(*action), rule.allows())).or_default();
            index.insert(claim.topic, value);
        }
        self.claims.push(claim);
    }

    fn conflicts_of(&self, contributions: &[Contribution<'_>], acl: usize) -> Vec<Conflict> {
        let contribution = &contributions[acl];
        let mut conflicts = Vec::new();
        let mut included: HashMap<usize, bool> = HashMap::from([(acl, true)]);
        let mut is_included = |winner: usize| {
            *included.entry(winner).or_insert_with(|| {
                !contribution.subjects.is_empty()
                    && contributions[winner].subjects.includes(&contribution.subjects)
            })
        };
        for (position, rule) in contribution.rules.iter().enumerate() {
            for action in &rule.actions {
                for topic in &rule.topics {
                    let loser = Claim { at: (acl, position), index: rule.index, topic };
                    let opposite = (key(*action), !rule.allows());
                    let Some(winner) = self.winner(opposite, &loser, &mut is_included) else {
                        continue;
                    };
                    conflicts.push(conflict(contributions, rule, *action, &loser, winner));
                    if conflicts.len() == CONFLICTS_MAX {
                        return conflicts;
                    }
                }
            }
        }
        conflicts
    }

    /// The first claim of the other kind that always decides before the loser.
    fn winner(
        &self,
        kind: (RuleKey, bool),
        loser: &Claim<'_>,
        is_included: &mut dyn FnMut(usize) -> bool,
    ) -> Option<&Claim<'a>> {
        let index = self.by_kind.get(&kind)?;
        let mut first: Option<&Claim<'a>> = None;
        index.covering(loser.topic, &mut |values| {
            let candidates = values.iter().take(CANDIDATES_MAX).map(|value| &self.claims[*value]);
            let mut earlier = candidates.take_while(|claim| claim.at < loser.at);
            if let Some(found) = earlier.find(|claim| is_included(claim.at.0))
                && first.is_none_or(|first| found.at < first.at)
            {
                first = Some(found);
            }
        });
        first
    }
}

fn conflict(
    contributions: &[Contribution<'_>],
    rule: &ValidRule<'_>,
    action: RuleAction,
    loser: &Claim<'_>,
    winner: &Claim<'_>,
) -> Conflict {
    let acl = winner.at.0;
    Conflict {
        rule: rule.index,
        action,
        topic: loser.topic.to_owned(),
        allows: rule.allows(),
        winner: RuleRef {
            acl: (acl != loser.at.0).then(|| contributions[acl].name.to_owned()),
            rule: winner.index,
            topic: winner.topic.to_owned(),
        },
    }
}
