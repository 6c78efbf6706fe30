//! What the API server or a person keeps from happening: told with a reason, and nothing else stops.

use std::sync::Arc;
use std::time::Duration;

use super::world::{MISSING_VERSION, World};
use serde_json::json;

const SERVICE: &str = "/api/v1/namespaces/iot/services/fleet-tls";
const TOPIC: &str = "fleet/%u/edited";

#[tokio::test]
async fn a_service_name_that_somebody_else_has_is_told_and_left_alone() {
    let world = World::new();
    world.server.put(SERVICE, |service| {
        service["apiVersion"] = json!("v1");
        service["kind"] = json!("Service");
        service["spec"] = json!({"ports": [{"port": 80}], "selector": {"app": "shop"}});
    });
    let theirs = world.server.object(SERVICE);
    world.apply_quickstart();
    for _ in 0..2 {
        let running = world.start();
        world
            .until("it is told", |w| {
                World::reason(&w.cluster(), "Ready") == "NameTaken"
                    && World::reason(&w.cluster(), "MembersAligned") == "Aligned"
            })
            .await;
        let message = world.cluster_message("Ready");
        assert!(message.contains("Service iot/fleet-tls"), "{message}");
        world.until("an Event says so", |world| world.has_event("Warning NameTaken")).await;
        assert_eq!(world.cluster()["status"]["readyBrokers"], "3/3");
        let topic = format!("{TOPIC}/{}", world.writes().len());
        world.edit_rule(&topic);
        world.until("an edited rule is enforced", |world| world.is_enforced(&topic)).await;
        assert_eq!(world.server.object(SERVICE), theirs, "it is left alone");
        running.stop().await;
    }
    world.delete(SERVICE);
    let running = world.start();
    world.until("it is made once the name is free", World::is_all_ready).await;
    running.stop().await;
}

/// A Secret of a name that the operator needs, as somebody makes it who may create Secrets.
fn put_foreign_secret(world: &World, name: &str, data: serde_json::Value, owner: &str) {
    world.server.put(&format!("/api/v1/namespaces/iot/secrets/{name}"), |secret| {
        secret["apiVersion"] = json!("v1");
        secret["kind"] = json!("Secret");
        secret["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "mqtt-operator"});
        secret["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap",
            "name": "x", "uid": owner, "controller": true}]);
        secret["data"] = data;
    });
}

#[tokio::test]
async fn a_secret_that_somebody_else_made_never_becomes_a_users_password() {
    let world = World::new();
    world.apply_quickstart();
    world.apply_user("other", json!({"clusterRef": {"name": "fleet"}}));
    let running = world.start();
    world.until("everything is ready", World::is_all_ready).await;
    world.until("the other is", |world| World::is_ready(&world.user("other"))).await;
    let stolen = world.secret("other-mqtt")["data"].clone();
    assert!(stolen["passwordHash"].is_string(), "{stolen:#}");
    running.stop().await;
    for name in ["admin", "pump-1"] {
        let path = format!("/api/v1/namespaces/iot/secrets/{name}-mqtt");
        world.delete(&path);
        put_foreign_secret(&world, &format!("{name}-mqtt"), stolen.clone(), "foreign");
    }
    let theirs = world.secret("admin-mqtt");
    world.apply_user("admin", json!({"clusterRef": {"name": "fleet"}}));
    let running = world.start();
    for name in ["admin", "pump-1"] {
        world
            .until("it is told", |world| {
                World::message(&world.user(name), "Ready").contains(&format!("iot/{name}-mqtt"))
            })
            .await;
        let key = broker_policy::RecordKey::client(name);
        match world.brokers.policy().get(&key).map(|record| &**record) {
            Some(broker_policy::Record::Client(client)) => assert!(client.password.is_none()),
            other => assert!(other.is_none(), "{other:?}"),
        }
    }
    assert_eq!(world.secret("admin-mqtt"), theirs, "it is left alone");
    running.stop().await;
}

#[tokio::test]
async fn an_authority_that_somebody_else_made_is_never_the_clusters() {
    let (other, world) = (World::new(), World::new());
    other.apply_quickstart();
    let running = other.start();
    other.until("there is an authority", World::is_all_ready).await;
    running.stop().await;
    let data = other.secret("fleet-ca")["data"].clone();
    put_foreign_secret(&world, "fleet-ca", data.clone(), "foreign");
    let theirs = world.secret("fleet-ca");
    world.apply_quickstart();
    let running = world.start();
    world
        .until("it is told", |world| world.cluster_message("Ready").contains("Secret iot/fleet-ca"))
        .await;
    assert!(world.secret("fleet-server").is_null(), "nothing is issued by it");
    assert_eq!(world.secret("fleet-ca"), theirs, "it is left alone");
    world.delete("/api/v1/namespaces/iot/secrets/fleet-ca");
    world.until("the cluster's own is made", World::is_all_ready).await;
    assert_ne!(world.secret("fleet-ca")["data"]["root.crt"], data["root.crt"]);
    running.stop().await;
}

#[tokio::test]
async fn a_refused_write_is_told_and_holds_back_only_what_needs_it() {
    let world = World::new();
    world.apply_quickstart();
    let running = world.start();
    world.until("everything is ready", World::is_all_ready).await;
    let template = |world: &World| {
        let path = "/apis/apps/v1/namespaces/iot/statefulsets/fleet";
        world.server.object(path).map(|set| set["spec"]["template"].clone())
    };
    let before = template(&world);
    world.server.refuse("PATCH /api/v1/namespaces/iot/configmaps/fleet-config");
    world.server.put(&world.cluster_path(), |cluster| cluster["spec"]["version"] = json!("0.2.0"));
    world
        .until("it is told", |world| World::reason(&world.cluster(), "Ready") == "KubernetesError")
        .await;
    let message = world.cluster_message("Ready");
    assert!(message.contains("could not apply ConfigMap iot/fleet-config"), "{message}");
    world.until("an Event says so", |world| world.has_event("Warning KubernetesError")).await;
    world.edit_rule(TOPIC);
    world.until("an edited rule is enforced", |world| world.is_enforced(TOPIC)).await;
    assert_eq!(template(&world), before, "pods never run without their configuration");
    world.server.allow_all();
    world.touch();
    world
        .until("it goes on", |world| {
            world.cluster()["status"]["version"] == "0.2.0" && World::is_ready(&world.cluster())
        })
        .await;
    running.stop().await;
}

#[tokio::test]
async fn a_pass_that_fails_says_so_on_the_cluster() {
    let world = World::new();
    world.server.refuse("PUT /apis/mqtt.dunlin.io/v1alpha1/namespaces/iot/mqttclusters/fleet");
    world.apply_quickstart();
    let running = world.start();
    world
        .until("it is told", |world| World::reason(&world.cluster(), "Ready") == "KubernetesError")
        .await;
    world.until("an Event says so", |world| world.has_event("Warning KubernetesError")).await;
    world.server.allow_all();
    world.until("it is tried again", World::is_all_ready).await;
    assert!(world.cluster()["status"]["clusterID"].as_str().is_some_and(|id| id.len() == 26));
    running.stop().await;
}

#[tokio::test]
async fn while_a_spec_can_not_be_acted_upon_the_one_before_stays_in_force_also_after_a_restart() {
    let world = World::new();
    world.apply_quickstart();
    let running = world.start();
    world.until("everything is ready", World::is_all_ready).await;
    running.stop().await;
    world.server.put(&world.cluster_path(), |cluster| {
        cluster["spec"]["version"] = json!("0.2.0");
        cluster["spec"]["brokerConfig"] = json!({"data_dir": "/tmp"});
    });
    let running = world.start();
    world
        .until("it is told", |world| {
            World::reason(&world.cluster(), "Ready") == "InvalidConfiguration"
        })
        .await;
    assert_eq!(world.cluster()["status"]["observedGeneration"], 2);
    world.edit_rule(TOPIC);
    world.until("an edited rule is enforced", |world| world.is_enforced(TOPIC)).await;
    world.damage("fleet-peer-2", "tls.crt");
    world
        .until("certificates are renewed", |world| {
            world.secret("fleet-peer-2")["data"]["tls.crt"] != "bm9uc2Vuc2U="
        })
        .await;
    assert!(world.deleted_pods().is_empty(), "nothing of the refused spec is done");
    world.server.put(&world.cluster_path(), |cluster| {
        cluster["spec"]["brokerConfig"] = json!({});
    });
    world
        .until("the mended spec is acted upon", |world| {
            world.cluster()["status"]["version"] == "0.2.0" && World::is_ready(&world.cluster())
        })
        .await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_step_that_fails_is_tried_less_and_less_often() {
    let world = World::new();
    world.apply_quickstart();
    let running = world.start();
    world.until("everything is ready", World::is_all_ready).await;
    world.server.refuse("DELETE /api/v1/namespaces/iot/pods/");
    world.server.put(&world.cluster_path(), |cluster| cluster["spec"]["version"] = json!("0.2.0"));
    // The time here is the runtime's own, which passes as soon as nothing is to be done.
    let started = tokio::time::Instant::now();
    let passed = |_: &World| started.elapsed() > Duration::from_secs(50);
    world.until("a while has passed", passed).await;
    let tried = world.server.refusals().len();
    assert!((3..15).contains(&tried), "{tried} times");
    assert!(world.has_event("Warning VersionChanged"), "{:#?}", world.cluster_events());
    running.stop().await;
}

#[tokio::test]
async fn an_image_that_is_not_there_stops_the_roll_with_an_event() {
    let world = World::new();
    world.apply_quickstart();
    let running = world.start();
    world.until("everything is ready", World::is_all_ready).await;
    let version = |version: &str| {
        let version = json!(version);
        world.server.put(&world.cluster_path(), |cluster| cluster["spec"]["version"] = version);
    };
    version(MISSING_VERSION);
    world
        .until("the roll stops", |world| {
            World::reason(&world.cluster(), "Upgrading") == "BrokerNotReady"
        })
        .await;
    world.until("an Event says so", |world| world.has_event("Warning BrokerNotReady")).await;
    assert_eq!(world.deleted_pods().len(), 1, "the others stay as they are");
    version("0.1.0");
    world.until("the version before heals it", World::is_all_ready).await;
    running.stop().await;
}

#[tokio::test]
async fn a_deleted_cluster_is_forgotten_although_no_pass_saw_it_go() {
    let world = World::new();
    let running = world.start();
    let held = || Arc::strong_count(&world.brokers);
    let before = held();
    world.apply_quickstart();
    world.until("everything is ready", World::is_all_ready).await;
    assert!(held() > before, "the operator holds a client of the brokers");
    world.delete(&world.cluster_path());
    world.until("it holds none", |world| Arc::strong_count(&world.brokers) == before).await;
    running.stop().await;
}
