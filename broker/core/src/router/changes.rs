//! Which filters changed lately, so that a route can outlive changes that don't concern it. Pure.

use std::sync::Arc;

use crate::topic::matches;

/// Changes remembered. A route older than that is made anew: checking it against more filters
/// would cost as much.
const CHANGES_MAX: usize = 64;

/// Numbers the changes of Subscriptions and rights, and remembers the latest.
#[derive(Debug)]
pub(super) struct Changes {
    /// The number of the latest change. Routes carry the number that they were made or checked at.
    epoch: u64,
    /// Filters by the number of their change.
    filters: Vec<Option<Arc<str>>>,
}

impl Default for Changes {
    fn default() -> Self {
        // A new route carries 0, which must not pass for current.
        Self { epoch: 1, filters: vec![None; CHANGES_MAX] }
    }
}

impl Changes {
    pub(super) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Something changed for topics that match this filter.
    pub(super) fn concern(&mut self, filter: Arc<str>) {
        self.epoch += 1;
        let place = self.place(self.epoch);
        self.filters[place] = Some(filter);
    }

    /// Something changed for any topic.
    pub(super) fn concern_all(&mut self) {
        self.epoch += CHANGES_MAX as u64 + 1;
        self.filters.fill(None);
    }

    /// Whether a route of this topic, made at `epoch`, is as good as a new one.
    pub(super) fn spare(&self, epoch: u64, topic: &str) -> bool {
        if epoch == 0 || self.epoch - epoch > CHANGES_MAX as u64 {
            return false;
        }
        (epoch + 1..=self.epoch).all(|number| {
            let filter = self.filters[self.place(number)].as_deref();
            filter.is_some_and(|filter| !matches(filter, topic))
        })
    }

    const fn place(&self, number: u64) -> usize {
        (number % CHANGES_MAX as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_spared_by_changes_of_other_topics_only() {
        let mut changes = Changes::default();
        assert!(!changes.spare(0, "a"), "never made");
        let made = changes.epoch();
        assert!(changes.spare(made, "a"));
        changes.concern("b/+".into());
        changes.concern("c".into());
        assert!(changes.spare(made, "a") && changes.spare(made, "b"));
        assert!(!changes.spare(made, "b/x") && !changes.spare(made, "c"));
        assert!(changes.spare(changes.epoch(), "c"));
        changes.concern_all();
        assert!(!changes.spare(made, "a"));
    }

    #[test]
    fn a_route_that_slept_through_too_many_changes_is_not_spared() {
        let mut changes = Changes::default();
        let made = changes.epoch();
        for _ in 0..CHANGES_MAX {
            changes.concern("b".into());
        }
        assert!(changes.spare(made, "a") && !changes.spare(made, "b"));
        changes.concern("b".into());
        assert!(!changes.spare(made, "a"));
        assert!(changes.spare(made + 1, "a"));
    }
}
