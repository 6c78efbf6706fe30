//! The controllers against the API server in memory, with brokers and a kubelet in memory too:
//! from manifests to Ready, edits, upgrades, deletions, and a restart that writes nothing.

mod api_server;
mod certificates;
mod peer_discovery;
mod refusals;
mod rights;
mod world;

use serde_json::json;
use world::World;

#[tokio::test]
async fn manifests_become_ready_and_what_they_own_is_there() {
    let world = World::new();
    world.apply_quickstart();
    let running = world.start();
    world.until("everything is ready", World::is_all_ready).await;

    let cluster = world.cluster();
    assert_eq!(cluster["status"]["readyBrokers"], "3/3");
    assert_eq!(cluster["status"]["founded"], true);
    assert_eq!(cluster["status"]["policy"]["users"], 2);
    for event in [
        "Normal CertificateIssued: issued the certificate in Secret fleet-ca: there was none",
        "Normal Bootstrap: fleet-0 founded the cluster",
        "Normal AddLearner: fleet-1 joins without a vote",
        "Normal Promote: fleet-2 has a vote",
        "Normal Serving: Ready is True: all 3 brokers serve",
    ] {
        world.until(event, |world| world.has_event(event)).await;
    }
    let restarts = &running.metrics.disruptions;
    assert_eq!(restarts.with_label_values(&["Promote"]).get(), 0, "nobody was disturbed");
    let text = running.metrics.text().unwrap();
    for line in [r#"{kind="MqttCluster"} 1"#, r#"{kind="MqttUser"} 2"#, r#"{kind="MqttAcl"} 1"#] {
        assert!(text.contains(&format!("mqtt_operator_objects{line}")), "{text}");
    }
    let changes = world.brokers.changes();
    assert_eq!(changes[0], "bootstrap fleet-0");
    assert_eq!(changes.iter().filter(|change| change.starts_with("voter")).count(), 2);

    for path in [
        "/api/v1/namespaces/iot/secrets/fleet-ca",
        "/api/v1/namespaces/iot/secrets/fleet-ca-bundle",
        "/api/v1/namespaces/iot/secrets/fleet-server",
        "/api/v1/namespaces/iot/secrets/fleet-admin",
        "/api/v1/namespaces/iot/secrets/fleet-peer-2",
        "/api/v1/namespaces/iot/configmaps/fleet-config",
        "/api/v1/namespaces/iot/services/fleet-brokers",
        "/api/v1/namespaces/iot/services/fleet-tls",
        "/api/v1/namespaces/iot/serviceaccounts/fleet",
        "/apis/policy/v1/namespaces/iot/poddisruptionbudgets/fleet",
        "/apis/networking.k8s.io/v1/namespaces/iot/networkpolicies/fleet",
    ] {
        let object = world.server.object(path).unwrap_or_else(|| panic!("{path} is missing"));
        assert_eq!(object["metadata"]["ownerReferences"][0]["kind"], "MqttCluster", "{path}");
    }
    let password = world.secret("pump-1-mqtt");
    assert!(password["data"]["password"].is_string() && password["data"]["uri"].is_string());
    let x509 = world.secret("pump-2-mqtt");
    assert!(x509["data"]["tls.crt"].is_string() && x509["data"]["ca.crt"].is_string());
    let user = world.user("pump-2");
    assert_eq!(user["status"]["secretName"], "pump-2-mqtt");
    assert!(user["status"]["certificate"]["notAfter"].is_string());
    assert_eq!(world.acl("pumps")["status"]["subjects"], 2);
    running.stop().await;
}

#[tokio::test]
async fn a_restarted_operator_writes_nothing() {
    let world = World::new();
    world.apply_quickstart();
    let running = world.start();
    world.until("everything is ready", World::is_all_ready).await;
    world.until("it is at rest", |world| world.is_at_rest(&running)).await;
    running.stop().await;

    let before = world.writes();
    let changes = world.brokers.changes();
    let restarted = world.start();
    world.until("it is at rest again", |world| world.is_at_rest(&restarted)).await;
    let news: Vec<_> = world.writes().split_off(before.len());
    assert!(news.is_empty(), "{news:#?}");
    assert_eq!(world.brokers.changes(), changes);
    restarted.stop().await;
}

#[tokio::test]
async fn an_edited_rule_is_pushed_and_reported() {
    let world = World::new();
    world.apply_quickstart();
    let running = world.start();
    world.until("everything is ready", World::is_all_ready).await;
    let before = world.acl("pumps");
    world.server.put(&world.acl_path("pumps"), |acl| {
        acl["spec"]["rules"][0]["topics"] = json!(["fleet/%u/state"]);
    });
    world
        .until("the edit is enforced", |world| {
            let acl = world.acl("pumps");
            acl["status"]["observedGeneration"] == 2 && World::is_ready(&acl)
        })
        .await;
    assert_ne!(world.acl("pumps")["status"]["revision"], before["status"]["revision"]);
    assert_eq!(world.brokers.changes().last().unwrap(), "policy +1 -0");
    running.stop().await;
}

#[tokio::test]
async fn a_deleted_user_goes_when_no_broker_knows_it() {
    let world = World::new();
    world.apply_quickstart();
    let running = world.start();
    world.until("everything is ready", World::is_all_ready).await;
    world.server.put(&world.user_path("pump-1"), |user| {
        user["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    });
    world
        .until("the user is gone", |world| {
            world.server.object(&world.user_path("pump-1")).is_none()
        })
        .await;
    assert!(
        world.brokers.policy().records().all(|record| record.key().as_str() != "client/pump-1")
    );
    running.stop().await;
}

#[tokio::test]
async fn users_without_a_cluster_are_told_and_may_go() {
    let world = World::new();
    world.apply_user("lost", json!({"clusterRef": {"name": "nowhere"}}));
    let running = world.start();
    world
        .until("the user is told", |world| {
            World::reason(&world.user("lost"), "Ready") == "UnknownCluster"
        })
        .await;
    running.stop().await;
}

#[tokio::test]
async fn a_new_version_replaces_one_broker_at_a_time_the_leader_last() {
    let world = World::new();
    world.apply_quickstart();
    let running = world.start();
    world.until("everything is ready", World::is_all_ready).await;
    world.server.put(&world.cluster_path(), |cluster| cluster["spec"]["version"] = json!("0.2.0"));
    world
        .until("every broker runs 0.2.0", |world| {
            let cluster = world.cluster();
            cluster["status"]["version"] == "0.2.0" && World::is_ready(&cluster)
        })
        .await;
    let replaced = world.deleted_pods();
    assert_eq!(replaced.len(), 3, "{replaced:?}");
    assert_eq!(replaced[2], "fleet-0", "the leader goes last: {replaced:?}");
    world
        .until("Events say so", |world| {
            world.has_event("Normal VersionChanged: fleet-0 is replaced: VersionChanged")
                && world.has_event("Normal TransferLeadership: fleet-0 hands leadership over")
        })
        .await;
    let restarts = &running.metrics.disruptions;
    assert_eq!(restarts.with_label_values(&["VersionChanged"]).get(), 3);
    assert_eq!(restarts.with_label_values(&["TransferLeadership"]).get(), 0);
    running.stop().await;
}

#[tokio::test]
async fn clients_are_moved_away_before_a_pod_is_replaced() {
    let world = World::new();
    world.apply_quickstart();
    let running = world.start();
    world.until("everything is ready", World::is_all_ready).await;
    world.brokers.set_connections("fleet-2", 300);
    world.server.put(&world.cluster_path(), |cluster| cluster["spec"]["version"] = json!("0.2.0"));
    world
        .until("its clients are moved", |world| {
            world.has_event("Normal Drain: fleet-2 moves its 300 clients away, 200 a second")
                && world.condition_message("Upgrading").contains("300 clients are still at fleet-2")
        })
        .await;
    assert!(world.deleted_pods().is_empty(), "its clients are there still");
    // The edit is taken back: it lets clients in again.
    world.server.put(&world.cluster_path(), |cluster| cluster["spec"]["version"] = json!("0.1.0"));
    let end = "end drain fleet-2".to_owned();
    world.until("the drain ends", |world| world.brokers.changes().contains(&end)).await;
    world.server.put(&world.cluster_path(), |cluster| cluster["spec"]["version"] = json!("0.2.0"));
    let drains = |world: &World| {
        world.brokers.changes().iter().filter(|change| *change == "drain fleet-2").count()
    };
    world.until("its clients are moved again", |world| drains(world) == 2).await;
    world.brokers.set_connections("fleet-2", 0);
    world
        .until("every broker runs 0.2.0", |world| world.cluster()["status"]["version"] == "0.2.0")
        .await;
    assert_eq!(world.deleted_pods()[0], "fleet-2");
    running.stop().await;
}

#[tokio::test]
async fn a_scale_up_and_back_changes_one_member_at_a_time() {
    let world = World::with_brokers(5);
    world.apply_quickstart();
    let running = world.start();
    world.until("everything is ready", World::is_all_ready).await;
    let before = world.brokers.changes().len();
    let scale = |replicas: u16| {
        world.server.put(&world.cluster_path(), |cluster| {
            cluster["spec"]["replicas"] = json!(replicas);
        });
    };
    scale(5);
    world
        .until("five brokers serve", |world| world.cluster()["status"]["readyBrokers"] == "5/5")
        .await;
    world.brokers.set_connections("fleet-4", 9);
    scale(3);
    world
        .until("the clients of the last are moved", |world| {
            world.condition_message("MembersAligned") == "9 clients are still at fleet-4"
        })
        .await;
    world.brokers.set_connections("fleet-4", 0);
    let set = "/apis/apps/v1/namespaces/iot/statefulsets/fleet";
    world
        .until("three are left", |world| world.server.object(set).unwrap()["spec"]["replicas"] == 3)
        .await;
    let changes = world.brokers.changes().split_off(before);
    let steps: Vec<_> = changes.iter().filter(|change| !change.starts_with("policy")).collect();
    assert_eq!(steps[..3], ["learner fleet-3", "learner fleet-4", "drain fleet-4"]);
    assert!(steps[3..].iter().all(|step| step.starts_with("remove ")), "{steps:?}");
    running.stop().await;
}

#[tokio::test]
async fn a_cluster_that_awaits_a_backup_is_founded_by_whoever_restores_one() {
    let world = World::new();
    world.apply_quickstart();
    world.server.put(&world.cluster_path(), |cluster| {
        cluster["spec"]["foundedFrom"] = json!("Backup");
    });
    let running = world.start();
    world
        .until("it says what it waits for", |world| {
            World::reason(&world.cluster(), "MembersAligned") == "BackupAwaited"
        })
        .await;
    assert!(world.brokers.changes().is_empty());
    world.brokers.restore("fleet-0");
    world.until("everything is ready", World::is_all_ready).await;
    assert!(!world.brokers.changes().iter().any(|change| change.starts_with("bootstrap")));
    running.stop().await;
}

#[tokio::test]
async fn a_spec_that_can_not_be_acted_upon_says_why() {
    let world = World::new();
    world.apply_cluster(json!({"version": "0.1.0", "brokerConfig": {"data_dir": "/tmp"}}));
    let running = world.start();
    world
        .until("the cluster says why", |world| {
            World::reason(&world.cluster(), "Ready") == "InvalidConfiguration"
        })
        .await;
    assert!(world.deleted_pods().is_empty());
    running.stop().await;
}

#[tokio::test]
async fn an_object_that_somebody_edited_is_put_right() {
    let world = World::new();
    world.apply_quickstart();
    let running = world.start();
    world.until("everything is ready", World::is_all_ready).await;
    let path = "/api/v1/namespaces/iot/services/fleet-tls";
    world.server.put(path, |service| service["spec"]["ports"][0]["port"] = json!(1));
    world
        .until("the port is back", |world| {
            world.server.object(path).unwrap()["spec"]["ports"][0]["port"] == 8883
        })
        .await;
    running.stop().await;
}
