//! Brokers that are added and taken away while messages of QoS 2 go to and fro over them: each arrives once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::exactly_once::{Link, Receiver, SESSION_LOST, Sender};
use e2e::local::LocalUp;
use e2e::tunnel::{Credentials, Tunnel};
use tokio::sync::Mutex;

use crate::cluster::{binaries, quickstart, secret_entry, turn, wait_until_ready};
use crate::rumqttc_checks::telemetry;

const PAUSE: Duration = Duration::from_millis(20);

/// What a client connects with, and to which brokers, one after the other.
#[derive(Clone)]
struct Way {
    brokers: Vec<SocketAddr>,
    credentials: Credentials,
    login: Option<(String, String)>,
    client_id: &'static str,
}

impl Way {
    async fn open(&self, attempt: usize) -> Result<(Tunnel, Link)> {
        let broker = self.brokers[attempt % self.brokers.len()];
        let tunnel = Tunnel::open(broker, "localhost", &self.credentials).await?;
        let login = self.login.as_ref().map(|(name, password)| (&**name, &**password));
        let link = Link::open(tunnel.port, self.client_id, login, 600).await?;
        Ok((tunnel, link))
    }
}

#[derive(Default)]
struct Seen {
    completed: AtomicU64,
    newest: AtomicU64,
    sessions_lost: AtomicU64,
}

impl Seen {
    fn note(&self, ended: Result<()>) {
        if ended.is_err_and(|error| error.to_string().contains(SESSION_LOST)) {
            self.sessions_lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn send(way: Way, seen: Arc<Seen>) {
    let mut sender = Sender::default();
    for attempt in 0.. {
        let ended = async {
            let (_tunnel, mut link) = way.open(attempt).await?;
            sender.run(&mut link, &telemetry("once"), PAUSE, &seen.completed).await
        };
        seen.note(ended.await);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn receive(way: Way, seen: Arc<Seen>, receiver: Arc<Mutex<Receiver>>) {
    for attempt in 0.. {
        let ended = async {
            let (_tunnel, mut link) = way.open(attempt).await?;
            receiver.lock().await.begin(&mut link, "fleet/#").await?;
            loop {
                let mut receiver = receiver.lock().await;
                receiver.step(&mut link).await?;
                let newest = receiver.received.last().copied().unwrap_or(0);
                seen.newest.store(newest, Ordering::Relaxed);
            }
        };
        seen.note(ended.await);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn flows(up: &LocalUp, seen: &Seen) -> Result<()> {
    let mark = seen.completed.load(Ordering::Relaxed);
    up.until("messages of QoS 2 arrive", Duration::from_secs(60), async || {
        let newest = seen.newest.load(Ordering::Relaxed);
        ensure!(newest > mark + 5, "newest received {newest}, published before: {mark}");
        Ok(())
    })
    .await
}

fn edit(up: &LocalUp, from: &str, to: &str) -> Result<()> {
    let path = up.manifests.join("cluster.yaml");
    let text = std::fs::read_to_string(&path)?;
    ensure!(text.contains(from), "no {from:?} in {text}");
    Ok(std::fs::write(path, text.replace(from, to))?)
}

async fn brokers(up: &LocalUp, count: usize) -> Result<()> {
    up.until(&format!("{count} brokers serve"), Duration::from_secs(90), async || {
        let status = &up.get("mqttcluster", "fleet")?["status"];
        let found = status["brokers"].as_array().map_or(0, Vec::len);
        let ready = &status["readyBrokers"];
        ensure!(found == count && *ready == format!("{count}/{count}"), "{found}, {ready} ready");
        Ok(())
    })
    .await
}

async fn messages_arrive_once(up: &LocalUp) -> Result<()> {
    brokers(up, 5).await?;
    let ca = secret_entry(up, "fleet-ca-bundle", "ca.crt")?;
    let certificate = Some((
        secret_entry(up, "control-room-mqtt", "tls.crt")?,
        secret_entry(up, "control-room-mqtt", "tls.key")?,
    ));
    let password = String::from_utf8(secret_entry(up, "pump-17-mqtt", "password")?)?;
    // The last ones first: they are taken away with their clients.
    let mut brokers_of_clients = up.endpoints("fleet")?;
    brokers_of_clients.reverse();
    let receiving = Way {
        brokers: brokers_of_clients.clone(),
        credentials: Credentials { ca: ca.clone(), certificate },
        login: None,
        client_id: "once-in",
    };
    brokers_of_clients.rotate_left(1);
    let sending = Way {
        brokers: brokers_of_clients,
        credentials: Credentials { ca, certificate: None },
        login: Some(("pump-17".to_owned(), password)),
        client_id: "once-out",
    };
    let (seen, receiver) = (Arc::<Seen>::default(), Arc::<Mutex<Receiver>>::default());
    let (_tunnel, mut link) = receiving.open(0).await?;
    receiver.lock().await.begin(&mut link, "fleet/#").await?;
    drop(link);
    let receives = tokio::spawn(receive(receiving, Arc::clone(&seen), Arc::clone(&receiver)));
    let sends = tokio::spawn(send(sending, Arc::clone(&seen)));
    flows(up, &seen).await?;
    edit(up, "replicas: 5", "replicas: 3")?;
    brokers(up, 3).await?;
    flows(up, &seen).await?;
    edit(up, "replicas: 3", "replicas: 4")?;
    brokers(up, 4).await?;
    flows(up, &seen).await?;
    sends.abort();
    let completed = seen.completed.load(Ordering::Relaxed);
    up.until("all arrive", Duration::from_secs(30), async || {
        let newest = seen.newest.load(Ordering::Relaxed);
        ensure!(newest >= completed, "{newest} of {completed}");
        Ok(())
    })
    .await?;
    receives.abort();
    let receiver = receiver.lock().await;
    let missing: Vec<u64> = (1..=completed).filter(|n| !receiver.received.contains(n)).collect();
    ensure!(missing.is_empty(), "of {completed} these are lost: {missing:?}");
    ensure!(receiver.twice.is_empty(), "twice: {:?}", receiver.twice);
    let lost = seen.sessions_lost.load(Ordering::Relaxed);
    ensure!(lost == 0, "{lost} times {SESSION_LOST}");
    Ok(())
}

#[test]
fn brokers_are_taken_away_and_added_and_each_message_of_qos_2_arrives_once() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("folder");
    let manifests = quickstart(folder.path()).expect("manifests");
    let cluster = manifests.join("cluster.yaml");
    let text = std::fs::read_to_string(&cluster).expect("manifest");
    std::fs::write(cluster, text.replace("replicas: 3", "replicas: 5")).expect("manifest");
    let (operator, state) = (binaries().join("mqtt-operator"), folder.path().join("state"));
    let up = LocalUp::start(&operator, &manifests, &state).expect("local up");
    wait_until_ready(&up).expect("ready");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if let Err(error) = runtime.block_on(messages_arrive_once(&up)) {
        panic!("{error:#}\nlocal up printed:\n{}", up.printed());
    }
}
