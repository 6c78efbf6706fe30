//! An ACL file: `user`, `topic` and `pattern` lines. Pure.
//!
//! `topic` lines before the first `user` line are for clients without a user name, and for them
//! only; those after it for that user. `pattern` lines are for every client, wherever they stand.
//! Each list is asked in turn, first the client's own, then the patterns; in a list what denies comes
//! first. What nothing matches is denied, but anybody may subscribe to anything: what is delivered
//! is checked instead.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_policy::topic::validate_filter;

use crate::conf::{LINE_BYTES_MAX, Position};
use crate::fault::{Fault, Faults};

/// What a line allows or denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To receive.
    Read,
    /// To publish.
    Write,
    /// Both.
    ReadWrite,
    /// Neither.
    Deny,
}

/// A `topic` or `pattern` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AclRule {
    /// What it allows or denies.
    pub access: Access,
    /// For which topics; in patterns `%u` and `%c` stand for the names of the client.
    pub topic: String,
}

/// An ACL file, in the order of its lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AclFile {
    /// For clients without a user name.
    pub anonymous: Vec<AclRule>,
    /// For users.
    pub users: BTreeMap<String, Vec<AclRule>>,
    /// For everybody.
    pub patterns: Vec<AclRule>,
}

impl AclFile {
    /// Reads an ACL file; `path` is how messages name it.
    ///
    /// # Errors
    /// Every line that says nothing that can be held to.
    pub fn read(path: &str, text: &str) -> Result<Self, Faults> {
        let name: Arc<str> = path.into();
        let (mut file, mut faults, mut user) = (Self::default(), Vec::new(), None);
        for (index, line) in text.split('\n').enumerate() {
            if line.starts_with('#') {
                continue;
            }
            if let Err(problem) = file.line(line.trim_end(), &mut user) {
                let line = u32::try_from(index + 1).unwrap_or(u32::MAX);
                let at = Position { file: Arc::clone(&name), line };
                faults.push(Fault::Line { at, problem });
            }
        }
        Faults(faults).into_result().map(|()| file)
    }

    fn line(&mut self, line: &str, user: &mut Option<String>) -> Result<(), String> {
        if line.len() > LINE_BYTES_MAX {
            return Err(format!("the line is longer than {LINE_BYTES_MAX} bytes; shorten it"));
        }
        let line = line.trim_start_matches(' ');
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        match word {
            "" => {}
            "user" if rest.is_empty() => return Err("user has no name; write one".to_owned()),
            "user" if rest.chars().any(char::is_control) => {
                return Err("the user name holds a control character; remove it".to_owned());
            }
            "user" => {
                self.users.entry(rest.to_owned()).or_default();
                *user = Some(rest.to_owned());
            }
            "topic" => {
                let rule = rule("topic", rest)?;
                match user {
                    None => self.anonymous.push(rule),
                    Some(user) => self.users.entry(user.clone()).or_default().push(rule),
                }
            }
            "pattern" => self.patterns.push(rule("pattern", rest)?),
            // Of a password file, which was taken for this one.
            _ if word.contains([':', '$']) => {
                return Err(
                    "the line is none of user, topic and pattern; is this the ACL file?".into()
                );
            }
            _ => {
                return Err(format!(
                    "{word:?} is none of user, topic and pattern, each with one space after it; \
                     correct the line, or begin a comment with `#` as its first character"
                ));
            }
        }
        Ok(())
    }
}

fn rule(kind: &str, text: &str) -> Result<AclRule, String> {
    // The access may be left out, unless the topic holds a space.
    let (access, topic) = match text.split_once(' ') {
        None => (Access::ReadWrite, text),
        Some((word, topic)) => {
            let access = match word {
                "read" => Access::Read,
                "write" => Access::Write,
                "readwrite" => Access::ReadWrite,
                "deny" => Access::Deny,
                _ => {
                    return Err(format!(
                        "{word:?} is none of read, write, readwrite and deny; write one before a \
                         topic that holds a space"
                    ));
                }
            };
            (access, topic.trim())
        }
    };
    if topic.is_empty() {
        return Err(format!("{kind} has no topic; write one"));
    }
    validate_filter(topic).map_err(|error| format!("{kind} {topic:?}: {error}"))?;
    for name in ["%u", "%c"] {
        let mut levels = topic.split('/').filter(|level| level.contains(name));
        if kind == "pattern" && levels.any(|level| level != name) {
            return Err(format!(
                "pattern {topic:?}: {name} must be the only text of its level, as in a/{name}/b"
            ));
        }
        if kind == "topic" && topic.split('/').any(|level| level == name) {
            return Err(format!("topic {topic:?}: {name} stands for a name in pattern lines only"));
        }
    }
    Ok(AclRule { access, topic: topic.to_owned() })
}
