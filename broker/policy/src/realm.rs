//! Users and rights that hold for some listeners only. Pure.
//!
//! A broker that stands alone may give listeners their own: a realm. Its records lie beside those that
//! hold elsewhere, in one policy, which is put into force and enforced as one. What tells them apart
//! is the user's name: `NUL realm NUL name`, and `NUL realm` for a client without one. MQTT forbids
//! NUL in a user name, and so do password files and certificates, so nobody can write another realm's.
//! A session keeps the whole name, whereby it is held to the rights of the listener that its client
//! came in by last. Spec: MQTT 5.0 section 1.5.4 [MQTT-1.5.4-2].

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::record::{DefaultAccess, Record};

const MARK: char = '\0';

/// What a realm's name and its own names are put together with, in names of groups and roles.
const SEPARATOR: &str = "/";

/// A user's name, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RealmUser<'a> {
    /// The realm; `None` for users who are in none.
    pub realm: Option<&'a str>,
    /// What the client calls itself; `None` for one without user name.
    pub name: Option<&'a str>,
}

/// Takes a user's name apart.
pub fn split(username: Option<&str>) -> RealmUser<'_> {
    let Some(rest) = username.and_then(|username| username.strip_prefix(MARK)) else {
        return RealmUser { realm: None, name: username };
    };
    match rest.split_once(MARK) {
        Some((realm, name)) => RealmUser { realm: Some(realm), name: Some(name) },
        None => RealmUser { realm: Some(rest), name: None },
    }
}

/// What the client calls itself.
pub fn name_of(username: Option<&str>) -> Option<&str> {
    split(username).name
}

/// The user with this name in a realm.
pub fn user_in(realm: &str, name: Option<&str>) -> Arc<str> {
    match name {
        Some(name) => format!("{MARK}{realm}{MARK}{name}").into(),
        None => format!("{MARK}{realm}").into(),
    }
}

/// Whether the names are those of one user: who comes in by another listener is the same.
pub fn is_same_user(one: Option<&str>, other: Option<&str>) -> bool {
    name_of(one) == name_of(other)
}

/// What holds for a realm in place of the settings' own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RealmSettings {
    /// What is allowed where no ACL matches.
    #[serde(default)]
    pub default_access: DefaultAccess,
    /// The group of clients without user name; `None`: they are refused.
    #[serde(default)]
    pub anonymous_group: Option<String>,
    /// The group of clients whose user name no record holds; `None`: they are refused.
    #[serde(default)]
    pub guest_group: Option<String>,
}

/// Puts records into a realm: users, groups and roles are named as its own, and what the settings
/// say is given apart.
pub fn enter(realm: &str, records: Vec<Record>) -> (Vec<Record>, RealmSettings) {
    let own = |name: &mut String| *name = [realm, SEPARATOR, name.as_str()].concat();
    let mut settings = RealmSettings::default();
    let mut entered = Vec::with_capacity(records.len());
    for record in records {
        entered.push(match record {
            Record::Client(mut client) => {
                client.username = user_in(realm, Some(&client.username)).to_string();
                client.roles.iter_mut().for_each(|role| own(&mut role.name));
                client.groups.iter_mut().for_each(|group| own(&mut group.name));
                Record::Client(client)
            }
            Record::Group(mut group) => {
                own(&mut group.name);
                group.roles.iter_mut().for_each(|role| own(&mut role.name));
                Record::Group(group)
            }
            Record::Role(mut role) => {
                own(&mut role.name);
                Record::Role(role)
            }
            Record::Settings(all) => {
                settings = RealmSettings {
                    default_access: all.default_access,
                    anonymous_group: all.anonymous_group,
                    guest_group: all.guest_group,
                };
                settings.anonymous_group.iter_mut().for_each(&own);
                settings.guest_group.iter_mut().for_each(&own);
                continue;
            }
        });
    }
    (entered, settings)
}
