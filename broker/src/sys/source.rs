//! The values for new Subscriptions: in front of the retained messages. Shared by all workers.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, PoisonError, RwLock};

use broker_core::engine::{SYS_PREFIX, SysValue};
use broker_core::retained::{RetainedMessage, RetainedSearch, RetainedSource};
use broker_core::topic::matches;
use broker_core::types::Millis;

type Messages = BTreeMap<Arc<str>, Arc<RetainedMessage>>;

/// The latest values, and behind them the retained messages.
pub struct SysTree {
    /// Replaced as a whole: a search keeps what it has begun with.
    messages: RwLock<Arc<Messages>>,
    retained: Arc<dyn RetainedSource>,
}

impl SysTree {
    /// Without values yet, in front of the retained messages.
    #[must_use]
    pub fn new(retained: Arc<dyn RetainedSource>) -> Self {
        Self { messages: RwLock::default(), retained }
    }

    /// Takes changed values in.
    pub fn set(&self, changed: &[SysValue]) {
        let mut messages = Messages::clone(&self.messages());
        for value in changed {
            if let Ok(message) = value.to_message() {
                messages.insert(Arc::clone(&value.topic), Arc::new(message));
            }
        }
        *self.messages.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(messages);
    }

    fn messages(&self) -> Arc<Messages> {
        Arc::clone(&self.messages.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl RetainedSource for SysTree {
    fn for_each_match(
        &self,
        filter: &str,
        after: Option<&str>,
        now: Millis,
        budget: &mut usize,
        visit: &mut dyn FnMut(&RetainedMessage) -> ControlFlow<()>,
    ) -> RetainedSearch {
        // No wildcard stands for the first level of these topics. [MQTT-4.7.2-1]
        if filter.split('/').next() != Some(SYS_PREFIX) {
            return self.retained.for_each_match(filter, after, now, budget, visit);
        }
        let messages = self.messages();
        let mut last: Option<&str> = after;
        let stopped = |last: Option<&str>| RetainedSearch::Stopped { after: last.map(Box::from) };
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        for (topic, message) in messages.range::<str, _>((start, Bound::Unbounded)) {
            let Some(left) = budget.checked_sub(1) else { return stopped(last) };
            *budget = left;
            if matches(filter, topic) && visit(message).is_break() {
                return stopped(last);
            }
            last = Some(topic);
        }
        RetainedSearch::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Retained messages that nobody should ask for.
    struct Nothing;

    impl RetainedSource for Nothing {
        fn for_each_match(
            &self,
            filter: &str,
            _after: Option<&str>,
            _now: Millis,
            _budget: &mut usize,
            _visit: &mut dyn FnMut(&RetainedMessage) -> ControlFlow<()>,
        ) -> RetainedSearch {
            assert!(!filter.starts_with("$SYS/"), "{filter}");
            RetainedSearch::Done
        }
    }

    fn value(topic: &str, text: &str) -> SysValue {
        SysValue { topic: topic.into(), text: text.into() }
    }

    /// All matches, looked for in portions of so many topics.
    fn search(tree: &SysTree, filter: &str, portion: usize) -> Vec<String> {
        let (mut found, mut after) = (Vec::new(), None::<Box<str>>);
        loop {
            let mut budget = portion;
            let mut visit = |message: &RetainedMessage| {
                found.push(message.topic().to_owned());
                ControlFlow::Continue(())
            };
            match tree.for_each_match(filter, after.as_deref(), Millis(0), &mut budget, &mut visit)
            {
                RetainedSearch::Done => return found,
                RetainedSearch::Stopped { after: next } => after = next,
            }
        }
    }

    #[test]
    fn a_search_finds_the_latest_values_once_each_in_whatever_portions() {
        let tree = SysTree::new(Arc::new(Nothing));
        tree.set(&[value("$SYS/broker/b", "1"), value("$SYS/broker/a", "1"), value("$SYS/c", "1")]);
        tree.set(&[value("$SYS/broker/a", "2")]);
        for portion in 1..5 {
            assert_eq!(
                search(&tree, "$SYS/#", portion),
                ["$SYS/broker/a", "$SYS/broker/b", "$SYS/c"]
            );
            assert_eq!(search(&tree, "$SYS/+/b", portion), ["$SYS/broker/b"]);
            assert_eq!(search(&tree, "#", portion), [""; 0]);
            assert_eq!(search(&tree, "+/broker/a", portion), [""; 0]);
        }
        let mut text = Vec::new();
        let _ = tree.for_each_match("$SYS/broker/a", None, Millis(0), &mut 9, &mut |message| {
            text = message.publish().map(|publish| publish.payload.to_vec()).unwrap_or_default();
            ControlFlow::Continue(())
        });
        assert_eq!(text, b"2");
    }
}
