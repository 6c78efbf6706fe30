//! How many brokers run while their number is being changed. Pure.

use broker_admin_api::{BrokerStatus, Role};

use crate::cluster::ValidatedCluster;

/// How many brokers there shall be now, of which `running` are there.
///
/// It grows at once. It shrinks only to above the highest broker that is still a member, and not
/// at all while no leader says who is one, or the cluster is not founded.
#[must_use]
pub fn brokers_now<'a>(
    cluster: &ValidatedCluster,
    running: u16,
    is_founded: bool,
    statuses: impl Iterator<Item = &'a BrokerStatus>,
) -> u16 {
    if running <= cluster.replicas || !is_founded {
        return running.max(cluster.replicas);
    }
    let leader = statuses
        .filter(|status| status.raft.role == Role::Leader)
        .max_by_key(|status| status.raft.term);
    let Some(leader) = leader.filter(|leader| leader.raft.membership_settled) else {
        return running;
    };
    let members = leader.raft.members.iter();
    let highest = members.filter_map(|member| cluster.names.ordinal(&member.name)).max();
    highest.map_or(running, |highest| (highest + 1).clamp(cluster.replicas, running))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::fixture::validated;
    use crate::membership::simulated::SimulatedCluster;

    #[test]
    fn a_broker_that_is_still_a_member_is_kept() {
        let wanted = validated("{version: 0.1.0, replicas: 3}");
        let mut cluster = SimulatedCluster::formed(5);
        for broker in &mut cluster.brokers {
            broker.name = broker.name.replace("b-", "fleet-");
        }
        for member in &mut cluster.members {
            member.name = member.name.replace("b-", "fleet-");
        }
        let now = |cluster: &SimulatedCluster, running, is_founded| {
            let statuses: Vec<_> = cluster.brokers.iter().map(|b| cluster.status(b)).collect();
            brokers_now(&wanted, running, is_founded, statuses.iter())
        };
        assert_eq!(now(&cluster, 1, true), 3, "it grows at once");
        assert_eq!(now(&cluster, 5, true), 5);
        cluster.members.pop();
        assert_eq!(now(&cluster, 5, true), 4);
        assert_eq!(now(&cluster, 5, false), 5, "before the founding nobody is a member");
        cluster.members.pop();
        assert_eq!(now(&cluster, 5, true), 3);
        cluster.leader = None;
        assert_eq!(now(&cluster, 5, true), 5, "nobody says who is a member");
    }
}
