//! The promises of MQTT between brokers, checked with rumqttc in 5.0 and 3.1.1.

use std::net::SocketAddr;
use std::sync::PoisonError;

use anyhow::{Result, ensure};
use e2e::local::LocalUp;
use e2e::tunnel::Credentials;

use crate::cluster::{cluster, secret_entry};
use crate::rumqttc_client::{Client, Options, Version};

/// The quickstart's two users, on any of its brokers.
pub(crate) struct People {
    brokers: Vec<SocketAddr>,
    password: String,
    pump: Credentials,
    control_room: Credentials,
}

impl People {
    pub(crate) fn of(up: &LocalUp) -> Result<Self> {
        let ca = secret_entry(up, "fleet-ca-bundle", "ca.crt")?;
        let certificate = (
            secret_entry(up, "control-room-mqtt", "tls.crt")?,
            secret_entry(up, "control-room-mqtt", "tls.key")?,
        );
        Ok(Self {
            brokers: up.endpoints("fleet")?,
            password: String::from_utf8(secret_entry(up, "pump-17-mqtt", "password")?)?,
            pump: Credentials { ca: ca.clone(), certificate: None },
            control_room: Credentials { ca, certificate: Some(certificate) },
        })
    }

    pub(crate) fn options<'a>(&'a self, version: Version, client_id: &'a str) -> Options<'a> {
        Options { version, client_id, login: None, keeps_session: false, will: None }
    }

    /// Logs in with a password.
    pub(crate) async fn pump(&self, version: Version, broker: usize) -> Result<Client> {
        self.pump_with(broker, self.options(version, "rumqttc-pump")).await
    }

    pub(crate) async fn pump_with(&self, broker: usize, options: Options<'_>) -> Result<Client> {
        let options = Options { login: Some(("pump-17", &self.password)), ..options };
        Client::connect(self.brokers[broker], &self.pump, options).await
    }

    /// Logs in with a certificate.
    pub(crate) async fn control_room(&self, version: Version, broker: usize) -> Result<Client> {
        self.control_room_with(broker, self.options(version, "rumqttc-control")).await
    }

    async fn control_room_with(&self, broker: usize, options: Options<'_>) -> Result<Client> {
        Client::connect(self.brokers[broker], &self.control_room, options).await
    }
}

fn check(steps: impl AsyncFn(&People, Version) -> Result<()>) {
    let cluster = cluster();
    let running = cluster.lock().unwrap_or_else(PoisonError::into_inner);
    let people = People::of(&running.up).expect("the quickstart's users");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for version in [Version::V5, Version::V311] {
        if let Err(error) = runtime.block_on(steps(&people, version)) {
            panic!("{version:?}: {error:#}\nlocal up printed:\n{}", running.up.printed());
        }
    }
}

pub(crate) fn telemetry(name: &str) -> String {
    format!("fleet/pump-17/telemetry/{name}")
}

#[test]
fn rumqttc_every_qos_reaches_a_subscriber_on_another_broker_once_and_in_order() {
    check(async |people, version| {
        for qos in 0..=2 {
            let mut control = people.control_room(version, 0).await?;
            ensure!(control.subscribe("fleet/#", qos).await?, "the subscription is granted");
            for broker in 0..3 {
                let mut pump = people.pump(version, broker).await?;
                let sent: Vec<String> = (0..20).map(|n| format!("{broker}-{n}")).collect();
                for payload in &sent {
                    ensure!(pump.publish(&telemetry("q"), payload, qos, false).await?);
                }
                // What is told twice, or of another QoS, stands in another's place.
                let got = control.payloads(sent.len()).await?;
                ensure!(got == sent, "QoS {qos} over broker {broker}: {got:?}");
                pump.leave().await;
            }
            control.leave().await;
        }
        Ok(())
    });
}

#[test]
fn rumqttc_a_retained_message_is_given_by_every_broker_until_it_is_cleared() {
    check(async |people, version| {
        let (kept, marker) = (telemetry("rumqttc-kept"), telemetry("rumqttc-marker"));
        let mut pump = people.pump(version, 1).await?;
        pump.publish(&kept, "on", 1, true).await?;
        for broker in 0..3 {
            let mut control = people.control_room(version, broker).await?;
            control.subscribe(&kept, 1).await?;
            let got = control.receive().await?;
            ensure!(got.retain && got.payload == b"on", "broker {broker}: {got:?}");
        }
        pump.publish(&kept, "", 1, true).await?;
        let mut control = people.control_room(version, 1).await?;
        control.subscribe(&kept, 1).await?;
        control.subscribe(&marker, 1).await?;
        pump.publish(&marker, "marker", 1, false).await?;
        ensure!(control.payloads(1).await? == ["marker"], "a cleared message came");
        Ok(())
    });
}

#[test]
fn rumqttc_a_will_is_published_to_another_broker_unless_the_client_said_goodbye() {
    check(async |people, version| {
        let topic = telemetry("rumqttc-will");
        let mut control = people.control_room(version, 0).await?;
        control.subscribe(&topic, 1).await?;
        let with = |text| Options {
            will: Some((&topic, text)),
            ..people.options(version, "rumqttc-pump")
        };
        drop(people.pump_with(1, with("gone")).await?);
        ensure!(control.payloads(1).await? == ["gone"], "the will");
        people.pump_with(1, with("gone in order")).await?.leave().await;
        people.pump(version, 1).await?.publish(&topic, "marker", 1, false).await?;
        ensure!(control.payloads(1).await? == ["marker"], "a will after DISCONNECT");
        Ok(())
    });
}

#[test]
fn rumqttc_a_session_goes_along_to_another_broker_with_what_came_meanwhile() {
    check(async |people, version| {
        let topic = telemetry("rumqttc-session");
        let id = format!("rumqttc-session-{version:?}");
        let options = Options { keeps_session: true, ..people.options(version, &id) };
        let mut control = people.control_room_with(0, options.clone()).await?;
        ensure!(!control.session_present, "a session that nobody made");
        control.subscribe(&topic, 1).await?;
        drop(control);
        let mut pump = people.pump(version, 2).await?;
        let sent = ["0", "1", "2", "3", "4"];
        for payload in sent {
            pump.publish(&topic, payload, 1, false).await?;
        }
        let mut control = people.control_room_with(1, options).await?;
        ensure!(control.session_present, "no session on the other broker");
        let got = control.payloads(sent.len()).await?;
        ensure!(got == sent, "{got:?}");
        control.leave().await;
        // A clean start ends the session.
        people.control_room_with(1, people.options(version, &id)).await?.leave().await;
        Ok(())
    });
}

#[test]
fn rumqttc_a_denied_publish_is_refused_in_5_and_dropped_in_311_and_the_connection_goes_on() {
    check(async |people, version| {
        let (denied, allowed) = ("fleet/pump-18/telemetry/x", telemetry("rumqttc-denied"));
        let mut control = people.control_room(version, 0).await?;
        control.subscribe("fleet/#", 2).await?;
        let mut pump = people.pump(version, 1).await?;
        for qos in 1..=2 {
            let is_accepted = pump.publish(denied, "x", qos, false).await?;
            ensure!(is_accepted == (version == Version::V311), "QoS {qos}: {is_accepted}");
        }
        ensure!(!pump.subscribe("fleet/#", 1).await?, "a denied subscription is granted");
        ensure!(pump.publish(&allowed, "marker", 2, false).await?);
        ensure!(control.payloads(1).await? == ["marker"], "a denied message came");
        Ok(())
    });
}

#[test]
fn rumqttc_a_certificate_alone_logs_in_and_nothing_at_all_does_not() {
    check(async |people, version| {
        let mut control = people.control_room(version, 2).await?;
        ensure!(control.publish("fleet/pump-17/commands/stop", "now", 1, false).await?);
        let options = people.options(version, "rumqttc-nobody");
        let nobody = Client::connect(people.brokers[2], &people.pump, options).await;
        ensure!(nobody.is_err(), "a client without password and certificate is let in");
        Ok(())
    });
}
