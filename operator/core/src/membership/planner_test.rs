//! The membership planner, case by case.

use broker_admin_api::NodeId;

use jiff::SignedDuration;

use super::simulated::{CLUSTER_ID, SimulatedCluster};
use super::{Desired, RefuseReason, Step, VOTER_AWAY_MAX, WaitReason, next_step};

fn desired(cluster: &SimulatedCluster, is_founded: bool) -> Desired {
    let (cluster_id, brokers) = (CLUSTER_ID.to_owned(), cluster.names());
    let voters = brokers.len() as u16;
    Desired { cluster_id, brokers, voters, is_founded, awaits_backup: false }
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
fn empty_brokers_that_are_not_wanted_do_not_hide_that_the_data_is_gone() {
    let mut cluster = SimulatedCluster::formed(1);
    cluster.add_broker();
    cluster.lose_disk(0);
    let next = next_step(&scaled(&cluster, 1), &cluster.observe());
    assert_eq!(refuse_reason(&next), RefuseReason::QuorumLost);
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
    let wanted = scaled(&cluster, 3);
    let next = next_step(&wanted, &cluster.observe());
    assert!(matches!(&next, Step::Demote { broker, .. } if broker == "b-4"), "{next:?}");
}

/// The first `count` brokers are wanted; at most three of them vote.
fn scaled(cluster: &SimulatedCluster, count: usize) -> Desired {
    let voters = count.min(3) as u16;
    Desired { brokers: cluster.names()[..count].to_vec(), voters, ..desired(cluster, true) }
}

/// What is done, step by step, until nothing is left to do.
fn run(cluster: &mut SimulatedCluster, wanted: &Desired) -> Vec<String> {
    let mut steps = Vec::new();
    for _ in 0..40 {
        cluster.replicate();
        let step = next_step(wanted, &cluster.observe());
        cluster.take(&step);
        match &step {
            Step::Aligned => return steps,
            Step::Promote { broker, .. }
            | Step::AddLearner { broker, .. }
            | Step::Demote { broker, .. }
            | Step::Remove { broker, .. }
            | Step::Drain { broker } => steps.push(format!("{} {broker}", step.as_str())),
            Step::TransferLeadership { leader, .. } => steps.push(format!("Transfer {leader}")),
            other => panic!("{other:?} after {steps:?}"),
        }
    }
    panic!("no end: {steps:?}");
}

#[test]
fn brokers_beyond_the_voters_follow_without_a_vote_and_leave_without_one() {
    let mut cluster = SimulatedCluster::formed(3);
    cluster.add_broker();
    cluster.add_broker();
    let wanted = scaled(&cluster, 5);
    assert_eq!(run(&mut cluster, &wanted), ["AddLearner b-3", "AddLearner b-4"]);
    let wanted = scaled(&cluster, 3);
    assert_eq!(run(&mut cluster, &wanted), ["Remove b-4", "Remove b-3"]);
}

#[test]
fn an_older_leader_is_not_asked_to_take_votes_away() {
    let mut cluster = SimulatedCluster::formed(5);
    cluster.feature_level = 0;
    let wanted = Desired { voters: 3, ..desired(&cluster, true) };
    assert_eq!(run(&mut cluster, &wanted), [""; 0]);
}

#[test]
fn a_vote_moves_to_a_broker_that_has_caught_up_before_its_holder_leaves() {
    let mut cluster = SimulatedCluster::formed(3);
    (0..2).for_each(|_| cluster.add_broker());
    let votes = [1, 3, 4];
    cluster.members.clear();
    for (at, broker) in cluster.brokers.clone().iter().enumerate() {
        cluster.set_member(broker.node_id, &broker.name, votes.contains(&at));
    }
    cluster.brokers.iter_mut().for_each(|broker| broker.has_state = true);
    cluster.elect();
    let wanted = scaled(&cluster, 3);
    cluster.leader = Some(cluster.brokers[4].node_id);
    let steps = run(&mut cluster, &wanted);
    let expected = [
        "Promote b-0",
        "Demote b-3",
        "Promote b-2",
        "Transfer b-4",
        "Demote b-4",
        "Remove b-4",
        "Remove b-3",
    ];
    assert_eq!(steps, expected);
}

#[test]
fn a_vote_that_nobody_can_have_yet_stays_where_it_is() {
    let mut cluster = SimulatedCluster::formed(4);
    let (id, name) = (cluster.brokers[2].node_id, cluster.brokers[2].name.clone());
    cluster.set_member(id, &name, false);
    cluster.brokers[2].is_up = false;
    let next = next_step(&scaled(&cluster, 3), &cluster.observe());
    assert_eq!(wait_reason(&next), WaitReason::NoSuccessor);
    assert!(format!("{next:?}").contains("b-3 keeps its vote"), "{next:?}");
}

#[test]
fn a_voter_that_stays_away_is_replaced_and_comes_back_without_a_vote() {
    let mut cluster = SimulatedCluster::formed(3);
    cluster.add_broker();
    let wanted = scaled(&cluster, 4);
    assert_eq!(run(&mut cluster, &wanted), ["AddLearner b-3"]);
    cluster.brokers[1].is_up = false;
    cluster.brokers[1].down_for = VOTER_AWAY_MAX - SignedDuration::from_secs(1);
    assert_eq!(run(&mut cluster, &wanted), [""; 0]);
    cluster.brokers[1].down_for = VOTER_AWAY_MAX;
    assert_eq!(run(&mut cluster, &wanted), ["Promote b-3", "Demote b-1"]);
    cluster.brokers[1].is_up = true;
    cluster.brokers[1].down_for = SignedDuration::ZERO;
    assert_eq!(run(&mut cluster, &wanted), [""; 0]);
}

#[test]
fn a_voter_that_stays_away_keeps_its_vote_where_nobody_else_can_have_it() {
    let mut cluster = SimulatedCluster::formed(3);
    cluster.brokers[1].is_up = false;
    cluster.brokers[1].down_for = VOTER_AWAY_MAX * 2;
    let wanted = scaled(&cluster, 3);
    assert_eq!(run(&mut cluster, &wanted), [""; 0]);
}

#[test]
fn fewer_voters_are_wanted_and_those_that_do_not_answer_are_demoted_first() {
    let mut cluster = SimulatedCluster::formed(5);
    cluster.brokers[1].is_up = false;
    let wanted = Desired { voters: 3, ..desired(&cluster, true) };
    assert_eq!(run(&mut cluster, &wanted), ["Demote b-1", "Demote b-4"]);
}

#[test]
fn a_broker_that_is_to_go_moves_its_clients_first() {
    let mut cluster = SimulatedCluster::formed(4);
    cluster.brokers[3].connections = 7;
    let wanted = scaled(&cluster, 3);
    for expected in ["Demote", "Drain"] {
        let next = next_step(&wanted, &cluster.observe());
        assert_eq!(next.as_str(), expected, "{next:?}");
        cluster.take(&next);
    }
    let next = next_step(&wanted, &cluster.observe());
    assert_eq!(wait_reason(&next), WaitReason::Draining);
    assert!(format!("{next:?}").contains("7 clients are still at b-3"), "{next:?}");
    cluster.brokers[3].connections = 0;
    assert_eq!(run(&mut cluster, &wanted), ["Remove b-3"]);
}

#[test]
fn a_cluster_that_awaits_a_backup_is_not_founded_anew() {
    let mut cluster = SimulatedCluster::new(3);
    let wanted = Desired { awaits_backup: true, ..desired(&cluster, false) };
    cluster.brokers[0].is_up = false;
    let starting = next_step(&wanted, &cluster.observe());
    assert_eq!(wait_reason(&starting), WaitReason::BrokersStarting);
    cluster.brokers[0].is_up = true;
    let next = next_step(&wanted, &cluster.observe());
    assert_eq!(wait_reason(&next), WaitReason::BackupAwaited);
    // Somebody has restored one into it.
    let (id, name) = (cluster.brokers[0].node_id, cluster.brokers[0].name.clone());
    cluster.brokers[0].has_state = true;
    cluster.set_member(id, &name, true);
    cluster.elect();
    assert_eq!(next_step(&wanted, &cluster.observe()), Step::RecordFounded);
}

#[test]
fn a_leader_that_is_not_wanted_hands_over_before_it_leaves() {
    let mut cluster = SimulatedCluster::formed(3);
    cluster.leader = Some(cluster.brokers[2].node_id);
    let brokers = cluster.names()[..1].to_vec();
    let wanted = Desired { brokers, voters: 1, ..desired(&cluster, true) };
    let follower = next_step(&wanted, &cluster.observe());
    assert!(matches!(&follower, Step::Demote { broker, .. } if broker == "b-1"), "{follower:?}");
    cluster.take(&follower);
    let next = next_step(&wanted, &cluster.observe());
    let Step::TransferLeadership { leader, to } = &next else { panic!("{next:?}") };
    assert_eq!(leader, "b-2");
    assert_ne!(*to, NodeId(0));
    cluster.take(&next);
    let next = next_step(&wanted, &cluster.observe());
    assert!(matches!(&next, Step::Demote { broker, .. } if broker == "b-2"), "{next:?}");
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
