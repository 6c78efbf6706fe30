//! Topic Aliases that the server has set for a client. Pure. Spec: MQTT 5.0 section 3.3.2.3.4.

use std::collections::HashMap;
use std::sync::Arc;

use crate::codec::TopicAlias;

/// The property costs three bytes, so a topic of no more has nothing to gain.
const TOPIC_BYTES_MIN: usize = 4;
/// Bounds what the aliases of a connection hold in memory.
const TOPIC_BYTES_MAX: usize = 1024;

/// A connection's aliases; they end with it.
///
/// A topic gets one when it is first sent. When all are taken, those that were not used for a round
/// go to new topics: each topic without alias moves the round on by one.
#[derive(Debug)]
pub(crate) struct OutboundAliases {
    maximum: u16,
    aliases: HashMap<Arc<str>, u16>,
    /// By alias minus one.
    entries: Vec<Entry>,
    /// The entry that goes next, unless it is used before.
    hand: usize,
}

#[derive(Debug)]
struct Entry {
    topic: Arc<str>,
    is_used: bool,
}

impl OutboundAliases {
    /// At most `maximum` aliases; `None` if that is 0.
    pub(crate) fn new(maximum: u16) -> Option<Box<Self>> {
        let (aliases, entries) = (HashMap::new(), Vec::new());
        (maximum > 0).then(|| Box::new(Self { maximum, aliases, entries, hand: 0 }))
    }

    /// The alias to send with a topic. If it is not known yet, [`set`](Self::set) it once sent.
    pub(crate) fn choose(&mut self, topic: &str) -> Option<TopicAlias> {
        if !(TOPIC_BYTES_MIN..=TOPIC_BYTES_MAX).contains(&topic.len()) {
            return None;
        }
        if let Some(&value) = self.aliases.get(topic) {
            if let Some(entry) = self.entries.get_mut(usize::from(value) - 1) {
                entry.is_used = true;
            }
            return Some(TopicAlias { value, is_known: true });
        }
        let mut index = self.entries.len();
        if index >= usize::from(self.maximum) {
            index = self.hand;
            let entry = self.entries.get_mut(index)?;
            if std::mem::take(&mut entry.is_used) {
                self.hand = (index + 1) % self.entries.len();
                return None;
            }
        }
        let value = u16::try_from(index + 1).ok()?;
        Some(TopicAlias { value, is_known: false })
    }

    /// The client has been told that the alias stands for the topic.
    pub(crate) fn set(&mut self, alias: u16, topic: &str) {
        let index = usize::from(alias.saturating_sub(1));
        let topic: Arc<str> = topic.into();
        let entry = Entry { topic: Arc::clone(&topic), is_used: false };
        match self.entries.get_mut(index) {
            Some(taken) => {
                self.aliases.remove(&taken.topic);
                *taken = entry;
                self.hand = (index + 1) % self.entries.len();
            }
            None => self.entries.push(entry),
        }
        self.aliases.insert(topic, alias);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is sent for a topic: alias, and whether it stands for the topic already.
    fn send(aliases: &mut OutboundAliases, topic: &str) -> Option<(u16, bool)> {
        let alias = aliases.choose(topic)?;
        if !alias.is_known {
            aliases.set(alias.value, topic);
        }
        Some((alias.value, alias.is_known))
    }

    #[test]
    fn what_is_used_keeps_its_alias_and_what_is_not_loses_it() {
        assert!(OutboundAliases::new(0).is_none());
        let mut aliases = OutboundAliases::new(2).unwrap();
        assert_eq!(send(&mut aliases, "often"), Some((1, false)));
        assert_eq!(send(&mut aliases, "once"), Some((2, false)));
        for number in 0..10 {
            assert_eq!(send(&mut aliases, "often"), Some((1, true)));
            let other = send(&mut aliases, &format!("other {number}"));
            assert!(matches!(other, None | Some((2, false))), "{other:?}");
        }
        assert!(matches!(send(&mut aliases, "once"), None | Some((_, false))));
        assert_eq!(aliases.aliases.len(), 2);
    }

    #[test]
    fn a_topic_that_gains_nothing_or_costs_much_has_no_alias() {
        let mut aliases = OutboundAliases::new(9).unwrap();
        assert_eq!(send(&mut aliases, "abc"), None);
        assert_eq!(send(&mut aliases, &"x".repeat(TOPIC_BYTES_MAX + 1)), None);
    }
}
