//! The last bytes of a connection, seen without a client library between: DISCONNECT with its reason, then the end of TLS in order.

use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::device::ANSWER_WITHIN;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::cluster::{Running, cluster, secret_entry};

const USER: &str = "leaver";
const MANIFEST: &str = "\
apiVersion: mqtt.dunlin.io/v1alpha1
kind: MqttUser
metadata: {name: leaver, labels: {kind: pump}}
spec: {clusterRef: {name: fleet}, authentication: {password: {}}}
";

async fn dial(running: &Running, broker: usize) -> Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let ca = secret_entry(&running.up, "fleet-ca-bundle", "ca.crt")?;
    for certificate in CertificateDer::pem_slice_iter(&ca) {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let address = running.up.endpoints("fleet")?[broker];
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from("localhost")?;
    Ok(TlsConnector::from(Arc::new(config)).connect(name, tcp).await?)
}

fn string(text: &str, into: &mut Vec<u8>) {
    into.extend_from_slice(&u16::try_from(text.len()).expect("short").to_be_bytes());
    into.extend_from_slice(text.as_bytes());
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len()).ok().filter(|length| *length < 128).expect("short");
    [&[first, length], body].concat()
}

/// Spec: MQTT 5.0 section 3.1.
fn connect(client_id: &str, username: &str, password: &str) -> Vec<u8> {
    let mut body = Vec::new();
    string("MQTT", &mut body);
    // Version 5, clean start with user name and password, keep alive 60 s, no properties.
    body.extend_from_slice(&[5, 0xC2, 0, 60, 0]);
    for text in [client_id, username, password] {
        string(text, &mut body);
    }
    packet(0x10, &body)
}

/// QoS 0. Spec: MQTT 5.0 section 3.3.
fn publish(topic: &str) -> Vec<u8> {
    let mut body = Vec::new();
    string(topic, &mut body);
    body.extend_from_slice(&[0, b'x']);
    packet(0x30, &body)
}

/// Connects as the user who will be deleted.
async fn logged_in(running: &Running, broker: usize) -> Result<TlsStream<TcpStream>> {
    let password = String::from_utf8(secret_entry(&running.up, "leaver-mqtt", "password")?)?;
    let mut stream = dial(running, broker).await?;
    stream.write_all(&connect(&format!("bare-{broker}"), USER, &password)).await?;
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.context("CONNACK")?;
    let mut rest = vec![0; usize::from(head[1])];
    stream.read_exact(&mut rest).await?;
    ensure!(head[0] == 0x20 && rest[1] == 0, "refused: {head:?} {rest:?}");
    Ok(stream)
}

/// Reads to the end, and says what came; an end that is not in order (a reset, no close_notify) is an error.
async fn to_the_end(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(ANSWER_WITHIN, stream.read_to_end(&mut bytes));
    match read.await {
        Ok(Ok(_)) => Ok(bytes),
        Ok(Err(error)) => bail!("after {bytes:?} the connection broke: {error}"),
        Err(_) => bail!("after {bytes:?} the connection stays open"),
    }
}

fn is_a_farewell(bytes: &[u8]) -> Result<()> {
    // DISCONNECT, a short body, Not authorized or Administrative action. Spec: MQTT 5.0 section 3.14.
    let is_disconnect =
        matches!(bytes, [0xE0, length, 0x87 | 0x98, ..] if bytes.len() == usize::from(*length) + 2);
    ensure!(is_disconnect, "not a DISCONNECT with its reason: {bytes:02X?}");
    Ok(())
}

async fn made(running: &Running, file: &Path) -> Result<()> {
    std::fs::write(file, MANIFEST)?;
    let up = &running.up;
    up.until("the user to be Ready", Duration::from_secs(30), async || {
        let ready = up.get("mqttuser", USER)?["status"]["conditions"].to_string();
        let is_ready = ready.contains(r#""status":"True","type":"Ready""#);
        ensure!(is_ready, "{ready}");
        Ok(())
    })
    .await
}

async fn is_told(running: &Running, file: &Path, publishes: bool) -> Result<()> {
    made(running, file).await?;
    let mut tasks = tokio::task::JoinSet::new();
    for broker in 0..3 {
        let stream = logged_in(running, broker).await?;
        tasks.spawn(async move {
            let (mut read, mut write) = tokio::io::split(stream);
            let one = publish("fleet/leaver/telemetry/x");
            // It goes on as fast as it can until it is told: bytes are on their way when the broker closes.
            let talks = async {
                if publishes {
                    while write.write_all(&one).await.is_ok() && write.flush().await.is_ok() {
                        tokio::task::yield_now().await;
                    }
                }
                std::future::pending::<()>().await;
            };
            let bytes = tokio::select! {
                bytes = to_the_end(&mut read) => bytes?,
                () = talks => bail!("it never ends"),
            };
            is_a_farewell(&bytes).with_context(|| format!("broker {broker}"))
        });
    }
    std::fs::remove_file(file)?;
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    Ok(())
}

fn check(steps: impl AsyncFn(&Running, &Path) -> Result<()>) {
    let cluster = cluster();
    let running = cluster.lock().unwrap_or_else(PoisonError::into_inner);
    let file = running.manifests.join("leaver.yaml");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let outcome = runtime.block_on(steps(&running, &file));
    let _ = std::fs::remove_file(&file);
    if let Err(error) = outcome {
        panic!("{error:#}\nlocal up printed:\n{}", running.up.printed());
    }
}

#[test]
fn a_deleted_user_that_is_silent_is_told_why_before_its_connection_ends() {
    check(async |running, file| is_told(running, file, false).await);
}

#[test]
fn a_deleted_user_that_goes_on_publishing_is_told_why_before_its_connection_ends() {
    check(async |running, file| is_told(running, file, true).await);
}
