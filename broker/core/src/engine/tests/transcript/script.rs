//! Reads what a client sends: a packet's name and fields, as `show` writes them, into bytes.

use crate::codec::packet::*;
use crate::codec::{ReasonCode, Sensitive, UserProperties, encode};
use crate::types::{PacketId, ProtocolVersion, QoS, SubscriptionId};

/// Words of a line: bare ones and `key=value`.
struct Fields<'a>(Vec<&'a str>);

impl<'a> Fields<'a> {
    /// Takes a bare word away; whether it is there.
    fn flag(&mut self, wanted: &str) -> bool {
        let at = self.0.iter().position(|word| *word == wanted);
        at.map(|at| self.0.remove(at)).is_some()
    }

    fn text(&mut self, key: &str) -> Option<&'a str> {
        let find = |word: &&'a str| word.split_once('=').is_some_and(|(name, _)| name == key);
        let at = self.0.iter().position(find)?;
        self.0.remove(at).split_once('=').map(|(_, value)| value)
    }

    fn number<T: std::str::FromStr>(&mut self, key: &str) -> Result<Option<T>, String> {
        let text = self.text(key);
        text.map(|text| text.parse().map_err(|_| format!("{key}={text}"))).transpose()
    }

    /// The next word.
    fn next(&mut self) -> Result<&'a str, String> {
        if self.0.is_empty() { Err("a word is missing".to_owned()) } else { Ok(self.0.remove(0)) }
    }

    fn packet_id(&mut self) -> Result<PacketId, String> {
        let at = self.0.iter().position(|word| word.starts_with('#'));
        let word = at.map(|at| self.0.remove(at)).ok_or("no #id")?;
        word[1..].parse().ok().and_then(PacketId::new).ok_or_else(|| word.to_owned())
    }

    fn reason_code(&mut self) -> Result<ReasonCode, String> {
        let Some(at) = self.0.iter().position(|word| word.starts_with("0x")) else {
            return Ok(ReasonCode::Success);
        };
        let word = self.0.remove(at);
        let code = u8::from_str_radix(&word[2..], 16).ok().and_then(ReasonCode::from_u8);
        code.ok_or_else(|| word.to_owned())
    }

    fn end(self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(format!("what is {:?}?", self.0)) }
    }
}

/// The bytes of a packet of a connection with this version; of any bytes after `RAW`.
pub(super) fn parse_packet(
    text: &str,
    version: Option<ProtocolVersion>,
) -> Result<Vec<u8>, String> {
    let mut fields = Fields(text.split_whitespace().collect());
    let name = fields.next()?;
    if name == "RAW" {
        let hex = fields.0.concat();
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).map_err(|e| e.to_string());
        return (0..hex.len()).step_by(2).map(byte).collect();
    }
    if name == "CONNECT" {
        return parse_connect(fields);
    }
    let version = version.ok_or("CONNECT comes first; RAW sends any bytes")?;
    if name == "SUBSCRIBE" {
        return parse_subscribe(fields, version);
    }
    let mut ids = Vec::new();
    let packet = match name {
        "PUBLISH" => Packet::Publish(parse_publish(&mut fields)?),
        "PUBACK" => Packet::PubAck(parse_ack(&mut fields)?),
        "PUBREC" => Packet::PubRec(parse_ack(&mut fields)?),
        "PUBREL" => Packet::PubRel(parse_ack(&mut fields)?),
        "PUBCOMP" => Packet::PubComp(parse_ack(&mut fields)?),
        "UNSUBSCRIBE" => {
            let packet_id = fields.packet_id()?;
            ids.append(&mut fields.0);
            let filters = UnsubscribeFilters::from_slice(&ids);
            let user_properties = UserProperties::NONE;
            Packet::Unsubscribe(Unsubscribe { packet_id, user_properties, filters })
        }
        "PINGREQ" => Packet::PingReq,
        "DISCONNECT" => Packet::Disconnect(Disconnect {
            session_expiry_seconds: fields.number("expiry")?,
            ..Disconnect::new(fields.reason_code()?)
        }),
        "AUTH" => Packet::Auth(Auth {
            reason_code: fields.reason_code()?,
            authentication_method: fields.text("method"),
            authentication_data: fields.text("data").map(|data| Sensitive(data.as_bytes())),
            ..Auth::default()
        }),
        _ => return Err("no client sends it".to_owned()),
    };
    fields.end()?;
    encoded(&packet, version)
}

fn encoded(packet: &Packet<'_>, version: ProtocolVersion) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    encode(packet, version, &mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn qos_of(word: &str) -> Result<QoS, String> {
    match word {
        "q0" => Ok(QoS::AtMostOnce),
        "q1" => Ok(QoS::AtLeastOnce),
        "q2" => Ok(QoS::ExactlyOnce),
        _ => Err(format!("{word}: q0, q1 or q2 is expected")),
    }
}

fn parse_connect(mut fields: Fields<'_>) -> Result<Vec<u8>, String> {
    let version = match fields.next()? {
        "v3" => ProtocolVersion::V31,
        "v4" => ProtocolVersion::V311,
        "v5" => ProtocolVersion::V5,
        word => return Err(format!("{word}: v3, v4 or v5 is expected")),
    };
    let properties = ConnectProperties {
        session_expiry_seconds: fields.number("expiry")?,
        receive_maximum: fields.number("receive_maximum")?,
        packet_bytes_max: fields.number("packet_bytes_max")?,
        topic_alias_maximum: fields.number("alias_max")?,
        request_response_information: fields.flag("asks_response").then_some(true),
        request_problem_information: fields.flag("no_problems").then_some(false),
        authentication_method: fields.text("method"),
        authentication_data: fields.text("data").map(|data| Sensitive(data.as_bytes())),
        ..ConnectProperties::default()
    };
    let will_properties =
        WillProperties { delay_seconds: fields.number("will_delay")?, ..WillProperties::default() };
    let (payload, qos) = (fields.text("will_payload"), fields.text("will_qos"));
    let retain = fields.flag("will_retain");
    let will = match fields.text("will") {
        None => None,
        Some(topic) => Some(Will {
            topic,
            payload: payload.unwrap_or_default().as_bytes(),
            qos: qos_of(qos.unwrap_or("q0"))?,
            retain,
            properties: will_properties,
        }),
    };
    let connect = Connect {
        version,
        clean_start: fields.flag("clean"),
        keep_alive_seconds: fields.number("keep_alive")?.unwrap_or(0),
        properties,
        client_id: fields.text("id").unwrap_or_default(),
        will,
        user_name: fields.text("user"),
        password: fields.text("password").map(|password| Sensitive(password.as_bytes())),
    };
    fields.end()?;
    encoded(&Packet::Connect(connect), version)
}

fn parse_publish<'a>(fields: &mut Fields<'a>) -> Result<Publish<'a>, String> {
    let topic = fields.next()?;
    let qos = qos_of(fields.next()?)?;
    Ok(Publish {
        dup: fields.flag("dup"),
        qos,
        retain: fields.flag("retain"),
        // A topic alias stands for it.
        topic: if topic == "-" { "" } else { topic },
        packet_id: if qos == QoS::AtMostOnce { None } else { Some(fields.packet_id()?) },
        properties: PublishProperties {
            message_expiry_seconds: fields.number("expiry")?,
            topic_alias: fields.number("alias")?,
            response_topic: fields.text("response"),
            correlation_data: fields.text("correlation").map(str::as_bytes),
            content_type: fields.text("type"),
            ..PublishProperties::default()
        },
        payload: fields.text("payload").unwrap_or_default().as_bytes(),
    })
}

fn parse_ack(fields: &mut Fields<'_>) -> Result<PublishAck<'static>, String> {
    Ok(PublishAck::new(fields.packet_id()?, fields.reason_code()?))
}

/// `filter,q1,nl,rap,rh2`, several of them.
fn parse_subscribe(mut fields: Fields<'_>, version: ProtocolVersion) -> Result<Vec<u8>, String> {
    let packet_id = fields.packet_id()?;
    let subscription_id = fields.number("sub_id")?.and_then(SubscriptionId::new);
    let mut filters = Vec::new();
    for word in fields.0 {
        let mut parts = word.split(',');
        let filter = parts.next().unwrap_or_default();
        let mut options = SubscriptionOptions::default();
        for part in parts {
            match part {
                "nl" => options.no_local = true,
                "rap" => options.retain_as_published = true,
                "rh1" => options.retain_handling = RetainHandling::SendAtNewSubscription,
                "rh2" => options.retain_handling = RetainHandling::DoNotSend,
                qos => options.qos = qos_of(qos)?,
            }
        }
        filters.push(SubscribeFilter { filter, options });
    }
    let packet = Packet::Subscribe(Subscribe {
        packet_id,
        subscription_id,
        user_properties: UserProperties::NONE,
        filters: SubscribeFilters::from_slice(&filters),
    });
    encoded(&packet, version)
}
