//! What differs between listeners, as the engines want it.

use std::sync::Arc;

use broker_config::{Config, ListenerMqtt, ProtocolVersion};
use broker_core::engine::ListenerOptions;
use broker_core::types::QoS;

/// By the number of the listener; empty where none has options, so that nobody looks.
pub(super) fn options(config: &Config) -> Arc<[ListenerOptions]> {
    let all: Vec<ListenerOptions> = config.listeners.iter().map(|l| of(&l.mqtt)).collect();
    match all.iter().all(|options| *options == ListenerOptions::default()) {
        true => Arc::default(),
        false => all.into(),
    }
}

fn of(mqtt: &ListenerMqtt) -> ListenerOptions {
    ListenerOptions {
        mount_point: mqtt.mount_point.clone(),
        qos_max: match mqtt.qos_max {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        },
        retain_available: mqtt.retain_available,
        versions: ProtocolVersion::ALL.map(|version| mqtt.protocol_versions.contains(&version)),
        assigns_client_ids: mqtt.assign_client_ids,
        assigned_id_prefix: mqtt.assigned_client_id_prefix.clone(),
        payload_bytes_max: mqtt.payload_bytes_max.map_or(usize::MAX, |bytes| bytes as usize),
        topic_alias_maximum: mqtt.topic_alias_maximum,
        topic_alias_maximum_outbound: mqtt.topic_alias_maximum_outbound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_without_options_cost_nothing_and_one_with_them_gives_all_theirs() {
        let config = |mqtt: &str| {
            let listener = |name: &str, port: u16| {
                format!(
                    "[[listeners]]\nname = '{name}'\nport = {port}\nprotocol = 'mqtt'\n\
                     acknowledge_plaintext = true\n"
                )
            };
            let (a, b) = (listener("a", 1), listener("b", 2));
            Config::parse(&format!("data_dir = '/d'\n[policy]\n{a}{b}{mqtt}")).unwrap()
        };
        assert!(options(&config("")).is_empty());
        let set = options(&config(
            "[listeners.mqtt]\nmount_point = 'm/'\nqos_max = 1\nretain_available = false\n\
             protocol_versions = ['5.0']\nassign_client_ids = false\npayload_bytes_max = 7\n\
             assigned_client_id_prefix = 'p'\ntopic_alias_maximum = 3\n\
             topic_alias_maximum_outbound = 4\n",
        ));
        assert_eq!(set[0], ListenerOptions::default());
        let expected = ListenerOptions {
            mount_point: Some("m/".into()),
            qos_max: QoS::AtLeastOnce,
            retain_available: false,
            versions: [false, false, true],
            assigns_client_ids: false,
            assigned_id_prefix: Some("p".into()),
            payload_bytes_max: 7,
            topic_alias_maximum: Some(3),
            topic_alias_maximum_outbound: Some(4),
        };
        assert_eq!(set[1], expected);
    }
}
