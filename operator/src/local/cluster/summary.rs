//! What a person needs once a cluster is ready: addresses, files, and lines to paste. Pure but for the paths it asks for.

use std::fmt::Write as _;

use broker_policy::{Action, Policy};
use operator_api::MqttUser;
use operator_api::acl::{Effect, RuleAction};
use operator_core::cluster::{ClusterNames, ValidatedCluster};
use operator_core::policy::CompiledPolicy;

use super::super::store::Store;
use super::configuration::Configured;
use super::desired::Desired;

/// Users and brokers that are listed; of more there is a count.
const LISTED_MAX: usize = 8;

/// What the summary is made from.
pub(super) struct Summary<'a> {
    pub(super) cluster: &'a ValidatedCluster,
    pub(super) desired: &'a Desired,
    pub(super) compiled: &'a CompiledPolicy,
    pub(super) brokers: Vec<&'a Configured>,
    pub(super) store: &'a Store,
    pub(super) manifests: &'a str,
}

/// Lines to paste: who publishes what, and who is given it under which filter.
struct Pair<'a> {
    publication: (&'a MqttUser, String),
    subscription: Option<(&'a MqttUser, String)>,
}

impl Summary<'_> {
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for listener in &self.cluster.listeners {
            let addresses: Vec<String> = self
                .brokers
                .iter()
                .filter_map(|broker| broker.ports.listeners.get(&listener.name))
                .map(|port| format!("localhost:{port}"))
                .collect();
            let scheme = listener.protocol.scheme();
            self.row(&mut text, &format!("{} ({scheme})", listener.name), &addresses.join("  "));
        }
        self.row(&mut text, "CA certificate", &self.ca());
        for user in self.desired.users.iter().take(LISTED_MAX) {
            self.row(&mut text, &user.username(), &self.credentials(user));
        }
        if self.desired.users.len() > LISTED_MAX {
            let more = self.desired.users.len() - LISTED_MAX;
            let _ = writeln!(text, "  … and {more} more users, each with a folder beside those");
        }
        let lines = self.lines();
        if !lines.is_empty() {
            let _ = writeln!(text, "\nIn another terminal:\n");
            for line in lines {
                let _ = writeln!(text, "  {line}");
            }
        }
        let _ = write!(
            text,
            "\nSave a change below {} and it is enforced; Ctrl-C stops the brokers.",
            self.manifests
        );
        text
    }

    fn row(&self, text: &mut String, name: &str, value: &str) {
        let _ = writeln!(text, "  {name:<16} {value}");
    }

    fn folder(&self, secret: &str) -> String {
        self.store.shown_secret_dir(&self.cluster.namespace, secret)
    }

    fn ca(&self) -> String {
        let names = ClusterNames::new(&*self.cluster.name);
        format!("{}/ca.crt", self.folder(&names.ca_bundle_secret()))
    }

    fn credentials(&self, user: &MqttUser) -> String {
        let folder = self.folder(&user.secret_name());
        match user.spec.authentication.x509 {
            Some(_) => format!("certificate {folder}/tls.crt, key {folder}/tls.key"),
            None => format!("password in {folder}/password"),
        }
    }

    /// A subscriber and a publisher that may do what they do, checked against the policy itself.
    fn lines(&self) -> Vec<String> {
        let records = self.compiled.records.records().map(|record| (**record).clone());
        let Ok(policy) = Policy::from_records(records) else { return Vec::new() };
        let Some(pair) = self.pair(&policy) else { return Vec::new() };
        let mut lines = Vec::new();
        let ca = quoted(&self.ca());
        if let Some((subscriber, filter)) = pair.subscription {
            let (port, login, filter) = (self.port(1), self.login(subscriber), quoted(&filter));
            lines.push(format!(
                "mosquitto_sub -V mqttv5 -h localhost -p {port} --cafile {ca} {login} -t {filter} -v"
            ));
        }
        let (publisher, topic) = pair.publication;
        let (port, login, topic) = (self.port(0), self.login(publisher), quoted(&topic));
        lines.push(format!(
            "mosquitto_pub -V mqttv5 -h localhost -p {port} --cafile {ca} {login} -q 1 -t {topic} -m hello"
        ));
        lines
    }

    /// Somebody who publishes, and somebody, rather else, who is given it.
    fn pair(&self, policy: &Policy) -> Option<Pair<'_>> {
        let mut pairs = self.publications(policy).into_iter().map(|publication| {
            let (publisher, topic) = &publication;
            let subscription = self.subscription(policy, publisher, topic);
            Pair { publication, subscription }
        });
        let first = pairs.next()?;
        let is_between_two = |pair: &Pair<'_>| {
            let name = &pair.publication.0.metadata.name;
            pair.subscription.as_ref().is_some_and(|(other, _)| other.metadata.name != *name)
        };
        if is_between_two(&first) {
            Some(first)
        } else {
            Some(pairs.find(is_between_two).unwrap_or(first))
        }
    }

    /// The port of the first encrypted listener on one of the brokers.
    fn port(&self, broker: usize) -> u16 {
        let listeners = &self.cluster.listeners;
        let listener = listeners.iter().find(|l| l.protocol.is_tls()).or(listeners.first());
        let broker = self.brokers.get(broker).or(self.brokers.first());
        broker
            .zip(listener)
            .and_then(|(broker, listener)| broker.ports.listeners.get(&listener.name))
            .copied()
            .unwrap_or_default()
    }

    fn login(&self, user: &MqttUser) -> String {
        let folder = self.folder(&user.secret_name());
        let client_id =
            client_id(user).map(|id| format!(" -i {}", quoted(&id))).unwrap_or_default();
        match user.spec.authentication.x509 {
            Some(_) => {
                let (crt, key) = (format!("{folder}/tls.crt"), format!("{folder}/tls.key"));
                format!("--cert {} --key {}{client_id}", quoted(&crt), quoted(&key))
            }
            None => {
                let password = format!("{folder}/password");
                let username = quoted(&user.username());
                format!("-u {username} -P \"$(cat {})\"{client_id}", quoted(&password))
            }
        }
    }

    /// Users and topics that they may publish to, one each, users with passwords first.
    fn publications(&self, policy: &Policy) -> Vec<(&MqttUser, String)> {
        let topics = self.topics(RuleAction::Publish);
        let mut users: Vec<&MqttUser> = self.users().collect();
        users.sort_by_key(|user| user.spec.authentication.x509.is_some());
        let of = |user: &'_ MqttUser| {
            let (username, id) = (user.username(), client_id(user).unwrap_or_default());
            let authorizer = policy.authorizer(Some(&username), &id);
            topics
                .iter()
                .filter(|topic| can_be_filled(topic, user))
                .map(|topic| concrete(&filled(topic, user)))
                .find(|topic| authorizer.allows(Action::Publish, topic))
        };
        users.into_iter().filter_map(|user| Some((user, of(user)?))).collect()
    }

    /// A user, rather another one than `publisher`, and a filter under which it is given what is published to `topic`.
    fn subscription(
        &self,
        policy: &Policy,
        publisher: &MqttUser,
        topic: &str,
    ) -> Option<(&MqttUser, String)> {
        let filters = self.topics(RuleAction::Subscribe);
        let mut users: Vec<&MqttUser> = self.users().collect();
        users.sort_by_key(|user| user.metadata.name == publisher.metadata.name);
        users.into_iter().find_map(|user| {
            let (username, id) = (user.username(), client_id(user).unwrap_or_default());
            let authorizer = policy.authorizer(Some(&username), &id);
            filters
                .iter()
                .filter(|filter| can_be_filled(filter, user))
                .map(|filter| filled(filter, user))
                .filter(|filter| broker_policy::topic::matches(filter, topic))
                .find(|filter| {
                    authorizer.allows(Action::Subscribe, filter)
                        && authorizer.allows(Action::Receive, topic)
                })
                .map(|filter| (user, filter))
        })
    }

    /// Users whose lines can be pasted: the first ones that are not suspended.
    fn users(&self) -> impl Iterator<Item = &MqttUser> {
        self.desired.users.iter().map(|user| &**user).filter(|user| !user.spec.suspended).take(100)
    }

    fn topics(&self, action: RuleAction) -> Vec<&str> {
        let rules = self.desired.acls.iter().flat_map(|acl| &acl.spec.rules);
        rules
            .filter(|rule| rule.effect == Effect::Allow && rule.actions.contains(&action))
            .flat_map(|rule| rule.topics.iter().map(String::as_str))
            .collect()
    }
}

/// The client id that a user must take, if it may not take any.
fn client_id(user: &MqttUser) -> Option<String> {
    user.spec.client_ids.first().map(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => format!("{prefix}1"),
        None => pattern.clone(),
    })
}

/// A topic with a client id in it needs a user whose client id is known.
fn can_be_filled(topic: &str, user: &MqttUser) -> bool {
    !topic.contains("%c") || client_id(user).is_some()
}

fn filled(topic: &str, user: &MqttUser) -> String {
    let id = client_id(user).unwrap_or_default();
    topic.replace("%u", &user.username()).replace("%c", &id)
}

/// A topic name that the filter matches.
fn concrete(filter: &str) -> String {
    filter.replace(['+', '#'], "demo")
}

/// As a shell takes it for one word.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
