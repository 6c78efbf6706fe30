//! The evaluation order of dynamic security, written down as it is told, for tests to compare the
//! compiled rule sets with. It works on the records as given, sorts at every question and knows
//! neither ranks nor tries.

use super::{Action, Because, Explanation};
use crate::record::{Acl, AclType, Client, Group, Record, Role, RoleAssignment, Settings};
use crate::topic::{covers, matches};

pub(super) struct Naive<'a> {
    pub(super) records: &'a [Record],
    pub(super) username: Option<&'a str>,
    pub(super) client_id: &'a str,
}

impl Naive<'_> {
    pub(super) fn explain(&self, action: Action, topic: &str) -> Explanation {
        let deny = |because| Explanation { is_allowed: false, because };
        let settings = self.settings();
        let roles = match (self.username, &settings.anonymous_group) {
            (Some(name), _) => match (self.client(name), &settings.guest_group) {
                (Some(client), _) => self.roles_of_client(client),
                (None, Some(group)) => self.roles_of_group(group),
                (None, None) => return deny(Because::UnknownUser),
            },
            (None, Some(group)) => self.roles_of_group(group),
            (None, None) => return deny(Because::AnonymousRefused),
        };
        if action == Action::Publish {
            let is_bridge_state = matches("$SYS/broker/connection/+/state", topic);
            if topic.starts_with("$share") || topic.starts_with("$SYS") && !is_bridge_state {
                return deny(Because::ReservedTopic);
            }
        }
        if let Some(decided) = roles.iter().find_map(|role| self.ask(role, action, topic)) {
            return decided;
        }
        if topic.starts_with("$CONTROL") {
            return deny(Because::ControlTopic);
        }
        let kind = action.access_kind();
        Explanation {
            is_allowed: settings.default_access.allows(kind),
            because: Because::Default { kind: kind.as_str().to_owned() },
        }
    }

    fn ask(&self, role: &Role, action: Action, topic: &str) -> Option<Explanation> {
        let (literal, pattern) = match action {
            Action::Publish => (None, AclType::PublishClientSend),
            Action::Receive => (None, AclType::PublishClientReceive),
            Action::Subscribe => (Some(AclType::SubscribeLiteral), AclType::SubscribePattern),
            Action::Unsubscribe => (Some(AclType::UnsubscribeLiteral), AclType::UnsubscribePattern),
        };
        let has_wildcard = topic.contains(['+', '#']);
        if action == Action::Subscribe && has_wildcard && !role.allow_wildcard_subscriptions {
            let because = Because::WildcardSubscription { role: role.name.clone() };
            return Some(Explanation { is_allowed: false, because });
        }
        let of_type = |kind: AclType| {
            let mut acls: Vec<&Acl> = Vec::new();
            for acl in role.acls.iter().filter(|acl| acl.acl_type == kind) {
                if !acls.iter().any(|earlier| earlier.topic == acl.topic) {
                    acls.push(acl);
                }
            }
            acls.sort_by_key(|acl| -acl.priority);
            acls
        };
        let exact = literal.and_then(|kind| of_type(kind).into_iter().find(|a| a.topic == topic));
        let is_filter = literal.is_some();
        let hit = exact.or_else(|| {
            of_type(pattern).into_iter().find(|acl| self.hits(&acl.topic, topic, is_filter))
        })?;
        let because = Because::Acl { role: role.name.clone(), acl: hit.clone() };
        Some(Explanation { is_allowed: hit.allow, because })
    }

    fn hits(&self, acl: &str, topic: &str, is_filter: bool) -> bool {
        if acl.starts_with('$') != topic.starts_with('$') {
            return false;
        }
        let mut substituted = Vec::new();
        for level in acl.split('/') {
            let name = match level {
                "%u" => self.username.unwrap_or_default(),
                "%c" => self.client_id,
                _ => {
                    substituted.push(level);
                    continue;
                }
            };
            let is_only_separators = name.chars().all(|character| character == '/');
            if name.contains(['+', '#']) || is_only_separators {
                return false;
            }
            substituted.push(name);
        }
        // Below a common first level the dollar rule, checked above, plays no part.
        let (filter, topic) = (format!("-/{}", substituted.join("/")), format!("-/{topic}"));
        if is_filter { covers(&filter, &topic) } else { matches(&filter, &topic) }
    }

    fn roles_of_client(&self, client: &Client) -> Vec<&Role> {
        let mut roles = self.sorted_roles(&client.roles);
        let mut groups: Vec<_> = client.groups.iter().collect();
        groups.sort_by(|a, b| b.priority.cmp(&a.priority).then(a.name.cmp(&b.name)));
        for group in groups {
            roles.extend(self.roles_of_group(&group.name));
        }
        roles
    }

    fn roles_of_group(&self, name: &str) -> Vec<&Role> {
        self.group(name).map(|group| self.sorted_roles(&group.roles)).unwrap_or_default()
    }

    fn sorted_roles(&self, assignments: &[RoleAssignment]) -> Vec<&Role> {
        let mut assignments: Vec<_> = assignments.iter().collect();
        assignments.sort_by(|a, b| b.priority.cmp(&a.priority).then(a.name.cmp(&b.name)));
        assignments.iter().filter_map(|assignment| self.role(&assignment.name)).collect()
    }

    fn settings(&self) -> Settings {
        let found = self.records.iter().find_map(|record| match record {
            Record::Settings(settings) => Some(settings.clone()),
            _ => None,
        });
        found.unwrap_or_default()
    }

    fn client(&self, name: &str) -> Option<&Client> {
        self.records.iter().find_map(|record| match record {
            Record::Client(client) if client.username == name => Some(client),
            _ => None,
        })
    }

    fn group(&self, name: &str) -> Option<&Group> {
        self.records.iter().find_map(|record| match record {
            Record::Group(group) if group.name == name => Some(group),
            _ => None,
        })
    }

    fn role(&self, name: &str) -> Option<&Role> {
        self.records.iter().find_map(|record| match record {
            Record::Role(role) if role.name == name => Some(role),
            _ => None,
        })
    }
}
