//! `mqtt-operator local get`: objects with their status, as `kubectl get` prints them. IO.

use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use jiff::Timestamp;
use operator_api::{MqttAcl, MqttCluster, MqttUser, crd};
use serde_json::{Value, json};

use super::super::console::write_out;
use super::super::manifest::Kind;
use super::super::state::StateDir;
use super::super::store::{Store, entries};
use super::table;
use crate::args::{GetArgs, OutputFormat};

/// An object as it is printed.
struct Found {
    kind: Kind,
    name: String,
    object: Value,
}

/// Prints what was asked for.
///
/// # Errors
/// There is no such kind or object, or the state folder is not there.
pub(in super::super) fn get(args: &GetArgs) -> anyhow::Result<ExitCode> {
    let state = StateDir::new(&args.state.state)?;
    ensure!(state.path("lock").exists(), "{}", state.nothing_runs());
    let kinds = kinds(args.kind.as_deref())?;
    let mut found = Vec::new();
    for kind in &kinds {
        found
            .extend(objects(&state, *kind).into_iter().filter(|object| is_asked_for(args, object)));
    }
    if let Some(name) = &args.name {
        ensure!(!found.is_empty(), "{} {name:?} not found", kinds[0].plural());
    }
    if !state.is_running() {
        eprintln_note(&format!("nothing runs with state {state} now; this is how it was left"));
    }
    write_out(&printed(args, &kinds, &found)?);
    Ok(ExitCode::SUCCESS)
}

fn eprintln_note(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "note: {text}");
}

fn is_asked_for(args: &GetArgs, found: &Found) -> bool {
    let namespace = found.object["metadata"]["namespace"].as_str();
    args.name.as_ref().is_none_or(|name| *name == found.name)
        && args.namespace.as_deref().is_none_or(|wanted| namespace == Some(wanted))
}

/// The kinds that a word such as `mqu,mqa` means.
fn kinds(text: Option<&str>) -> anyhow::Result<Vec<Kind>> {
    let Some(text) = text else { return Ok(vec![Kind::Cluster, Kind::User, Kind::Acl]) };
    text.split(',')
        .map(|word| {
            let word = word.to_ascii_lowercase();
            let word = word.strip_suffix(".mqtt.dunlin.io").unwrap_or(&word);
            Ok(match word {
                "mqc" | "mqttcluster" | "mqttclusters" => Kind::Cluster,
                "mqu" | "mqttuser" | "mqttusers" => Kind::User,
                "mqa" | "mqttacl" | "mqttacls" => Kind::Acl,
                "secret" | "secrets" => Kind::Secret,
                _ => bail!(
                    "there is no kind {word:?} here: mqttclusters (mqc), mqttusers (mqu), mqttacls (mqa) and secrets are"
                ),
            })
        })
        .collect()
}

fn objects(state: &StateDir, kind: Kind) -> Vec<Found> {
    if kind == Kind::Secret {
        return secrets(state);
    }
    let namespaces = entries(&state.path("objects"));
    let files = namespaces.iter().flat_map(|namespace| entries(&namespace.join(kind.plural())));
    files
        .filter_map(|file| {
            let object: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
            let name = object["metadata"]["name"].as_str()?.to_owned();
            Some(Found { kind, name, object })
        })
        .collect()
}

/// Secrets that were made.
fn secrets(state: &StateDir) -> Vec<Found> {
    let store = Store::new(state);
    let names = store.secret_names().into_iter();
    names
        .filter_map(|(namespace, name)| {
            let data = store.secret(&namespace, &name)?;
            let encode =
                |content: &Vec<u8>| base64::engine::general_purpose::STANDARD.encode(content);
            let is_tls = data.contains_key("tls.crt") && data.contains_key("tls.key");
            let data: serde_json::Map<String, Value> =
                data.iter().map(|(key, content)| (key.clone(), encode(content).into())).collect();
            let object = json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": namespace},
                "type": if is_tls { "kubernetes.io/tls" } else { "Opaque" },
                "data": data,
            });
            Some(Found { kind: Kind::Secret, name, object })
        })
        .collect()
}

fn printed(args: &GetArgs, kinds: &[Kind], found: &[Found]) -> anyhow::Result<String> {
    let document = || match (&args.name, found) {
        (Some(_), [one]) => one.object.clone(),
        _ => {
            let items: Vec<&Value> = found.iter().map(|found| &found.object).collect();
            json!({"apiVersion": "v1", "kind": "List", "items": items})
        }
    };
    Ok(match args.output {
        OutputFormat::Json => {
            format!("{}\n", serde_json::to_string_pretty(&document()).context("write JSON")?)
        }
        OutputFormat::Yaml => serde_saphyr::to_string(&document()).context("write YAML")?,
        OutputFormat::Name => found.iter().map(|found| format!("{}\n", full_name(found))).collect(),
        OutputFormat::Table | OutputFormat::Wide => tables(args, kinds, found),
    })
}

/// A table for each kind; with several kinds, names say which.
fn tables(args: &GetArgs, kinds: &[Kind], found: &[Found]) -> String {
    let mut tables = Vec::new();
    for kind in kinds {
        let of_kind: Vec<&Found> = found.iter().filter(|found| found.kind == *kind).collect();
        if !of_kind.is_empty() {
            tables.push(table_of(args, *kind, &of_kind, kinds.len() > 1));
        }
    }
    match tables.is_empty() {
        true => "no objects found\n".to_owned(),
        false => tables.join("\n"),
    }
}

fn table_of(args: &GetArgs, kind: Kind, found: &[&Found], with_kind: bool) -> String {
    let is_wide = args.output == OutputFormat::Wide;
    let namespace = |found: &Found| {
        found.object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned()
    };
    let with_namespace = found.iter().any(|found| namespace(found) != "default");
    let columns = match kind {
        Kind::Cluster => table::columns(&crd::<MqttCluster>(), is_wide),
        Kind::User => table::columns(&crd::<MqttUser>(), is_wide),
        Kind::Acl => table::columns(&crd::<MqttAcl>(), is_wide),
        Kind::Secret => Vec::new(),
    };
    let mut heads = vec!["NAME".to_owned()];
    heads.extend(columns.iter().map(|column| column.name.to_uppercase()));
    if kind == Kind::Secret {
        heads.extend(["TYPE".to_owned(), "DATA".to_owned()]);
    }
    let now = Timestamp::now();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for found in found {
        let name = if with_kind { full_name(found) } else { found.name.clone() };
        let mut row = table::row(name, &found.object, &columns, now);
        if kind == Kind::Secret {
            row.push(found.object["type"].as_str().unwrap_or_default().to_owned());
            row.push(found.object["data"].as_object().map_or(0, serde_json::Map::len).to_string());
        }
        rows.push(row);
    }
    if with_namespace {
        heads.insert(0, "NAMESPACE".to_owned());
        rows.iter_mut().zip(found).for_each(|(row, found)| row.insert(0, namespace(found)));
    }
    table::text(&heads, &rows)
}

/// As kubectl names objects of several kinds: `mqttcluster.mqtt.dunlin.io/fleet`.
fn full_name(found: &Found) -> String {
    let kind = found.kind.as_str().to_lowercase();
    match found.kind {
        Kind::Secret => format!("{kind}/{}", found.name),
        _ => format!("{kind}.{}/{}", operator_api::GROUP, found.name),
    }
}
