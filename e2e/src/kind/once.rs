//! The part of the traffic that is of QoS 2: each message reaches the control room once, whatever becomes of the brokers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::cluster::{Cluster, NAME};
use crate::exactly_once::{Link, Receiver, SESSION_LOST, Sender};
use crate::program::eventually;
use crate::tunnel::Tunnel;

/// How long a session may be without its connection.
const SESSION_SECONDS: u32 = 600;

/// Wait before a broken connection is made anew.
const PAUSE: Duration = Duration::from_millis(200);

/// Between two messages.
const BETWEEN: Duration = Duration::from_millis(20);

/// Tells the sessions of one scenario from those that an earlier one has left at the brokers.
static RUNS: AtomicU64 = AtomicU64::new(0);

/// What both saw, by numbers.
#[derive(Default)]
struct Seen {
    completed: AtomicU64,
    newest: AtomicU64,
    sessions_lost: AtomicU64,
}

/// A publisher and a subscriber.
pub(super) struct Once {
    seen: Arc<Seen>,
    receiver: Arc<Mutex<Receiver>>,
    publisher: JoinHandle<()>,
    subscriber: JoinHandle<()>,
}

impl Drop for Once {
    fn drop(&mut self) {
        self.publisher.abort();
        self.subscriber.abort();
    }
}

impl Once {
    /// Starts both; the subscription is there before the first message.
    pub(super) async fn start(cluster: &Cluster, address: SocketAddr) -> Result<Self> {
        let seen = Arc::<Seen>::default();
        let receiver = Arc::<Mutex<Receiver>>::default();
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let (id, sender_id) = (format!("once-in-{run}"), format!("once-out-{run}"));
        let mut first = open(cluster, address, "control-room", &id).await?;
        receiver.lock().await.begin(&mut first.1, "fleet/+/telemetry/once").await?;
        drop(first);
        let (c, s, r) = (cluster.clone(), Arc::clone(&seen), Arc::clone(&receiver));
        let subscriber = tokio::spawn(async move {
            loop {
                s.note(receive(&c, (address, &id), &s, &r).await);
                tokio::time::sleep(PAUSE).await;
            }
        });
        let (c, s) = (cluster.clone(), Arc::clone(&seen));
        let publisher = tokio::spawn(async move {
            let mut sender = Sender::default();
            loop {
                s.note(send(&c, (address, &sender_id), &s, &mut sender).await);
                tokio::time::sleep(PAUSE).await;
            }
        });
        Ok(Self { seen, receiver, publisher, subscriber })
    }

    /// Waits until messages that are published from now on arrive.
    pub(super) async fn flowing(&self, within: Duration) -> Result<()> {
        let mark = self.seen.completed.load(Ordering::Relaxed);
        eventually("messages of QoS 2 arrive", within, async || {
            let newest = self.seen.newest.load(Ordering::Relaxed);
            ensure!(newest > mark + 5, "newest received {newest}, published before: {mark}");
            Ok(())
        })
        .await
    }

    /// Stops the publisher and waits for all that it was answered for.
    ///
    /// # Errors
    /// A message is lost, has come twice, or a session was lost.
    pub(super) async fn stop(&self) -> Result<()> {
        self.publisher.abort();
        let completed = self.seen.completed.load(Ordering::Relaxed);
        eventually("all of QoS 2 arrives", Duration::from_secs(30), async || {
            let receiver = self.receiver.lock().await;
            let missing: Vec<u64> =
                (1..=completed).filter(|number| !receiver.received.contains(number)).collect();
            ensure!(missing.is_empty(), "of {completed} of QoS 2 these are lost: {missing:?}");
            ensure!(receiver.twice.is_empty(), "of QoS 2 and twice: {:?}", receiver.twice);
            Ok(())
        })
        .await?;
        let lost = self.seen.sessions_lost.load(Ordering::Relaxed);
        ensure!(lost == 0, "{lost} times {SESSION_LOST}");
        println!("     traffic: {completed} messages of QoS 2, each of them arrived once");
        Ok(())
    }
}

impl Seen {
    /// That a connection ends is no violation; that a session does is one.
    fn note(&self, ended: Result<()>) {
        if ended.is_err_and(|error| error.to_string().contains(SESSION_LOST)) {
            self.sessions_lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn open(
    cluster: &Cluster,
    address: SocketAddr,
    user: &str,
    client_id: &str,
) -> Result<(Tunnel, Link)> {
    let (credentials, login) = cluster.credentials(user)?;
    let server_name = format!("{NAME}-tls.{}.svc", cluster.namespace);
    let tunnel = Tunnel::open(address, &server_name, &credentials).await?;
    let login = login.as_ref().map(|(name, password)| (name.as_str(), password.as_str()));
    let link = Link::open(tunnel.port, client_id, login, SESSION_SECONDS).await?;
    Ok((tunnel, link))
}

async fn receive(
    cluster: &Cluster,
    (address, id): (SocketAddr, &str),
    seen: &Seen,
    receiver: &Mutex<Receiver>,
) -> Result<()> {
    let (_tunnel, mut link) = open(cluster, address, "control-room", id).await?;
    receiver.lock().await.begin(&mut link, "").await?;
    loop {
        let mut receiver = receiver.lock().await;
        receiver.step(&mut link).await?;
        if let Some(newest) = receiver.received.last() {
            seen.newest.store(*newest, Ordering::Relaxed);
        }
    }
}

async fn send(
    cluster: &Cluster,
    (address, id): (SocketAddr, &str),
    seen: &Seen,
    sender: &mut Sender,
) -> Result<()> {
    let (_tunnel, mut link) = open(cluster, address, "pump-17", id).await?;
    sender.run(&mut link, "fleet/pump-17/telemetry/once", BETWEEN, &seen.completed).await
}
