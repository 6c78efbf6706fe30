//! Whom an MqttAcl concerns: users by label, name and group, and anonymous clients. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use operator_api::MqttAcl;
use operator_api::acl::{Subject, UserSelector};

use super::check::check_group;
use super::problem::{Problem, ProblemReason};
use super::users::CompiledUser;

/// Where to find users; each by its index.
pub(super) struct Directory<'a> {
    users: &'a [CompiledUser<'a>],
    by_object: HashMap<&'a str, u32>,
    by_label: HashMap<&'a str, HashMap<&'a str, Vec<u32>>>,
    by_group: HashMap<&'a str, Vec<u32>>,
    /// The group that anonymous clients stand for; `None`: they are refused.
    anonymous_group: Option<&'a str>,
}

/// Whom an MqttAcl concerns.
#[derive(Debug, Default)]
pub(super) struct Subjects {
    /// Indices of users, ascending.
    pub(super) users: Vec<u32>,
    /// Groups that are named.
    pub(super) groups: BTreeSet<String>,
    /// Whether it concerns anonymous clients.
    pub(super) anonymous: bool,
}

impl Subjects {
    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty() && !self.anonymous
    }

    /// Whether it concerns all that the other concerns.
    pub(super) fn includes(&self, other: &Self) -> bool {
        (self.anonymous || !other.anonymous)
            && other.users.len() <= self.users.len()
            && other.users.iter().all(|user| self.users.binary_search(user).is_ok())
    }
}

impl<'a> Directory<'a> {
    pub(super) fn new(users: &'a [CompiledUser<'a>], anonymous_group: Option<&'a str>) -> Self {
        let mut directory = Self {
            users,
            by_object: HashMap::new(),
            by_label: HashMap::new(),
            by_group: HashMap::new(),
            anonymous_group,
        };
        for (index, user) in (0..).zip(users) {
            directory.by_object.insert(user.object_name(), index);
            for (key, value) in user.labels() {
                let values = directory.by_label.entry(key).or_default();
                values.entry(value).or_default().push(index);
            }
            for group in &user.client.groups {
                directory.by_group.entry(&group.name).or_default().push(index);
            }
        }
        directory
    }

    /// Whom the MqttAcl concerns. Invalid subjects concern nobody and are reported as problems,
    /// those that match nobody as notes.
    pub(super) fn resolve(
        &self,
        acl: &MqttAcl,
        problems: &mut Vec<Problem>,
        notes: &mut Vec<String>,
    ) -> Subjects {
        let mut subjects = Subjects::default();
        if acl.spec.subjects.is_empty() {
            let message = "spec.subjects: it is empty; name whom the rules concern";
            problems.push(Problem::new(ProblemReason::InvalidSubject, message));
        }
        for (index, subject) in acl.spec.subjects.iter().enumerate() {
            let field = format!("spec.subjects[{index}]");
            match self.add(subject, &mut subjects) {
                Ok(None) => {}
                Ok(Some(note)) => notes.push(format!("{field}: {note}")),
                Err(message) => {
                    let message = format!("{field}: {message}");
                    problems.push(Problem::new(ProblemReason::InvalidSubject, message));
                }
            }
        }
        subjects.users.sort_unstable();
        subjects.users.dedup();
        subjects
    }

    fn add(&self, subject: &Subject, subjects: &mut Subjects) -> Result<Option<String>, String> {
        match (&subject.users, &subject.user, &subject.group, subject.anonymous) {
            (Some(selector), None, None, None) => Ok(self.add_selected(selector, subjects)),
            (None, Some(name), None, None) => Ok(self.add_named(name, subjects)),
            (None, None, Some(group), None) => {
                check_group(group)?;
                Ok(self.add_group(group, subjects))
            }
            (None, None, None, Some(true)) => {
                subjects.anonymous |= self.anonymous_group.is_some();
                Ok(self.anonymous_group.is_none().then(|| {
                    "the cluster refuses anonymous clients (its spec.policy.anonymous is Deny)"
                        .to_owned()
                }))
            }
            _ => Err("it takes exactly one of users, user, group and anonymous: true; make one \
                      entry for each"
                .to_owned()),
        }
    }

    fn add_selected(&self, selector: &UserSelector, subjects: &mut Subjects) -> Option<String> {
        let before = subjects.users.len();
        let matches = |index: &u32| selector.matches(self.users[*index as usize].labels());
        // The rarest label leaves the fewest users to look at.
        let rarest = selector.match_labels.iter().map(|(key, value)| self.labelled(key, value));
        match rarest.min_by_key(|users| users.len()) {
            Some(users) => subjects.users.extend(users.iter().filter(|index| matches(index))),
            None => {
                let all = (0..).zip(self.users).map(|(index, _)| index);
                subjects.users.extend(all.filter(matches));
            }
        }
        let found = subjects.users.len() > before;
        (!found).then(|| "no MqttUser of the cluster has these labels".to_owned())
    }

    fn labelled(&self, key: &str, value: &str) -> &[u32] {
        let values = self.by_label.get(key);
        values.and_then(|values| values.get(value)).map_or(&[], Vec::as_slice)
    }

    fn add_named(&self, name: &str, subjects: &mut Subjects) -> Option<String> {
        let found = self.by_object.get(name);
        subjects.users.extend(found);
        found.is_none().then(|| format!("the cluster has no MqttUser {name:?}"))
    }

    fn add_group(&self, group: &str, subjects: &mut Subjects) -> Option<String> {
        let members = self.by_group.get(group).map_or(&[][..], Vec::as_slice);
        subjects.users.extend(members);
        subjects.groups.insert(group.to_owned());
        let is_anonymous = self.anonymous_group == Some(group);
        subjects.anonymous |= is_anonymous;
        let is_empty = members.is_empty() && !is_anonymous;
        is_empty.then(|| format!("no MqttUser of the cluster is in group {group:?}"))
    }

    /// The groups that users are members of.
    pub(super) fn groups(&self) -> BTreeMap<&'a str, usize> {
        self.by_group.iter().map(|(group, members)| (*group, members.len())).collect()
    }
}
