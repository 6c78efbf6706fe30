//! `mqtt-operator local status`: whether everything is Ready, and what is missing otherwise. IO.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use operator_api::Condition;

use super::super::console::write_out;
use super::super::manifest::{Identity, Kind, ManifestObject, Objects};
use super::super::state::StateDir;
use super::super::store::Store;
use crate::args::StatusArgs;

const LOOK: Duration = Duration::from_millis(100);
/// Lines of what is missing that are printed.
const LINES_MAX: usize = 20;

/// Says whether everything is Ready; with `--wait` as soon as it is.
///
/// # Errors
/// The state folder can't be found.
pub(in super::super) async fn status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let state = StateDir::new(&args.state.state)?;
    let deadline = Instant::now() + args.wait.unwrap_or_default();
    loop {
        let looked = Instant::now();
        let missing = missing(&state);
        if let Ok(ready) = &missing {
            write_out(&format!("{ready}\n"));
            return Ok(ExitCode::SUCCESS);
        }
        if Instant::now() >= deadline {
            let lines = missing.err().unwrap_or_default();
            let more = lines.len().saturating_sub(LINES_MAX);
            for line in lines.iter().take(LINES_MAX) {
                write_out(&format!("{line}\n"));
            }
            if more > 0 {
                write_out(&format!("… and {more} more\n"));
            }
            return Ok(ExitCode::FAILURE);
        }
        // Looking at many objects takes its time; the operator shall have most of it.
        tokio::time::sleep(LOOK.max(looked.elapsed() * 4)).await;
    }
}

/// What is Ready, in words; or what is missing, in words.
fn missing(state: &StateDir) -> Result<String, Vec<String>> {
    if !state.is_running() {
        return Err(vec![state.nothing_runs()]);
    }
    let session = state.session().filter(|session| session.is_started);
    let Some(session) = session else { return Err(vec!["it is starting".to_owned()]) };
    let mut missing: Vec<String> = session
        .complaints
        .iter()
        .filter(|complaint| complaint.is_refusal)
        .map(|complaint| format!("refused: {complaint}"))
        .collect();
    let store = Store::new(state);
    let mut objects = Objects::new();
    // Clusters first: while one is not Ready, there is no need to look at its thousands of users.
    for kind in [Kind::Cluster, Kind::Acl, Kind::User] {
        let found = store.load_kind(kind);
        missing.extend(found.iter().filter_map(|(id, stored)| not_ready(id, &stored.object)));
        objects.extend(found);
        if !missing.is_empty() {
            return Err(missing);
        }
    }
    if objects.is_empty() {
        missing.push(format!("{} holds no objects", session.manifests));
    }
    if missing.is_empty() {
        Ok(format!("all {} are Ready", counted(&objects)))
    } else {
        Err(missing)
    }
}

fn counted(objects: &Objects) -> String {
    match objects.len() {
        1 => "of 1 object".to_owned(),
        count => format!("{count} objects"),
    }
}

fn not_ready(identity: &Identity, object: &ManifestObject) -> Option<String> {
    let conditions: &[Condition] = match object {
        ManifestObject::Cluster(object) => object.status.as_ref().map(|s| &*s.conditions),
        ManifestObject::User(object) => object.status.as_ref().map(|s| &*s.conditions),
        ManifestObject::Acl(object) => object.status.as_ref().map(|s| &*s.conditions),
        ManifestObject::Secret(_) => return None,
    }
    .unwrap_or_default();
    let generation = object.metadata().generation;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
    match ready {
        Some(ready) if ready.observed_generation != generation => {
            Some(format!("{identity}: its newest edit was not looked at yet"))
        }
        Some(ready) if ready.status == "True" => None,
        Some(ready) => Some(format!("{identity}: {}: {}", ready.reason, ready.message)),
        None => Some(format!("{identity}: it was not looked at yet")),
    }
}
