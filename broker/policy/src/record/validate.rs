//! The checks a record passes before it enters a policy. Pure.

use super::{Acl, Client, ClientIdPattern, Group, Record, Role, RoleAssignment};
use crate::realm;
use crate::topic::{InvalidFilter, validate_filter};

/// Longest username, group name, role name or client identifier, in bytes.
pub const NAME_BYTES_MAX: usize = 65_535;
/// Longest title or description, in bytes.
pub const TEXT_BYTES_MAX: usize = 65_535;
/// Most roles, groups or client identifiers in one record.
pub const REFERENCES_MAX: usize = 10_000;
/// Most ACLs in one role.
pub const ACLS_PER_ROLE_MAX: usize = 100_000;

/// Why a record is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRecord {
    /// A record or a reference without a name.
    #[error("{what} is empty; name it")]
    EmptyName {
        /// Which name.
        what: &'static str,
    },
    /// A name or a text is too long.
    #[error("{what} is longer than {max} bytes; shorten it")]
    TooLong {
        /// Which one.
        what: &'static str,
        /// How long it may be.
        max: usize,
    },
    /// A control character in a name.
    #[error("{what} {name:?} holds a control character; remove it")]
    ControlCharacter {
        /// Which name.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A list is too long.
    #[error("{key} lists more than {max} {what}; split it")]
    TooMany {
        /// The record's key.
        key: String,
        /// What it lists.
        what: &'static str,
        /// How many it may list.
        max: usize,
    },
    /// An ACL's topic is no topic filter.
    #[error("role {role:?}, acl topic {topic:?}: {source}")]
    InvalidTopic {
        /// The role's name.
        role: String,
        /// The ACL's topic.
        topic: String,
        /// What is wrong with it.
        source: InvalidFilter,
    },
}

pub(super) fn validate(record: &Record) -> Result<(), InvalidRecord> {
    match record {
        Record::Client(client) => validate_client(client),
        Record::Group(group) => validate_group(group),
        Record::Role(role) => validate_role(role),
        Record::Settings(settings) => {
            let groups = settings.anonymous_group.iter().chain(&settings.guest_group);
            let of_realms = settings
                .realms
                .values()
                .flat_map(|own| own.anonymous_group.iter().chain(&own.guest_group));
            settings.realms.keys().try_for_each(|name| check_name("realm", name))?;
            groups.chain(of_realms).try_for_each(|name| check_name("group name", name))
        }
    }
}

fn validate_client(client: &Client) -> Result<(), InvalidRecord> {
    let user = realm::split(Some(&client.username));
    user.realm.map_or(Ok(()), |realm| check_name("realm", realm))?;
    check_name("username", user.name.unwrap_or_default())?;
    check_texts(&client.text_name, &client.text_description)?;
    let key = || format!("client {:?}", client.username);
    check_count(key, "client identifiers", client.client_ids.len(), REFERENCES_MAX)?;
    check_count(key, "groups", client.groups.len(), REFERENCES_MAX)?;
    check_count(key, "roles", client.roles.len(), REFERENCES_MAX)?;
    for pattern in &client.client_ids {
        match pattern {
            ClientIdPattern::Literal(literal) => check_name("client identifier", literal)?,
            ClientIdPattern::Prefix(prefix) if prefix.is_empty() => {}
            ClientIdPattern::Prefix(prefix) => check_name("client identifier", prefix)?,
        }
    }
    client.groups.iter().try_for_each(|group| check_name("group name", &group.name))?;
    check_roles(&client.roles)
}

fn validate_group(group: &Group) -> Result<(), InvalidRecord> {
    check_name("group name", &group.name)?;
    check_texts(&group.text_name, &group.text_description)?;
    let key = || format!("group {:?}", group.name);
    check_count(key, "roles", group.roles.len(), REFERENCES_MAX)?;
    check_roles(&group.roles)
}

fn validate_role(role: &Role) -> Result<(), InvalidRecord> {
    check_name("role name", &role.name)?;
    check_texts(&role.text_name, &role.text_description)?;
    let key = || format!("role {:?}", role.name);
    check_count(key, "acls", role.acls.len(), ACLS_PER_ROLE_MAX)?;
    role.acls.iter().try_for_each(|acl| check_topic(&role.name, acl))
}

fn check_topic(role: &str, acl: &Acl) -> Result<(), InvalidRecord> {
    validate_filter(&acl.topic).map_err(|source| InvalidRecord::InvalidTopic {
        role: role.to_owned(),
        topic: acl.topic.clone(),
        source,
    })
}

fn check_roles(roles: &[RoleAssignment]) -> Result<(), InvalidRecord> {
    roles.iter().try_for_each(|role| check_name("role name", &role.name))
}

fn check_texts(text_name: &str, text_description: &str) -> Result<(), InvalidRecord> {
    for (what, text) in [("title", text_name), ("description", text_description)] {
        if text.len() > TEXT_BYTES_MAX {
            return Err(InvalidRecord::TooLong { what, max: TEXT_BYTES_MAX });
        }
    }
    Ok(())
}

fn check_name(what: &'static str, name: &str) -> Result<(), InvalidRecord> {
    if name.is_empty() {
        return Err(InvalidRecord::EmptyName { what });
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(InvalidRecord::TooLong { what, max: NAME_BYTES_MAX });
    }
    if name.chars().any(char::is_control) {
        return Err(InvalidRecord::ControlCharacter { what, name: name.to_owned() });
    }
    Ok(())
}

fn check_count(
    key: impl Fn() -> String,
    what: &'static str,
    count: usize,
    max: usize,
) -> Result<(), InvalidRecord> {
    if count > max { Err(InvalidRecord::TooMany { key: key(), what, max }) } else { Ok(()) }
}
