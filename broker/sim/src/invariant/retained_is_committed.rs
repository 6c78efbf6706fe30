//! The retained message of a topic is the last one that was committed: on every node the same, the
//! last one acknowledged or one that was sent after it. Spec: MQTT 5.0 section 3.3.1.3.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Invariant;
use crate::oracle::Oracle;
use crate::scenario::RETAINED_PREFIX;

/// Remembers nothing: the oracle does.
#[derive(Debug)]
pub(super) struct RetainedIsCommitted;

impl Invariant for RetainedIsCommitted {
    fn name(&self) -> &'static str {
        "retained_is_committed"
    }

    fn end(&mut self, oracle: &Oracle) -> Result<(), String> {
        let mut acknowledged: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        let of_topics = oracle.messages().filter(|(m, _)| m.topic.starts_with(RETAINED_PREFIX));
        for (message, fate) in of_topics {
            if fate.is_acknowledged {
                acknowledged.insert(Arc::clone(&message.topic), message.seq);
            }
        }
        let mut first = None;
        for (node, found) in &oracle.retained {
            let (first_node, expected) = *first.get_or_insert((node, found));
            if expected != found {
                return Err(format!("{node} has {found:?}, {first_node} has {expected:?}"));
            }
            for (topic, seq) in &acknowledged {
                let has = found.iter().find(|message| message.topic == *topic);
                if has.is_none_or(|has| has.seq < *seq) {
                    return Err(format!("{topic}:{seq} was acknowledged, {node} has {has:?}"));
                }
            }
        }
        Ok(())
    }
}
