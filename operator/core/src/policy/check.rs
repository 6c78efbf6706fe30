//! Checks of names and topics, each with the sentence that says what to change. They repeat what
//! the schemas say, for objects that were stored before or beside them. Pure.

use broker_policy::topic::{has_wildcard, validate_filter};

use super::ROLE_PREFIX;

/// Longest username, in characters.
const USERNAME_MAX: usize = 128;
/// Longest client id, in characters.
const CLIENT_ID_MAX: usize = 256;
/// Longest group name, in characters.
const GROUP_MAX: usize = 63;
/// Usernames that begin so are the system's own.
const RESERVED_USERNAMES: [&str; 2] = ["dunlin:", "$"];
/// First levels that the broker keeps for itself, and `$share`, which is added here.
const RESERVED_LEVELS: [&str; 2] = ["$SYS", "$CONTROL"];

pub(super) fn check_username(username: &str) -> Result<(), String> {
    check_length("username", username, USERNAME_MAX)?;
    check_characters("username", username)?;
    if has_wildcard(username) {
        return Err(format!(
            "username {username:?} holds + or #, which are wildcards where a rule says %u; choose \
             another"
        ));
    }
    if username.bytes().all(|byte| byte == b'/') {
        return Err(format!("username {username:?} is nothing but `/`; choose another"));
    }
    if RESERVED_USERNAMES.iter().any(|prefix| username.starts_with(prefix)) {
        return Err(format!(
            "usernames that start with dunlin: or $ are the system's own; choose another than \
             {username:?}"
        ));
    }
    Ok(())
}

pub(super) fn check_client_id(client_id: &str) -> Result<(), String> {
    check_length("client id", client_id, CLIENT_ID_MAX)?;
    check_characters("client id", client_id)?;
    let literal = client_id.strip_suffix('*').unwrap_or(client_id);
    if literal.contains('*') {
        return Err(format!(
            "in client id {client_id:?} a * stands before the end; only the last character may be \
             one, for any continuation"
        ));
    }
    Ok(())
}

pub(super) fn check_group(group: &str) -> Result<(), String> {
    check_length("group", group, GROUP_MAX)?;
    let is_edge = |character: Option<char>| character.is_some_and(|c| c.is_ascii_alphanumeric());
    let is_inner = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
    if !group.chars().all(is_inner)
        || !is_edge(group.chars().next())
        || !is_edge(group.chars().last())
    {
        return Err(format!(
            "group {group:?} must consist of letters, digits and . _ : - and start and end with a \
             letter or digit"
        ));
    }
    if group.starts_with(ROLE_PREFIX) {
        return Err(format!(
            "groups that start with {ROLE_PREFIX} are the operator's own; choose another than \
             {group:?}"
        ));
    }
    Ok(())
}

/// Checks a topic filter of a rule.
pub(super) fn check_topic(topic: &str) -> Result<(), String> {
    validate_filter(topic).map_err(|error| format!("{topic:?}: {error}"))?;
    let mut levels = topic.split('/');
    let first = topic.split('/').next().unwrap_or_default();
    if RESERVED_LEVELS.iter().any(|reserved| first.starts_with(reserved)) {
        return Err(format!(
            "{topic:?}: topics below $SYS and $CONTROL can't be granted here, they are the broker's \
             own; remove it"
        ));
    }
    if first == "$share" {
        return Err(format!(
            "{topic:?}: write the topic without $share/<group>/; who may subscribe to a filter may \
             share it"
        ));
    }
    let is_part = |level: &str| level.len() > 2 && (level.contains("%u") || level.contains("%c"));
    if levels.any(is_part) {
        return Err(format!(
            "{topic:?}: %u and %c must be a whole level, as in fleet/%u/telemetry"
        ));
    }
    Ok(())
}

/// Whether the topic has a level that stands for a name.
pub(super) fn has_name_level(topic: &str) -> bool {
    topic.split('/').any(|level| level == "%u" || level == "%c")
}

fn check_length(what: &str, text: &str, max: usize) -> Result<(), String> {
    match text.chars().count() {
        0 => Err(format!("{what} is empty; name it or leave it out")),
        length if length > max => Err(format!("{what} has {length} characters; {max} is the most")),
        _ => Ok(()),
    }
}

fn check_characters(what: &str, text: &str) -> Result<(), String> {
    if text.chars().any(char::is_control) {
        return Err(format!("{what} {text:?} holds a control character; remove it"));
    }
    Ok(())
}
