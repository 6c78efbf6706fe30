//! Pushing to brokers in memory: nothing when equal, one change for an edit, whatever happened before.

use std::time::Duration;

use broker_policy::{Client, Record, RecordKey, RecordSet};
use tokio::time::Instant;

use super::{PolicySync, Pushed, SyncError, enforcement, wait_until_enforced};
use crate::broker_admin::BrokerAdmin as _;
use crate::test_support::FakeBrokers;

const NAMES: [&str; 3] = ["fleet-0", "fleet-1", "fleet-2"];

fn client(name: &str) -> Record {
    Record::Client(Client { username: name.to_owned(), ..Client::default() })
}

fn records(names: &[&str]) -> RecordSet {
    RecordSet::from_records(names.iter().map(|name| client(name))).unwrap()
}

fn brokers() -> FakeBrokers {
    FakeBrokers::formed("01K", &NAMES)
}

async fn push(sync: &mut PolicySync, fake: &FakeBrokers, desired: &RecordSet) -> Pushed {
    let status = fake.status(&fake.endpoints()[0]).await.unwrap();
    let applied = status.policy.applied_revision.parse().ok();
    sync.push(fake, &fake.endpoints(), desired, applied).await.unwrap()
}

#[tokio::test]
async fn nothing_is_sent_when_the_brokers_have_it() {
    let fake = brokers();
    let desired = records(&["a", "b"]);
    fake.set_policy(&desired);
    assert_eq!(push(&mut PolicySync::default(), &fake, &desired).await, Pushed::default());
    let unseen = PolicySync::default().push(&fake, &fake.endpoints(), &desired, None).await;
    assert_eq!(unseen.unwrap(), Pushed::default());
    assert!(fake.changes().is_empty());
}

#[tokio::test]
async fn an_edit_sends_the_records_that_differ() {
    let fake = brokers();
    let mut sync = PolicySync::default();
    push(&mut sync, &fake, &records(&["a", "b", "c"])).await;
    let pushed = push(&mut sync, &fake, &records(&["a", "c", "d"])).await;
    assert_eq!(pushed, Pushed { upserts: 1, removals: 1, changes: 1 });
    assert_eq!(fake.changes(), ["policy +3 -0", "policy +1 -1"]);
    assert_eq!(fake.policy(), records(&["a", "c", "d"]));
}

#[tokio::test]
async fn a_restarted_operator_sends_the_difference_only() {
    let fake = brokers();
    push(&mut PolicySync::default(), &fake, &records(&["a", "b", "c"])).await;
    push(&mut PolicySync::default(), &fake, &records(&["a", "b", "x"])).await;
    assert_eq!(fake.changes()[1], "policy +1 -1");
}

#[tokio::test]
async fn a_policy_that_was_changed_behind_our_back_is_compared_anew() {
    let fake = brokers();
    let mut sync = PolicySync::default();
    push(&mut sync, &fake, &records(&["a"])).await;
    let seen = Some(fake.policy().revision());
    fake.set_policy(&records(&["intruder"]));
    let desired = records(&["a", "b"]);
    sync.push(&fake, &fake.endpoints(), &desired, seen).await.unwrap();
    assert_eq!(fake.policy(), desired);
}

#[tokio::test]
async fn many_records_go_in_several_changes() {
    let fake = brokers();
    let names: Vec<String> = (0..1_200).map(|n| format!("device-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let pushed = push(&mut PolicySync::default(), &fake, &records(&names)).await;
    assert_eq!(pushed, Pushed { upserts: 1_200, removals: 0, changes: 3 });
    assert_eq!(fake.policy(), records(&names));
}

#[tokio::test]
async fn another_broker_is_asked_when_one_does_not_answer() {
    let fake = brokers();
    fake.set_up("fleet-0", false);
    let desired = records(&["a"]);
    let pushed = PolicySync::default().push(&fake, &fake.endpoints(), &desired, None).await;
    assert_eq!(pushed.unwrap().records(), 1);
}

#[tokio::test]
async fn without_a_leader_the_push_fails_and_succeeds_later() {
    let fake = brokers();
    fake.set_up("fleet-0", false);
    fake.set_up("fleet-1", false);
    let mut sync = PolicySync::default();
    let desired = records(&["a"]);
    let failed = sync.push(&fake, &fake.endpoints(), &desired, None).await;
    assert!(matches!(failed, Err(SyncError::NoBroker { .. })), "{failed:?}");
    fake.set_up("fleet-1", true);
    assert_eq!(sync.push(&fake, &fake.endpoints(), &desired, None).await.unwrap().records(), 1);
}

#[tokio::test]
async fn a_refused_policy_says_why_and_is_not_offered_to_the_next_broker() {
    let fake = brokers();
    fake.refuse_policy(true);
    let mut sync = PolicySync::default();
    let desired = records(&["a"]);
    let refused = sync.push(&fake, &fake.endpoints(), &desired, None).await.unwrap_err();
    assert_eq!(refused.reason(), "PolicyRefused");
    assert!(refused.summary().contains("not such a policy"), "{}", refused.summary());
    fake.refuse_policy(false);
    assert_eq!(sync.push(&fake, &fake.endpoints(), &desired, None).await.unwrap().upserts, 1);
}

#[tokio::test]
async fn what_every_object_is_told_is_the_same_whichever_broker_does_not_answer() {
    let fake = brokers();
    let mut summaries = Vec::new();
    for name in ["fleet-0", "fleet-1"] {
        fake.set_up(name, false);
        let endpoints: Vec<_> = fake.endpoints().into_iter().filter(|e| e.name == name).collect();
        let desired = records(&["a"]);
        let failed = PolicySync::default().push(&fake, &endpoints, &desired, None).await;
        let failed = failed.unwrap_err();
        assert!(failed.chain().contains(name), "{}", failed.chain());
        summaries.push(failed.summary());
    }
    assert_eq!(summaries[0], summaries[1]);
}

#[tokio::test]
async fn a_restarted_operator_knows_which_records_the_brokers_lacked() {
    let fake = brokers();
    fake.set_policy(&records(&["a", "b", "c"]));
    let mut sync = PolicySync::default();
    assert_eq!(sync.differing(), None);
    push(&mut sync, &fake, &records(&["a", "b", "x"])).await;
    let mut keys: Vec<&str> = sync.differing().unwrap().iter().map(RecordKey::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["client/c", "client/x"]);
    // Once they have it all, they lack nothing.
    push(&mut sync, &fake, &records(&["a", "b", "x"])).await;
    assert_eq!(sync.differing(), None);
}

#[tokio::test(start_paused = true)]
async fn a_change_counts_as_enforced_when_every_serving_broker_enforces_it() {
    let fake = brokers();
    fake.set_lag("fleet-2", 3);
    let desired = records(&["a"]);
    push(&mut PolicySync::default(), &fake, &desired).await;
    let statuses = [fake.status(&fake.endpoints()[2]).await.unwrap()];
    assert_eq!(enforcement(desired.revision(), &statuses).pending, ["fleet-2"]);
    let deadline = Instant::now() + Duration::from_secs(1);
    let found =
        wait_until_enforced(&fake, &fake.endpoints(), desired.revision(), deadline, &|_| true)
            .await;
    assert!(found.is_complete());
    assert_eq!(found.enforced, NAMES);
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_at_the_deadline_and_names_who_is_behind() {
    let fake = brokers();
    fake.set_lag("fleet-1", usize::MAX);
    let desired = records(&["a"]);
    push(&mut PolicySync::default(), &fake, &desired).await;
    let deadline = Instant::now() + Duration::from_secs(5);
    let found =
        wait_until_enforced(&fake, &fake.endpoints(), desired.revision(), deadline, &|_| true)
            .await;
    assert_eq!(found.pending, ["fleet-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_serves_but_does_not_answer_is_waited_for_and_named() {
    let fake = brokers();
    let desired = records(&["a"]);
    push(&mut PolicySync::default(), &fake, &desired).await;
    fake.set_up("fleet-2", false);
    let endpoints = fake.endpoints();
    let deadline = Instant::now() + Duration::from_secs(5);
    let found =
        wait_until_enforced(&fake, &endpoints, desired.revision(), deadline, &|_| true).await;
    assert!(!found.is_complete());
    assert_eq!((found.enforced.len(), &found.silent[..]), (2, &["fleet-2".to_owned()][..]));
    assert!(found.waits_for().ends_with("no answer from fleet-2"), "{}", found.waits_for());
    let gone = |name: &str| name != "fleet-2";
    let found = wait_until_enforced(&fake, &endpoints, desired.revision(), deadline, &gone).await;
    assert!(found.is_complete(), "one that is known to be gone holds nothing up");
}
