//! rumqttc in both versions behind one face, driven step by step over a TLS tunnel, so that a check is written once.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use e2e::device::{ANSWER_WITHIN, Received};
use e2e::tunnel::{Credentials, Tunnel};
use rumqttc::v5;
use rumqttc::v5::mqttbytes::v5 as packets5;
use rumqttc::{Outgoing, Packet as Packet4};
use tokio::time::{Instant, timeout_at};

/// The protocol that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V5,
    V311,
}

/// How a client introduces itself.
#[derive(Debug, Clone)]
pub(crate) struct Options<'a> {
    pub(crate) version: Version,
    pub(crate) client_id: &'a str,
    /// User Name and Password; without them it shows the tunnel's certificate.
    pub(crate) login: Option<(&'a str, &'a str)>,
    /// Whether the session outlives the connection.
    pub(crate) keeps_session: bool,
    /// Topic and payload of a will of QoS 1.
    pub(crate) will: Option<(&'a str, &'a str)>,
}

enum Driver {
    V5(v5::AsyncClient, Box<v5::EventLoop>),
    V311(rumqttc::AsyncClient, Box<rumqttc::EventLoop>),
}

/// What happened on the connection.
#[derive(Debug)]
enum Happened {
    Connected {
        session_present: bool,
    },
    Subscribed {
        is_granted: bool,
    },
    /// A publish of QoS 0 was written.
    Written,
    /// The last acknowledgement of a publish came.
    Acknowledged {
        is_authorized: bool,
    },
    Message(Received),
    Other,
}

/// A connected client.
pub(crate) struct Client {
    driver: Driver,
    inbox: VecDeque<Received>,
    pub(crate) session_present: bool,
    _tunnel: Tunnel,
}

const KEEP_ALIVE: Duration = Duration::from_secs(20);
const SESSION_SECONDS: u32 = 300;
const REQUESTS: usize = 64;

impl Driver {
    fn new(port: u16, with: &Options<'_>) -> Self {
        match with.version {
            Version::V5 => {
                let mut options = v5::MqttOptions::new(with.client_id, "127.0.0.1", port);
                options.set_keep_alive(KEEP_ALIVE).set_clean_start(!with.keeps_session);
                options.set_connect_properties(packets5::ConnectProperties {
                    session_expiry_interval: with.keeps_session.then_some(SESSION_SECONDS),
                    ..packets5::ConnectProperties::new()
                });
                if let Some((username, password)) = with.login {
                    options.set_credentials(username, password);
                }
                if let Some((topic, payload)) = with.will {
                    let qos = qos5(1);
                    options
                        .set_last_will(packets5::LastWill::new(topic, payload, qos, false, None));
                }
                let (client, events) = v5::AsyncClient::new(options, REQUESTS);
                Self::V5(client, Box::new(events))
            }
            Version::V311 => {
                let mut options = rumqttc::MqttOptions::new(with.client_id, "127.0.0.1", port);
                options.set_keep_alive(KEEP_ALIVE).set_clean_session(!with.keeps_session);
                if let Some((username, password)) = with.login {
                    options.set_credentials(username, password);
                }
                if let Some((topic, payload)) = with.will {
                    options.set_last_will(rumqttc::LastWill::new(topic, payload, qos4(1), false));
                }
                let (client, events) = rumqttc::AsyncClient::new(options, REQUESTS);
                Self::V311(client, Box::new(events))
            }
        }
    }

    fn subscribe(&self, filter: &str, qos: u8) -> Result<()> {
        match self {
            Self::V5(client, _) => client.try_subscribe(filter, qos5(qos))?,
            Self::V311(client, _) => client.try_subscribe(filter, qos4(qos))?,
        }
        Ok(())
    }

    fn publish(&self, topic: &str, payload: &str, qos: u8, retain: bool) -> Result<()> {
        match self {
            Self::V5(client, _) => {
                client.try_publish(topic, qos5(qos), retain, payload.to_owned())?;
            }
            Self::V311(client, _) => client.try_publish(topic, qos4(qos), retain, payload)?,
        }
        Ok(())
    }

    fn disconnect(&self) -> Result<()> {
        match self {
            Self::V5(client, _) => client.try_disconnect()?,
            Self::V311(client, _) => client.try_disconnect()?,
        }
        Ok(())
    }

    async fn poll(&mut self) -> Result<Happened> {
        Ok(match self {
            Self::V5(_, events) => match events.poll().await? {
                v5::Event::Incoming(packet) => of_5(packet)?,
                v5::Event::Outgoing(Outgoing::Publish(0)) => Happened::Written,
                v5::Event::Outgoing(_) => Happened::Other,
            },
            Self::V311(_, events) => match events.poll().await? {
                rumqttc::Event::Incoming(packet) => of_4(packet),
                rumqttc::Event::Outgoing(Outgoing::Publish(0)) => Happened::Written,
                rumqttc::Event::Outgoing(_) => Happened::Other,
            },
        })
    }
}

fn of_5(packet: packets5::Packet) -> Result<Happened> {
    use packets5::{Packet, PubAckReason, PubRecReason, SubscribeReasonCode};
    Ok(match packet {
        Packet::ConnAck(ack) if ack.code == packets5::ConnectReturnCode::Success => {
            Happened::Connected { session_present: ack.session_present }
        }
        Packet::ConnAck(ack) => bail!("refused: {:?}", ack.code),
        Packet::SubAck(ack) => Happened::Subscribed {
            is_granted: matches!(ack.return_codes[..], [SubscribeReasonCode::Success(_)]),
        },
        Packet::PubAck(ack) => {
            Happened::Acknowledged { is_authorized: ack.reason != PubAckReason::NotAuthorized }
        }
        Packet::PubRec(ack) if ack.reason == PubRecReason::NotAuthorized => {
            Happened::Acknowledged { is_authorized: false }
        }
        Packet::PubComp(_) => Happened::Acknowledged { is_authorized: true },
        Packet::Publish(publish) => Happened::Message(Received {
            topic: String::from_utf8(publish.topic.to_vec())?,
            payload: publish.payload.to_vec(),
            retain: publish.retain,
        }),
        _ => Happened::Other,
    })
}

fn of_4(packet: Packet4) -> Happened {
    match packet {
        Packet4::ConnAck(ack) => Happened::Connected { session_present: ack.session_present },
        Packet4::SubAck(ack) => Happened::Subscribed {
            is_granted: matches!(ack.return_codes[..], [rumqttc::SubscribeReasonCode::Success(_)]),
        },
        Packet4::PubAck(_) | Packet4::PubComp(_) => Happened::Acknowledged { is_authorized: true },
        Packet4::Publish(publish) => Happened::Message(Received {
            topic: publish.topic,
            payload: publish.payload.to_vec(),
            retain: publish.retain,
        }),
        _ => Happened::Other,
    }
}

fn qos5(qos: u8) -> v5::mqttbytes::QoS {
    v5::mqttbytes::qos(qos).expect("0, 1 or 2")
}

fn qos4(qos: u8) -> rumqttc::QoS {
    rumqttc::qos(qos).expect("0, 1 or 2")
}

impl Client {
    /// Connects over TLS and waits for CONNACK.
    pub(crate) async fn connect(
        broker: SocketAddr,
        credentials: &Credentials,
        options: Options<'_>,
    ) -> Result<Self> {
        let tunnel = Tunnel::open(broker, "localhost", credentials).await?;
        let driver = Driver::new(tunnel.port, &options);
        let inbox = VecDeque::new();
        let mut client = Self { driver, inbox, session_present: false, _tunnel: tunnel };
        client.session_present = client
            .until("CONNACK", |happened| match happened {
                Happened::Connected { session_present } => Some(*session_present),
                _ => None,
            })
            .await?;
        Ok(client)
    }

    /// Waits for SUBACK; whether it grants.
    pub(crate) async fn subscribe(&mut self, filter: &str, qos: u8) -> Result<bool> {
        self.driver.subscribe(filter, qos)?;
        self.until("SUBACK", |happened| match happened {
            Happened::Subscribed { is_granted } => Some(*is_granted),
            _ => None,
        })
        .await
    }

    /// Waits for the last acknowledgement, or with QoS 0 until it is written; whether it was not refused with 0x87.
    pub(crate) async fn publish(
        &mut self,
        topic: &str,
        payload: &str,
        qos: u8,
        retain: bool,
    ) -> Result<bool> {
        self.driver.publish(topic, payload, qos, retain)?;
        self.until("the acknowledgement", |happened| match happened {
            Happened::Acknowledged { is_authorized } => Some(*is_authorized),
            Happened::Written => Some(true),
            _ => None,
        })
        .await
    }

    /// The next message.
    pub(crate) async fn receive(&mut self) -> Result<Received> {
        let deadline = Instant::now() + ANSWER_WITHIN;
        while self.inbox.is_empty() {
            self.step(deadline, "a message").await?;
        }
        self.inbox.pop_front().context("a message")
    }

    /// The payloads of the next messages.
    pub(crate) async fn payloads(&mut self, count: usize) -> Result<Vec<String>> {
        let mut payloads = Vec::new();
        for _ in 0..count {
            payloads.push(String::from_utf8(self.receive().await?.payload)?);
        }
        Ok(payloads)
    }

    /// Says DISCONNECT. Dropping a client instead ends its connection without.
    pub(crate) async fn leave(mut self) {
        let _ = self.driver.disconnect();
        let deadline = Instant::now() + ANSWER_WITHIN;
        while self.step(deadline, "the end").await.is_ok() {}
    }

    async fn until<T>(&mut self, what: &str, found: impl Fn(&Happened) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + ANSWER_WITHIN;
        loop {
            if let Some(found) = found(&self.step(deadline, what).await?) {
                return Ok(found);
            }
        }
    }

    async fn step(&mut self, deadline: Instant, what: &str) -> Result<Happened> {
        let happened = timeout_at(deadline, self.driver.poll())
            .await
            .with_context(|| format!("no {what} in time"))?
            .with_context(|| format!("the connection ended while waiting for {what}"))?;
        if let Happened::Message(message) = &happened {
            self.inbox.push_back(message.clone());
        }
        Ok(happened)
    }
}
