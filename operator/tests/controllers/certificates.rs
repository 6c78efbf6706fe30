//! Damaged certificate Secrets: told with what to change, and what was in force stays so, also
//! after the operator was restarted.

use super::world::{Running, World};
use serde_json::{Value, json};

const TOPIC: &str = "fleet/%u/edited";

/// A world where everything is ready, and an operator that may have been restarted since `change`.
async fn after(change: impl Fn(&World), is_restarted: bool) -> (World, Running) {
    let world = World::new();
    world.apply_quickstart();
    let running = world.start();
    world.until("everything is ready", World::is_all_ready).await;
    if !is_restarted {
        change(&world);
        return (world, running);
    }
    running.stop().await;
    change(&world);
    let running = world.start();
    (world, running)
}

/// The policy, the membership and the rollout go on.
async fn everything_else_goes_on(world: &World) {
    world.edit_rule(TOPIC);
    world.until("an edited rule is enforced", |world| world.is_enforced(TOPIC)).await;
    world.delete(&world.user_path("pump-1"));
    world
        .until("a deleted user is gone", |world| {
            world.server.object(&world.user_path("pump-1")).is_none()
        })
        .await;
    assert!(world.deleted_pods().is_empty(), "nothing is a reason to replace a broker");
    world.server.put(&world.cluster_path(), |cluster| cluster["spec"]["version"] = json!("0.2.0"));
    let versions = |cluster: &Value| cluster["status"]["version"].clone();
    world.until("the upgrade is through", |world| versions(&world.cluster()) == "0.2.0").await;
}

#[tokio::test]
async fn a_damaged_authority_is_told_and_everything_else_goes_on_until_it_is_mended() {
    for is_restarted in [false, true] {
        let before = std::sync::Mutex::new(Value::Null);
        let change = |world: &World| *before.lock().unwrap() = world.damage("fleet-ca", "peer.key");
        let (world, running) = after(change, is_restarted).await;
        world
            .until("it is told", |world| {
                World::reason(&world.cluster(), "CertificatesValid") == "CertificateProblem"
            })
            .await;
        let message = world.cluster_message("CertificatesValid");
        for part in ["fleet-ca", "peer.key", "restore the entry from a backup"] {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(World::reason(&world.cluster(), "Ready"), "CertificateProblem");
        world.until("an Event says so", |w| w.has_event("Warning CertificateProblem")).await;

        everything_else_goes_on(&world).await;
        let kept = &world.secret("fleet-ca")["data"]["peer.key"];
        assert_eq!(kept, "bm9uc2Vuc2U=", "the authority is left as it is");
        let told =
            world.cluster_events().iter().filter(|e| e.contains("CertificateProblem")).count();
        assert_eq!(told, 1, "once for one change: {:#?}", world.cluster_events());

        world.restore("fleet-ca", "peer.key", &before.lock().unwrap());
        world.until("all is well again", |world| World::is_ready(&world.cluster())).await;
        running.stop().await;
    }
}

#[tokio::test]
async fn damaged_leaves_are_issued_anew() {
    for is_restarted in [false, true] {
        let change = |world: &World| {
            for secret in ["fleet-server", "fleet-admin", "fleet-peer-1"] {
                world.damage(secret, "tls.key");
            }
        };
        let (world, running) = after(change, is_restarted).await;
        for secret in ["fleet-server", "fleet-admin", "fleet-peer-1"] {
            let note = format!(
                "Normal CertificateIssued: issued the certificate in Secret {secret}: the one \
                 before can't be used"
            );
            world.until("it is issued anew and told", |world| world.has_event(&note)).await;
        }
        world.until("all is well", World::is_all_ready).await;
        everything_else_goes_on(&world).await;
        running.stop().await;
    }
}

#[tokio::test]
async fn the_operators_own_damaged_certificate_stays_in_use_while_none_can_be_issued() {
    let damage = |world: &World| {
        world.damage("fleet-ca", "admin.key");
        world.damage("fleet-admin", "tls.key");
    };
    let (world, running) = after(damage, false).await;
    world
        .until("both are told", |w| w.cluster_message("CertificatesValid").contains("(and 1 more)"))
        .await;
    everything_else_goes_on(&world).await;
    running.stop().await;
}

#[tokio::test]
async fn without_any_certificate_for_the_brokers_that_is_told_and_mending_it_ends_it() {
    let before = std::sync::Mutex::new(Value::Null);
    let damage = |world: &World| {
        *before.lock().unwrap() = world.damage("fleet-ca", "admin.key");
        world.damage("fleet-admin", "tls.key");
    };
    let (world, running) = after(damage, true).await;
    world
        .until("it is told", |world| {
            World::reason(&world.cluster(), "Ready") == "CertificateProblem"
        })
        .await;
    world.delete(&world.user_path("pump-1"));
    world.restore("fleet-ca", "admin.key", &before.lock().unwrap());
    world
        .until("the user goes once the brokers can be told", |world| {
            world.server.object(&world.user_path("pump-1")).is_none()
        })
        .await;
    world.until("all is well", |world| World::is_ready(&world.cluster())).await;
    running.stop().await;
}

#[tokio::test]
async fn a_given_authority_that_goes_away_stays_in_force() {
    let world = World::new();
    world.apply_quickstart();
    let running = world.start();
    world.until("everything is ready", World::is_all_ready).await;
    let path = "/api/v1/namespaces/iot/secrets/given";
    let data = world.secret("fleet-ca")["data"].clone();
    world.server.put(path, |given| {
        given["kind"] = json!("Secret");
        given["apiVersion"] = json!("v1");
        given["metadata"]["labels"] = json!({"mqtt.dunlin.io/watch": "true"});
        given["data"] = data;
    });
    world.server.put(&world.cluster_path(), |cluster| {
        cluster["spec"]["tls"] = json!({"authority": {"secretName": "given"}});
    });
    world
        .until("it is taken", |world| {
            World::is_ready(&world.cluster()) && world.cluster()["metadata"]["generation"] == 2
        })
        .await;
    world.delete(path);
    world
        .until("it is told", |world| World::reason(&world.cluster(), "Ready") == "SecretMissing")
        .await;
    assert_eq!(World::reason(&world.cluster(), "CertificatesValid"), "CertificateProblem");
    world.edit_rule(TOPIC);
    world.until("an edited rule is enforced", |world| world.is_enforced(TOPIC)).await;
    running.stop().await;
}
