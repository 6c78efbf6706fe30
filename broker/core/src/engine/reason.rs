//! What a refusal tells the client to change: its reason code and Reason String.
//!
//! All texts stand here, but for those of packets that can't be read, which are
//! [`DecodeError`]'s. Spec: MQTT 5.0 section 4.13.

use std::borrow::Cow;

use super::{Engine, EngineConfig, Profile};
use crate::codec::packet::Packet;
use crate::codec::{DecodeError, PacketType, ReasonCode};
use crate::connection::ConnectionSlot;

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The client sent what is no packet, or none that it may send.
    Packet(DecodeError),
    /// The packet does not suit what was said before: a Protocol Error.
    State(&'static str),
    /// Its code says it.
    Code(ReasonCode),
}

pub(super) const ALIAS_UNSET: &str =
    "this topic alias stands for no topic yet: send it with a topic name first";
pub(super) const ACK_OF_OTHER_QOS: &str =
    "this packet identifier is that of a message of another qos, or at another step";
pub(super) const SESSION_ENDS: &str = "the session was to end with its connection: ask for a \
                                       session expiry interval in connect";
pub(super) const AUTH_NAMES_NO_METHOD: &str = "auth must name the authentication method of connect";
pub(super) const AUTH_OUT_OF_TURN: &str =
    "auth is out of turn: continue (0x18) after the broker's, begin again (0x19) when that is over";
pub(super) const NOT_IN_YET: &str = "send nothing but auth or disconnect before connack has come";
pub(super) const AUTH_WITHOUT_METHOD: &str = "auth needs an authentication method in connect";

impl From<ReasonCode> for Fault {
    fn from(reason_code: ReasonCode) -> Self {
        Self::Code(reason_code)
    }
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Self::Packet(error)
    }
}

impl Fault {
    pub(super) const fn reason_code(&self) -> ReasonCode {
        match self {
            Self::Packet(error) => error.reason_code(),
            Self::State(_) => ReasonCode::ProtocolError,
            Self::Code(reason_code) => *reason_code,
        }
    }

    fn text(&self, packet: PacketType, config: &EngineConfig) -> Option<Cow<'static, str>> {
        match self {
            Self::Packet(error) => Some(error.to_string().into()),
            Self::State(text) => Some((*text).into()),
            Self::Code(reason_code) => text(packet, *reason_code, config),
        }
    }
}

/// What the code means in this packet, where there is more to say than its name does.
fn text(
    packet: PacketType,
    reason_code: ReasonCode,
    config: &EngineConfig,
) -> Option<Cow<'static, str>> {
    let text = match packet {
        PacketType::ConnAck => of_connack(reason_code)?,
        PacketType::PubAck | PacketType::PubRec => return of_publish(reason_code, config),
        PacketType::SubAck | PacketType::UnsubAck => {
            return of_subscription(packet, reason_code, config);
        }
        _ => return of_disconnect(reason_code, config),
    };
    Some(text.into())
}

const fn of_connack(reason_code: ReasonCode) -> Option<&'static str> {
    Some(match reason_code {
        ReasonCode::BadUserNameOrPassword => "user name or password is wrong",
        ReasonCode::NotAuthorized => {
            "not allowed to connect: see whether the user exists, is enabled, and may use this \
             client identifier and this way to prove itself"
        }
        ReasonCode::ServerUnavailable => "the broker can not take clients now: try again later",
        ReasonCode::ServerBusy => {
            "the broker is busy, or a newer connection took the client identifier: try again later"
        }
        ReasonCode::BadAuthenticationMethod => {
            "this authentication method is not offered here: use SCRAM-SHA-256 where passwords are \
             taken, or connect without one"
        }
        ReasonCode::PacketTooLarge => "the will message is too large",
        ReasonCode::QuotaExceeded => {
            "a limit of connections is reached: close some, or try another broker"
        }
        _ => return None,
    })
}

fn of_publish(reason_code: ReasonCode, config: &EngineConfig) -> Option<Cow<'static, str>> {
    Some(match reason_code {
        ReasonCode::NotAuthorized => "not allowed to publish to this topic".into(),
        ReasonCode::ImplementationSpecificError => {
            "the retained message could not be stored: publish it again".into()
        }
        ReasonCode::TopicNameInvalid => format!(
            "write $delayed/<seconds>/<topic>, with at most {} seconds",
            config.delayed.seconds_max
        )
        .into(),
        ReasonCode::QuotaExceeded => {
            "a limit is reached: the payload is larger than this listener takes, or as many \
             retained or delayed messages are held as may be"
                .into()
        }
        _ => return None,
    })
}

fn of_subscription(
    packet: PacketType,
    reason_code: ReasonCode,
    config: &EngineConfig,
) -> Option<Cow<'static, str>> {
    Some(match (packet, reason_code) {
        (PacketType::UnsubAck, ReasonCode::NotAuthorized) => {
            "not allowed to unsubscribe from this topic filter".into()
        }
        (_, ReasonCode::NotAuthorized) => "not allowed to subscribe to this topic filter".into(),
        (_, ReasonCode::TopicFilterInvalid) => "this topic filter is not valid".into(),
        (_, ReasonCode::QuotaExceeded) => {
            format!("a session has at most {} subscriptions", config.subscriptions_max).into()
        }
        _ => return None,
    })
}

fn of_disconnect(reason_code: ReasonCode, config: &EngineConfig) -> Option<Cow<'static, str>> {
    Some(match reason_code {
        ReasonCode::ReceiveMaximumExceeded => format!(
            "more than {} messages of qos 1 and 2 are not acknowledged: keep to the receive \
             maximum",
            config.receive_maximum
        )
        .into(),
        ReasonCode::TopicAliasInvalid if config.topic_alias_maximum == 0 => {
            "topic aliases are not taken: send the topic name".into()
        }
        ReasonCode::TopicAliasInvalid => {
            format!("a topic alias must lie in 1 to {}", config.topic_alias_maximum).into()
        }
        ReasonCode::KeepAliveTimeout => {
            "nothing arrived for one and a half times the keep alive: send pingreq in time".into()
        }
        ReasonCode::ServerShuttingDown => "the broker shuts down: connect again".into(),
        ReasonCode::SessionTakenOver => {
            "another connection uses this client identifier: give each client its own".into()
        }
        ReasonCode::NotAuthorized => {
            "the user did not prove itself again: send auth of the user who is connected".into()
        }
        ReasonCode::AdministrativeAction => "the policy no longer admits this client".into(),
        _ => return None,
    })
}

impl Engine {
    /// Sends a CONNACK or DISCONNECT that says why the connection ends.
    pub(super) fn send_fault(&mut self, slot: ConnectionSlot, packet: Packet<'_>, fault: &Fault) {
        if !self.wants_reason(slot) {
            self.send(slot, &packet);
            return;
        }
        let text = fault.text(packet.packet_type(), &self.config);
        self.send_with_reason(slot, packet, text.as_deref());
    }

    /// Sends an acknowledgement, which says why something in it is refused; of several refusals
    /// the first.
    pub(super) fn send_refusal(
        &mut self,
        slot: ConnectionSlot,
        packet: Packet<'_>,
        reason_codes: &[ReasonCode],
    ) {
        let refusal = reason_codes.iter().find(|reason_code| reason_code.is_error());
        match refusal {
            Some(&reason_code) => self.send_fault(slot, packet, &Fault::Code(reason_code)),
            None => {
                self.send(slot, &packet);
            }
        }
    }

    /// Mosquitto sends none; a client may not want them [MQTT-3.1.2-29].
    fn wants_reason(&self, slot: ConnectionSlot) -> bool {
        self.config.profile != Profile::Mosquitto
            && self.connections.at(slot).is_some_and(|connection| {
                connection.version.is_v5() && connection.wants_problem_information
            })
    }

    /// The packet goes without the text where it would be too large with it [MQTT-3.2.2-19]
    /// [MQTT-3.4.2-2] [MQTT-3.5.2-2] [MQTT-3.9.2-1] [MQTT-3.11.2-1] [MQTT-3.14.2-3].
    fn send_with_reason(&mut self, slot: ConnectionSlot, packet: Packet<'_>, text: Option<&str>) {
        let is_sent = text.is_some_and(|text| self.send(slot, &packet.with_reason_string(text)));
        if !is_sent {
            self.send(slot, &packet);
        }
    }
}
