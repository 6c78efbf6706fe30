//! Who enforces what, from the brokers' statuses. Pure but for [`wait_until_enforced`].

use std::time::Duration;

use broker_admin_api::{BrokerState, BrokerStatus};
use broker_policy::Revision;
use futures::future::join_all;
use tokio::time::Instant;

use crate::broker_admin::{BrokerAdmin, BrokerEndpoint};

/// How often brokers are asked while a change is fresh.
const FAST_POLL: Duration = Duration::from_millis(20);
/// How long a change counts as fresh.
const FRESH: Duration = Duration::from_secs(3);
/// How often brokers are asked after that.
const SLOW_POLL: Duration = Duration::from_millis(250);

/// How far the brokers are with one revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Enforcement {
    /// Serving brokers that enforce it.
    pub enforced: Vec<String>,
    /// Serving brokers that don't yet.
    pub pending: Vec<String>,
    /// Brokers that serve as far as is known, but don't answer: what they enforce is not known.
    pub silent: Vec<String>,
}

impl Enforcement {
    /// Whether a broker serves and every one that does enforces the revision.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.pending.is_empty() && self.silent.is_empty() && !self.enforced.is_empty()
    }

    /// The same, with the brokers that serve as far as is known but don't answer.
    #[must_use]
    pub fn with_silent<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.silent.extend(names.into_iter().map(str::to_owned));
        self
    }

    /// What keeps it from being complete, in words, while a broker serves.
    #[must_use]
    pub fn waits_for(&self) -> String {
        let mut text = "not every serving broker enforces it yet".to_owned();
        if !self.silent.is_empty() {
            text.push_str("; no answer from ");
            text.push_str(&self.silent.join(", "));
        }
        text
    }
}

/// How far the brokers are with `revision`; brokers that neither take nor have clients don't count,
/// and those that don't answer are to be added ([`Enforcement::with_silent`]).
pub fn enforcement<'a>(
    revision: Revision,
    statuses: impl IntoIterator<Item = &'a BrokerStatus>,
) -> Enforcement {
    let revision = revision.to_string();
    let mut found = Enforcement::default();
    for status in statuses.into_iter().filter(|status| is_serving(status)) {
        if status.policy.enforced_revision == revision {
            found.enforced.push(status.name.clone());
        } else {
            found.pending.push(status.name.clone());
        }
    }
    found
}

/// Whether a client can do anything there: new ones are let in, or old ones are still connected.
pub(crate) fn is_serving(status: &BrokerStatus) -> bool {
    match status.state {
        BrokerState::Uninitialised => false,
        BrokerState::Serving | BrokerState::Draining => true,
        BrokerState::Joining | BrokerState::Unknown => status.ready || status.connections > 0,
    }
}

/// Asks until every serving broker enforces `revision`, fast at first; gives up at `deadline` with how far they are.
/// Of brokers that don't answer those count of which `must_answer` says so: they serve as far as is known.
pub async fn wait_until_enforced(
    admin: &dyn BrokerAdmin,
    brokers: &[BrokerEndpoint],
    revision: Revision,
    deadline: Instant,
    must_answer: &(dyn Fn(&str) -> bool + Sync),
) -> Enforcement {
    let started = Instant::now();
    loop {
        let answers = join_all(brokers.iter().map(|broker| admin.status(broker))).await;
        let silent = brokers.iter().zip(&answers).filter(|(_, answer)| answer.is_err());
        let silent =
            silent.map(|(broker, _)| broker.name.as_str()).filter(|name| must_answer(name));
        let found = enforcement(revision, answers.iter().filter_map(|answer| answer.as_ref().ok()))
            .with_silent(silent);
        if found.is_complete() || Instant::now() >= deadline {
            return found;
        }
        let pause = if started.elapsed() < FRESH { FAST_POLL } else { SLOW_POLL };
        tokio::time::sleep(pause).await;
    }
}
