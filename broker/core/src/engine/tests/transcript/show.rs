//! What the broker sends, as text: every field that is there.

use std::fmt::{Display, Write as _};

use crate::codec::packet::*;
use crate::codec::{ReasonCode, Sensitive};
use crate::types::ProtocolVersion;

/// A packet of the broker, with every field.
pub(super) fn show(packet: &Packet<'_>, version: ProtocolVersion) -> String {
    let mut text = Text(packet.packet_type().name().to_owned());
    match packet {
        Packet::ConnAck(connack) => show_connack(connack, &mut text),
        Packet::Publish(publish) => show_publish(publish, &mut text),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            text.word(format_args!("#{}", ack.packet_id));
            if ack.reason_code != ReasonCode::Success {
                text.code(ack.reason_code);
            }
            text.field("reason", ack.reason_string);
        }
        Packet::SubAck(suback) => {
            text.word(format_args!("#{}", suback.packet_id));
            suback.reason_codes.iter().for_each(|code| text.code(code));
            text.field("reason", suback.reason_string);
        }
        Packet::UnsubAck(unsuback) => {
            text.word(format_args!("#{}", unsuback.packet_id));
            if version.is_v5() {
                unsuback.reason_codes.iter().for_each(|code| text.code(code));
            }
            text.field("reason", unsuback.reason_string);
        }
        Packet::Disconnect(disconnect) => {
            text.code(disconnect.reason_code);
            text.field("server", disconnect.server_reference);
            text.field("reason", disconnect.reason_string);
        }
        Packet::Auth(auth) => {
            text.code(auth.reason_code);
            text.field("method", auth.authentication_method);
            text.field("data", auth.authentication_data.map(readable));
            text.field("reason", auth.reason_string);
        }
        _ => {}
    }
    text.0
}

struct Text(String);

impl Text {
    fn word(&mut self, word: impl Display) {
        write!(self.0, " {word}").unwrap();
    }

    fn code(&mut self, code: ReasonCode) {
        write!(self.0, " {:#04x}", code.as_u8()).unwrap();
    }

    fn field(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            write!(self.0, " {name}={value}").unwrap();
        }
    }
}

fn readable(data: Sensitive<'_>) -> String {
    String::from_utf8_lossy(data.0).into_owned()
}

fn show_connack(connack: &ConnAck<'_>, text: &mut Text) {
    text.code(connack.reason_code);
    if connack.session_present {
        text.word("present");
    }
    let properties = &connack.properties;
    text.field("assigned_id", properties.assigned_client_id);
    text.field("server_keep_alive", properties.server_keep_alive_seconds);
    text.field("expiry", properties.session_expiry_seconds);
    text.field("receive_maximum", properties.receive_maximum);
    text.field("maximum_qos", properties.maximum_qos.map(|qos| qos.as_u8()));
    text.field("retain_available", properties.retain_available);
    text.field("packet_bytes_max", properties.packet_bytes_max);
    text.field("alias_max", properties.topic_alias_maximum);
    text.field("wildcards", properties.wildcard_subscription_available);
    text.field("subscription_ids", properties.subscription_ids_available);
    text.field("shared", properties.shared_subscription_available);
    text.field("response_information", properties.response_information);
    text.field("server", properties.server_reference);
    text.field("method", properties.authentication_method);
    text.field("data", properties.authentication_data.map(readable));
    text.field("reason", properties.reason_string);
}

fn show_publish(publish: &Publish<'_>, text: &mut Text) {
    text.word(if publish.topic.is_empty() { "-" } else { publish.topic });
    text.word(format_args!("q{}", publish.qos.as_u8()));
    if let Some(id) = publish.packet_id {
        text.word(format_args!("#{id}"));
    }
    if publish.dup {
        text.word("dup");
    }
    if publish.retain {
        text.word("retain");
    }
    let properties = &publish.properties;
    text.field("expiry", properties.message_expiry_seconds);
    text.field("alias", properties.topic_alias);
    text.field("response", properties.response_topic);
    let correlation = properties.correlation_data;
    text.field("correlation", correlation.map(String::from_utf8_lossy));
    text.field("type", properties.content_type);
    properties.subscription_ids.iter().for_each(|id| text.field("sub_id", Some(id.get())));
    text.field("payload", Some(String::from_utf8_lossy(publish.payload)));
}
