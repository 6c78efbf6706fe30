//! Who may do what, and how that changes while the cluster runs.

use std::sync::Arc;
use std::time::Duration;

use broker_core::cluster_state::{Command, Outcome};
use broker_policy::{
    Acl, AclType, Client, DefaultAccess, Group, Record, RecordSet, Revision, Role, RoleAssignment,
    Settings,
};

use crate::cluster::Cluster;
use crate::environment::sleep;
use crate::event::Event;
use crate::random::Random;

/// Topics that the intruder may never publish to.
pub(crate) const DENIED_PREFIX: &str = "denied/";

/// Topics that the revoked client may publish to from time to time.
pub(crate) const REVOKED_PREFIX: &str = "revoked/";

/// The client that may not publish to [`DENIED_PREFIX`].
pub(crate) const INTRUDER: &str = "intruder";

/// The client that may publish to [`REVOKED_PREFIX`] from time to time.
pub(crate) const REVOKED: &str = "revoked";

/// The client that may not have [`PRIVATE_TOPIC`].
pub(crate) const LIMITED: &str = "limited";

/// A topic that [`LIMITED`] may not have, although it subscribes to it.
pub(crate) const PRIVATE_TOPIC: &str = "t/0/1";

/// How often is looked whether a change has come through.
const POLL: Duration = Duration::from_millis(50);

/// How long a node that lets nobody in has for the clients that it had.
const CLOSED: Duration = Duration::from_secs(1);

/// Whether the policy lets a client have messages of this topic.
pub(crate) fn may_receive(client: &str, topic: &str) -> bool {
    !(client == LIMITED && topic == PRIVATE_TOPIC)
}

fn role(name: &str, acl_type: AclType, topic: &str, allow: bool) -> Record {
    let mut role = Role::new(name);
    role.acls = vec![Acl { acl_type, topic: topic.to_owned(), priority: 0, allow }];
    Record::Role(role)
}

fn client(username: &str) -> Record {
    let roles = vec![RoleAssignment::new(username)];
    Record::Client(Client { username: username.to_owned(), roles, ..Client::default() })
}

fn revoking(is_revoked: bool) -> Record {
    let topic = format!("{REVOKED_PREFIX}#");
    role(REVOKED, AclType::PublishClientSend, &topic, !is_revoked)
}

/// Everybody may do everything, but for what this module's constants say.
fn records() -> Vec<Record> {
    let default_access = DefaultAccess {
        publish_client_send: true,
        publish_client_receive: true,
        subscribe: true,
        unsubscribe: true,
    };
    let guest_group = Some("everybody".to_owned());
    vec![
        Record::Group(Group { name: "everybody".to_owned(), ..Group::default() }),
        Record::Settings(Settings { default_access, guest_group, ..Settings::default() }),
        role(INTRUDER, AclType::PublishClientSend, &format!("{DENIED_PREFIX}#"), false),
        role(LIMITED, AclType::PublishClientReceive, PRIVATE_TOPIC, false),
        revoking(false),
        client(INTRUDER),
        client(LIMITED),
        client(REVOKED),
    ]
}

/// Has the cluster commit records, by whatever node; gives the revision that they lead to.
async fn commit(cluster: &Cluster, upserts: &[Record]) -> Revision {
    loop {
        for node in cluster.nodes() {
            // A statement of its own: while it is borrowed nothing else is applied.
            let current: RecordSet = node.meta.policy().borrow().policy.records().clone();
            let Ok(change) = current.change(upserts.to_vec(), Vec::new()) else { continue };
            let to = change.to;
            let proposed = node.meta.propose(&Command::ApplyPolicy(change)).await;
            if let Ok(proposed) = proposed
                && matches!(proposed.outcome, Outcome::PolicyApplied { .. })
            {
                return to;
            }
        }
        sleep(POLL).await;
    }
}

/// Waits until every node that serves clients holds them to the revision.
async fn enforced(cluster: &Cluster, revision: Revision) {
    let mut since = std::collections::BTreeMap::new();
    loop {
        let now = crate::environment::elapsed();
        let nodes = cluster.nodes();
        let holds = |node: &Arc<crate::node::Node>| *node.hub.enforced().borrow() == Some(revision);
        since.retain(|id, _| nodes.iter().any(|node| node.id == *id && !node.gate.is_open()));
        let are_all = nodes.iter().all(|node| {
            let closed = (!node.gate.is_open())
                .then(|| now.saturating_sub(*since.entry(node.id).or_insert(now)));
            holds(node) || closed.is_some_and(|time| time > CLOSED)
        });
        if are_all {
            return;
        }
        sleep(POLL).await;
    }
}

/// Puts the policy in force.
pub(crate) async fn establish(cluster: &Cluster) {
    let revision = commit(cluster, &records()).await;
    enforced(cluster, revision).await;
}

/// Revokes and grants a right, again and again.
pub(crate) async fn keep_changing(cluster: Cluster, mut random: Random) {
    loop {
        sleep(random.millis(1000, 6000)).await;
        let revision = commit(&cluster, &[revoking(true)]).await;
        enforced(&cluster, revision).await;
        cluster.history.note(Event::Revoked);
        sleep(random.millis(1000, 4000)).await;
        cluster.history.note(Event::Granting);
        let revision = commit(&cluster, &[revoking(false)]).await;
        enforced(&cluster, revision).await;
    }
}
