//! What a listener's clients may use of the protocol. Pure.

use broker_config::{ProtocolVersion, RawListenerMqtt, RawMqtt};

use super::Translator;
use crate::fault::Fault;
use crate::model::{Listener, MosquittoConfig, Setting};

impl Translator<'_> {
    pub(super) fn protocol_options(
        &mut self,
        config: &MosquittoConfig,
        index: usize,
        mqtt: &RawMqtt,
    ) -> RawListenerMqtt {
        let listener = &config.listeners[index];
        let (own, global) = (&listener.settings, &config.global);
        let security = config.security_settings(index);
        let prefix = own.text("listener_auto_id_prefix").or(security.text("auto_id_prefix"));
        let qos_max = own.integer("max_qos").or_else(|| own.integer("maximum_qos"));
        let payload_bytes_max = global.integer("message_size_limit").unwrap_or(0);
        let in_place_of =
            |name, all: u16| Some(topic_aliases(listener, name)).filter(|n| *n != all);
        RawListenerMqtt {
            mount_point: own.get("mount_point").map(|setting| self.mount_point(setting)),
            qos_max: qos_max.and_then(|qos| u8::try_from(qos).ok()).unwrap_or(2),
            retain_available: global.bool("retain_available").unwrap_or(true),
            protocol_versions: match own.get("accept_protocol_versions") {
                None => ProtocolVersion::ALL.to_vec(),
                Some(setting) => self.versions(setting),
            },
            assign_client_ids: security.bool("allow_zero_length_clientid").unwrap_or(true),
            assigned_client_id_prefix: prefix.map(str::to_owned),
            payload_bytes_max: u32::try_from(payload_bytes_max).unwrap_or(0),
            topic_alias_maximum: in_place_of("max_topic_alias", mqtt.topic_alias_maximum),
            topic_alias_maximum_outbound: in_place_of(
                "max_topic_alias_broker",
                mqtt.topic_alias_maximum_outbound,
            ),
        }
    }

    fn mount_point(&mut self, setting: &Setting) -> String {
        if setting.text.contains(['+', '#']) || setting.text.starts_with('$') {
            let expected = "the beginning of a topic, without $ in front and without wildcards,";
            self.wrong(setting, "mount_point", expected);
        }
        setting.text.clone()
    }

    fn versions(&mut self, setting: &Setting) -> Vec<ProtocolVersion> {
        let words = setting.text.split([',', ' ', '\t']).filter(|word| !word.is_empty());
        let mut versions = Vec::new();
        for word in words {
            let version = match word {
                "3" => ProtocolVersion::V31,
                "4" => ProtocolVersion::V311,
                "5" => ProtocolVersion::V5,
                _ => {
                    let expected = "a list of 3, 4 and 5, as in 4,5,";
                    self.wrong(setting, "accept_protocol_versions", expected);
                    return ProtocolVersion::ALL.to_vec();
                }
            };
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
        versions
    }

    fn wrong(&mut self, setting: &Setting, name: &'static str, expected: &str) {
        let (at, value) = (setting.at.clone(), setting.text.clone());
        self.faults.push(Fault::Value { at, name, value, expected: expected.to_owned() });
    }
}

const TOPIC_ALIAS_MAXIMUM: u16 = 10;

/// Topic Aliases of a listener, with Mosquitto's default.
pub(super) fn topic_aliases(listener: &Listener, key: &'static str) -> u16 {
    let asked = listener.settings.integer(key);
    asked.and_then(|n| u16::try_from(n).ok()).unwrap_or(TOPIC_ALIAS_MAXIMUM)
}
