//! Topic Aliases that a client has set. Pure. Spec: MQTT 5.0 section 3.3.2.3.4.

use crate::codec::ReasonCode;

/// The client's aliases; they end with the Network Connection.
#[derive(Debug, Default)]
pub(crate) struct TopicAliases {
    /// By alias minus one. Empty until the first is set: most clients use none.
    topics: Vec<Option<Box<str>>>,
}

impl TopicAliases {
    /// Keeps the topic under the alias.
    ///
    /// # Errors
    /// `TopicAliasInvalid` above `maximum` [MQTT-3.3.2-9].
    pub(crate) fn set(&mut self, alias: u16, topic: &str, maximum: u16) -> Result<(), ReasonCode> {
        if alias == 0 || alias > maximum {
            return Err(ReasonCode::TopicAliasInvalid);
        }
        let index = usize::from(alias - 1);
        if self.topics.len() <= index {
            self.topics.resize(index + 1, None);
        }
        if self.topics[index].as_deref() != Some(topic) {
            self.topics[index] = Some(topic.into());
        }
        Ok(())
    }

    /// The topic behind the alias.
    ///
    /// # Errors
    /// `TopicAliasInvalid` above `maximum`, `ProtocolError` for one that was never set.
    pub(crate) fn topic(&self, alias: u16, maximum: u16) -> Result<&str, ReasonCode> {
        if alias == 0 || alias > maximum {
            return Err(ReasonCode::TopicAliasInvalid);
        }
        let topic = self.topics.get(usize::from(alias - 1)).and_then(Option::as_deref);
        topic.ok_or(ReasonCode::ProtocolError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_stands_for_the_topic_set_last() {
        let mut aliases = TopicAliases::default();
        assert_eq!(aliases.set(2, "a", 2), Ok(()));
        assert_eq!(aliases.set(2, "b", 2), Ok(()));
        assert_eq!(aliases.topic(2, 2), Ok("b"));
        assert_eq!(aliases.topic(1, 2), Err(ReasonCode::ProtocolError));
        assert_eq!(aliases.set(3, "a", 2), Err(ReasonCode::TopicAliasInvalid));
        assert_eq!(aliases.set(0, "a", 2), Err(ReasonCode::TopicAliasInvalid));
        assert_eq!(aliases.topic(3, 2), Err(ReasonCode::TopicAliasInvalid));
    }
}
