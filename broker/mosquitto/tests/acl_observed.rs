//! ACL files decide as Mosquitto's program was seen to decide.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

use std::path::Path;

use broker_mosquitto::{Named, PolicyTexts, policy_records};
use broker_policy::{Action, Policy};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/acl");

fn policy(file: &str) -> Policy {
    let text = std::fs::read_to_string(Path::new(FOLDER).join(file)).unwrap();
    let records = policy_records(&PolicyTexts {
        acl_file: Some(Named { path: file, text: &text }),
        admits_anonymous: true,
        admits_guests: true,
        ..PolicyTexts::default()
    });
    Policy::from_records(records.unwrap()).unwrap()
}

/// Names with a wildcard: Mosquitto takes every pattern away from such a client. Here only those go
/// that hold the name, as in its dynamic security; the others hold for it as for anybody.
fn is_known_difference(file: &str, name: &str, id: &str, topic: &str) -> bool {
    let is_dangerous = |text: &str| text.contains(['+', '#']);
    (is_dangerous(name) || is_dangerous(id))
        && match file {
            "patterns.acl" => topic.starts_with("public") || is_named(topic, name, id),
            "order.acl" => topic == "q" || is_named(topic, name, id),
            _ => false,
        }
}

/// A pattern that holds the one name which is not dangerous.
fn is_named(topic: &str, name: &str, id: &str) -> bool {
    topic.split('/').any(|level| level == name || level == id)
}

#[test]
fn every_observed_decision_is_the_same_here() {
    let observed = std::fs::read_to_string(Path::new(FOLDER).join("observed.tsv")).unwrap();
    let (mut count, mut wrong, mut differences) = (0, Vec::new(), 0);
    let mut current: Option<(String, Policy)> = None;
    for line in observed.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [file, name, id, action, topic, allowed] = fields[..] else { panic!("{line:?}") };
        if current.as_ref().is_none_or(|(of, _)| of != file) {
            current = Some((file.to_owned(), policy(file)));
        }
        let (_, policy) = current.as_ref().unwrap();
        let action = match action {
            "publish" => Action::Publish,
            "receive" => Action::Receive,
            _ => panic!("{line:?}"),
        };
        let authorizer = policy.authorizer((name != "-").then_some(name), id);
        assert!(authorizer.allows(Action::Subscribe, topic), "anybody may subscribe: {line:?}");
        count += 1;
        if authorizer.allows(action, topic) == (allowed == "true") {
            continue;
        }
        match is_known_difference(file, name, id, topic) {
            true => differences += 1,
            false => wrong.push(line),
        }
    }
    assert_eq!(wrong, Vec::<&str>::new());
    assert_eq!((count, differences), (900, 12));
}
