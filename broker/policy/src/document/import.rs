//! Reads a dynamic-security document. Entries that make no sense are skipped, as Mosquitto does,
//! but they are told of. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::password::PasswordHash;
use crate::record::{
    AccessKind, Acl, AclType, Client, ClientIdPattern, DefaultAccess, Group, GroupMembership,
    PRIORITY_UNSET, Quotas, Record, Role, RoleAssignment, Settings, clamp_priority,
};

/// The document is not what it should be as a whole.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is not JSON.
    #[error("the dynamic-security document is not valid JSON")]
    NotJson {
        /// Where and why.
        source: serde_json::Error,
    },
    /// It is JSON, but not an object.
    #[error("the dynamic-security document is not a JSON object; write {{...}}")]
    NotAnObject,
}

/// What a document holds.
#[derive(Debug, Default)]
pub struct Imported {
    /// Its records, the settings first.
    pub records: Vec<Record>,
    /// What was left out.
    pub skipped: Vec<SkippedEntry>,
}

/// An entry that was left out, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedEntry {
    /// Which one, as `clients[3]` or `role "pumps"`.
    pub entry: String,
    /// Why.
    pub reason: String,
}

/// Reads a document of either form.
///
/// # Errors
/// The document as a whole is unreadable; a single bad entry is skipped instead.
pub fn import(json: &str) -> Result<Imported, DocumentError> {
    let value: Value =
        serde_json::from_str(json).map_err(|source| DocumentError::NotJson { source })?;
    let document = value.as_object().ok_or(DocumentError::NotAnObject)?;
    let mut reader = Reader::default();
    reader.read_roles(document);
    reader.read_clients(document);
    reader.read_groups(document);
    let settings = reader.read_settings(document);
    Ok(reader.finish(settings))
}

#[derive(Default)]
struct Reader {
    roles: BTreeMap<String, Role>,
    clients: BTreeMap<String, Client>,
    groups: BTreeMap<String, Group>,
    skipped: Vec<SkippedEntry>,
}

impl Reader {
    fn skip(&mut self, entry: impl Into<String>, reason: impl ToString) {
        self.skipped.push(SkippedEntry { entry: entry.into(), reason: reason.to_string() });
    }

    fn read_roles(&mut self, document: &Map<String, Value>) {
        for (index, entry) in objects(document, "roles").enumerate() {
            let Some(name) = self.name(entry, "roles", "rolename", index) else { continue };
            if self.roles.contains_key(&name) {
                self.skip(format!("role {name:?}"), "there is another one with this name");
                continue;
            }
            let mut role = Role::new(name.clone());
            (role.text_name, role.text_description) = texts(entry);
            let allow_wildcards = field(entry, "allowwildcardsubs").and_then(Value::as_bool);
            role.allow_wildcard_subscriptions = allow_wildcards.unwrap_or(true);
            role.acls = self.read_acls(&name, entry);
            self.roles.insert(name, role);
        }
    }

    fn read_acls(&mut self, role: &str, entry: &Map<String, Value>) -> Vec<Acl> {
        let mut acls: Vec<Acl> = Vec::new();
        let mut seen = BTreeSet::new();
        for (index, entry) in objects(entry, "acls").enumerate() {
            let what = format!("role {role:?}, acls[{index}]");
            let Some(acl_type) = text(entry, "acltype").and_then(AclType::parse) else {
                self.skip(what, "its acltype is missing or unknown");
                continue;
            };
            let topic = text(entry, "topic").unwrap_or_default().to_owned();
            if let Err(error) = crate::topic::validate_filter(&topic) {
                self.skip(what, error);
            } else if seen.insert((acl_type, topic.clone())) {
                let priority = priority(entry, 0);
                let allow = field(entry, "allow").and_then(Value::as_bool).unwrap_or(false);
                acls.push(Acl { acl_type, topic, priority, allow });
            } else {
                self.skip(what, "the role has another one with this acltype and topic");
            }
        }
        acls
    }

    fn read_clients(&mut self, document: &Map<String, Value>) {
        for (index, entry) in objects(document, "clients").enumerate() {
            let Some(username) = self.name(entry, "clients", "username", index) else { continue };
            if self.clients.contains_key(&username) {
                self.skip(format!("client {username:?}"), "there is another one with this name");
                continue;
            }
            let what = format!("client {username:?}");
            let mut client = Client { username: username.clone(), ..Client::default() };
            (client.text_name, client.text_description) = texts(entry);
            client.disabled = field(entry, "disabled").and_then(Value::as_bool).unwrap_or(false);
            client.password = self.read_password(&what, entry);
            client.roles = self.read_assignments(&what, entry);
            if let Some(client_id) = text(entry, "clientid").filter(|text| !text.is_empty()) {
                client.client_ids = vec![ClientIdPattern::Literal(client_id.to_owned())];
            }
            self.read_extras(&what, entry, &mut client);
            self.clients.insert(username, client);
        }
    }

    /// A hash that cannot be read leaves the client without a password: it can never log in.
    fn read_password(&mut self, what: &str, entry: &Map<String, Value>) -> Option<PasswordHash> {
        let encoded = match text(entry, "encoded_password") {
            Some(encoded) => encoded.to_owned(),
            None => {
                let hash = text(entry, "password")?;
                let salt = text(entry, "salt")?;
                let iterations = field(entry, "iterations").and_then(Value::as_i64).unwrap_or(0);
                format!("$7${iterations}${salt}${hash}")
            }
        };
        match PasswordHash::parse(&encoded) {
            Ok(hash) => Some(hash),
            Err(error) => {
                self.skip(format!("{what}, password"), error);
                None
            }
        }
    }

    fn read_extras(&mut self, what: &str, entry: &Map<String, Value>, client: &mut Client) {
        let Some(extras) = field(entry, "dunlin") else { return };
        match Extras::deserialize(extras) {
            Ok(extras) => {
                client.certificate = extras.certificate;
                client.quotas = extras.quotas;
                if !extras.client_ids.is_empty() {
                    client.client_ids = extras.client_ids;
                }
            }
            Err(error) => {
                // They restrict the client, so it must not be let in without them.
                client.disabled = true;
                self.skip(format!("{what}, dunlin (so the client is disabled)"), error);
            }
        }
    }

    fn read_assignments(&mut self, what: &str, entry: &Map<String, Value>) -> Vec<RoleAssignment> {
        let mut assignments = Vec::new();
        for entry in objects(entry, "roles") {
            let name = text(entry, "rolename").unwrap_or_default();
            if self.roles.contains_key(name) {
                let priority = priority(entry, PRIORITY_UNSET);
                assignments.push(RoleAssignment { name: name.to_owned(), priority });
            } else {
                self.skip(what, format!("it names the role {name:?}, which is not there"));
            }
        }
        assignments
    }

    fn read_groups(&mut self, document: &Map<String, Value>) {
        for (index, entry) in objects(document, "groups").enumerate() {
            let Some(name) = self.name(entry, "groups", "groupname", index) else { continue };
            if self.groups.contains_key(&name) {
                self.skip(format!("group {name:?}"), "there is another one with this name");
                continue;
            }
            let what = format!("group {name:?}");
            let (text_name, text_description) = texts(entry);
            let roles = self.read_assignments(&what, entry);
            for member in objects(entry, "clients") {
                let username = text(member, "username").unwrap_or_default();
                let priority = priority(member, PRIORITY_UNSET);
                if let Some(client) = self.clients.get_mut(username) {
                    client.groups.push(GroupMembership { name: name.clone(), priority });
                } else {
                    self.skip(
                        &what,
                        format!("it names the client {username:?}, which is not there"),
                    );
                }
            }
            self.groups.insert(name.clone(), Group { name, text_name, text_description, roles });
        }
    }

    fn read_settings(&mut self, document: &Map<String, Value>) -> Settings {
        // A document that does not say grants nothing.
        let mut default_access = DefaultAccess {
            publish_client_send: false,
            publish_client_receive: false,
            subscribe: false,
            unsubscribe: false,
        };
        if let Some(access) = field(document, "defaultACLAccess").and_then(Value::as_object) {
            for kind in AccessKind::ALL {
                let allow = field(access, kind.as_str()).and_then(Value::as_bool);
                default_access.set(kind, allow.unwrap_or(false));
            }
        }
        let mut anonymous_group = text(document, "anonymousGroup").map(str::to_owned);
        if let Some(name) = anonymous_group.take_if(|name| !self.groups.contains_key(name)) {
            self.skip("anonymousGroup", format!("the group {name:?} is not there"));
        }
        Settings { default_access, anonymous_group, ..Settings::default() }
    }

    fn name(
        &mut self,
        entry: &Map<String, Value>,
        list: &str,
        key: &str,
        index: usize,
    ) -> Option<String> {
        let name = text(entry, key).filter(|name| !name.is_empty());
        if name.is_none() {
            self.skip(format!("{list}[{index}]"), format!("its {key} is missing or empty"));
        }
        name.map(str::to_owned)
    }

    fn finish(mut self, settings: Settings) -> Imported {
        let records = std::iter::once(Record::Settings(settings))
            .chain(std::mem::take(&mut self.clients).into_values().map(Record::Client))
            .chain(std::mem::take(&mut self.groups).into_values().map(Record::Group))
            .chain(std::mem::take(&mut self.roles).into_values().map(Record::Role));
        let mut valid = Vec::new();
        for mut record in records {
            record.normalise();
            match record.validate() {
                Ok(()) => valid.push(record),
                Err(error) => self.skip(record.key().to_string(), error),
            }
        }
        Imported { records: valid, skipped: self.skipped }
    }
}

/// The object `dunlin` of a client.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Extras {
    #[serde(default)]
    certificate: bool,
    #[serde(default)]
    client_ids: Vec<ClientIdPattern>,
    #[serde(default)]
    quotas: Quotas,
}

/// A field by its name in any case, as Mosquitto's parser finds it.
fn field<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let any_case = || object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    object.get(name).or_else(|| any_case().map(|(_, value)| value))
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    field(object, name).and_then(Value::as_str)
}

fn texts(object: &Map<String, Value>) -> (String, String) {
    let owned = |name| text(object, name).unwrap_or_default().to_owned();
    (owned("textname"), owned("textdescription"))
}

fn objects<'a>(
    object: &'a Map<String, Value>,
    name: &str,
) -> impl Iterator<Item = &'a Map<String, Value>> {
    let list = field(object, name).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_object)
}

fn priority(object: &Map<String, Value>, unset: i32) -> i32 {
    // As a float, so that a number too large for an integer is clamped as any other.
    let number = field(object, "priority").and_then(Value::as_f64);
    number.map_or(unset, |number| clamp_priority(number as i64))
}
