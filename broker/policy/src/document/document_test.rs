use super::*;
use crate::authorizer::Action;
use crate::password::PasswordHash;
use crate::record::*;
use crate::snapshot::Policy;

const FORM_2_0: &str = r#"{
  "clients": [{
    "username": "admin", "textName": "Dynsec admin user",
    "password": "HVNKqdRSKd1CmBGR5xOlhqFvLhvjXyeSgoUXlHBrBqFrCUlGwzfpbsgfCUmsFQIoMSEhpzCEohnaHeSxAJkqHA==",
    "salt": "IeDkRmEHI2ZU2ZBZ", "iterations": 101,
    "roles": [{"rolename": "admin"}, {"rolename": "nowhere"}]
  }, {"username": ""}, {"username": "admin"}, 7],
  "groups": [{"groupname": "ops", "roles": [], "clients": [{"username": "admin", "priority": 5}, {"username": "ghost"}]}],
  "anonymousGroup": "nobody",
  "roles": [{
    "rolename": "admin",
    "acls": [
      {"acltype": "PUBLISHCLIENTSEND", "topic": "$CONTROL/dynamic-security/#", "allow": true},
      {"acltype": "subscribePattern", "topic": "a/#/b", "allow": true},
      {"acltype": "flyKite", "topic": "a", "allow": true},
      {"acltype": "subscribePattern", "topic": "b", "priority": 1e30, "allow": true},
      {"acltype": "subscribePattern", "topic": "b", "allow": false}
    ]
  }],
  "defaultACLAccess": {"publishClientSend": false, "publishClientReceive": true, "subscribe": false, "unsubscribe": true}
}"#;

#[test]
fn the_form_of_mosquitto_2_0_is_read_and_bad_entries_are_told_of() {
    let imported = import(FORM_2_0).unwrap();
    let policy = Policy::from_records(imported.records).unwrap();
    let admin = policy.client("admin").unwrap();
    assert!(admin.password.as_ref().unwrap().as_str().starts_with("$7$101$IeDkRmEHI2ZU2ZBZ$"));
    assert_eq!(admin.text_name, "Dynsec admin user");
    assert_eq!(admin.roles, [RoleAssignment::new("admin")]);
    assert_eq!(admin.groups, [GroupMembership { name: "ops".into(), priority: 5 }]);
    let acls = &policy.role("admin").unwrap().acls;
    assert_eq!(acls.len(), 2);
    assert_eq!((acls[1].priority, acls[1].allow), (PRIORITY_LIMIT, true));
    assert_eq!(policy.settings(), &Settings::default());
    let reasons: Vec<_> =
        imported.skipped.iter().map(|s| format!("{}: {}", s.entry, s.reason)).collect();
    insta::assert_snapshot!(reasons.join("\n"));
}

#[test]
fn a_document_that_is_no_object_is_an_error() {
    assert!(matches!(import("[]"), Err(DocumentError::NotAnObject)));
    assert!(matches!(import("{"), Err(DocumentError::NotJson { .. })));
}

#[test]
fn a_document_without_default_access_grants_nothing() {
    let policy = Policy::from_records(import("{}").unwrap().records).unwrap();
    let access = policy.settings().default_access;
    assert!(AccessKind::ALL.iter().all(|kind| !access.allows(*kind)));
}

#[test]
fn unreadable_restrictions_disable_the_client() {
    let imported = import(r#"{"clients":[{"username":"a","dunlin":{"quota":1}}]}"#).unwrap();
    let policy = Policy::from_records(imported.records).unwrap();
    assert!(policy.client("a").unwrap().disabled);
    assert_eq!(imported.skipped.len(), 1);
}

fn sample() -> Policy {
    let mut role = Role::new("k8s:iot:pumps");
    role.acls = vec![
        Acl {
            acl_type: AclType::SubscribePattern,
            topic: "fleet/%u/#".into(),
            priority: 0,
            allow: true,
        },
        Acl {
            acl_type: AclType::PublishClientSend,
            topic: "fleet/%u/telemetry/#".into(),
            priority: 7,
            allow: true,
        },
    ];
    role.allow_wildcard_subscriptions = false;
    let hash = PasswordHash::pbkdf2_sha512(b"secret", b"twelve bytes", 101).unwrap();
    let pump = Client {
        username: "pump/17".into(),
        password: Some(hash),
        client_ids: vec![ClientIdPattern::Literal("pump-17".into())],
        roles: vec![RoleAssignment::with_priority("k8s:iot:pumps", 3)],
        groups: vec![GroupMembership::new("pumps")],
        ..Client::default()
    };
    let gate = Client {
        username: "gate".into(),
        certificate: true,
        disabled: true,
        client_ids: vec![ClientIdPattern::parse("gate-*"), ClientIdPattern::parse("g")],
        quotas: Quotas { connections: Some(1), ..Quotas::default() },
        ..Client::default()
    };
    let pumps = Group {
        name: "pumps".into(),
        text_name: "Pumps".into(),
        roles: vec![RoleAssignment::new("k8s:iot:pumps")],
        ..Group::default()
    };
    let settings = Settings { anonymous_group: Some("pumps".into()), ..Settings::default() };
    Policy::from_records([
        Record::Role(role),
        Record::Client(pump),
        Record::Client(gate),
        Record::Group(pumps),
        Record::Settings(settings),
    ])
    .unwrap()
}

#[test]
fn the_written_documents_are_mosquittos() {
    insta::assert_snapshot!("form_2_0", export(&sample(), DocumentForm::V2_0));
    insta::assert_snapshot!("form_2_1", export(&sample(), DocumentForm::V2_1));
}

#[test]
fn a_written_document_reads_back_as_the_same_policy() {
    let policy = sample();
    let imported = import(&export(&policy, DocumentForm::V2_1)).unwrap();
    assert_eq!(imported.skipped, []);
    let again = Policy::from_records(imported.records).unwrap();
    assert_eq!(again.revision(), policy.revision());
    let pump = again.authorizer(Some("pump/17"), "pump-17");
    assert!(pump.allows(Action::Publish, "fleet/pump/17/telemetry/x"));
}
