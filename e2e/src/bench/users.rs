//! The operator with many users in laptop mode: resident memory, the time to steady after a restart, and what it then writes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;

use super::BenchArgs;
use super::edits::copy;
use crate::local::{LocalUp, resident_bytes};

/// Starts with `count` users more than the quickstart has, restarts, and prints what it took.
pub(super) async fn run(args: &BenchArgs, count: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (manifests, state) = (folder.path().join("manifests"), folder.path().join("state"));
    copy(Path::new("examples/quickstart"), &manifests)?;
    std::fs::write(manifests.join("many.yaml"), many(count)?)?;
    let started = Instant::now();
    let up = LocalUp::start(&args.operator(), &manifests, &state)?;
    up.until("ready", Duration::from_secs(300), async || up.wait_ready(5)).await?;
    let first = started.elapsed().as_secs_f64();
    println!(
        "users: {count}: from nothing to Ready {first:.1} s, operator {:.1} MiB resident",
        resident_bytes(up.pid())? as f64 / f64::from(1 << 20)
    );
    drop(up);
    let before = stamps(&state);
    let started = Instant::now();
    let up = LocalUp::start(&args.operator(), &manifests, &state)?;
    up.until("ready", Duration::from_secs(300), async || up.wait_ready(5)).await?;
    let steady = started.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = stamps(&state);
    let written: Vec<_> = after.iter().filter(|(path, at)| before.get(*path) != Some(at)).collect();
    println!(
        "users: {count}: after a restart steady in {steady:.1} s, operator {:.1} MiB resident, {} of {} object and secret files written",
        resident_bytes(up.pid())? as f64 / f64::from(1 << 20),
        written.len(),
        after.len(),
    );
    for (path, _) in written.iter().take(5) {
        println!("       written: {}", path.display());
    }
    Ok(())
}

fn many(count: usize) -> Result<String> {
    let mut text = String::new();
    for n in 0..count {
        writeln!(
            text,
            "---\napiVersion: mqtt.dunlin.io/v1alpha1\nkind: MqttUser\nmetadata: {{name: device-{n}, labels: {{kind: pump}}}}\nspec: {{clusterRef: {{name: fleet}}, authentication: {{password: {{}}}}}}"
        )?;
    }
    Ok(text)
}

/// When each object's and each secret's file was written last.
fn stamps(state: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let mut found = BTreeMap::new();
    let mut folders = vec![state.join("objects"), state.join("secrets")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(at) = entry.metadata().and_then(|meta| meta.modified()) {
                found.insert(path, at);
            }
        }
    }
    found
}
