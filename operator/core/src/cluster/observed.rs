//! What was found of a cluster's brokers. Pure.

use broker_admin_api::{BrokerState, BrokerStatus, Role};

/// What was found of a cluster, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservedCluster {
    /// The brokers, by ordinal; also those above the wanted number that are still there.
    pub brokers: Vec<ObservedBroker>,
}

/// What was found of one broker.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedBroker {
    /// Its ordinal.
    pub ordinal: u16,
    /// Its name.
    pub name: String,
    /// Its pod or process; `None` while there is none.
    pub pod: Option<ObservedPod>,
    /// What it answered on the admin API, or why there is no answer.
    pub status: Result<BrokerStatus, String>,
}

/// What was found of a broker's pod or process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedPod {
    /// The identity of this very pod or process: another one after a restart by replacement.
    pub uid: String,
    /// Whether its readiness probe passes.
    pub ready: bool,
    /// Whether it is being stopped.
    pub terminating: bool,
    /// Whether it was made from an older template or configuration than the wanted one.
    pub outdated: bool,
    /// The version that its template names.
    pub version: Option<String>,
    /// Why it doesn't start, as the platform says; `None` where nothing is wrong.
    pub trouble: Option<String>,
    /// Since when it is ready, in Unix seconds.
    pub ready_since: Option<i64>,
}

impl ObservedBroker {
    /// Whether it answers and serves clients.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.status.as_ref().is_ok_and(|status| status.state == BrokerState::Serving)
    }

    /// Whether it leads the meta group.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.status.as_ref().is_ok_and(|status| status.raft.role == Role::Leader)
    }
}

impl ObservedCluster {
    /// The leader's answer, from whoever says that it leads in the highest term.
    #[must_use]
    pub fn leader(&self) -> Option<&BrokerStatus> {
        let answers = self.brokers.iter().filter_map(|broker| broker.status.as_ref().ok());
        answers.filter(|status| status.raft.role == Role::Leader).max_by_key(|s| s.raft.term)
    }

    /// The brokers that answer and serve clients.
    pub fn serving(&self) -> impl Iterator<Item = (&ObservedBroker, &BrokerStatus)> {
        self.brokers
            .iter()
            .filter(|broker| broker.is_serving())
            .filter_map(|broker| Some((broker, broker.status.as_ref().ok()?)))
    }
}
