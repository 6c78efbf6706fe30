//! What `brokerConfig` puts over the configuration that follows from the other fields. Pure.

use broker_config::RawConfig;
use serde_json::{Map, Value};

use super::validate::{Problem, ProblemReason};

/// Tables and keys of the file that `brokerConfig` may hold as they are.
const OPEN_KEYS: [&str; 10] = [
    "workers",
    "mqtt",
    "limits",
    "log",
    "sys",
    "redirect",
    "delayed",
    "rewrites",
    "auto_subscriptions",
    "durability_rules",
];

/// Tables of which it may hold some keys; the spec or the operator decides the others.
const PARTLY_OPEN: [(&str, &[&str]); 3] = [
    ("cluster", &["feature_level_max"]),
    (
        "sessions",
        &[
            "queued_bytes_total_max",
            "queued_messages_total_max",
            "subscriptions_max",
            "durable_max",
            "durable_bytes_max",
            "durable_cache_bytes",
        ],
    ),
    ("retained", &["expiry_max_seconds"]),
];

/// Keys that a field of the spec stands for.
const FIELDS: [(&str, &str); 12] = [
    ("durability", "spec.durability"),
    ("partition_policy", "spec.partitionPolicy"),
    ("listeners", "spec.listeners"),
    ("peers", "spec.discovery"),
    ("tls", "spec.tls"),
    ("cluster.name", "metadata.name"),
    ("sessions.expiry_max_seconds", "spec.sessions.expiryMax"),
    ("sessions.inflight_max", "spec.sessions.inflightMax"),
    ("sessions.queued_messages_max", "spec.sessions.queuedMessagesMax"),
    ("sessions.queued_bytes_max", "spec.sessions.queuedBytesMax"),
    ("retained.messages_max", "spec.retained.messagesMax"),
    ("retained.bytes_max", "spec.retained.bytesMax"),
];

/// Puts what `brokerConfig` says over `raw`.
///
/// # Errors
/// [`ProblemReason::InvalidConfiguration`] when it holds a key that it may not, or one that the
/// broker doesn't know.
pub(super) fn merged(raw: RawConfig, overlay: &Map<String, Value>) -> Result<RawConfig, Problem> {
    if overlay.is_empty() {
        return Ok(raw);
    }
    overlay.iter().try_for_each(|(key, value)| check(key, value))?;
    if !raw.durability_rules.is_empty() && overlay.contains_key("durability_rules") {
        return Err(invalid(
            "brokerConfig.durability_rules and durabilityRules are both set: write all rules in \
             durabilityRules"
                .to_owned(),
        ));
    }
    let mut value = serde_json::to_value(raw).map_err(|error| invalid(error.to_string()))?;
    merge(&mut value, &Value::Object(overlay.clone()));
    serde_json::from_value(value).map_err(|error| invalid(format!("brokerConfig: {error}")))
}

/// Whether this key of the file is open.
fn check(key: &str, value: &Value) -> Result<(), Problem> {
    if OPEN_KEYS.contains(&key) {
        return Ok(());
    }
    let Some((_, open)) = PARTLY_OPEN.iter().find(|(table, _)| *table == key) else {
        let tables = PARTLY_OPEN.iter().map(|(table, _)| *table);
        let open: Vec<&str> = OPEN_KEYS.into_iter().chain(tables).collect();
        return Err(closed(key, &open));
    };
    let Value::Object(table) = value else {
        return Err(invalid(format!(
            "brokerConfig.{key} is no table: write the keys below it, which are {}",
            open.join(", ")
        )));
    };
    match table.keys().find(|name| !open.contains(&name.as_str())) {
        Some(name) => Err(closed(&format!("{key}.{name}"), open)),
        None => Ok(()),
    }
}

fn closed(path: &str, open: &[&str]) -> Problem {
    if let Some((_, field)) = FIELDS.iter().find(|(key, _)| *key == path) {
        return invalid(format!("brokerConfig.{path} can't be set here: set {field} in its place"));
    }
    let open = open.join(", ");
    invalid(format!(
        "brokerConfig.{path} can't be set here: the keys that can are {open}; the others follow \
         from the other fields of the spec"
    ))
}

fn invalid(message: String) -> Problem {
    Problem::new(ProblemReason::InvalidConfiguration, message)
}

/// Puts an overlay over a value: maps are merged, everything else is replaced.
fn merge(value: &mut Value, overlay: &Value) {
    match (value, overlay) {
        (Value::Object(value), Value::Object(overlay)) => {
            for (key, above) in overlay {
                merge(value.entry(key.clone()).or_insert(Value::Null), above);
            }
        }
        (value, overlay) => *value = overlay.clone(),
    }
}

#[cfg(test)]
mod tests {
    use broker_config::Config;

    use crate::cluster::configuration::{Placement, render};
    use crate::cluster::fixture::validated;

    /// Why a cluster with this `brokerConfig` is refused.
    fn refused(overlay: &str) -> String {
        let mut cluster = validated("{version: 0.1.0}");
        cluster.broker_config = serde_yaml::from_str(overlay).unwrap();
        render(&cluster, &Placement::kubernetes(&cluster)).unwrap_err().message
    }

    #[test]
    fn a_broker_setting_is_merged_and_checked() {
        let cluster = validated("{version: 0.1.0, brokerConfig: {log: {level: debug}}}");
        let rendered = render(&cluster, &Placement::kubernetes(&cluster)).unwrap();
        assert!(rendered.text.contains("level = \"debug\""));
    }

    #[test]
    fn the_feature_level_can_be_kept_back_and_nothing_else_of_the_table() {
        let cluster =
            validated("{version: 0.1.0, brokerConfig: {cluster: {feature_level_max: 1}}}");
        let rendered = render(&cluster, &Placement::kubernetes(&cluster)).unwrap();
        let config = Config::parse(&rendered.text).unwrap().cluster.unwrap();
        assert_eq!((config.feature_level_max, &*config.id), (Some(1), "01KABCDEF"));
        for (overlay, said) in [
            (
                "{cluster: {id: mine}}",
                "cluster.id can't be set here: the keys that can are feature",
            ),
            ("{cluster: {name: mine}}", "cluster.name can't be set here: set metadata.name"),
            ("{cluster: null}", "cluster is no table: write the keys below it"),
            ("{cluster: {feature_level_max: 0}}", "cluster.feature_level_max"),
        ] {
            assert!(refused(overlay).contains(said), "{}", refused(overlay));
        }
    }

    #[test]
    fn limits_that_have_no_field_are_set_and_those_that_have_one_name_it() {
        let cluster = validated(
            "{version: 0.1.0, sessions: {inflightMax: 7}, brokerConfig: {
                sessions: {queued_bytes_total_max: 2000000, queued_messages_total_max: 3000,
                    subscriptions_max: 4, durable_max: 5, durable_bytes_max: 6000000,
                    durable_cache_bytes: 7000000},
                retained: {expiry_max_seconds: 8}}}",
        );
        let rendered = render(&cluster, &Placement::kubernetes(&cluster)).unwrap();
        let config = Config::parse(&rendered.text).unwrap();
        let sessions = config.sessions;
        assert_eq!(
            (sessions.subscriptions_max, sessions.durable_max, sessions.durable_cache_bytes),
            (4, 5, Some(7_000_000))
        );
        assert_eq!(sessions.inflight_max, 7, "the field stays");
        assert_eq!(config.retained.expiry_max.map(|most| most.as_secs()), Some(8));
        for (overlay, said) in [
            (
                "{sessions: {expiry_max_seconds: 1}}",
                "here: set spec.sessions.expiryMax in its place",
            ),
            ("{retained: {bytes_max: 1}}", "here: set spec.retained.bytesMax in its place"),
            ("{partition_policy: serve}", "here: set spec.partitionPolicy in its place"),
            ("{sessions: {durable_maxx: 1}}", "durable_maxx can't be set here: the keys that can"),
        ] {
            assert!(refused(overlay).contains(said), "{}", refused(overlay));
        }
    }

    /// Every key of these tables is open or is a field's: one that comes new is decided upon.
    #[test]
    fn each_key_of_a_table_that_is_partly_open_is_open_or_has_a_field() {
        use broker_config::{RawRetained, RawSessions};
        // Those that are left out while they have their default.
        let sessions = RawSessions {
            queued_bytes_total_max: 1,
            queued_messages_total_max: 1,
            subscriptions_max: 1,
            durable_bytes_max: 1,
            durable_cache_bytes: 1,
            ..RawSessions::default()
        };
        let retained = RawRetained { bytes_max: 1, expiry_max_seconds: 1, messages_max: 1 };
        let tables = [
            ("sessions", serde_json::to_value(sessions).unwrap()),
            ("retained", serde_json::to_value(retained).unwrap()),
        ];
        for (table, keys) in tables {
            let (_, open) = super::PARTLY_OPEN.iter().find(|(name, _)| *name == table).unwrap();
            for key in keys.as_object().unwrap().keys() {
                let path = format!("{table}.{key}");
                let has_field = super::FIELDS.iter().any(|(name, _)| *name == path);
                assert_ne!(open.contains(&&**key), has_field, "{path}");
            }
        }
    }

    #[test]
    fn what_brokers_do_beside_routing_is_said_there_too() {
        let cluster = validated(
            "{version: 0.1.0, brokerConfig: {
                sys: {interval_seconds: 0}, redirect: {server_reference: b}, delayed: {messages_max: 7},
                rewrites: [{source: a/+, destination: b/$1}], auto_subscriptions: [{filter: to/%c}]}}",
        );
        let rendered = render(&cluster, &Placement::kubernetes(&cluster)).unwrap();
        let config = Config::parse(&rendered.text).unwrap();
        assert_eq!((config.sys_interval, config.delayed.unwrap().messages_max), (None, 7));
        assert_eq!(&*config.redirect.unwrap().server_reference, "b");
        assert_eq!(config.rewrites[0].destination, "b/$1");
        assert_eq!(&*config.auto_subscriptions[0].filter, "to/%c");
    }

    #[test]
    fn what_the_broker_would_refuse_is_refused_before() {
        assert!(refused("{data_dir: /tmp}").contains("brokerConfig.data_dir can't be set here"));
        assert!(refused("{log: {levle: debug}}").contains("levle"));
        assert!(refused("{mqtt: {receive_maximum: 0}}").contains("receive_maximum"));
        let said = refused("{rewrites: [{source: a, destination: b/$1}]}");
        assert!(said.contains("rewrites[0].destination is \"b/$1\""), "{said}");
    }
}
