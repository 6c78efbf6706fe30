//! Brokers that find each other by the API server: the right to, for as long as one of them needs it.

use serde_json::json;

use crate::world::World;

const ROLE: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/iot/roles/fleet-peer-discovery";
const BINDING: &str =
    "/apis/rbac.authorization.k8s.io/v1/namespaces/iot/rolebindings/fleet-peer-discovery";

fn has_right(world: &World) -> bool {
    world.server.object(ROLE).is_some() && world.server.object(BINDING).is_some()
}

fn set_discovery(world: &World, discovery: &str) {
    world.server.put(&world.cluster_path(), |cluster| {
        cluster["spec"]["discovery"] = json!(discovery);
    });
}

#[tokio::test]
async fn the_right_to_read_endpoint_slices_comes_before_the_pods_and_goes_after_the_last() {
    let world = World::new();
    world.apply_quickstart();
    let running = world.start();
    world.until("everything is ready", World::is_all_ready).await;
    assert!(!has_right(&world), "nobody asked for it");

    set_discovery(&world, "kubernetes");
    world
        .until("each broker asks the API server", |world| {
            world.deleted_pods().len() == 3 && world.is_all_ready()
        })
        .await;
    let writes = world.writes();
    let position = |write: &str| writes.iter().position(|found| found.starts_with(write));
    let first_pod = position("DELETE /api/v1/namespaces/iot/pods/").expect("a pod");
    for path in [ROLE, BINDING] {
        assert!(position(&format!("PATCH {path}")).is_some_and(|at| at < first_pod), "{path}");
    }
    assert_eq!(
        world.server.object(ROLE).unwrap()["rules"],
        json!([{"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"],
            "verbs": ["get", "list", "watch"]}])
    );

    set_discovery(&world, "dns");
    world.until("the right is gone", |world| !has_right(world)).await;
    let writes = world.writes();
    let last = |write: &str| writes.iter().rposition(|found| found.starts_with(write));
    assert_eq!(world.deleted_pods().len(), 6, "not before the last pod that used it");
    let last_pod = last("DELETE /api/v1/namespaces/iot/pods/").expect("a pod");
    assert!(last(&format!("DELETE {BINDING}")).is_some_and(|at| at > last_pod));
    world.until("both are gone", |world| world.server.object(ROLE).is_none()).await;
    running.stop().await;
}

#[tokio::test]
async fn a_right_that_somebody_widened_is_narrowed_again() {
    let world = World::new();
    world.apply_quickstart();
    set_discovery(&world, "kubernetes");
    let running = world.start();
    world.until("everything is ready", World::is_all_ready).await;
    world.server.put(ROLE, |role| role["rules"][0]["resources"] = json!(["*"]));
    world
        .until("it is as it was", |world| {
            world.server.object(ROLE).unwrap()["rules"][0]["resources"] == json!(["endpointslices"])
        })
        .await;
    running.stop().await;
}
