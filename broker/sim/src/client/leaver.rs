//! A client whose session is over when it comes again: where nothing has gone wrong meanwhile.

use std::sync::Arc;
use std::time::Duration;

use super::connection::{Connection, Identity, Numbers};
use crate::cluster::Cluster;
use crate::environment::{elapsed, sleep};
use crate::event::{Due, Event};
use crate::random::Random;

/// Its Session Expiry Interval in seconds.
const EXPIRY_SECONDS: u32 = 2;

/// From when it leaves to when the cluster knows: its server may notice after four seconds only, and
/// be held up then.
const NOTICED_WITHIN: Duration = Duration::from_secs(6);

/// Leaves a session to the cluster, and looks for it when its time is over by every clock.
pub(crate) async fn leave(cluster: &Cluster, random: &mut Random, numbers: &Numbers) {
    let client = Arc::from("leaver");
    let expiry_seconds = Some(EXPIRY_SECONDS);
    let identity = Identity { client: Arc::clone(&client), expiry_seconds };
    drop(Connection::open(cluster, &identity, random, numbers).await);
    let left = elapsed();
    let expiry = Duration::from_secs(EXPIRY_SECONDS.into());
    sleep(expiry + cluster.clocks_apart() + NOTICED_WITHIN).await;
    let connection = Connection::open(cluster, &identity, random, numbers).await;
    let (away, session_present) = (elapsed() - left, connection.session_present);
    cluster.history.note(Event::Returned { client, away, due: Due::Over, session_present });
}
