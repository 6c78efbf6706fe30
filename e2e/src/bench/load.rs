//! Pairs of publishers and subscribers on plain MQTT 3.1.1, written as bytes: the generator must cost little beside the broker.
//! A publisher keeps a window of messages between itself and its subscriber, so nothing piles up and nothing is dropped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// Bytes of each message.
pub(super) const PAYLOAD_BYTES: usize = 64;
/// Messages between a publisher and its subscriber.
const WINDOW: usize = 100;

/// Who logs in; `None` is anonymous.
pub(super) type Login = Option<(String, String)>;

/// What a run counted.
pub(super) struct Counted {
    pub(super) delivered: u64,
    pub(super) seconds: f64,
}

/// Runs `pairs` publishers and subscribers with a QoS of 0 or 1 for a while.
pub(super) async fn pairs(
    broker: SocketAddr,
    login: &Login,
    pairs: usize,
    qos: u8,
    length: Duration,
) -> Result<Counted> {
    let stop = Arc::new(AtomicBool::new(false));
    let delivered = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for n in 0..pairs {
        let window = Arc::new(Semaphore::new(WINDOW));
        let mut subscriber = connect(broker, &format!("bench-sub-{n}"), login).await?;
        subscribe(&mut subscriber, &format!("bench/{n}"), qos).await?;
        let publisher = connect(broker, &format!("bench-pub-{n}"), login).await?;
        tasks.push(tokio::spawn(receive(subscriber, qos, window.clone(), delivered.clone())));
        tasks.push(tokio::spawn(publish(
            publisher,
            format!("bench/{n}"),
            qos,
            window,
            stop.clone(),
        )));
    }
    let (started, before) = (Instant::now(), delivered.load(Ordering::Relaxed));
    tokio::time::sleep(length).await;
    let counted = Counted {
        delivered: delivered.load(Ordering::Relaxed) - before,
        seconds: started.elapsed().as_secs_f64(),
    };
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.abort();
    }
    ensure!(counted.delivered > 0, "no message was delivered");
    Ok(counted)
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text.as_bytes());
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let (mut out, mut left) = (vec![first], body.len());
    loop {
        let byte = (left % 128) as u8;
        left /= 128;
        out.push(if left > 0 { byte | 0x80 } else { byte });
        if left == 0 {
            break;
        }
    }
    out.extend(body);
    out
}

async fn connect(broker: SocketAddr, client_id: &str, login: &Login) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(broker).await?;
    stream.set_nodelay(true)?;
    let mut body = Vec::new();
    string(&mut body, "MQTT");
    body.extend([4, if login.is_some() { 0xC2 } else { 0x02 }, 0, 0]);
    string(&mut body, client_id);
    if let Some((username, password)) = login {
        string(&mut body, username);
        string(&mut body, password);
    }
    stream.write_all(&packet(0x10, &body)).await?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.context("no CONNACK")?;
    ensure!(answer == [0x20, 2, 0, 0], "CONNACK {answer:?}");
    Ok(stream)
}

async fn subscribe(stream: &mut TcpStream, filter: &str, qos: u8) -> Result<()> {
    let mut body = vec![0, 1];
    string(&mut body, filter);
    body.push(qos);
    stream.write_all(&packet(0x82, &body)).await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.context("no SUBACK")?;
    ensure!(answer == [0x90, 3, 0, 1, qos], "SUBACK {answer:?}");
    Ok(())
}

async fn publish(
    mut stream: TcpStream,
    topic: String,
    qos: u8,
    window: Arc<Semaphore>,
    stop: Arc<AtomicBool>,
) -> Result<()> {
    let mut body = Vec::new();
    string(&mut body, &topic);
    let id_at = body.len();
    if qos > 0 {
        body.extend([0, 1]);
    }
    body.resize(body.len() + PAYLOAD_BYTES, b'x');
    let (mut id, mut batch, mut answers) = (0u16, Vec::new(), vec![0; 64 << 10]);
    while !stop.load(Ordering::Relaxed) {
        let first = window.acquire().await?;
        first.forget();
        let more = window.available_permits();
        if more > 0 {
            window.acquire_many(more as u32).await?.forget();
        }
        batch.clear();
        for _ in 0..=more {
            if qos > 0 {
                id = id.wrapping_add(1).max(1);
                body[id_at..id_at + 2].copy_from_slice(&id.to_be_bytes());
            }
            batch.extend(packet(0x30 | (qos << 1), &body));
        }
        stream.write_all(&batch).await?;
        // PUBACKs are read and dropped: the window is the subscriber's.
        while let Ok(n) = stream.try_read(&mut answers) {
            ensure!(n > 0, "the broker closed a publisher");
        }
    }
    Ok(())
}

async fn receive(
    mut stream: TcpStream,
    qos: u8,
    window: Arc<Semaphore>,
    delivered: Arc<AtomicU64>,
) -> Result<()> {
    let (mut buffer, mut have, mut acks) = (vec![0; 256 << 10], 0, Vec::new());
    loop {
        let n = stream.read(&mut buffer[have..]).await?;
        ensure!(n > 0, "the broker closed a subscriber");
        have += n;
        let (mut at, mut count) = (0, 0u64);
        acks.clear();
        // Every packet here is a PUBLISH below 128 bytes: one byte of Remaining Length.
        while have - at >= 2 && have - at >= 2 + buffer[at + 1] as usize {
            let end = at + 2 + buffer[at + 1] as usize;
            if qos > 0 {
                let topic = u16::from_be_bytes([buffer[at + 2], buffer[at + 3]]) as usize;
                let id = at + 4 + topic;
                acks.extend([0x40, 2, buffer[id], buffer[id + 1]]);
            }
            count += 1;
            at = end;
        }
        buffer.copy_within(at..have, 0);
        have -= at;
        if !acks.is_empty() {
            stream.write_all(&acks).await?;
        }
        delivered.fetch_add(count, Ordering::Relaxed);
        window.add_permits(count as usize);
    }
}
