//! The rollout planner, case by case.

use broker_admin_api::Role;
use jiff::{SignedDuration, Timestamp};

use super::simulated::{Roll, seconds};
use super::{HaltReason, NextStep, Readiness, RestartReason, WaitReason, plan};

fn restarted(step: &NextStep) -> &str {
    match step {
        NextStep::Restart { broker, .. } => broker,
        other => panic!("expected a restart, got {other:?}"),
    }
}

fn wait_reason(step: &NextStep) -> WaitReason {
    match step {
        NextStep::Wait { reason, .. } => *reason,
        other => panic!("expected a wait, got {other:?}"),
    }
}

#[test]
fn brokers_that_run_what_is_wanted_are_left_alone() {
    assert_eq!(Roll::settled(3).next_step(), NextStep::Done);
}

#[test]
fn followers_are_restarted_highest_ordinal_first() {
    let mut roll = Roll::settled(3);
    roll.want_version("0.2.0");
    let step = roll.next_step();
    let reason = RestartReason::VersionChanged;
    assert_eq!(step, NextStep::Restart { broker: "b-2".to_owned(), reason });
}

#[test]
fn the_leader_hands_over_and_goes_last() {
    let mut roll = Roll::settled(3);
    roll.want_version("0.2.0");
    let taken = roll.run_to_the_end();
    assert_eq!(taken, ["b-2", "b-1", "transfer from b-0", "b-0"]);
}

#[test]
fn leadership_goes_to_a_broker_that_is_up_to_date() {
    let mut roll = Roll::settled(3);
    roll.wanted.template = "t2".to_owned();
    roll.brokers[1].template = "t2".to_owned();
    roll.brokers[2].template = "t2".to_owned();
    let NextStep::TransferLeadership { broker, to } = roll.next_step() else { panic!() };
    assert_eq!(broker, "b-0");
    assert_ne!(to, roll.cluster.brokers[0].node_id);
}

#[test]
fn the_next_broker_waits_until_the_last_one_has_been_ready_for_a_while() {
    let mut roll = Roll::settled(3);
    roll.want_version("0.2.0");
    let step = roll.next_step();
    roll.take(&step);
    assert_eq!(wait_reason(&roll.next_step()), WaitReason::BrokerNotSettled);
    roll.pass(seconds(5));
    roll.becomes_ready(2);
    roll.pass(seconds(9));
    let step = roll.next_step();
    assert_eq!(wait_reason(&step), WaitReason::BrokerNotSettled);
    assert!(format!("{step:?}").contains("ready for 9 s of 10 s"), "{step:?}");
    roll.pass(seconds(1));
    assert_eq!(restarted(&roll.next_step()), "b-1");
}

#[test]
fn a_broker_that_does_not_enforce_the_policy_holds_the_roll() {
    let mut roll = Roll::settled(3);
    roll.want_version("0.2.0");
    roll.wanted.policy_revision = Some("r2".to_owned());
    let step = roll.next_step();
    assert_eq!(wait_reason(&step), WaitReason::BrokerNotSettled);
    assert!(format!("{step:?}").contains("does not enforce the policy"));
}

#[test]
fn a_broker_that_has_not_caught_up_holds_the_roll() {
    let mut roll = Roll::settled(3);
    roll.want_version("0.2.0");
    roll.cluster.brokers[1].matched = 3;
    assert_eq!(wait_reason(&roll.next_step()), WaitReason::BrokerNotSettled);
}

#[test]
fn a_broker_that_is_gone_holds_the_roll() {
    let mut roll = Roll::settled(3);
    roll.want_version("0.2.0");
    roll.brokers[1].is_running = false;
    roll.cluster.brokers[1].is_up = false;
    roll.cluster.elect();
    assert_eq!(wait_reason(&roll.next_step()), WaitReason::BrokerNotSettled);
}

#[test]
fn a_paused_roll_restarts_nothing() {
    let mut roll = Roll::settled(3);
    roll.want_version("0.2.0");
    roll.settings.is_paused = true;
    assert_eq!(wait_reason(&roll.next_step()), WaitReason::Paused);
}

#[test]
fn a_version_that_does_not_start_stops_the_roll_after_one_broker() {
    let mut roll = Roll::settled(3);
    roll.want_version("9.9.9");
    let step = roll.next_step();
    roll.take(&step);
    roll.brokers[2].failure = Some("ErrImagePull: not found".to_owned());
    let NextStep::Halt { broker, reason, message } = roll.next_step() else { panic!() };
    assert_eq!((broker.as_str(), reason), ("b-2", HaltReason::BrokerNotReady));
    assert!(message.contains("ErrImagePull") && message.contains("9.9.9"), "{message}");
    assert_eq!(plan(&roll.wanted, &roll.observe(), &roll.settings, roll.now).len(), 3);
}

#[test]
fn a_broker_that_stays_unready_stops_the_roll_at_the_deadline() {
    let mut roll = Roll::settled(3);
    roll.want_version("0.2.0");
    let step = roll.next_step();
    roll.take(&step);
    roll.pass(SignedDuration::from_secs(299));
    assert_eq!(wait_reason(&roll.next_step()), WaitReason::BrokerNotSettled);
    roll.pass(seconds(1));
    assert!(matches!(roll.next_step(), NextStep::Halt { .. }));
}

#[test]
fn setting_the_old_version_back_replaces_the_broken_broker_at_once() {
    let mut roll = Roll::settled(3);
    roll.want_version("9.9.9");
    let step = roll.next_step();
    roll.take(&step);
    roll.brokers[2].failure = Some("ErrImagePull: not found".to_owned());
    roll.want_version("0.1.0");
    assert_eq!(restarted(&roll.next_step()), "b-2");
    let step = roll.next_step();
    roll.take(&step);
    roll.becomes_ready(2);
    roll.pass(seconds(10));
    assert_eq!(roll.next_step(), NextStep::Done);
}

#[test]
fn broken_brokers_are_replaced_without_waiting_for_each_other() {
    let mut roll = Roll::settled(3);
    roll.want_version("0.2.0");
    for at in 0..3 {
        roll.crashes(at, "CrashLoopBackOff");
    }
    roll.cluster.elect();
    let first = roll.next_step();
    roll.take(&first);
    let second = roll.next_step();
    assert_ne!(restarted(&first), restarted(&second));
}

#[test]
fn brokers_that_are_unready_during_an_election_are_not_taken_for_broken() {
    let mut roll = Roll::settled(3);
    roll.want_version("0.2.0");
    roll.cluster.leader = None;
    for broker in &mut roll.brokers {
        broker.readiness = Readiness::Unready(roll.now);
    }
    roll.pass(seconds(3));
    assert_eq!(wait_reason(&roll.next_step()), WaitReason::BrokerNotSettled);
}

#[test]
fn a_broken_broker_that_the_quorum_needs_is_not_restarted() {
    let mut roll = Roll::settled(3);
    roll.want_version("0.2.0");
    roll.crashes(2, "CrashLoopBackOff");
    roll.brokers[2].version = "0.2.0".to_owned();
    roll.brokers[1].readiness = Readiness::Unready(Timestamp::UNIX_EPOCH);
    let step = roll.next_step();
    assert!(!matches!(step, NextStep::Restart { .. }), "{step:?}");
}

#[test]
fn a_single_broker_is_restarted_without_a_transfer() {
    let mut roll = Roll::settled(1);
    roll.want_version("0.2.0");
    assert_eq!(restarted(&roll.next_step()), "b-0");
}

#[test]
fn clients_are_moved_away_before_their_broker_is_restarted() {
    let mut roll = Roll::settled(3);
    roll.cluster.brokers.iter_mut().for_each(|broker| broker.connections = 25);
    roll.want_version("0.2.0");
    let step = roll.next_step();
    assert_eq!(step, NextStep::Drain { broker: "b-2".to_owned() });
    roll.take(&step);
    // Far longer than a broker may be unready otherwise.
    roll.pass(SignedDuration::from_mins(20));
    let step = roll.next_step();
    assert_eq!(wait_reason(&step), WaitReason::Draining);
    assert!(format!("{step:?}").contains("25 clients are still at b-2"), "{step:?}");
    let taken = roll.run_to_the_end();
    let expected = ["b-2", "drain b-1", "b-1", "transfer from b-0", "drain b-0", "b-0"];
    assert_eq!(taken, expected);
}

#[test]
fn an_older_broker_is_restarted_without_a_drain() {
    let mut roll = Roll::settled(3);
    roll.cluster.brokers.iter_mut().for_each(|broker| broker.connections = 25);
    roll.cluster.feature_level = 0;
    roll.want_version("0.2.0");
    assert_eq!(restarted(&roll.next_step()), "b-2");
}

#[test]
fn a_drain_ends_when_its_broker_is_not_to_be_restarted_any_more() {
    let mut roll = Roll::settled(3);
    roll.cluster.brokers[2].connections = 25;
    roll.want_version("0.2.0");
    let step = roll.next_step();
    roll.take(&step);
    roll.settings.is_paused = true;
    let end = NextStep::EndDrain { broker: "b-2".to_owned() };
    assert_eq!(roll.next_step(), end);
    roll.settings.is_paused = false;
    roll.want_version("0.1.0");
    assert_eq!(roll.next_step(), end);
    // A roll that has stopped needs nobody to make way.
    roll.want_version("0.2.0");
    roll.brokers[1].version = "0.2.0".to_owned();
    roll.crashes(1, "CrashLoopBackOff");
    assert_eq!(roll.next_step(), end);
    roll.becomes_ready(1);
    roll.brokers[1].version = "0.1.0".to_owned();
    roll.want_version("0.1.0");
    roll.take(&end);
    assert_eq!(wait_reason(&roll.next_step()), WaitReason::BrokerNotSettled);
    assert_eq!(roll.run_to_the_end(), [""; 0]);
}

#[test]
fn a_single_broker_keeps_its_clients_until_it_stops() {
    let mut roll = Roll::settled(1);
    roll.cluster.brokers[0].connections = 25;
    roll.want_version("0.2.0");
    assert_eq!(restarted(&roll.next_step()), "b-0");
}

#[test]
fn a_broker_that_leaves_counts_while_it_votes() {
    // Of three voters the third leads, is not wanted any more, and lives.
    let mut roll = Roll::settled(3);
    roll.wanted.brokers = 2;
    roll.wanted.is_membership_aligned = false;
    roll.cluster.leader = Some(roll.cluster.brokers[2].node_id);
    roll.want_version("0.2.0");
    roll.crashes(0, "the disk is gone");
    roll.pass(seconds(60));
    roll.brokers[1].readiness = Readiness::Unready(Timestamp::UNIX_EPOCH);
    // The one that is dead may be replaced; the other one is needed.
    let step = roll.next_step();
    assert_eq!(restarted(&step), "b-0");
    roll.brokers[0].readiness = Readiness::Unready(roll.now);
    roll.brokers[0].version = "0.2.0".to_owned();
    roll.brokers[0].failure = None;
    assert!(!matches!(roll.next_step(), NextStep::Restart { .. }), "{:?}", roll.next_step());
}

#[test]
fn nothing_is_restarted_while_the_membership_changes() {
    let mut roll = Roll::settled(3);
    roll.want_version("0.2.0");
    roll.wanted.is_membership_aligned = false;
    assert_eq!(wait_reason(&roll.next_step()), WaitReason::MembershipChanging);
}

#[test]
fn a_changed_wish_in_the_middle_changes_what_is_out_of_date() {
    let mut roll = Roll::settled(3);
    roll.want_version("0.2.0");
    let step = roll.next_step();
    roll.take(&step);
    roll.becomes_ready(2);
    roll.pass(seconds(10));
    roll.want_version("0.1.0");
    assert_eq!(restarted(&roll.next_step()), "b-2");
    let step = roll.next_step();
    roll.take(&step);
    roll.becomes_ready(2);
    roll.pass(seconds(10));
    assert_eq!(roll.next_step(), NextStep::Done);
}

#[test]
fn the_plan_lists_every_step_with_its_reason_and_what_the_first_waits_for() {
    let mut roll = Roll::settled(3);
    roll.want_version("0.2.0");
    roll.settings.is_paused = true;
    let steps = plan(&roll.wanted, &roll.observe(), &roll.settings, roll.now);
    let listed: Vec<_> = steps
        .iter()
        .map(|step| format!("{} {} {}", step.action, step.broker.as_deref().unwrap(), step.reason))
        .collect();
    let expected = [
        "Restart b-2 VersionChanged",
        "Restart b-1 VersionChanged",
        "TransferLeadership b-0 LeaderGoesLast",
        "Restart b-0 VersionChanged",
    ];
    assert_eq!(listed, expected);
    assert_eq!(steps[0].message, "from 0.1.0 to 0.2.0; waits: spec.rollout.paused is set");
}

#[test]
fn a_new_version_is_planned_before_its_template_is_known() {
    let mut roll = Roll::settled(3);
    roll.wanted.template = String::new();
    let planned = |roll: &Roll| plan(&roll.wanted, &roll.observe(), &roll.settings, roll.now);
    assert!(planned(&roll).is_empty());
    roll.want_version("0.2.0");
    assert_eq!(planned(&roll).len(), 4);
}

#[test]
fn there_is_no_plan_when_nothing_is_out_of_date() {
    let roll = Roll::settled(3);
    assert!(plan(&roll.wanted, &roll.observe(), &roll.settings, roll.now).is_empty());
    assert_eq!(roll.observe()[0].status.as_ref().unwrap().raft.role, Role::Leader);
}
