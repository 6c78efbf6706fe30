//! Tests of a cluster's status.

use broker_admin_api::{
    BrokerState, BrokerStatus, CertificateStatus, Member, NodeId, PolicyCounts, PolicyStatus,
    RaftStatus, Role, ServedCertificate,
};
use jiff::Timestamp;
use operator_api::{Condition, MqttClusterStatus};

use super::status::*;
use super::validate::ValidatedCluster;
use crate::cluster::fixture::validated;
use crate::membership::{Step, WaitReason};
use crate::rollout::{Instance, NextStep, Observed, Readiness, Wanted};

const REVISION: &str = "9c1e0000000000000000000000000000";

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn broker(ordinal: u64) -> Observed {
    let member = |id: u64| Member {
        node_id: NodeId(id + 1),
        name: format!("fleet-{id}"),
        voter: true,
        matched_index: None,
    };
    let is_leader = ordinal == 1;
    Observed {
        name: format!("fleet-{ordinal}"),
        instance: Some(Instance {
            version: "0.1.0".into(),
            template: "t1".into(),
            readiness: Readiness::Ready(now()),
            is_terminating: false,
            failure: None,
        }),
        status: Ok(BrokerStatus {
            name: format!("fleet-{ordinal}"),
            node_id: NodeId(ordinal + 1),
            cluster_id: "01KABCDEF".into(),
            version: "0.1.0".into(),
            feature_level: 1,
            cluster_feature_level: 1,
            state: BrokerState::Serving,
            ready: true,
            ready_message: String::new(),
            raft: RaftStatus {
                role: if is_leader { Role::Leader } else { Role::Follower },
                term: 3,
                leader: Some(NodeId(2)),
                quorum_acknowledged_ms_ago: is_leader.then_some(10),
                members: (0..3).map(member).collect(),
                membership_log_index: Some(4),
                membership_settled: true,
                last_log_index: Some(9),
                last_applied_index: Some(9),
                caught_up: true,
            },
            policy: PolicyStatus {
                enforced_revision: REVISION.into(),
                applied_revision: REVISION.into(),
                counts: PolicyCounts::default(),
            },
            connections: 5,
            sessions: 5,
            drain: Default::default(),
            config_digest: "d".into(),
            certificates: CertificateStatus {
                server: Some(ServedCertificate {
                    fingerprint: "f".into(),
                    not_after: now().as_second() + 86_400,
                }),
                ..CertificateStatus::default()
            },
            peers: Vec::new(),
            started_at: 0,
            uptime_seconds: 1,
        }),
    }
}

struct Case {
    cluster: ValidatedCluster,
    brokers: Vec<Observed>,
    wanted: Wanted,
    membership: Step,
    rollout: NextStep,
    policy: PolicyState,
    certificate_problems: Vec<String>,
}

fn well() -> Case {
    Case {
        cluster: validated("{version: 0.1.0}"),
        brokers: (0..3).map(broker).collect(),
        wanted: Wanted {
            brokers: 3,
            version: "0.1.0".into(),
            template: "t1".into(),
            policy_revision: Some(REVISION.into()),
            is_membership_aligned: true,
        },
        membership: Step::Aligned,
        rollout: NextStep::Done,
        policy: PolicyState {
            wanted_revision: Some(REVISION.into()),
            users: 2,
            rules: 3,
            problem: None,
        },
        certificate_problems: Vec::new(),
    }
}

impl Case {
    fn status(&self) -> MqttClusterStatus {
        build(&StatusInput {
            cluster: &self.cluster,
            before: &MqttClusterStatus { founded: true, ..MqttClusterStatus::default() },
            brokers: &self.brokers,
            wanted: &self.wanted,
            membership: &self.membership,
            rollout: &self.rollout,
            plan: &[],
            policy: &self.policy,
            certificate_problems: &self.certificate_problems,
            endpoints: &kubernetes_endpoints(&self.cluster),
            now: now(),
        })
    }

    fn ready_reason(&self) -> String {
        let status = self.status();
        let ready = condition(&status, "Ready");
        assert_eq!(ready.status, "False", "{ready:?}");
        ready.reason.clone()
    }
}

fn condition<'a>(status: &'a MqttClusterStatus, type_: &str) -> &'a Condition {
    status.conditions.iter().find(|condition| condition.type_ == type_).unwrap()
}

#[test]
fn status_of_a_cluster_that_is_well() {
    insta::assert_snapshot!(serde_yaml::to_string(&well().status()).unwrap());
}

#[test]
fn writing_the_same_status_again_changes_nothing() {
    let case = well();
    let before = case.status();
    let input = StatusInput {
        cluster: &case.cluster,
        before: &before,
        brokers: &case.brokers,
        wanted: &case.wanted,
        membership: &case.membership,
        rollout: &case.rollout,
        plan: &[],
        policy: &case.policy,
        certificate_problems: &[],
        endpoints: &kubernetes_endpoints(&case.cluster),
        now: Timestamp::from_second(now().as_second() + 60).unwrap(),
    };
    assert_eq!(build(&input), before);
}

#[test]
fn ready_names_what_is_missing() {
    let mut no_leader = well();
    for broker in &mut no_leader.brokers {
        broker.status.as_mut().unwrap().raft.role = Role::Follower;
    }
    assert_eq!(no_leader.ready_reason(), "NoLeader");

    let mut behind = well();
    behind.brokers[2].status.as_mut().unwrap().policy.enforced_revision = "old".into();
    assert_eq!(behind.ready_reason(), "Propagating");
    let status = behind.status();
    assert!(condition(&status, "PolicyInSync").message.contains("fleet-2"));
    assert_eq!(status.policy.unwrap().revision, None);

    let mut unreachable = well();
    unreachable.brokers[0].status = Err("connection refused".into());
    assert_eq!(unreachable.ready_reason(), "BrokersNotServing");
    assert_eq!(condition(&unreachable.status(), "QuorumHealthy").status, "True");
    let policy = condition(&unreachable.status(), "PolicyInSync").clone();
    assert_eq!((policy.status.as_str(), policy.reason.as_str()), ("False", "BrokerSilent"));
    assert!(policy.message.contains("no answer from fleet-0"), "{}", policy.message);

    // It says that it is ready before the platform has seen so: no Service leads clients to it.
    let mut not_seen = well();
    not_seen.brokers[0].instance.as_mut().unwrap().readiness = Readiness::Unready(now());
    assert_eq!(not_seen.ready_reason(), "BrokersNotServing");
    assert_eq!(not_seen.status().ready_brokers.as_deref(), Some("2/3"));

    let mut lost = unreachable;
    lost.brokers[2].status = Err("connection refused".into());
    assert_eq!(lost.ready_reason(), "QuorumLost");

    let mut joining = well();
    joining.membership = Step::Wait {
        reason: WaitReason::LearnerCatchingUp,
        message: "fleet-2 is 400 entries behind".into(),
    };
    assert_eq!(joining.ready_reason(), "LearnerCatchingUp");

    let mut broken = well();
    broken.certificate_problems.push("fleet-server: the key is not the certificate's".into());
    assert_eq!(broken.ready_reason(), "CertificateProblem");
}

#[test]
fn an_upgrade_shows_where_it_leads() {
    let mut case = well();
    case.wanted.version = "0.2.0".into();
    case.rollout = NextStep::Restart {
        broker: "fleet-0".into(),
        reason: crate::rollout::RestartReason::VersionChanged,
    };
    let status = case.status();
    assert_eq!(status.version.as_deref(), Some("0.1.0"));
    assert_eq!(status.target_version.as_deref(), Some("0.2.0"));
    assert_eq!(condition(&status, "Upgrading").status, "True");
    assert_eq!(case.ready_reason(), "RollingOut");
}

#[test]
fn counters_alone_are_no_difference() {
    let case = well();
    let before = case.status();
    let mut after = before.clone();
    after.connections = Some(99);
    after.brokers[0].connections = Some(99);
    assert!(!differs_beyond_counters(&before, &after));
    after.brokers[0].role = Some("Leader".into());
    assert!(differs_beyond_counters(&before, &after));
}
