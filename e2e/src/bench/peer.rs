//! CPU per delivered message, beside Mosquitto in the same run. Dunlin checks a user's rights on every message; Mosquitto runs
//! with `allow_anonymous true` and no rights.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::load::{Login, PAYLOAD_BYTES, pairs};
use super::{BenchArgs, quantile};
use crate::local::{LocalUp, cpu_seconds};
use crate::program::eventually;

const PAIRS: usize = 10;
const MANIFESTS: &str = "
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttCluster
metadata: {name: bench}
spec:
  version: 0.1.0
  replicas: 1
  listeners:
  - {name: plain, protocol: mqtt, port: PORT, acknowledgePlaintext: true, authentication: [password]}
---
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttUser
metadata: {name: bench}
spec: {clusterRef: {name: bench}, authentication: {password: {}}}
---
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttAcl
metadata: {name: bench}
spec:
  clusterRef: {name: bench}
  subjects: [{user: bench}]
  rules: [{effect: Allow, actions: [Publish, Subscribe, Receive], topics: [\"bench/+\"]}]
";

struct Broker {
    name: &'static str,
    address: SocketAddr,
    login: Login,
    pid: u32,
}

/// Runs the pairs against both brokers in turn and prints the medians.
pub(super) async fn run(args: &BenchArgs) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (dunlin, _up) = start_dunlin(args, folder.path()).await?;
    let mosquitto = start_mosquitto(folder.path()).await;
    let mut brokers = vec![dunlin];
    let _child = match mosquitto {
        Ok((broker, child)) => {
            brokers.push(broker);
            Some(child)
        }
        Err(why) => {
            println!("mosquitto is left out: {why:#}");
            None
        }
    };
    println!(
        "load: {PAIRS} publishers to {PAIRS} subscribers, {PAYLOAD_BYTES} bytes, {} rounds of {} s",
        args.rounds, args.seconds
    );
    for qos in [0, 1] {
        let mut medians = Vec::new();
        let mut costs = vec![Vec::new(); brokers.len()];
        let mut rates = vec![Vec::new(); brokers.len()];
        for _ in 0..args.rounds {
            for (n, broker) in brokers.iter().enumerate() {
                let before = cpu_seconds(broker.pid)?;
                let counted =
                    pairs(broker.address, &broker.login, PAIRS, qos, args.duration()).await?;
                let cpu = cpu_seconds(broker.pid)? - before;
                costs[n].push(cpu * 1e6 / counted.delivered as f64);
                rates[n].push(counted.delivered as f64 / counted.seconds);
            }
        }
        for (n, broker) in brokers.iter().enumerate() {
            costs[n].sort_by(f64::total_cmp);
            rates[n].sort_by(f64::total_cmp);
            let cost = quantile(&costs[n], 0.5);
            println!(
                "  QoS {qos}  {:<10} {cost:>7.2} CPU-us per delivered message  {:>9.0} messages/s",
                broker.name,
                quantile(&rates[n], 0.5)
            );
            medians.push(cost);
        }
        if let [dunlin, mosquitto] = medians[..] {
            println!("  QoS {qos}  ratio      {:>7.2}", dunlin / mosquitto);
        }
    }
    Ok(())
}

async fn start_dunlin(args: &BenchArgs, folder: &std::path::Path) -> Result<(Broker, LocalUp)> {
    let manifests = folder.join("manifests");
    std::fs::create_dir(&manifests)?;
    let port = free_port()?;
    std::fs::write(manifests.join("bench.yaml"), MANIFESTS.replace("PORT", &port.to_string()))?;
    let up = LocalUp::start(&args.operator(), &manifests, &folder.join("state"))?;
    up.until("ready", Duration::from_secs(60), async || up.wait_ready(5)).await?;
    let secret = up.get("secret", "bench-mqtt")?;
    let password = secret["data"]["password"].as_str().context("password")?;
    let password = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, password)?;
    let broker = Broker {
        name: "dunlin",
        address: up.endpoints("bench")?[0],
        login: Some(("bench".to_owned(), String::from_utf8(password)?)),
        pid: up.broker_pids()?[0],
    };
    Ok((broker, up))
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn start_mosquitto(folder: &std::path::Path) -> Result<(Broker, Killed)> {
    let port = free_port()?;
    let config = folder.join("mosquitto.conf");
    let text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\nset_tcp_nodelay true\nlog_type none\n"
    );
    std::fs::write(&config, text)?;
    let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
    let child = Command::new("mosquitto")
        .env("PATH", path)
        .arg("-c")
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("start mosquitto")?;
    let child = Killed(child);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    eventually("mosquitto listens", Duration::from_secs(5), async || {
        ensure!(std::net::TcpStream::connect(address).is_ok(), "no listener");
        Ok(())
    })
    .await?;
    let pid = child.0.id();
    Ok((Broker { name: "mosquitto", address, login: None, pid }, child))
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
