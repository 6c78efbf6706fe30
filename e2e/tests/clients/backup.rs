//! The commands of docs/runbook.md, as they stand there: a cluster is looked at, drained and backed up, and another one is founded
//! from the backup.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::local::LocalUp;
use e2e::optional::left_out;
use e2e::program::run;

use crate::cluster::{binaries, quickstart, root, secret_entry, turn, wait_until_ready};
use crate::rumqttc_checks::{People, telemetry};
use crate::rumqttc_client::Version;

/// The lines of the runbook that define the command and use it.
fn commands() -> Result<(String, Vec<String>)> {
    let runbook = std::fs::read_to_string(root().join("docs/runbook.md"))?;
    let define = runbook.lines().find(|line| line.starts_with("admin() {"));
    let uses = runbook.lines().filter(|line| line.starts_with("admin ")).map(str::to_owned);
    Ok((define.context("no admin() in docs/runbook.md")?.to_owned(), uses.collect()))
}

/// Runs commands against a cluster's first broker, in a folder; what they print, one after the other.
fn shell(up: &LocalUp, folder: &Path, define: &str, commands: &[String]) -> Result<Vec<String>> {
    for (file, secret, key) in [
        ("ca.crt", "fleet-ca-bundle", "ca.crt"),
        ("admin.crt", "fleet-admin", "tls.crt"),
        ("admin.key", "fleet-admin", "tls.key"),
    ] {
        std::fs::write(folder.join(file), secret_entry(up, secret, key)?)?;
    }
    let port = admin_port(up)?;
    let folder = folder.display();
    let one = |command: &String| {
        let script = format!("set -e; cd {folder}; port={port}\n{define}\n{command}\n");
        run("bash", &["-c", &script]).with_context(|| command.clone())
    };
    commands.iter().map(one).collect()
}

/// The port of `[admin] listen` in the first broker's configuration.
fn admin_port(up: &LocalUp) -> Result<u16> {
    let path = up.state.join("clusters/fleet/fleet-0.toml");
    let text = std::fs::read_to_string(path)?;
    let section = text.split("[admin]").nth(1).context("no [admin]")?;
    let listen = section.lines().find(|line| line.starts_with("listen")).context("no listen")?;
    let port = listen.rsplit(':').next().map(|port| port.trim_matches(['"', ' ']));
    Ok(port.context("no port")?.parse()?)
}

async fn keep(up: &LocalUp, topic: &str) -> Result<()> {
    let mut pump = People::of(up)?.pump(Version::V5, 1).await?;
    ensure!(pump.publish(topic, "42", 1, true).await?, "the publish is acknowledged");
    pump.leave().await;
    Ok(())
}

async fn is_kept(up: &LocalUp, topic: &str) -> Result<()> {
    for broker in 0..3 {
        let mut control = People::of(up)?.control_room(Version::V5, broker).await?;
        control.subscribe(topic, 1).await?;
        let got = control.receive().await?;
        ensure!(got.retain && got.payload == b"42", "broker {broker}: {got:?}");
    }
    Ok(())
}

fn wait_for_backup(up: &LocalUp, runtime: &tokio::runtime::Runtime) -> Result<()> {
    runtime.block_on(up.until("the backup is waited for", Duration::from_secs(60), async || {
        let object = up.get("mqttcluster", "fleet")?;
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let aligned = conditions.iter().find(|condition| condition["type"] == "MembersAligned");
        let reason = aligned.map(|aligned| aligned["reason"].clone()).unwrap_or_default();
        ensure!(reason == "BackupAwaited", "MembersAligned: {reason}");
        Ok(())
    }))
}

fn commands_work() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let manifests = quickstart(folder.path())?;
    let operator = binaries().join("mqtt-operator");
    let runtime = tokio::runtime::Runtime::new()?;
    let topic = telemetry("in-the-backup");
    let (define, commands) = commands()?;
    let (restores, others): (Vec<String>, Vec<String>) =
        commands.into_iter().partition(|command| command.contains("/v1/cluster/restore"));
    ensure!(restores.len() == 1 && others.len() >= 7, "{restores:?}, {others:?}");

    let up = LocalUp::start(&operator, &manifests, &folder.path().join("first"))?;
    wait_until_ready(&up)?;
    runtime.block_on(keep(&up, &topic))?;
    // The first broker founded the cluster and leads it.
    let printed = shell(&up, folder.path(), &define, &others)?;
    let all = printed.join("\n");
    for part in ["\"losses_tolerated\":1", "\"queued_messages\":", "\"to\":", "\"draining\":true"] {
        ensure!(all.contains(part), "{part} in {all}");
    }
    drop(up);

    let cluster = manifests.join("cluster.yaml");
    let text = std::fs::read_to_string(&cluster)?;
    std::fs::write(&cluster, text.replace("replicas: 3", "replicas: 3\n  foundedFrom: Backup"))?;
    let up = LocalUp::start(&operator, &manifests, &folder.path().join("second"))?;
    let restored = wait_for_backup(&up, &runtime)
        .and_then(|()| shell(&up, folder.path(), &define, &restores))
        .and_then(|printed| {
            ensure!(printed[0].contains("\"log_index\":"), "{printed:?}");
            wait_until_ready(&up)?;
            runtime.block_on(is_kept(&up, &topic))
        });
    restored.with_context(|| format!("local up printed:\n{}", up.printed()))
}

#[test]
fn the_commands_of_the_runbook_back_a_cluster_up_and_found_another_from_it() {
    if std::process::Command::new("curl").arg("--version").output().is_err() {
        return left_out("curl is not installed");
    }
    let _turn = turn();
    if let Err(error) = commands_work() {
        panic!("{error:#}");
    }
}
