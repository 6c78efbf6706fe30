//! Writes a dynamic-security document, keys in Mosquitto's order, arrays sorted by name. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::record::{
    Acl, AclType, Client, ClientIdPattern, DefaultAccess, Group, PRIORITY_UNSET, Quotas, Record,
    Role, RoleAssignment,
};
use crate::snapshot::Policy;

/// Which Mosquitto the document is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentForm {
    /// 2.0: `password`, `salt` and `iterations`. Other hashes than `$7$` are written as for 2.1;
    /// 2.0 ignores them, so those clients can't log in there. `allowwildcardsubs` is left out.
    V2_0,
    /// 2.1: `encoded_password`, `allowwildcardsubs`.
    V2_1,
}

/// Writes the policy as one document.
pub fn export(policy: &Policy, form: DocumentForm) -> String {
    let mut parts = Parts::default();
    for record in policy.records().records() {
        parts.add(record);
    }
    let settings = policy.settings();
    let document = Document {
        default_access: settings.default_access.into(),
        clients: parts.clients.values().map(|client| client_entry(client, form)).collect(),
        groups: parts.groups.values().map(|group| parts.group_entry(group)).collect(),
        anonymous_group: settings.anonymous_group.as_deref(),
        roles: parts.roles.values().map(|role| role_entry(role, form)).collect(),
    };
    let mut json = serde_json::to_string_pretty(&document)
        .expect("invariant: the document has string keys and no fallible part");
    json.push('\n');
    json
}

/// The records by kind and name, and the groups' members.
#[derive(Default)]
struct Parts<'a> {
    clients: BTreeMap<&'a str, &'a Client>,
    groups: BTreeMap<&'a str, &'a Group>,
    roles: BTreeMap<&'a str, &'a Role>,
    members: BTreeMap<&'a str, BTreeMap<&'a str, i32>>,
}

impl<'a> Parts<'a> {
    fn add(&mut self, record: &'a Record) {
        match record {
            Record::Client(client) => {
                self.clients.insert(&client.username, client);
                for group in &client.groups {
                    let members = self.members.entry(&group.name).or_default();
                    members.insert(&client.username, group.priority);
                }
            }
            Record::Group(group) => {
                self.groups.insert(&group.name, group);
            }
            Record::Role(role) => {
                self.roles.insert(&role.name, role);
            }
            Record::Settings(_) => {}
        }
    }

    fn group_entry(&self, group: &'a Group) -> GroupEntry<'a> {
        let members = self.members.get(group.name.as_str()).into_iter().flatten();
        GroupEntry {
            groupname: &group.name,
            textname: &group.text_name,
            textdescription: &group.text_description,
            roles: assignments(&group.roles),
            clients: members
                .map(|(username, priority)| Member { username, priority: *priority })
                .collect(),
        }
    }
}

fn client_entry(client: &Client, form: DocumentForm) -> ClientEntry<'_> {
    let client_ids = &client.client_ids[..];
    let (clientid, client_ids) = match client_ids {
        [ClientIdPattern::Literal(only)] => (only.as_str(), &[][..]),
        other => ("", other),
    };
    let extras = Extras { certificate: client.certificate, client_ids, quotas: &client.quotas };
    let mut entry = ClientEntry {
        username: &client.username,
        clientid,
        textname: &client.text_name,
        textdescription: &client.text_description,
        disabled: client.disabled,
        roles: assignments(&client.roles),
        encoded_password: None,
        password: None,
        salt: None,
        iterations: None,
        dunlin: Some(extras).filter(|extras| !extras.is_default()),
    };
    if let Some(hash) = &client.password {
        entry.set_password(hash.as_str(), form);
    }
    entry
}

fn role_entry(role: &Role, form: DocumentForm) -> RoleEntry<'_> {
    RoleEntry {
        rolename: &role.name,
        textname: &role.text_name,
        textdescription: &role.text_description,
        allowwildcardsubs: (form == DocumentForm::V2_1)
            .then_some(role.allow_wildcard_subscriptions),
        acls: role.acls.iter().map(AclEntry::from).collect(),
    }
}

fn assignments(roles: &[RoleAssignment]) -> Vec<Assignment<'_>> {
    roles.iter().map(|role| Assignment { rolename: &role.name, priority: role.priority }).collect()
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "defaultACLAccess")]
    default_access: AccessEntry,
    clients: Vec<ClientEntry<'a>>,
    groups: Vec<GroupEntry<'a>>,
    #[serde(rename = "anonymousGroup", skip_serializing_if = "Option::is_none")]
    anonymous_group: Option<&'a str>,
    roles: Vec<RoleEntry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AccessEntry {
    publish_client_send: bool,
    publish_client_receive: bool,
    subscribe: bool,
    unsubscribe: bool,
}

impl From<DefaultAccess> for AccessEntry {
    fn from(access: DefaultAccess) -> Self {
        let DefaultAccess { publish_client_send, publish_client_receive, subscribe, unsubscribe } =
            access;
        Self { publish_client_send, publish_client_receive, subscribe, unsubscribe }
    }
}

#[derive(Serialize)]
struct ClientEntry<'a> {
    username: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    clientid: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    textname: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    textdescription: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    disabled: bool,
    roles: Vec<Assignment<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoded_password: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    salt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iterations: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dunlin: Option<Extras<'a>>,
}

impl<'a> ClientEntry<'a> {
    fn set_password(&mut self, hash: &'a str, form: DocumentForm) {
        let parts: Vec<&str> = hash.split('$').collect();
        match (form, &parts[..]) {
            (DocumentForm::V2_0, ["", "7", iterations, salt, hash]) => {
                self.iterations = iterations.parse().ok();
                self.salt = Some(salt);
                self.password = Some(hash);
            }
            _ => self.encoded_password = Some(hash),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Extras<'a> {
    #[serde(skip_serializing_if = "is_false")]
    certificate: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    client_ids: &'a [ClientIdPattern],
    #[serde(skip_serializing_if = "is_unlimited")]
    quotas: &'a Quotas,
}

impl Extras<'_> {
    fn is_default(&self) -> bool {
        !self.certificate && self.client_ids.is_empty() && is_unlimited(&self.quotas)
    }
}

#[derive(Serialize)]
struct GroupEntry<'a> {
    groupname: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    textname: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    textdescription: &'a str,
    roles: Vec<Assignment<'a>>,
    clients: Vec<Member<'a>>,
}

#[derive(Serialize)]
struct Member<'a> {
    username: &'a str,
    #[serde(skip_serializing_if = "is_unset")]
    priority: i32,
}

#[derive(Serialize)]
struct Assignment<'a> {
    rolename: &'a str,
    #[serde(skip_serializing_if = "is_unset")]
    priority: i32,
}

#[derive(Serialize)]
struct RoleEntry<'a> {
    rolename: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    textname: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    textdescription: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowwildcardsubs: Option<bool>,
    acls: Vec<AclEntry<'a>>,
}

#[derive(Serialize)]
struct AclEntry<'a> {
    acltype: &'static str,
    topic: &'a str,
    priority: i32,
    allow: bool,
}

impl<'a> From<&'a Acl> for AclEntry<'a> {
    fn from(acl: &'a Acl) -> Self {
        let Acl { acl_type, topic, priority, allow } = acl;
        Self { acltype: AclType::as_str(*acl_type), topic, priority: *priority, allow: *allow }
    }
}

// serde hands references to the predicates.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_unset(priority: &i32) -> bool {
    *priority == PRIORITY_UNSET
}

fn is_unlimited(quotas: &&Quotas) -> bool {
    **quotas == Quotas::default()
}
