//! The membership planner, case by case.

use broker_admin_api::NodeId;

use super::simulated::{CLUSTER_ID, SimulatedCluster};
use super::{Desired, RefuseReason, Step, WaitReason, next_step};

fn desired(cluster: &SimulatedCluster, is_founded: bool) -> Desired {
    Desired { cluster_id: CLUSTER_ID.to_owned(), brokers: cluster.names(), is_founded }
}

fn step(cluster: &SimulatedCluster, is_founded: bool) -> Step {
    next_step(&desired(cluster, is_founded), &cluster.observe())
}

fn wait_reason(step: &Step) -> WaitReason {
    match step {
        Step::Wait { reason, .. } => *reason,
        other => panic!("expected a wait, got {other:?}"),
    }
}

fn refuse_reason(step: &Step) -> RefuseReason {
    match step {
        Step::Refuse { reason, .. } => *reason,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn a_new_cluster_is_founded_on_the_first_broker() {
    let cluster = SimulatedCluster::new(3);
    let node_id = cluster.brokers[0].node_id;
    assert_eq!(step(&cluster, false), Step::Bootstrap { broker: "b-0".to_owned(), node_id });
}

#[test]
fn founding_waits_until_most_brokers_answer() {
    let mut cluster = SimulatedCluster::new(3);
    (cluster.brokers[1].is_up, cluster.brokers[2].is_up) = (false, false);
    assert_eq!(wait_reason(&step(&cluster, false)), WaitReason::BrokersStarting);
    cluster.brokers[2].is_up = true;
    assert!(matches!(step(&cluster, false), Step::Bootstrap { .. }));
    cluster.brokers[0].is_up = false;
    assert_eq!(wait_reason(&step(&cluster, false)), WaitReason::BrokersStarting);
}

#[test]
fn a_founding_that_was_not_recorded_is_recorded_and_not_repeated() {
    let mut cluster = SimulatedCluster::new(3);
    let founding = step(&cluster, false);
    cluster.take(&founding);
    assert_eq!(step(&cluster, false), Step::RecordFounded);
}

#[test]
fn a_new_cluster_grows_by_one_learner_at_a_time_to_all_votes() {
    let mut cluster = SimulatedCluster::new(3);
    let mut steps = Vec::new();
    for round in 0..10 {
        let next = step(&cluster, round > 0);
        cluster.take(&next);
        cluster.replicate();
        steps.push(next.as_str());
        if next == Step::Aligned {
            break;
        }
    }
    let expected = ["Bootstrap", "AddLearner", "Promote", "AddLearner", "Promote", "Aligned"];
    assert_eq!(steps, expected);
}

#[test]
fn a_learner_is_promoted_only_when_it_has_caught_up() {
    let mut cluster = SimulatedCluster::formed(2);
    cluster.add_broker();
    let learner = step(&cluster, true);
    assert!(matches!(learner, Step::AddLearner { .. }));
    cluster.take(&learner);
    assert_eq!(wait_reason(&step(&cluster, true)), WaitReason::LearnerCatchingUp);
    cluster.brokers[2].matched = 399;
    assert_eq!(wait_reason(&step(&cluster, true)), WaitReason::LearnerCatchingUp);
    cluster.brokers[2].matched = 400;
    assert!(matches!(step(&cluster, true), Step::Promote { .. }));
}

#[test]
fn an_empty_disk_of_a_founded_cluster_never_founds_again() {
    let mut cluster = SimulatedCluster::formed(3);
    for index in 0..3 {
        cluster.lose_disk(index);
    }
    assert_eq!(refuse_reason(&step(&cluster, true)), RefuseReason::QuorumLost);
    cluster.brokers[1].is_up = false;
    assert_eq!(wait_reason(&step(&cluster, true)), WaitReason::NoLeader);
}

#[test]
fn a_single_broker_that_lost_its_disk_is_refused() {
    let mut cluster = SimulatedCluster::formed(1);
    cluster.lose_disk(0);
    assert_eq!(refuse_reason(&step(&cluster, true)), RefuseReason::QuorumLost);
}

#[test]
fn a_lost_disk_leaves_under_its_old_identity_and_joins_under_a_new_one() {
    let mut cluster = SimulatedCluster::formed(3);
    let old = cluster.brokers[1].node_id;
    cluster.lose_disk(1);
    let new = cluster.brokers[1].node_id;
    let mut steps = Vec::new();
    loop {
        let next = step(&cluster, true);
        cluster.take(&next);
        cluster.replicate();
        if next == Step::Aligned {
            break;
        }
        steps.push(next);
    }
    assert!(matches!(&steps[0], Step::Remove { node_id, .. } if *node_id == old), "{steps:?}");
    assert!(matches!(&steps[1], Step::AddLearner { node_id, .. } if *node_id == new));
    assert!(matches!(&steps[2], Step::Promote { node_id, .. } if *node_id == new));
    assert_eq!(steps.len(), 3);
}

#[test]
fn most_disks_lost_is_refused_and_says_how_many() {
    let mut cluster = SimulatedCluster::formed(3);
    cluster.lose_disk(0);
    cluster.lose_disk(2);
    let refused = step(&cluster, true);
    assert_eq!(refuse_reason(&refused), RefuseReason::QuorumLost);
    assert!(format!("{refused:?}").contains("2 of 3 voters"), "{refused:?}");
}

#[test]
fn a_broker_of_a_foreign_cluster_is_refused_by_name() {
    let cluster = SimulatedCluster::formed(3);
    let mut observed = cluster.observe();
    observed[2].status.as_mut().unwrap().cluster_id = "01X".to_owned();
    let refused = next_step(&desired(&cluster, true), &observed);
    assert_eq!(refuse_reason(&refused), RefuseReason::ClusterIdMismatch);
    assert!(format!("{refused:?}").contains("b-2"));
}

#[test]
fn a_voter_that_is_merely_down_stays_a_member() {
    let mut cluster = SimulatedCluster::formed(3);
    cluster.brokers[1].is_up = false;
    cluster.elect();
    assert_eq!(step(&cluster, true), Step::Aligned);
}

#[test]
fn without_a_leader_nothing_is_changed() {
    let mut cluster = SimulatedCluster::formed(3);
    (cluster.brokers[1].is_up, cluster.brokers[2].is_up) = (false, false);
    cluster.elect();
    assert_eq!(wait_reason(&step(&cluster, true)), WaitReason::NoLeader);
}

#[test]
fn an_unsettled_membership_is_waited_for() {
    let cluster = SimulatedCluster::formed(3);
    let mut observed = cluster.observe();
    observed[0].status.as_mut().unwrap().raft.membership_settled = false;
    let next = next_step(&desired(&cluster, true), &observed);
    assert_eq!(wait_reason(&next), WaitReason::MembershipUnsettled);
}

#[test]
fn a_broker_without_a_link_to_the_leader_is_waited_for() {
    let mut cluster = SimulatedCluster::formed(2);
    cluster.add_broker();
    let mut observed = cluster.observe();
    observed[0].status.as_mut().unwrap().raft.membership_settled = true;
    observed[0].status.as_mut().unwrap().peers.clear();
    let next = next_step(&desired(&cluster, true), &observed);
    assert_eq!(wait_reason(&next), WaitReason::BrokerUnreachable);
}

#[test]
fn removing_a_lost_disk_waits_while_another_voter_is_down() {
    let mut cluster = SimulatedCluster::formed(4);
    cluster.lose_disk(1);
    cluster.brokers[3].is_up = false;
    cluster.elect();
    let observed = cluster.observe();
    assert!(cluster.leader.is_none(), "two of four are no majority");
    let next = next_step(&desired(&cluster, true), &observed);
    assert_eq!(wait_reason(&next), WaitReason::NoLeader);
}

#[test]
fn a_broker_that_is_not_wanted_leaves_highest_ordinal_first() {
    let cluster = SimulatedCluster::formed(5);
    let wanted = Desired { brokers: cluster.names()[..3].to_vec(), ..desired(&cluster, true) };
    let next = next_step(&wanted, &cluster.observe());
    assert!(matches!(&next, Step::Remove { broker, .. } if broker == "b-4"), "{next:?}");
}

#[test]
fn a_leader_that_is_not_wanted_hands_over_before_it_leaves() {
    let mut cluster = SimulatedCluster::formed(3);
    cluster.leader = Some(cluster.brokers[2].node_id);
    let wanted = Desired { brokers: cluster.names()[..2].to_vec(), ..desired(&cluster, true) };
    let next = next_step(&wanted, &cluster.observe());
    let Step::TransferLeadership { leader, to } = &next else { panic!("{next:?}") };
    assert_eq!(leader, "b-2");
    assert_ne!(*to, NodeId(0));
    cluster.take(&next);
    let next = next_step(&wanted, &cluster.observe());
    assert!(matches!(&next, Step::Remove { broker, .. } if broker == "b-2"), "{next:?}");
}

#[test]
fn the_step_names_the_membership_that_it_was_planned_on() {
    let mut cluster = SimulatedCluster::formed(2);
    cluster.add_broker();
    let next = step(&cluster, true);
    let Step::AddLearner { expected_membership_log_index, leader, .. } = next else { panic!() };
    assert_eq!(expected_membership_log_index, Some(cluster.membership_log_index));
    assert_eq!(leader, "b-0");
}
