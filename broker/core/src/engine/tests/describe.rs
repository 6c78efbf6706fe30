//! Packets as short text, so that a test can state all that a client gets.

use std::fmt::Write;

use crate::codec::packet::*;
use crate::codec::{ReasonCode, Sensitive};
use crate::types::ProtocolVersion;

pub(super) fn describe(packet: &Packet<'_>, version: ProtocolVersion) -> String {
    let mut text = packet.packet_type().name().to_owned();
    match packet {
        Packet::ConnAck(connack) => describe_connack(connack, &mut text),
        Packet::Publish(publish) => describe_publish(publish, &mut text),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            write!(text, " #{}", ack.packet_id).unwrap();
            if ack.reason_code != ReasonCode::Success {
                write!(text, " {:#04x}", ack.reason_code.as_u8()).unwrap();
            }
        }
        Packet::SubAck(suback) => {
            write!(text, " #{}", suback.packet_id).unwrap();
            push_codes(&mut text, suback.reason_codes);
        }
        Packet::UnsubAck(unsuback) => {
            write!(text, " #{}", unsuback.packet_id).unwrap();
            if version.is_v5() {
                push_codes(&mut text, unsuback.reason_codes);
            }
        }
        Packet::Disconnect(disconnect) => {
            write!(text, " {:#04x}", disconnect.reason_code.as_u8()).unwrap();
            push_server(&mut text, disconnect.server_reference);
        }
        Packet::Auth(auth) => {
            write!(text, " {:#04x}", auth.reason_code.as_u8()).unwrap();
            push_data(&mut text, auth.authentication_data);
        }
        _ => {}
    }
    text
}

fn push_server(text: &mut String, reference: Option<&str>) {
    if let Some(reference) = reference {
        write!(text, " server={reference}").unwrap();
    }
}

fn push_data(text: &mut String, data: Option<Sensitive<'_>>) {
    if let Some(data) = data {
        write!(text, " {}", String::from_utf8_lossy(data.0)).unwrap();
    }
}

fn push_codes(text: &mut String, codes: ReasonCodes<'_>) {
    for code in codes.iter() {
        write!(text, " {:#04x}", code.as_u8()).unwrap();
    }
}

fn describe_connack(connack: &ConnAck<'_>, text: &mut String) {
    write!(text, " {:#04x}", connack.reason_code.as_u8()).unwrap();
    if connack.session_present {
        text.push_str(" present");
    }
    let properties = &connack.properties;
    if let Some(seconds) = properties.session_expiry_seconds {
        write!(text, " expiry={seconds}").unwrap();
    }
    if let Some(information) = properties.response_information {
        write!(text, " response={information}").unwrap();
    }
    if let Some(id) = properties.assigned_client_id {
        write!(text, " id={id}").unwrap();
    }
    if let Some(method) = properties.authentication_method {
        write!(text, " method={method}").unwrap();
    }
    push_data(text, properties.authentication_data);
    push_server(text, properties.server_reference);
    if let Some(qos) = properties.maximum_qos {
        write!(text, " qos_max={}", qos.as_u8()).unwrap();
    }
    if properties.retain_available == Some(false) {
        text.push_str(" no_retain");
    }
    if properties.shared_subscription_available == Some(false) {
        text.push_str(" not_shared");
    }
    if let Some(seconds) = properties.server_keep_alive_seconds {
        write!(text, " keep_alive={seconds}").unwrap();
    }
}

fn describe_publish(publish: &Publish<'_>, text: &mut String) {
    write!(text, " {} q{}", publish.topic, publish.qos.as_u8()).unwrap();
    if let Some(id) = publish.packet_id {
        write!(text, " #{id}").unwrap();
    }
    if publish.dup {
        text.push_str(" dup");
    }
    if publish.retain {
        text.push_str(" retain");
    }
    if let Some(seconds) = publish.properties.message_expiry_seconds {
        write!(text, " expiry={seconds}").unwrap();
    }
    if let Some(alias) = publish.properties.topic_alias {
        write!(text, " alias={alias}").unwrap();
    }
    for id in publish.properties.subscription_ids.iter() {
        write!(text, " sub={}", id.get()).unwrap();
    }
    if let Some(content_type) = publish.properties.content_type {
        write!(text, " type={content_type}").unwrap();
    }
    write!(text, " {:?}", String::from_utf8_lossy(publish.payload)).unwrap();
}
