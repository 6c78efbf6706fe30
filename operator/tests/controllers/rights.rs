//! What users and rules are told: that they are enforced only while they are, why they aren't, and
//! as Events what changed.

use serde_json::{Value, json};

use super::world::World;

/// Rules about whoever has a label.
fn by_kind(kind: &str) -> Value {
    let rule = json!({"effect": "Allow", "actions": ["Publish"], "topics": [kind]});
    json!({"clusterRef": {"name": "fleet"}, "rules": [rule],
        "subjects": [{"users": {"matchLabels": {"kind": kind}}}]})
}

fn is_propagating(object: &Value) -> bool {
    World::reason(object, "Ready") == "Propagating"
        && World::reason(object, "Enforced") == "Propagating"
}

#[tokio::test]
async fn an_edit_is_not_ready_while_one_broker_lags() {
    let world = World::new();
    world.apply_quickstart();
    let running = world.start();
    world.until("everything is ready", World::is_all_ready).await;
    world.brokers.set_lag("fleet-2", usize::MAX);
    world.server.put(&world.acl_path("pumps"), |acl| {
        acl["spec"]["rules"][0]["topics"] = json!(["fleet/%u/state"]);
    });
    world.until("the rules wait", |world| is_propagating(&world.acl("pumps"))).await;
    let waiting = world.acl("pumps");
    assert_eq!(waiting["status"]["observedGeneration"], 2);
    assert!(waiting["status"]["revision"].is_null(), "{waiting:#}");
    assert!(World::is_ready(&world.user("pump-1")), "whom the edit does not concern stays ready");

    world.brokers.set_lag("fleet-2", 0);
    world.until("the edit is enforced", |world| World::is_ready(&world.acl("pumps"))).await;
    assert!(world.acl("pumps")["status"]["revision"].is_string());
    running.stop().await;
}

#[tokio::test]
async fn an_edited_label_makes_the_user_and_its_rules_wait_for_the_lagging_broker() {
    let world = World::new();
    world.apply_quickstart();
    world.apply_acl("pumps", by_kind("pump"));
    world.apply_acl("valves", by_kind("valve"));
    let running = world.start();
    world.until("everything is ready", World::is_all_ready).await;
    world.until("the valves are ready", |world| World::is_ready(&world.acl("valves"))).await;
    world.brokers.set_lag("fleet-2", usize::MAX);
    world.server.put(&world.user_path("pump-1"), |user| {
        user["metadata"]["labels"] = json!({"kind": "valve"});
    });
    world.until("the user waits", |world| is_propagating(&world.user("pump-1"))).await;
    world.until("its rules wait", |world| is_propagating(&world.acl("valves"))).await;
    assert_eq!(world.user("pump-1")["metadata"]["generation"], 1);
    assert!(World::is_ready(&world.user("pump-2")) && World::is_ready(&world.acl("pumps")));

    world.brokers.set_lag("fleet-2", 0);
    world
        .until("the label is enforced", |world| {
            World::is_ready(&world.user("pump-1")) && World::is_ready(&world.acl("valves"))
        })
        .await;
    running.stop().await;
}

#[tokio::test]
async fn a_restarted_operator_says_that_an_edit_of_meanwhile_is_not_enforced_yet() {
    let world = World::new();
    world.apply_quickstart();
    world.apply_acl("pumps", by_kind("pump"));
    let running = world.start();
    world.until("everything is ready", World::is_all_ready).await;
    world.until("it is at rest", |world| world.is_at_rest(&running)).await;
    running.stop().await;
    world.brokers.set_lag("fleet-2", usize::MAX);
    world.server.put(&world.user_path("pump-1"), |user| {
        user["metadata"]["labels"] = json!({"kind": "pump"});
    });
    let restarted = world.start();
    world.until("the user waits", |world| is_propagating(&world.user("pump-1"))).await;
    assert!(World::is_ready(&world.user("pump-2")));
    world.brokers.set_lag("fleet-2", 0);
    world.until("everything is ready again", World::is_all_ready).await;
    restarted.stop().await;
}

#[tokio::test]
async fn a_refused_policy_is_told_to_whom_it_concerns_until_it_is_taken() {
    let world = World::new();
    world.apply_quickstart();
    let running = world.start();
    world.until("everything is ready", World::is_all_ready).await;
    world.brokers.refuse_policy(true);
    world.server.put(&world.acl_path("pumps"), |acl| {
        acl["spec"]["rules"][0]["topics"] = json!(["fleet/%u/state"]);
    });
    world
        .until("the rules say why", |world| {
            World::message(&world.acl("pumps"), "Ready").contains("not such a policy")
        })
        .await;
    assert_eq!(World::reason(&world.acl("pumps"), "Ready"), "PolicyRefused");
    assert!(World::is_ready(&world.user("pump-1")));
    world
        .until("the cluster says why", |world| {
            World::message(&world.cluster(), "PolicyInSync").contains("not such a policy")
        })
        .await;

    world.brokers.refuse_policy(false);
    world.server.put(&world.acl_path("pumps"), |acl| {
        acl["spec"]["rules"][0]["topics"] = json!(["fleet/%u/other"]);
    });
    world.until("an edit is taken at once", World::is_all_ready).await;
    world
        .until("the cluster says so", |world| {
            World::reason(&world.cluster(), "PolicyInSync") == "Enforced"
        })
        .await;
    running.stop().await;
}

#[tokio::test]
async fn sent_records_are_counted_by_what_happens_to_them() {
    let world = World::new();
    world.apply_quickstart();
    let running = world.start();
    world.until("everything is ready", World::is_all_ready).await;
    // Two clients, the role and the settings.
    assert_eq!((running.records_sent("upsert"), running.records_sent("removal")), (4, 0));
    world.server.put(&world.user_path("pump-1"), |user| {
        user["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    });
    world
        .until("the user is gone", |world| {
            world.server.object(&world.user_path("pump-1")).is_none()
        })
        .await;
    assert_eq!((running.records_sent("upsert"), running.records_sent("removal")), (4, 1));
    running.stop().await;
}

#[tokio::test]
async fn events_say_that_objects_are_enforced_what_is_wrong_with_them_and_that_it_is_mended() {
    let world = World::new();
    world.apply_quickstart();
    let running = world.start();
    let is_said = |event: &str| world.events().iter().any(|said| said == event);
    world.until("everything is ready", World::is_all_ready).await;
    world
        .until("that is said", |_| {
            is_said("Normal Enforced MqttUser pump-1") && is_said("Normal Enforced MqttAcl pumps")
        })
        .await;

    let taken = json!({"clusterRef": {"name": "fleet"}, "username": "pump-1"});
    world.apply_user("thief", taken);
    world.server.put(&world.acl_path("pumps"), |acl| {
        acl["spec"]["rules"][0]["topics"] = json!(["fleet/#/state"]);
    });
    world
        .until("the problems are said", |_| {
            is_said("Warning UsernameTaken MqttUser thief")
                && is_said("Warning InvalidTopic MqttAcl pumps")
        })
        .await;
    assert!(!is_said("Normal Enforced MqttUser thief"));
    world.server.put(&world.user_path("thief"), |user| {
        user["spec"]["username"] = json!("honest");
    });
    world.until("that it is mended is said", |_| is_said("Normal Enforced MqttUser thief")).await;
    running.stop().await;
}

#[tokio::test]
async fn many_new_users_are_few_events_and_a_sum_and_a_restart_says_nothing() {
    const USERS: usize = 200;
    let world = World::new();
    world.apply_quickstart();
    for number in 0..USERS {
        world.apply_user(&format!("sensor-{number}"), json!({"clusterRef": {"name": "fleet"}}));
    }
    let running = world.start();
    world
        .until("every user is ready", |world| {
            world.is_all_ready()
                && (0..USERS).all(|at| World::is_ready(&world.user(&format!("sensor-{at}"))))
        })
        .await;
    world
        .until("the sum is said", |world| {
            world.events().iter().any(|said| said == "Normal ManyEnforced MqttCluster fleet")
        })
        .await;
    let about_users =
        |world: &World| world.events().iter().filter(|said| said.contains(" MqttUser ")).count();
    assert!(about_users(&world) < USERS / 2, "{}", about_users(&world));
    world.until("it is at rest", |world| world.is_at_rest(&running)).await;
    running.stop().await;

    let before = about_users(&world);
    let restarted = world.start();
    world.until("it is at rest again", |world| world.is_at_rest(&restarted)).await;
    restarted.stop().await;
    assert_eq!(about_users(&world), before);
}

#[tokio::test(start_paused = true)]
async fn users_and_rules_of_no_cluster_are_told_and_cost_nothing_until_it_is_there() {
    let world = World::new();
    world.apply_user("pump-1", json!({"clusterRef": {"name": "fleet"}}));
    world.apply_acl("pumps", by_kind("pump"));
    let running = world.start();
    let is_told = |object: &Value| World::reason(object, "Ready") == "UnknownCluster";
    world
        .until("both are told", |world| {
            is_told(&world.user("pump-1")) && is_told(&world.acl("pumps"))
        })
        .await;
    // The time here is the runtime's own, which passes as soon as nothing is to be done.
    let started = tokio::time::Instant::now();
    world
        .until("a while has passed", |_| started.elapsed() > std::time::Duration::from_secs(50))
        .await;
    let passes =
        running.metrics.reconcile_seconds.with_label_values(&["rights"]).get_sample_count();
    assert!(passes < 20, "{passes} passes");
    world.apply_quickstart();
    world.until("the cluster is there", World::is_all_ready).await;
    running.stop().await;
}

#[tokio::test]
async fn an_edit_is_not_enforced_while_a_ready_broker_does_not_answer() {
    let world = World::new();
    world.apply_quickstart();
    let running = world.start();
    world.until("everything is ready", World::is_all_ready).await;
    world.brokers.set_up("fleet-2", false);
    world.server.put(&world.acl_path("pumps"), |acl| {
        acl["spec"]["rules"][0]["topics"] = json!(["fleet/%u/state"]);
    });
    world
        .until("the rules wait for the silent broker", |world| {
            let acl = world.acl("pumps");
            is_propagating(&acl) && World::message(&acl, "Enforced").contains("fleet-2")
        })
        .await;
    world
        .until("the cluster says so", |world| {
            World::reason(&world.cluster(), "PolicyInSync") != "Enforced"
        })
        .await;
    world.server.put("/api/v1/namespaces/iot/pods/fleet-2", |pod| {
        pod["status"]["conditions"][0]["status"] = json!("False");
    });
    world
        .until("a broker whose pod is not ready holds nothing up", |world| {
            World::is_ready(&world.acl("pumps"))
        })
        .await;
    running.stop().await;
}
