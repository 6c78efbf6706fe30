//! The admin API over TLS: who may ask, and what it says to those who ask wrongly.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use broker_admin_api::{
    AddLearnerRequest, BootstrapRequest, BrokerState, BrokerStatus, ClusterView, DrainRequest,
    ErrorBody, NodeId, Reason, RemoveRequest, Role, ShardsView, TransferRequest, path,
};
use broker_policy::Policy;

use support::broker::Broker;
use support::client::DISCONNECT;
use support::eventually;
use support::process::request;

fn refusal(broker: &Broker, method: &str, path: &str, body: &str) -> (u16, ErrorBody) {
    let (code, answer) = broker.call(method, path, body);
    let body: ErrorBody =
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{code} {answer:?}: {error}"));
    assert_eq!(code, body.reason.http_status());
    (code, body)
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

#[test]
fn only_probes_and_metrics_are_open_to_who_shows_no_certificate() {
    let broker = Broker::start();
    let device = broker.pki.device();
    let ask = |method: &str, path: &str| {
        request(broker.process.admin, &device, method, path, "").unwrap()
    };
    for closed in [path::STATUS, path::POLICY_DIGESTS, path::DRAIN, "/v1/policy/buckets/0"] {
        let (code, body) = ask("GET", closed);
        assert_eq!(code, 401, "{closed}: {body}");
        let body: ErrorBody = serde_json::from_str(&body).unwrap();
        assert_eq!(body.reason, Reason::Unauthenticated);
        assert!(body.message.contains("certificate"), "{}", body.message);
    }
    assert_eq!(ask("POST", path::BOOTSTRAP).0, 401);
    assert_eq!(ask("GET", path::HEALTHZ).0, 200);
    assert_eq!(ask("GET", path::READYZ).0, 503);
    let (code, metrics) = ask("GET", path::METRICS);
    assert_eq!(code, 200);
    for name in [
        "draining",
        "raft_members",
        "raft_term",
        "connections",
        "listener_paused_total",
        "certificate_not_after_seconds",
        "policy_behind",
    ] {
        assert!(metrics.contains(&format!("\nmqtt_broker_{name}")), "{name} in\n{metrics}");
    }
}

#[test]
fn connections_that_are_opened_and_left_keep_neither_probes_nor_the_operator_out() {
    let broker = Broker::start();
    let idle: Vec<_> =
        (0..500).map(|_| std::net::TcpStream::connect(broker.process.admin).unwrap()).collect();
    let device = broker.pki.device();
    let (code, _) = request(broker.process.admin, &device, "GET", path::HEALTHZ, "").unwrap();
    assert_eq!(code, 200);
    assert_eq!(broker.status().state, BrokerState::Uninitialised);
    drop(idle);
}

#[test]
fn a_certificate_of_a_device_opens_nothing() {
    let broker = Broker::start();
    let device = broker.pki.device_named("pump");
    let asked = request(broker.process.admin, &device, "GET", path::STATUS, "");
    assert!(!matches!(asked, Ok((200, _))), "{asked:?}");
    assert_eq!(broker.status().state, BrokerState::Uninitialised);
}

#[test]
fn a_wrong_request_is_told_what_to_change() {
    let broker = Broker::start();
    let (code, body) = refusal(&broker, "POST", path::BOOTSTRAP, "{");
    assert_eq!((code, body.reason), (400, Reason::BadRequest));

    let (code, body) = refusal(&broker, "POST", path::BOOTSTRAP, r#"{"cluster_id":"x"}"#);
    assert_eq!(code, 422);
    assert!(body.message.contains("node_id"), "{}", body.message);

    let typo = r#"{"cluster_id":"x","node_id":"0000000000000001","nodeid":1}"#;
    let (code, body) = refusal(&broker, "POST", path::BOOTSTRAP, typo);
    assert_eq!(code, 422);
    assert!(body.message.contains("nodeid"), "{}", body.message);

    let node_id = broker.status().node_id;
    let foreign = BootstrapRequest { cluster_id: "other".to_owned(), node_id };
    let (code, body) = refusal(&broker, "POST", path::BOOTSTRAP, &json(&foreign));
    assert_eq!(code, 422);
    assert!(body.message.contains("cluster_id"), "{}", body.message);

    let cluster_id = broker.status().cluster_id;
    let other_disk = BootstrapRequest { cluster_id, node_id: NodeId(1) };
    let (code, body) = refusal(&broker, "POST", path::BOOTSTRAP, &json(&other_disk));
    assert_eq!(code, 422);
    assert!(body.message.contains(&node_id.to_string()), "{}", body.message);

    assert_eq!(refusal(&broker, "GET", "/v1/nothing", "").1.reason, Reason::NotFound);
    let (code, body) = refusal(&broker, "DELETE", path::STATUS, "");
    assert_eq!((code, body.reason), (405, Reason::MethodNotAllowed));
    let (code, body) = refusal(&broker, "GET", "/v1/policy/buckets/256", "");
    assert_eq!(code, 400);
    assert!(body.message.contains("255"), "{}", body.message);
    let long = "b".repeat(1_025);
    for (drain, named) in [
        (DrainRequest { clients_per_second: 0, ..DrainRequest::begin(1) }, "clients_per_second"),
        (DrainRequest { server_reference: Some(long), ..DrainRequest::begin(1) }, "1024 bytes"),
        (DrainRequest { requested_by: Some(String::new()), ..DrainRequest::end() }, "requested_by"),
    ] {
        let (code, body) = refusal(&broker, "POST", path::DRAIN, &json(&drain));
        assert_eq!(code, 422);
        assert!(body.message.contains(named), "{}", body.message);
    }
}

#[test]
fn steps_that_cannot_be_taken_are_refused_by_their_reason() {
    let broker = Broker::founded();
    let status = broker.status();
    let again = BootstrapRequest { cluster_id: status.cluster_id.clone(), node_id: status.node_id };
    let (code, body) = refusal(&broker, "POST", path::BOOTSTRAP, &json(&again));
    assert_eq!((code, body.reason), (409, Reason::AlreadyInitialised));

    let remove = RemoveRequest { node_id: status.node_id, expected_membership_log_index: None };
    assert_eq!(refusal(&broker, "POST", path::REMOVE, &json(&remove)).1.reason, Reason::IsLeader);

    let learner = AddLearnerRequest {
        node_id: NodeId(1),
        name: "fleet-9".to_owned(),
        expected_membership_log_index: Some(9_999),
    };
    let (_, body) = refusal(&broker, "POST", path::LEARNERS, &json(&learner));
    assert_eq!(body.reason, Reason::MembershipChanged);
    assert!(body.message.contains("9999"), "{}", body.message);

    let change = json(&Policy::default().change(Vec::new(), Vec::new()).unwrap());
    let (code, body) = refusal(&broker, "POST", path::POLICY_CHANGES, &change);
    assert_eq!((code, body.reason), (409, Reason::RevisionMismatch));
    assert_eq!(body.revision.as_deref(), Some(status.policy.applied_revision.as_str()));
}

#[test]
fn a_follower_names_the_leader() {
    let brokers = Broker::cluster(3);
    let is_led_by_itself = |broker: &&Broker| broker.status().raft.role != Role::Leader;
    let follower = brokers.iter().find(is_led_by_itself).unwrap();
    let body = json(&TransferRequest::default());
    let (code, body) = refusal(follower, "POST", path::TRANSFER, &body);
    assert_eq!((code, body.reason), (409, Reason::NotLeader));
    let leader = body.leader.unwrap();
    let leads = |broker: &&Broker| broker.status().node_id == leader.node_id;
    let named: BrokerStatus = brokers.iter().find(leads).unwrap().status();
    assert_eq!((named.name, named.raft.role), (leader.name, Role::Leader));
}

#[test]
fn a_drain_moves_clients_away_lets_none_in_and_can_be_taken_back() {
    let broker = Broker::founded();
    let mut client = broker.plain("c");
    let drain = |enabled| json(&DrainRequest { enabled, ..DrainRequest::begin(100) });
    assert_eq!(broker.call("POST", path::DRAIN, &drain(true)).0, 200);
    assert_eq!(client.expect(DISCONNECT).body[0], 0x8B);
    let drained = broker.status().drain;
    assert!(drained.is_by_operator() && drained.clients_per_second == Some(100), "{drained:?}");
    let probe = || {
        let device = broker.pki.device();
        request(broker.process.admin, &device, "GET", path::READYZ, "").unwrap()
    };
    let (code, why) = probe();
    assert_eq!(code, 503);
    assert!(why.contains("drained"), "{why}");
    assert_eq!(broker.status().state, BrokerState::Draining);
    eventually("no connection is left", || (broker.status().connections == 0).then_some(()));
    assert_eq!(broker.call("POST", path::DRAIN, &drain(false)).0, 200);
    eventually("ready again", || (probe().0 == 200).then_some(()));
    eventually("clients come in again", || {
        let address = broker.process.listener("plain");
        let mut client = support::client::Client::try_plain(address).ok()?;
        (client.connect("d", Some("pump"), b"secret") == 0).then_some(())
    });
}

#[test]
fn a_drain_names_another_server_and_tells_how_far_it_is() {
    let broker = Broker::founded();
    let mut clients: Vec<_> = (0..20).map(|n| broker.plain(&format!("c{n}"))).collect();
    let drain = DrainRequest {
        server_reference: Some("other.example:8883".to_owned()),
        requested_by: Some("a person".to_owned()),
        ..DrainRequest::begin(1)
    };
    let (code, answer) = broker.call("POST", path::DRAIN, &json(&drain));
    assert_eq!(code, 200, "{answer}");
    let status = broker.status().drain;
    assert!(status.draining && !status.is_by_operator(), "{status:?}");
    assert_eq!(status.requested_by.as_deref(), Some("a person"));
    assert!(status.seconds_left.unwrap() >= 15, "{status:?}");
    let faster = DrainRequest { clients_per_second: 1_000, ..drain };
    assert_eq!(broker.call("POST", path::DRAIN, &json(&faster)).0, 200);
    for client in &mut clients {
        let told = client.expect(DISCONNECT).body;
        assert_eq!(told[0], 0x9C);
        let name = b"other.example:8883";
        assert!(told.windows(name.len()).any(|part| part == name), "{told:?}");
    }
    eventually("nobody is left", || (broker.status().drain.seconds_left == Some(0)).then_some(()));
}

#[test]
fn the_view_of_a_cluster_shows_who_votes_and_who_is_behind() {
    let brokers = Broker::cluster(3);
    let view = |broker: &Broker| -> ClusterView {
        let (code, answer) = broker.call("GET", path::CLUSTER, "");
        assert_eq!(code, 200, "{answer}");
        serde_json::from_str(&answer).unwrap()
    };
    let (at_leader, leader) = eventually("one leads and all have its log", || {
        let views = brokers.iter().map(view);
        let found = views.zip(&brokers).find(|(seen, broker)| {
            seen.leader == Some(broker.status().node_id)
                && seen.members.iter().all(|member| member.lag == Some(0))
        });
        found.map(|(seen, broker)| (seen, broker.status()))
    });
    assert_eq!((at_leader.losses_tolerated, at_leader.answered_by), (1, leader.name));
    let names: Vec<&str> = at_leader.members.iter().map(|member| member.name.as_str()).collect();
    assert_eq!(names, ["fleet-0", "fleet-1", "fleet-2"]);
    assert!(at_leader.members.iter().all(|member| member.voter && member.linked));
    let follower = brokers.iter().find(|broker| broker.status().node_id != leader.node_id);
    let seen = view(follower.unwrap());
    assert_eq!(seen.leader, Some(leader.node_id));
    assert!(seen.members.iter().all(|member| member.lag.is_none()), "{seen:?}");
}

#[test]
fn the_shards_of_durable_sessions_and_their_queues_are_told() {
    let brokers = Broker::cluster(3);
    let broker = &brokers[0];
    let mut away = support::client::Client::plain(broker.process.listener("plain"));
    away.send(&support::client::connect("away", Some("pump"), b"secret", false));
    away.expect(support::client::CONNACK);
    away.subscribe("news", 1);
    drop(away);
    let mut publisher = broker.plain("publisher");
    let shards = |broker: &Broker| -> ShardsView {
        let (code, answer) = broker.call("GET", path::SHARDS, "");
        assert_eq!(code, 200, "{answer}");
        serde_json::from_str(&answer).unwrap()
    };
    let of_away =
        |view: &ShardsView| view.shards.iter().find(|shard| shard.sessions > 0).cloned().unwrap();
    eventually("its client is away", || (of_away(&shards(broker)).connected == 0).then_some(()));
    assert_eq!(publisher.publish_acknowledged("news", b"hello"), 0);
    let leader = eventually("one leads", || {
        let mut statuses = brokers.iter().map(Broker::status);
        statuses.find(|status| status.raft.role == Role::Leader).map(|status| status.node_id)
    });
    for broker in &brokers {
        let shard = eventually("the message is told of", || {
            let view = shards(broker);
            assert_eq!(view.shards.len(), 16);
            Some(of_away(&view)).filter(|shard| shard.queued_messages > 0)
        });
        assert_eq!((shard.sessions, shard.subscriptions, shard.queued_messages), (1, 1, 1));
        assert!(shard.queued_bytes >= 5, "{shard:?}");
        assert_eq!((shard.group.as_str(), shard.leader), ("meta", Some(leader)));
    }
}
