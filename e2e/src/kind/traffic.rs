//! Traffic that goes on while something is done to the cluster: QoS 1 messages from a pump to the control room through the
//! listener's NodePort, each device connecting again whenever its connection ends, as devices in the field do.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, ensure};
use rumqttc::v5::mqttbytes::v5::PubAckReason;
use tokio::task::JoinHandle;

use super::cluster::Cluster;
use crate::program::eventually;

/// Messages under way.
pub(super) struct Traffic {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    received: Arc<Mutex<BTreeSet<u64>>>,
    reconnects: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// Starts one publisher and one subscriber at `address`, and waits until messages flow.
    pub(super) async fn start(cluster: &Cluster, address: SocketAddr) -> Result<Self> {
        let traffic = Self {
            stop: Arc::default(),
            acknowledged: Arc::default(),
            received: Arc::default(),
            reconnects: Arc::default(),
            tasks: Vec::new(),
        };
        let (c, stop, seen) = (cluster.clone(), traffic.stop.clone(), traffic.received.clone());
        let subscriber = tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let _ = listen(&c, address, &seen, &stop).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        let (c, stop) = (cluster.clone(), traffic.stop.clone());
        let (count, again) = (traffic.acknowledged.clone(), traffic.reconnects.clone());
        let publisher = tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let _ = publish(&c, address, &count, &stop).await;
                again.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        let traffic = Self { tasks: vec![subscriber, publisher], ..traffic };
        traffic.flowing(Duration::from_secs(30)).await?;
        Ok(traffic)
    }

    /// Waits until messages that are published from now on arrive.
    pub(super) async fn flowing(&self, within: Duration) -> Result<()> {
        let mark = self.acknowledged.load(Ordering::Relaxed);
        eventually("messages arrive", within, async || {
            let newest = self.received.lock().expect("lock").last().copied().unwrap_or(0);
            ensure!(newest > mark + 5, "newest received {newest}, published before: {mark}");
            Ok(())
        })
        .await
    }

    /// Stops and prints what was seen.
    pub(super) async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.abort();
        }
        println!(
            "     traffic: {} acknowledged, {} arrived at a subscriber whose session ends with its connection, {} reconnects",
            self.acknowledged.load(Ordering::Relaxed),
            self.received.lock().expect("lock").len(),
            self.reconnects.load(Ordering::Relaxed),
        );
    }
}

async fn listen(
    cluster: &Cluster,
    address: SocketAddr,
    seen: &Mutex<BTreeSet<u64>>,
    stop: &AtomicBool,
) -> Result<()> {
    let mut control = cluster.device_at("control-room", "traffic-in", address, None).await?;
    control.device.subscribe("fleet/+/telemetry/count").await?;
    while !stop.load(Ordering::Relaxed) {
        let message = control.device.receive(Duration::from_secs(60)).await?;
        if let Ok(number) = String::from_utf8_lossy(&message.payload).parse() {
            seen.lock().expect("lock").insert(number);
        }
    }
    Ok(())
}

async fn publish(
    cluster: &Cluster,
    address: SocketAddr,
    count: &AtomicU64,
    stop: &AtomicBool,
) -> Result<()> {
    let mut pump = cluster.device_at("pump-17", "traffic-out", address, None).await?;
    while !stop.load(Ordering::Relaxed) {
        let number = count.load(Ordering::Relaxed) + 1;
        let topic = "fleet/pump-17/telemetry/count";
        let answer = pump.device.publish(topic, number.to_string().as_bytes(), false).await?;
        ensure!(answer != PubAckReason::NotAuthorized, "a rule in force was not kept");
        count.store(number, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
