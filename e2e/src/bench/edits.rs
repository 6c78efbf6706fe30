//! Laptop mode: the time from start to enforced, and from the edit of a file to enforced on all three brokers.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rumqttc::v5::mqttbytes::v5::PubAckReason;

use super::{BenchArgs, quantile};
use crate::device::{Device, Identity};
use crate::local::LocalUp;
use crate::tunnel::{Credentials, Tunnel};

const TELEMETRY: &str = "fleet/pump-17/telemetry/pressure";

/// Starts the quickstart, edits its rule again and again, and prints the times.
pub(super) async fn run(args: &BenchArgs) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (manifests, state) = (folder.path().join("manifests"), folder.path().join("state"));
    copy(Path::new("examples/quickstart"), &manifests)?;
    let started = Instant::now();
    let up = LocalUp::start(&args.operator(), &manifests, &state)?;
    up.until("ready", Duration::from_secs(90), async || up.wait_ready(2)).await?;
    println!(
        "start: from nothing to enforced on all three: {:.2} s",
        started.elapsed().as_secs_f64()
    );
    drop(up);
    let started = Instant::now();
    let up = LocalUp::start(&args.operator(), &manifests, &state)?;
    up.until("ready", Duration::from_secs(90), async || up.wait_ready(2)).await?;
    println!("start: the second time: {:.2} s", started.elapsed().as_secs_f64());
    if !args.wants("edits") {
        return Ok(());
    }
    let (mut devices, _tunnels) = devices(&up).await?;
    let file = manifests.join("acl.yaml");
    let text = std::fs::read_to_string(&file)?;
    let mut times = Vec::new();
    for n in 0..args.edits {
        let denied = n % 2 == 0;
        let now = if denied { text.replace("telemetry", "elsewhere") } else { text.clone() };
        // As editors do: a new file in place of the old one.
        std::fs::write(file.with_extension("tmp"), now)?;
        let edited = Instant::now();
        std::fs::rename(file.with_extension("tmp"), &file)?;
        for device in &mut devices {
            while (device.publish(TELEMETRY, b"?", false).await? == PubAckReason::NotAuthorized)
                != denied
            {
                ensure!(edited.elapsed() < Duration::from_secs(20), "edit {n}: {}", up.printed());
            }
        }
        times.push(edited.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    println!(
        "edits: file saved to enforced on all three, {} edits: p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms",
        args.edits,
        quantile(&times, 0.5),
        quantile(&times, 0.99),
        quantile(&times, 1.0)
    );
    Ok(())
}

async fn devices(up: &LocalUp) -> Result<(Vec<Device>, Vec<Tunnel>)> {
    let text = |secret: &str, key: &str| -> Result<Vec<u8>> {
        let secret = up.get("secret", secret)?;
        let value = secret["data"][key].as_str().context("secret data")?;
        Ok(base64::Engine::decode(&base64::engine::general_purpose::STANDARD, value)?)
    };
    let credentials = Credentials { ca: text("fleet-ca-bundle", "ca.crt")?, certificate: None };
    let password = String::from_utf8(text("pump-17-mqtt", "password")?)?;
    let (mut devices, mut tunnels) = (Vec::new(), Vec::new());
    for (n, address) in up.endpoints("fleet")?.into_iter().enumerate() {
        let tunnel = Tunnel::open(address, "localhost", &credentials).await?;
        let client_id = format!("bench-{n}");
        let login = Some(("pump-17", password.as_str()));
        let identity = Identity { client_id: &client_id, login, session_expiry_seconds: 0 };
        devices.push(Device::connect(tunnel.port, identity).await?);
        tunnels.push(tunnel);
    }
    ensure!(devices.len() == 3, "{} endpoints", devices.len());
    Ok((devices, tunnels))
}

/// Copies the files of a folder.
pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
