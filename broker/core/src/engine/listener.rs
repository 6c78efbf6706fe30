//! What a listener's clients may use of the protocol, and the topics that are theirs.
//!
//! Where no listener differs from the others nothing of this is looked at.

use std::borrow::Cow;
use std::sync::Arc;

use super::delayed;
use super::{Engine, EngineConfig, Profile};
use crate::codec::ReasonCode;
use crate::codec::packet::{Connect, Publish};
use crate::connection::{ConnectionSlot, slot_of};
use crate::session::SessionSlot;
use crate::topic::TopicFilter;
use crate::types::{ConnectionId, ProtocolVersion, QoS};

/// Longest topic. Spec: MQTT 5.0 section 1.5.4.
const TOPIC_BYTES_MAX: usize = u16::MAX as usize;

/// What the clients of one listener may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerOptions {
    /// Put before every topic that they name, and taken away again from what they get; rights are
    /// asked for the whole topics.
    pub mount_point: Option<Arc<str>>,
    /// Highest QoS.
    pub qos_max: QoS,
    /// Whether messages may be retained.
    pub retain_available: bool,
    /// Whether each version of the protocol is taken: 3.1, 3.1.1, 5.0.
    pub versions: [bool; 3],
    /// Whether a client without identifier is given one.
    pub assigns_client_ids: bool,
    /// How an assigned identifier begins.
    pub assigned_id_prefix: Option<Arc<str>>,
    /// Largest payload, in bytes.
    pub payload_bytes_max: usize,
    /// In place of [`EngineConfig::topic_alias_maximum`].
    pub topic_alias_maximum: Option<u16>,
    /// In place of [`EngineConfig::topic_alias_maximum_outbound`].
    pub topic_alias_maximum_outbound: Option<u16>,
}

/// Those of a listener that has no options of its own.
static ALL: ListenerOptions = ListenerOptions {
    mount_point: None,
    qos_max: QoS::ExactlyOnce,
    retain_available: true,
    versions: [true; 3],
    assigns_client_ids: true,
    assigned_id_prefix: None,
    payload_bytes_max: usize::MAX,
    topic_alias_maximum: None,
    topic_alias_maximum_outbound: None,
};

impl Default for ListenerOptions {
    /// Everything.
    fn default() -> Self {
        ALL.clone()
    }
}

impl ListenerOptions {
    const fn takes(&self, version: ProtocolVersion) -> bool {
        match version {
            ProtocolVersion::V31 => self.versions[0],
            ProtocolVersion::V311 => self.versions[1],
            ProtocolVersion::V5 => self.versions[2],
        }
    }

    /// Whether a client may come in with what CONNECT asks for.
    pub(super) fn check_connect(
        &self,
        connect: &Connect<'_>,
        profile: Profile,
    ) -> Result<(), ReasonCode> {
        if !self.takes(connect.version) {
            return Err(ReasonCode::UnsupportedProtocolVersion);
        }
        if connect.client_id.is_empty() && !self.assigns_client_ids {
            return Err(match profile {
                Profile::Mosquitto if connect.version.is_v5() => ReasonCode::UnspecifiedError,
                _ => ReasonCode::ClientIdentifierNotValid,
            });
        }
        let Some(will) = &connect.will else { return Ok(()) };
        self.check_message(will.qos, will.retain)
    }

    /// Spec: MQTT 5.0 sections 3.2.2.3.4 and 3.2.2.3.5 [MQTT-3.2.2-12] [MQTT-3.2.2-13].
    fn check_message(&self, qos: QoS, retain: bool) -> Result<(), ReasonCode> {
        if qos > self.qos_max {
            return Err(ReasonCode::QoSNotSupported);
        }
        if retain && !self.retain_available {
            return Err(ReasonCode::RetainNotSupported);
        }
        Ok(())
    }

    /// The whole topic; `Err`: it is too long or too deep.
    pub(super) fn mounted<'a>(
        &self,
        topic: &'a str,
        levels_max: usize,
    ) -> Result<Cow<'a, str>, ReasonCode> {
        let Some(mount) = &self.mount_point else { return Ok(topic.into()) };
        let whole = format!("{mount}{topic}");
        let levels = whole.bytes().filter(|byte| *byte == b'/').count() + 1;
        match levels > levels_max || whole.len() > TOPIC_BYTES_MAX {
            true => Err(ReasonCode::TopicNameInvalid),
            false => Ok(whole.into()),
        }
    }

    /// The whole filter; a share name stays in front.
    pub(super) fn mounted_filter(&self, text: &str) -> Option<String> {
        let mount = self.mount_point.as_deref()?;
        let filter = TopicFilter::parse_unbounded(text).ok()?.filter();
        Some(format!("{}{mount}{filter}", &text[..text.len() - filter.len()]))
    }
}

impl EngineConfig {
    /// What the clients of a listener may use.
    pub(super) fn options(&self, listener: u8) -> &ListenerOptions {
        self.listeners.get(usize::from(listener)).unwrap_or(&ALL)
    }
}

impl Engine {
    /// What the client of a connection may use.
    pub(super) fn options_of(&self, slot: ConnectionSlot) -> &ListenerOptions {
        match self.connections.at(slot) {
            Some(connection) if !self.config.listeners.is_empty() => {
                self.config.options(connection.listener)
            }
            _ => &ALL,
        }
    }

    /// What the client of a session may use.
    pub(super) fn options_of_session(&self, slot: SessionSlot) -> &ListenerOptions {
        let connection = self.sessions.get(slot).and_then(|session| session.connection);
        connection.map_or(&ALL, |connection| self.options_of(connection))
    }

    pub(super) fn topic_alias_maximum(&self, slot: ConnectionSlot) -> u16 {
        self.options_of(slot).topic_alias_maximum.unwrap_or(self.config.topic_alias_maximum)
    }

    /// Whether the payload is larger than the client's listener takes.
    pub(super) fn is_payload_too_large(&self, slot: ConnectionSlot, publish: &Publish<'_>) -> bool {
        !self.config.listeners.is_empty()
            && publish.payload.len() > self.options_of(slot).payload_bytes_max
    }

    /// The topic of a PUBLISH as it is here; `Err`: the client may not send it.
    pub(super) fn admit_publish<'a>(
        &self,
        id: ConnectionId,
        publish: &Publish<'a>,
    ) -> Result<Cow<'a, str>, ReasonCode> {
        let options = self.options_of(slot_of(id));
        options.check_message(publish.qos, publish.retain)?;
        let levels_max = self.config.topic_levels_max;
        match delayed::parse(publish.topic).filter(|_| self.is_delayed(publish.topic)) {
            Some((_, topic)) if options.mount_point.is_some() => {
                let delay = &publish.topic[..publish.topic.len() - topic.len()];
                let topic = options.mounted(topic, levels_max)?;
                Ok(format!("{delay}{topic}").into())
            }
            _ => options.mounted(publish.topic, levels_max),
        }
    }
}
