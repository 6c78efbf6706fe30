//! The operator with many users in laptop mode: resident memory, the time to steady after a restart, and what it then writes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;

use super::BenchArgs;
use super::edits::copy;
use crate::local::{LocalUp, resident_bytes};

/// Without a write for so long, none is coming any more: the operator looks at everything again within this time.
const QUIET: Duration = Duration::from_secs(3);
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(200);
/// How long the writes after a restart are waited for.
const SETTLES_WITHIN: Duration = Duration::from_secs(60);

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
    let after = settled(&state).await;
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

/// The stamps once nothing was written for [`QUIET`], or when [`SETTLES_WITHIN`] is over.
async fn settled(state: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let deadline = Instant::now() + SETTLES_WITHIN;
    let (mut found, mut since) = (stamps(state), Instant::now());
    while since.elapsed() < QUIET && Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
        let now = stamps(state);
        if now != found {
            (found, since) = (now, Instant::now());
        }
    }
    found
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
