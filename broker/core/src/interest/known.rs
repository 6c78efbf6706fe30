//! What one peer wants, as it has told. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::engine::{InterestChange, SharedMembers};

/// A set of filters, and the members of groups.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) filters: BTreeSet<Arc<str>>,
    /// Those of which messages of QoS 0 alone are wanted; none stands in both.
    pub(super) filters_qos0: BTreeSet<Arc<str>>,
    /// Nobody is left out.
    pub(super) groups: BTreeMap<Arc<str>, SharedMembers>,
}

impl Known {
    pub(super) fn new(
        filters: impl IntoIterator<Item = Arc<str>>,
        filters_qos0: impl IntoIterator<Item = Arc<str>>,
        groups: impl IntoIterator<Item = (Arc<str>, SharedMembers)>,
    ) -> Self {
        Self {
            filters: filters.into_iter().collect(),
            filters_qos0: filters_qos0.into_iter().collect(),
            groups: groups.into_iter().collect(),
        }
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.filters.extend(other.filters);
        self.filters_qos0.extend(other.filters_qos0);
        self.groups.extend(other.groups);
    }

    pub(super) fn len(&self) -> usize {
        self.filters.len() + self.filters_qos0.len() + self.groups.len()
    }

    pub(super) fn apply(&mut self, change: &InterestChange) {
        match change {
            InterestChange::Added(filter) => {
                self.filters_qos0.remove(filter);
                self.filters.insert(Arc::clone(filter));
            }
            InterestChange::AddedQoS0(filter) => {
                self.filters.remove(filter);
                self.filters_qos0.insert(Arc::clone(filter));
            }
            InterestChange::Removed(filter) => {
                self.filters.remove(filter);
                self.filters_qos0.remove(filter);
            }
            InterestChange::Shared { filter, members } if *members == SharedMembers::NONE => {
                self.groups.remove(filter);
            }
            InterestChange::Shared { filter, members } => {
                self.groups.insert(Arc::clone(filter), *members);
            }
        }
    }

    /// What makes this one into `new`.
    pub(super) fn changes_to(&self, new: &Self) -> Vec<InterestChange> {
        let is_gone = |filter: &&Arc<str>| {
            !new.filters.contains(*filter) && !new.filters_qos0.contains(*filter)
        };
        let gone = self.filters.iter().chain(&self.filters_qos0).filter(is_gone);
        let removed = gone.cloned().map(InterestChange::Removed);
        let added = new.filters.difference(&self.filters).cloned().map(InterestChange::Added);
        let added_qos0 = new.filters_qos0.difference(&self.filters_qos0).cloned();
        let added = added.chain(added_qos0.map(InterestChange::AddedQoS0));
        let ended = self.groups.keys().filter(|filter| !new.groups.contains_key(*filter));
        let ended = ended.map(|filter| (filter, SharedMembers::NONE));
        let changed = new.groups.iter().map(|(filter, members)| (filter, *members));
        let changed = changed.filter(|(filter, members)| self.groups.get(*filter) != Some(members));
        let shared = ended.chain(changed).map(|(filter, members)| shared(filter, members));
        removed.chain(added).chain(shared).collect()
    }

    /// The groups as changes from none.
    pub(super) fn shared_changes(&self) -> impl Iterator<Item = InterestChange> {
        self.groups.iter().map(|(filter, members)| shared(filter, *members))
    }
}

fn shared(filter: &Arc<str>, members: SharedMembers) -> InterestChange {
    InterestChange::Shared { filter: Arc::clone(filter), members }
}
