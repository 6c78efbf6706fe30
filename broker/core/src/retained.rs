//! Retained messages as the replicated state keeps them and the engine reads them. Pure.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::router::Message;
use crate::types::Millis;

/// The retained message of a topic, with its QoS and expiry.
pub type RetainedMessage = Message;

/// What a retained PUBLISH does to the store.
///
/// Spec: MQTT 5.0 section 3.3.1.3 [MQTT-3.3.1-5], [MQTT-3.3.1-6].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetainedChange {
    /// Topic Name.
    pub topic: Box<str>,
    /// The message that replaces the topic's retained one; `None` takes it away.
    pub message: Option<RetainedMessage>,
}

/// How far a search for retained messages came.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum RetainedSearch {
    /// There is no further match.
    Done,
    /// The visitor broke off, or as many topics were looked at as might be.
    Stopped {
        /// The topic to go on after; `None` for the beginning.
        after: Option<Box<str>>,
    },
}

/// The retained messages as of now, backed by the replicated state.
pub trait RetainedSource: Send + Sync {
    /// Visits the retained messages whose topic matches `filter` and that are not expired at
    /// `now`, in ascending byte order of their topics, starting after the topic `after`, until
    /// the visitor breaks off (that message counts as not visited) or `budget` is used up. Each
    /// topic that is looked at takes one from the budget, whether it matches or not.
    ///
    /// The order and `after` let the engine stop when a connection has enough to write, or when
    /// others have waited long enough, and go on later.
    fn for_each_match(
        &self,
        filter: &str,
        after: Option<&str>,
        now: Millis,
        budget: &mut usize,
        visit: &mut dyn FnMut(&RetainedMessage) -> ControlFlow<()>,
    ) -> RetainedSearch;
}
