//! How long a client was away, and what its session must have come to meanwhile.

use std::time::Duration;

use broker_core::types::NodeId;

use crate::cluster::Cluster;
use crate::environment::elapsed;
use crate::event::{Client, Due, Event};

/// What a client and its server may see at different times; in favour of the server.
const MARGIN: Duration = Duration::from_secs(1);

/// Where its broker has been well for so long when the client left, the others have not given that
/// one up before, and with it the client's connection.
const WELL: Duration = Duration::from_secs(5);

/// How much earlier they may have done so where it was not: it sends its clients away when it has
/// heard no leader for five seconds.
const GIVEN_UP: Duration = Duration::from_secs(8);

/// The time away of one client whose session expires.
#[derive(Debug, Clone, Copy)]
pub(super) struct Absence {
    since: Duration,
    was_well: bool,
}

impl Absence {
    /// The client has lost its connection to this node just now.
    pub(super) fn begin(cluster: &Cluster, node: NodeId) -> Self {
        Self { since: elapsed(), was_well: cluster.network.is_well(node, WELL) }
    }

    /// It is back: notes it, and tells whether its session must have stayed.
    ///
    /// Who ends the session may have another clock than who saw the client leave, so that it may end
    /// earlier or later by as much as clocks differ.
    pub(super) fn end(
        self,
        cluster: &Cluster,
        client: &Client,
        expiry_seconds: u32,
        session_present: bool,
    ) -> Due {
        let away = elapsed() - self.since;
        let expiry = Duration::from_secs(expiry_seconds.into());
        let margin = if self.was_well { MARGIN } else { GIVEN_UP };
        let is_early = away + cluster.clocks_apart() + margin < expiry;
        let due = if is_early { Due::Kept } else { Due::Either };
        let client = client.clone();
        cluster.history.note(Event::Returned { client, away, due, session_present });
        due
    }
}
