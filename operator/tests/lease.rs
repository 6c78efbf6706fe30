//! Leader election against the API server in memory.

use std::time::Duration;

use kube::Api;
use mock_api::MockApi;
use operator::kubernetes::lease::{Attempt, Election};

fn candidate(server: &MockApi, name: &str) -> Election {
    let api = Api::namespaced(server.client(), "dunlin-system");
    Election::new(api, "mqtt-operator", name, Duration::from_secs(15))
}

#[tokio::test(start_paused = true)]
async fn one_candidate_holds_and_the_other_waits_for_the_whole_duration() {
    let server = MockApi::new();
    let (mut first, mut second) = (candidate(&server, "a"), candidate(&server, "b"));
    assert_eq!(first.attempt().await.unwrap(), Attempt::Held);
    assert_eq!(second.attempt().await.unwrap(), Attempt::Other);
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(first.attempt().await.unwrap(), Attempt::Held, "a holder renews");
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(second.attempt().await.unwrap(), Attempt::Other, "it was renewed 10 s ago");
    tokio::time::advance(Duration::from_secs(15)).await;
    assert_eq!(second.attempt().await.unwrap(), Attempt::Held, "nobody renewed for 15 s");
    assert_eq!(first.attempt().await.unwrap(), Attempt::Other, "the old holder has lost it");
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_at_once() {
    let server = MockApi::new();
    let (mut first, mut second) = (candidate(&server, "a"), candidate(&server, "b"));
    first.acquire(|| ()).await;
    assert_eq!(second.attempt().await.unwrap(), Attempt::Other);
    first.release().await;
    assert_eq!(second.attempt().await.unwrap(), Attempt::Held);
    let lease =
        server.object("/apis/coordination.k8s.io/v1/namespaces/dunlin-system/leases/mqtt-operator");
    assert_eq!(lease.unwrap()["spec"]["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_was_overtaken_stops() {
    let server = MockApi::new();
    let mut first = candidate(&server, "a");
    first.acquire(|| ()).await;
    let path = "/apis/coordination.k8s.io/v1/namespaces/dunlin-system/leases/mqtt-operator";
    server.put(path, |lease| lease["spec"]["holderIdentity"] = "b".into());
    first.hold().await;
    assert_eq!(server.object(path).unwrap()["spec"]["holderIdentity"], "b");
}
