//! Sets, changes and differences, as properties.

use proptest::prelude::*;

use crate::diff::{BucketKeys, DiffError};
use crate::record::*;
use crate::record_set::RecordSet;
use crate::{BUCKET_COUNT, ChangeError, Digest, PolicyChange, PolicyDigests, bucket_of};

fn record() -> impl Strategy<Value = Record> {
    let named = (0..40u8, 0..3u8, any::<bool>());
    prop_oneof![
        named.clone().prop_map(|(name, variant, disabled)| {
            let roles = (0..variant).map(|role| RoleAssignment::new(format!("r{role}"))).collect();
            let username = format!("u{name}");
            Record::Client(Client { username, roles, disabled, ..Client::default() })
        }),
        named.clone().prop_map(|(name, variant, allow)| {
            let acl = |number: u8| Acl {
                acl_type: AclType::PublishClientSend,
                topic: format!("t/{number}"),
                priority: number.into(),
                allow,
            };
            let acls = (0..variant).map(acl).collect();
            Record::Role(Role { acls, ..Role::new(format!("r{name}")) })
        }),
        named.prop_map(|(name, variant, _)| {
            let roles = (0..variant).map(|role| RoleAssignment::new(format!("r{role}"))).collect();
            Record::Group(Group { name: format!("g{name}"), roles, ..Group::default() })
        }),
        any::<bool>().prop_map(|publish_client_send| {
            let default_access = DefaultAccess { publish_client_send, ..Default::default() };
            Record::Settings(Settings {
                default_access,
                anonymous_group: None,
                ..Settings::default()
            })
        }),
    ]
}

fn set() -> impl Strategy<Value = RecordSet> {
    prop::collection::vec(record(), 0..60)
        .prop_map(|records| RecordSet::from_records(records).unwrap())
}

fn contents(set: &RecordSet) -> Vec<Record> {
    set.records().map(|record| (**record).clone()).collect()
}

fn all_keys(set: &RecordSet) -> Vec<BucketKeys> {
    (0..=u8::MAX).map(|index| set.bucket_keys(index)).collect()
}

/// The whole way from `theirs` to `desired` in one change.
fn change_for(
    desired: &RecordSet,
    theirs: &PolicyDigests,
    keys: &[BucketKeys],
) -> Result<PolicyChange, DiffError> {
    let unchanged = PolicyChange {
        from: theirs.revision,
        to: theirs.revision,
        upserts: Vec::new(),
        removals: Vec::new(),
    };
    let mut changes = desired.changes_for(theirs, keys, usize::MAX)?;
    assert!(changes.len() <= 1);
    Ok(changes.pop().unwrap_or(unchanged))
}

proptest! {
    #[test]
    fn digests_do_not_depend_on_the_order_of_insertion(
        set in set(),
        seed in any::<u64>(),
    ) {
        let mut records = contents(&set);
        records.sort_by_key(|record| Digest::of(format!("{seed}{}", record.key()).as_bytes()));
        let mut one_by_one = RecordSet::default();
        for record in records {
            one_by_one = one_by_one.derive([record], []).unwrap();
        }
        prop_assert_eq!(one_by_one.digests(), set.digests());
        prop_assert_eq!(contents(&one_by_one), contents(&set));
    }

    #[test]
    fn different_contents_have_different_revisions(one in set(), other in set()) {
        prop_assert_eq!(one == other, contents(&one) == contents(&other));
    }

    #[test]
    fn an_applied_difference_leads_to_the_desired_set(
        theirs in set(),
        desired in set(),
        records_max in 1..20usize,
    ) {
        let keys: Vec<_> = desired
            .differing_buckets(&theirs.digests())
            .unwrap()
            .into_iter()
            .map(|index| theirs.bucket_keys(index))
            .collect();
        let whole = change_for(&desired, &theirs.digests(), &keys).unwrap();
        let reached = theirs.apply(&whole).unwrap();
        prop_assert_eq!(contents(&reached), contents(&desired));
        prop_assert_eq!(reached.revision(), desired.revision());
        prop_assert_eq!(reached.keys_changed_since(&theirs).len(), whole.len());

        let mut reached = theirs.clone();
        for change in desired.changes_for(&theirs.digests(), &keys, records_max).unwrap() {
            prop_assert!(change.len() <= records_max && !change.is_empty());
            reached = reached.apply(&change).unwrap();
        }
        prop_assert_eq!(contents(&reached), contents(&desired));
    }

    #[test]
    fn a_change_survives_json(theirs in set(), desired in set()) {
        let change = change_for(&desired, &theirs.digests(), &all_keys(&theirs)).unwrap();
        let json = serde_json::to_string(&change).unwrap();
        prop_assert_eq!(serde_json::from_str::<PolicyChange>(&json).unwrap(), change);
        let digests = serde_json::to_string(&theirs.digests()).unwrap();
        prop_assert_eq!(
            serde_json::from_str::<PolicyDigests>(&digests).unwrap(),
            theirs.digests()
        );
    }
}

fn client(username: &str) -> Record {
    Record::Client(Client { username: username.into(), ..Client::default() })
}

#[test]
fn digests_and_keys_have_the_admin_apis_names_in_json() {
    let set = RecordSet::from_records([client("a")]).unwrap();
    let index = bucket_of(&RecordKey::client("a"));
    let digest = Digest::of_record(&client("a")).to_string();
    let keys = serde_json::json!({"number": index, "records": {"client/a": digest}});
    assert_eq!(serde_json::to_value(set.bucket_keys(index)).unwrap(), keys);
    assert_eq!(serde_json::from_value::<BucketKeys>(keys).unwrap(), set.bucket_keys(index));
    let digests = serde_json::to_value(set.digests()).unwrap();
    assert_eq!(digests["revision"], set.revision().to_string());
    assert_eq!(
        digests["buckets"][usize::from(index)],
        set.digests().buckets[usize::from(index)].to_string()
    );
    assert_eq!(digests.as_object().unwrap().len(), 2);
}

#[test]
fn an_equal_policy_needs_no_change() {
    let set = RecordSet::from_records([client("a")]).unwrap();
    assert!(set.differing_buckets(&set.digests()).unwrap().is_empty());
    let change = change_for(&set, &set.digests(), &[]).unwrap();
    assert!(change.is_empty());
    assert_eq!(set.apply(&change).unwrap(), set);
}

#[test]
fn a_change_applies_only_where_it_leads_from_and_only_if_it_keeps_its_word() {
    let empty = RecordSet::default();
    let change = empty.change(vec![client("a")], vec![]).unwrap();
    let set = empty.apply(&change).unwrap();
    assert!(matches!(set.apply(&change), Err(ChangeError::WrongBase { .. })));
    let mut forged = change.clone();
    forged.upserts.push(client("b"));
    assert!(matches!(empty.apply(&forged), Err(ChangeError::WrongResult { .. })));
    let mut invalid = change;
    invalid.upserts.push(client(""));
    assert!(matches!(empty.apply(&invalid), Err(ChangeError::Invalid { .. })));
}

#[test]
fn keys_of_another_revision_are_refused() {
    let theirs = RecordSet::from_records([client("a")]).unwrap();
    let later = theirs.derive([client("b")], []).unwrap();
    let desired = RecordSet::default();
    assert_eq!(
        change_for(&desired, &theirs.digests(), &[]),
        Err(DiffError::MissingBucket { index: bucket_of(&RecordKey::client("a")) })
    );
    let index = bucket_of(&RecordKey::client("b"));
    let stale = change_for(&desired, &later.digests(), &all_keys(&theirs));
    assert_eq!(stale, Err(DiffError::StaleBucket { index, revision: later.revision() }));
    let mut torn = later.digests();
    torn.buckets.truncate(BUCKET_COUNT - 1);
    assert!(matches!(desired.differing_buckets(&torn), Err(DiffError::InconsistentDigests { .. })));
}

#[test]
fn clients_are_removed_first_and_added_last() {
    let theirs = RecordSet::from_records([client("old"), Record::Role(Role::new("old"))]).unwrap();
    let desired = RecordSet::from_records([
        client("new"),
        Record::Role(Role::new("new")),
        Record::Group(Group { name: "new".into(), ..Group::default() }),
    ])
    .unwrap();
    let changes = desired.changes_for(&theirs.digests(), &all_keys(&theirs), 1).unwrap();
    let order: Vec<String> = changes
        .iter()
        .flat_map(|change| {
            let removed = change.removals.iter().map(|key| format!("-{key}"));
            change.upserts.iter().map(|record| format!("+{}", record.key())).chain(removed)
        })
        .collect();
    assert_eq!(order, ["-client/old", "+role/new", "+group/new", "+client/new", "-role/old"]);
}

#[test]
fn the_same_assignments_in_another_order_are_the_same_record() {
    let with = |roles: &[(&str, i32)]| {
        let roles = roles.iter().map(|(n, p)| RoleAssignment { name: (*n).into(), priority: *p });
        let client = Client { username: "a".into(), roles: roles.collect(), ..Client::default() };
        RecordSet::from_records([Record::Client(client)]).unwrap().revision()
    };
    assert_eq!(with(&[("x", 1), ("y", 2)]), with(&[("y", 2), ("x", 1), ("x", -3)]));
    assert_eq!(with(&[("x", 1_000_000)]), with(&[("x", PRIORITY_LIMIT)]));
    assert_ne!(with(&[("x", 1)]), with(&[("x", 2)]));
}

#[test]
fn the_digests_are_part_of_the_format() {
    let set =
        RecordSet::from_records([client("a"), Record::Settings(Settings::default())]).unwrap();
    insta::assert_snapshot!(format!(
        "empty {}\nclient a and default settings {}",
        RecordSet::default().revision(),
        set.revision()
    ));
}

#[test]
fn large_records_go_in_changes_that_a_broker_takes() {
    let acl = |n: usize| Acl {
        acl_type: AclType::PublishClientSend,
        topic: format!("{}/{n}", "t".repeat(1_000)),
        priority: 0,
        allow: true,
    };
    let role = |name: usize| {
        let acls = (0..200).map(acl).collect();
        Record::Role(Role { acls, ..Role::new(format!("role-{name}")) })
    };
    let desired = RecordSet::from_records((0..30).map(role)).unwrap();
    let mut theirs = RecordSet::default();
    let changes = desired.changes_for(&theirs.digests(), &all_keys(&theirs), usize::MAX).unwrap();
    assert!((4..10).contains(&changes.len()), "{}", changes.len());
    for change in &changes {
        assert!(serde_json::to_vec(change).unwrap().len() <= (2 << 20) + 1_024);
        theirs = theirs.apply(change).unwrap();
    }
    assert_eq!(theirs, desired);
}
