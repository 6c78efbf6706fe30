//! A device: one MQTT 5.0 client (rumqttc) that is driven step by step, so that a test knows which packet answered which.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, Error, Result, bail};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnectProperties, ConnectReturnCode, DisconnectReasonCode, Packet, PubAckReason,
    SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, StateError};
use tokio::time::{Instant, timeout_at};

/// How long a device waits for one answer of a broker before the test fails.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// An application message as a device received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The Topic Name.
    pub topic: String,
    /// The Application Message's payload.
    pub payload: Vec<u8>,
    /// Whether it came from the retained store.
    pub retain: bool,
}

/// A connected client.
pub struct Device {
    client: AsyncClient,
    events: EventLoop,
    inbox: VecDeque<Received>,
    /// Whether the broker had a session for this client id.
    pub session_present: bool,
}

/// How a device introduces itself.
#[derive(Clone, Debug)]
pub struct Identity<'a> {
    /// The Client Identifier.
    pub client_id: &'a str,
    /// User Name and Password, where it has them.
    pub login: Option<(&'a str, &'a str)>,
    /// The Session Expiry Interval in seconds; 0 starts clean and ends with the connection.
    pub session_expiry_seconds: u32,
}

/// The reason code of the CONNACK that refused a connection; `None` where [`Device::connect`] failed in another way, so that no
/// broker's answer was seen.
#[must_use]
pub fn refusal(error: &Error) -> Option<ConnectReturnCode> {
    match error.downcast_ref::<ConnectionError>()? {
        ConnectionError::ConnectionRefused(code) => Some(*code),
        _ => None,
    }
}

impl Device {
    /// Connects through a tunnel's port (or a plain listener's) and waits for CONNACK.
    ///
    /// # Errors
    /// The broker refused the connection, or none answered in time.
    pub async fn connect(port: u16, who: Identity<'_>) -> Result<Self> {
        let mut options = MqttOptions::new(who.client_id, "127.0.0.1", port);
        options.set_keep_alive(Duration::from_secs(10));
        options.set_clean_start(who.session_expiry_seconds == 0);
        options.set_connect_properties(ConnectProperties {
            session_expiry_interval: Some(who.session_expiry_seconds),
            ..ConnectProperties::new()
        });
        if let Some((username, password)) = who.login {
            options.set_credentials(username, password);
        }
        let (client, events) = AsyncClient::new(options, 64);
        let mut device = Self { client, events, inbox: VecDeque::new(), session_present: false };
        let answer = device.until("CONNACK", |packet| match packet {
            Packet::ConnAck(ack) => Some(ack.session_present),
            _ => None,
        });
        // The client makes a CONNACK that refuses an error.
        device.session_present = answer.await?;
        Ok(device)
    }

    /// Subscribes with QoS 1 and waits for SUBACK.
    ///
    /// # Errors
    /// No answer in time, or the connection ended.
    pub async fn subscribe(&mut self, filter: &str) -> Result<SubscribeReasonCode> {
        self.client.try_subscribe(filter, QoS::AtLeastOnce)?;
        self.until("SUBACK", |packet| match packet {
            Packet::SubAck(ack) => ack.return_codes.first().copied(),
            _ => None,
        })
        .await
    }

    /// Publishes with QoS 1 and waits for PUBACK.
    ///
    /// # Errors
    /// No answer in time, or the connection ended.
    pub async fn publish(
        &mut self,
        topic: &str,
        payload: &[u8],
        retain: bool,
    ) -> Result<PubAckReason> {
        self.client.try_publish(topic, QoS::AtLeastOnce, retain, payload.to_vec())?;
        self.until("PUBACK", |packet| match packet {
            Packet::PubAck(ack) => Some(ack.reason),
            _ => None,
        })
        .await
    }

    /// The next Application Message.
    ///
    /// # Errors
    /// None came within `within`, or the connection ended.
    pub async fn receive(&mut self, within: Duration) -> Result<Received> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(message) = self.inbox.pop_front() {
                return Ok(message);
            }
            self.step(deadline, "a message").await?;
        }
    }

    /// Says DISCONNECT and leaves.
    pub async fn leave(mut self) {
        let _ = self.client.try_disconnect();
        let deadline = Instant::now() + Duration::from_secs(1);
        while self.step(deadline, "the end").await.is_ok() {}
    }

    /// Waits until the connection ends, and gives the reason of the broker's DISCONNECT; `None` where it said nothing.
    ///
    /// # Errors
    /// The connection was still there after `within`.
    pub async fn until_closed(&mut self, within: Duration) -> Result<Option<DisconnectReasonCode>> {
        let deadline = Instant::now() + within;
        loop {
            match timeout_at(deadline, self.events.poll()).await {
                Err(_) => bail!("the connection was still open after {within:?}"),
                Ok(Err(ConnectionError::MqttState(StateError::ServerDisconnect {
                    reason_code,
                    ..
                }))) => return Ok(Some(reason_code)),
                Ok(Err(_)) => return Ok(None),
                Ok(Ok(Event::Incoming(Packet::Disconnect(packet)))) => {
                    return Ok(Some(packet.reason_code));
                }
                Ok(Ok(_)) => {}
            }
        }
    }

    async fn until<T>(
        &mut self,
        what: &str,
        mut answer: impl FnMut(&Packet) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + ANSWER_WITHIN;
        loop {
            if let Some(packet) = self.step(deadline, what).await?
                && let Some(found) = answer(&packet)
            {
                return Ok(found);
            }
        }
    }

    async fn step(&mut self, deadline: Instant, what: &str) -> Result<Option<Packet>> {
        let event = timeout_at(deadline, self.events.poll())
            .await
            .with_context(|| format!("no {what} in time"))?
            .with_context(|| format!("the connection ended while waiting for {what}"))?;
        let Event::Incoming(packet) = event else { return Ok(None) };
        if let Packet::Publish(publish) = &packet {
            self.inbox.push_back(Received {
                topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                payload: publish.payload.to_vec(),
                retain: publish.retain,
            });
        }
        if let Packet::Disconnect(packet) = &packet {
            bail!("the broker disconnected: {:?}", packet.reason_code);
        }
        Ok(Some(packet))
    }
}
