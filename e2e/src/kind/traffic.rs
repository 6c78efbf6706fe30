//! Traffic that goes on while something is done to the cluster: messages of QoS 1 and of QoS 2 from pumps to the control room
//! through the listener's NodePort, each device connecting again whenever its connection ends, as devices in the field do. The
//! control room's sessions outlive their connections, so all that was acknowledged to the pumps must reach it, and what is of QoS 2
//! once.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, ensure};
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, PubAckReason, SubscribeReasonCode};
use tokio::task::JoinHandle;

use super::cluster::{Cluster, Connected};
use super::once::Once;
use crate::device::refusal;
use crate::program::eventually;

/// How long the control room may be away.
const SESSION_SECONDS: u32 = 600;

/// Violations kept for the report; who has seen so many needs no more.
const VIOLATIONS_KEPT: usize = 16;

/// Messages under way.
pub(super) struct Traffic {
    seen: Arc<Seen>,
    once: Once,
    /// The subscriber's and the publisher's.
    tasks: [JoinHandle<()>; 2],
}

/// What the devices saw.
#[derive(Default)]
struct Seen {
    acknowledged: AtomicU64,
    received: Mutex<BTreeSet<u64>>,
    reconnects: AtomicU64,
    /// Answers that the rules in force forbid. That a connection ends is no violation.
    violations: Mutex<Vec<String>>,
}

impl Seen {
    fn violation(&self, what: String) {
        let mut violations = self.violations.lock().expect("lock");
        if violations.len() < VIOLATIONS_KEPT {
            violations.push(what);
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Traffic {
    /// Starts publishers and subscribers at `address`, and waits until messages flow.
    pub(super) async fn start(cluster: &Cluster, address: SocketAddr) -> Result<Self> {
        let seen = Arc::<Seen>::default();
        let (c, s) = (cluster.clone(), Arc::clone(&seen));
        let subscriber = tokio::spawn(async move {
            loop {
                let _ = listen(&c, address, &s).await;
                s.reconnects.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        let (c, s) = (cluster.clone(), Arc::clone(&seen));
        let publisher = tokio::spawn(async move {
            loop {
                let _ = publish(&c, address, &s).await;
                s.reconnects.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        let once = Once::start(cluster, address).await?;
        let traffic = Self { seen, once, tasks: [subscriber, publisher] };
        traffic.flowing(Duration::from_secs(30)).await?;
        Ok(traffic)
    }

    /// How many messages of QoS 1 were acknowledged up to now.
    pub(super) fn acknowledged(&self) -> u64 {
        self.seen.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until messages that are published from now on arrive.
    pub(super) async fn flowing(&self, within: Duration) -> Result<()> {
        let mark = self.acknowledged();
        eventually("messages arrive", within, async || {
            let newest = self.seen.received.lock().expect("lock").last().copied().unwrap_or(0);
            ensure!(newest > mark + 5, "newest received {newest}, published before: {mark}");
            Ok(())
        })
        .await?;
        self.once.flowing(within).await
    }

    /// Stops the pumps, waits for all that was acknowledged to it, and prints what was seen.
    ///
    /// # Errors
    /// An acknowledged message did not arrive, or a device was refused what the rules in force allow.
    pub(super) async fn stop(self) -> Result<()> {
        let [_, publisher] = &self.tasks;
        publisher.abort();
        let acknowledged = self.acknowledged();
        eventually("all that was acknowledged arrives", Duration::from_secs(30), async || {
            let received = self.seen.received.lock().expect("lock");
            // What was published before the first subscription was nobody's.
            let first = received.first().copied().unwrap_or(1);
            let missing: Vec<u64> =
                (first..=acknowledged).filter(|number| !received.contains(number)).collect();
            ensure!(
                missing.is_empty(),
                "of {acknowledged} acknowledged these are lost: {missing:?}"
            );
            Ok(())
        })
        .await?;
        println!(
            "     traffic: {acknowledged} messages acknowledged, all of them arrived, {} reconnects",
            self.seen.reconnects.load(Ordering::Relaxed),
        );
        {
            let violations = self.seen.violations.lock().expect("lock");
            ensure!(
                violations.is_empty(),
                "rules in force were not kept: {}",
                violations.join("; ")
            );
        }
        self.once.stop().await
    }
}

/// Connects; a broker that lets clients in before it knows their rights is a violation.
async fn connect(
    cluster: &Cluster,
    address: SocketAddr,
    seen: &Seen,
    (user, client_id, session_seconds): (&str, &str, u32),
) -> Result<Connected> {
    let connected = cluster.device_at(user, client_id, address, session_seconds).await;
    if let Err(error) = &connected
        && let Some(code) = refusal(error)
        && matches!(code, ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized)
    {
        seen.violation(format!("CONNACK {code:?} for {user}"));
    }
    connected
}

async fn listen(cluster: &Cluster, address: SocketAddr, seen: &Seen) -> Result<()> {
    let mut control =
        connect(cluster, address, seen, ("control-room", "traffic-in", SESSION_SECONDS)).await?;
    let answer = control.device.subscribe("fleet/+/telemetry/count").await?;
    if answer == SubscribeReasonCode::NotAuthorized {
        seen.violation(format!("SUBACK {answer:?}"));
    }
    loop {
        let message = control.device.receive(Duration::from_secs(60)).await?;
        if let Ok(number) = String::from_utf8_lossy(&message.payload).parse() {
            seen.received.lock().expect("lock").insert(number);
        }
    }
}

async fn publish(cluster: &Cluster, address: SocketAddr, seen: &Seen) -> Result<()> {
    let mut pump = connect(cluster, address, seen, ("pump-17", "traffic-out", 0)).await?;
    loop {
        let number = seen.acknowledged.load(Ordering::Relaxed) + 1;
        let topic = "fleet/pump-17/telemetry/count";
        let answer = pump.device.publish(topic, number.to_string().as_bytes(), false).await?;
        if answer == PubAckReason::NotAuthorized {
            seen.violation(format!("PUBACK {answer:?} for message {number}"));
        }
        seen.acknowledged.store(number, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
